//! `metrics.jsonl` holds exactly the steps that count, whenever the run was killed.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rappel_telemetry::{Event, JsonLines, Moment, Sink, Start, TelemetryError};

fn log(sink: &mut JsonLines, step: u64, values: &[(&str, f64)]) -> Result<(), TelemetryError> {
    sink.log(Moment { step, wall_time: 1.5 }, &Event::Scalars(values))
}

fn content(dir: &Path) -> String {
    fs::read_to_string(dir.join("metrics.jsonl")).unwrap()
}

#[test]
fn every_float_is_written_so_that_it_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = JsonLines::open(dir.path(), Start::Fresh).unwrap();
    let values = [("loss", 0.1 + 0.2), ("a\"b", 1e300), ("whole", 3.0), ("zero", -0.0)];
    log(&mut sink, 7, &values).unwrap();
    let odd = [("nan", f64::NAN), ("up", f64::INFINITY), ("down", f64::NEG_INFINITY)];
    log(&mut sink, 8, &odd).unwrap();
    sink.flush().unwrap();
    assert_eq!(
        content(dir.path()),
        "{\"step\":7,\"wall_time\":1.5,\"loss\":0.30000000000000004,\"a\\\"b\":1e+300,\
         \"whole\":3.0,\"zero\":-0.0}\n\
         {\"step\":8,\"wall_time\":1.5,\"nan\":\"NaN\",\"up\":\"Infinity\",\"down\":\"-Infinity\"}\n"
    );
}

#[test]
fn names_of_own_keys_are_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = JsonLines::open(dir.path(), Start::Fresh).unwrap();
    for name in ["step", "wall_time"] {
        assert_eq!(
            log(&mut sink, 1, &[("loss", 1.0), (name, 2.0)]).unwrap_err().to_string(),
            format!("a scalar cannot be named `{name}`: the key is taken in metrics.jsonl")
        );
    }
    assert_eq!(content(dir.path()), "");
}

#[test]
fn a_fresh_run_does_not_mix_with_another() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metrics.jsonl"), "{\"step\":1}\n").unwrap();
    let error = JsonLines::open(dir.path(), Start::Fresh).unwrap_err().to_string();
    assert!(error.ends_with("give another directory, or resume that run"), "{error}");
    assert_eq!(content(dir.path()), "{\"step\":1}\n");
}

#[test]
fn a_line_that_is_no_event_is_named_and_nothing_is_lost() {
    for (bad, reason) in [
        ("{\"step\":1", "no JSON: EOF while parsing an object at line 2 column 0"),
        ("{}", "no `step` that counts steps"),
        ("{\"step\":-1}", "no `step` that counts steps"),
        ("", "no JSON: EOF while parsing a value at line 2 column 0"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let before = format!("{{\"step\":9}}\n{bad}\n{{\"step\":2}}\n");
        fs::write(dir.path().join("metrics.jsonl"), &before).unwrap();
        let start = Start::Resume { last_step: 5, events: 0 };
        let error = JsonLines::open(dir.path(), start).unwrap_err().to_string();
        assert!(error.contains(&format!("metrics.jsonl, line 2: {reason}; mend")), "{error}");
        assert_eq!(content(dir.path()), before);
    }
}

#[test]
fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::Resume { last_step: 1, events: 0 };
    let error = JsonLines::open(&dir.path().join("gone"), start).unwrap_err().to_string();
    let path = dir.path().join("gone/metrics.jsonl");
    assert!(error.starts_with(&format!("cannot open {}: ", path.display())), "{error}");
}

#[test]
fn validations_are_lines_and_other_events_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = JsonLines::open(dir.path(), Start::Fresh).unwrap();
    let at = Moment { step: 3, wall_time: 1.5 };
    for event in [
        Event::Stage("reading"),
        Event::Download { file: "config.json", bytes: 1, total: 2 },
        Event::Validation(&[("loss", 2.0)]),
        Event::Ended(&[("loss", 2.0)]),
    ] {
        sink.log(at, &event).unwrap();
    }
    assert_eq!(content(dir.path()), "{\"step\":3,\"wall_time\":1.5,\"validation/loss\":2.0}\n");
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn killed_anywhere_it_goes_on_as_if_it_had_never_stopped(
        steps in 1_u64..12,
        cut in 0.0..1.0,
        checkpoint_every in 1_u64..4,
    ) {
        let whole = tempfile::tempdir().unwrap();
        let mut sink = JsonLines::open(whole.path(), Start::Fresh).unwrap();
        for step in 1..=steps {
            log(&mut sink, step, &[("loss", 1.0 / step as f64)]).unwrap();
        }
        let expected = content(whole.path());

        // The kill may come at any byte; the last checkpoint is one whose events are all there.
        let killed = tempfile::tempdir().unwrap();
        let left = &expected[..(expected.len() as f64 * cut) as usize];
        fs::write(killed.path().join("metrics.jsonl"), left).unwrap();
        let reached = left.matches('\n').count() as u64;
        let last_step = reached / checkpoint_every * checkpoint_every;
        let mut sink = JsonLines::open(killed.path(), Start::Resume { last_step, events: 0 }).unwrap();
        for step in last_step + 1..=steps {
            log(&mut sink, step, &[("loss", 1.0 / step as f64)]).unwrap();
        }
        prop_assert_eq!(content(killed.path()), expected);
        prop_assert_eq!(fs::read_dir(killed.path()).unwrap().count(), 1);
    }
}
