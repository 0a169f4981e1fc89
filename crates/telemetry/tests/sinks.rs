//! The registry of sinks, and several sinks as one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rappel_config::{ConfigError, toml};
use rappel_telemetry::{
    Detail, Event, JsonLines, Moment, Opening, SINKS, Sink, Sinks, Start, TelemetryError, open,
};
use rappel_testkit::{assert_folder_matches, assert_sound};

/// A writer whose text can be looked at; it refuses once it holds `room` bytes.
#[derive(Clone)]
struct Paper {
    text: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.text.lock().unwrap();
        if text.len() + bytes.len() > self.room {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn paper(room: usize) -> Paper {
    Paper { text: Arc::default(), room }
}

fn open_in(dir: &Path, names: &[&str], paper: &Paper) -> Result<Sinks, TelemetryError> {
    let console = || Box::new(paper.clone()) as Box<dyn Write + Send>;
    let section = |name: &&str| {
        let table = toml::from_str(&format!("name = '{name}'")).unwrap();
        Ok(SINKS.resolve("telemetry.sinks", &table)?.1)
    };
    let sections = names.iter().map(section).collect::<Result<Vec<_>, ConfigError>>()?;
    open(&sections, &Opening { dir, start: Start::Fresh, wall_time: 1.7e9, console: &console })
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

const AT: Moment = Moment { step: 10, wall_time: 1.0 };
const EVENT: Event = Event::Scalars(&[("train/loss", 4.25), ("lr", 3e-4)]);

#[test]
fn files_and_registry_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sinks");
    assert_folder_matches(&folder, &SINKS.names());
    assert_sound(&SINKS);
}

#[test]
fn every_sink_opens_by_its_name_and_takes_events() {
    let dir = tempfile::tempdir().unwrap();
    let paper = paper(1000);
    let mut sinks = open_in(dir.path(), &SINKS.names(), &paper).unwrap();
    sinks.log(AT, &EVENT).unwrap();
    sinks.flush().unwrap();
    assert_eq!(*paper.text.lock().unwrap(), b"step 10  train/loss 4.2500  lr 3.000e-4\n");
    assert_eq!(entries(dir.path()), 2);
}

#[test]
fn a_console_that_goes_away_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut sinks = open_in(dir.path(), &["console", "jsonl"], &paper(0)).unwrap();
    sinks.log(AT, &EVENT).unwrap();
    sinks.flush().unwrap();
    let lines = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 1);
}

/// A sink that takes nothing.
struct Refusing;

impl Sink for Refusing {
    fn log(&mut self, _: Moment, _: &Event) -> Result<(), TelemetryError> {
        Err(TelemetryError::Name { name: "x".to_owned(), reason: "it is refused" })
    }

    fn flush(&mut self) -> Result<(), TelemetryError> {
        Ok(())
    }
}

#[test]
fn a_failing_sink_does_not_keep_the_others_from_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let lines = JsonLines::open(dir.path(), Start::Fresh).unwrap();
    let mut sinks = Sinks::new(vec![Box::new(Refusing), Box::new(lines)]);
    let error = sinks.log(AT, &EVENT).unwrap_err();
    assert_eq!(error.to_string(), "a scalar cannot be named `x`: it is refused");
    let lines = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines, "{\"step\":10,\"wall_time\":1.0,\"train/loss\":4.25,\"lr\":0.0003}\n");
}

#[test]
fn names_are_checked_before_any_file_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    for (names, expected) in [
        (
            ["jsonl", "tensorbord"],
            "config key `telemetry.sinks.name`: no sink is named `tensorbord`; did you mean `tensorboard`? \
             (known: console, jsonl, tensorboard)",
        ),
        (["jsonl", "jsonl"], "config key `telemetry.sinks`: `jsonl` is given twice; give it once"),
    ] {
        let error = open_in(dir.path(), &names, &paper(0)).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn details_are_wanted_every_so_many_steps_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let sinks = open_in(dir.path(), &["console", "tensorboard"], &paper(0)).unwrap();
    let wanted = |detail, every: u64, last: u64| -> Vec<u64> {
        let steps = (1..=last).filter(|step| step.is_multiple_of(every) || *step == last);
        let mut since = 0;
        let wants = |step: &u64| {
            let before = std::mem::replace(&mut since, *step);
            sinks.wants(detail, before, *step, *step == last)
        };
        steps.filter(wants).collect()
    };
    assert_eq!(wanted(Detail::Histograms, 1, 1250), [500, 1000, 1250]);
    // The first validation from every thousandth step on.
    assert_eq!(wanted(Detail::Pictures, 300, 2500), [1200, 2100, 2500]);
    let dir = tempfile::tempdir().unwrap();
    let lines = open_in(dir.path(), &["console", "jsonl"], &paper(0)).unwrap();
    assert!(!lines.wants(Detail::Histograms, 499, 500, true));
}
