//! Event files are, byte for byte, those of TensorBoard's own writer, and read in the right order.

use std::path::{Path, PathBuf};

use rappel_telemetry::{
    Event, HParam, Histogram, Moment, PrCurve, Sink, Start, Started, TelemetryError, TensorBoard,
};

/// As in `testdata/generators/tensorboard_events.py`.
const OPENED: f64 = 1_700_000_000.25;
const RESUMED_LAST_STEP: u64 = 300;

type Values<'a> = &'a [(&'a str, f64)];

fn log_events(sink: &mut TensorBoard, after: Option<u64>) {
    let long = "a".repeat(300);
    let events: [(u64, f64, Values); 4] = [
        (0, 1_700_000_001.0, &[("train/loss", 4.25)]),
        (1, 1_700_000_001.5, &[("train/loss", 4.0), ("train/lr", 3e-4), ("train/grad_norm", 0.0)]),
        (300, 1_700_000_002.75, &[("eval/größe", -0.0), (&long, 1e-40)]),
        (
            1 << 40,
            1_700_000_003.0,
            &[("nan", f64::NAN), ("up", f64::INFINITY), ("down", f64::NEG_INFINITY), ("big", 1e39)],
        ),
    ];
    for (step, wall_time, values) in events {
        if after.is_none_or(|last| step > last) {
            sink.log(Moment { step, wall_time }, &Event::Scalars(values)).unwrap();
        }
    }
    sink.flush().unwrap();
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)).unwrap()
}

/// The files of a directory in the order TensorBoard reads them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_bytes_are_those_of_tensorboards_writer() {
    let dir = tempfile::tempdir().unwrap();
    log_events(&mut TensorBoard::open(dir.path(), Start::Fresh, OPENED).unwrap(), None);
    let start = Start::Resume { last_step: RESUMED_LAST_STEP, events: 0 };
    let mut resumed = TensorBoard::open(dir.path(), start, OPENED).unwrap();
    log_events(&mut resumed, Some(RESUMED_LAST_STEP));
    let files = files(dir.path());
    assert_eq!(files.len(), 2);
    assert!(std::fs::read(&files[0]).unwrap() == golden("tensorboard_fresh.tfevents"));
    assert!(std::fs::read(&files[1]).unwrap() == golden("tensorboard_resumed.tfevents"));
}

/// Numbers whose sums are exact, from tiny to large and of both signs.
fn numbers() -> impl Iterator<Item = f32> {
    let number = |i: i32| (i - 40) as f32 * 2_f32.powi(i % 23 - 12);
    (0..200).map(number)
}

/// Probabilities with whether each is of a member.
fn scored() -> impl Iterator<Item = (f64, bool)> {
    (0..50).map(|i| (f64::from(i * i % 64) / 64.0, i % 3 == 0))
}

fn log_rich(sink: &mut TensorBoard) {
    let hparams = [
        ("optimizer.lr".to_owned(), HParam::Number(3e-4)),
        ("optimizer.name".to_owned(), HParam::Text("adamw".to_owned())),
        ("optimizer.nesterov".to_owned(), HParam::Bool(true)),
    ];
    let mut weights = Histogram::default();
    weights.extend(numbers());
    let mut one = Histogram::default();
    one.extend([0.25]);
    let started = Started {
        dir: Path::new("runs/a"),
        steps: 9,
        parameters: 3,
        data: "3 rows",
        bf16_kernel: None,
        metrics: &["loss", "accuracy"],
    };
    let events = [
        Event::Started(started),
        Event::HParams(&hparams),
        Event::Validation(&[("loss", 1.5), ("accuracy", 0.5)]),
        Event::Histograms(&[("weights/a".to_owned(), weights), ("gradients/a".to_owned(), one)]),
        Event::Text { name: "sample", markdown: "*größe*\n\n    code" },
        Event::Image { name: "learning rate", size: [2, 1], png: b"not really a png" },
        Event::PrCurves(&[("validation/a".to_owned(), PrCurve::new(scored()))]),
        Event::Ended(&[("loss", 1.25)]),
        // Not for TensorBoard.
        Event::Stage("reading"),
        Event::Download { file: "config.json", bytes: 1, total: 2 },
        Event::Note("careful"),
        Event::Saved(Path::new("runs/a/checkpoints/step-9")),
    ];
    for (i, event) in events.iter().enumerate() {
        sink.log(Moment { step: i as u64, wall_time: OPENED + i as f64 }, event).unwrap();
    }
}

#[test]
fn every_kind_of_event_has_the_bytes_of_the_references() {
    let dir = tempfile::tempdir().unwrap();
    log_rich(&mut TensorBoard::open(dir.path(), Start::Fresh, OPENED).unwrap());
    let ours = std::fs::read(&files(dir.path())[0]).unwrap();
    let theirs = golden("tensorboard_rich.tfevents");
    let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!((differs, ours.len()), (None, theirs.len()));
}

#[test]
fn a_resumed_file_is_read_after_all_others_even_if_the_clock_went_back() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::Resume { last_step: 5, events: 0 };
    for (i, wall_time) in [OPENED, OPENED, OPENED - 1e6, OPENED + 1e6].into_iter().enumerate() {
        drop(TensorBoard::open(dir.path(), start, wall_time).unwrap());
        // The newest is the last in the order of names: it alone has this time of opening.
        let files = files(dir.path());
        assert_eq!(files.len(), i + 1);
        let newest = std::fs::read(&files[i]).unwrap();
        assert_eq!(newest[13..21], wall_time.to_le_bytes());
    }
    let name = files(dir.path())[0].file_name().unwrap().to_str().unwrap().to_owned();
    let parts: Vec<_> = name.strip_prefix("events.out.tfevents.").unwrap().split('.').collect();
    assert_eq!((parts[0], parts[3]), ("1700000000", "0"));
    assert_eq!(parts[2], std::process::id().to_string());
    assert!(!parts[1].is_empty() && parts.len() == 4);
}

#[test]
fn a_fresh_run_does_not_mix_with_another() {
    let dir = tempfile::tempdir().unwrap();
    drop(TensorBoard::open(dir.path(), Start::Fresh, OPENED).unwrap());
    let error = TensorBoard::open(dir.path(), Start::Fresh, OPENED + 9.0).unwrap_err();
    assert!(matches!(&error, TelemetryError::Exists { path } if *path == files(dir.path())[0]));
    assert!(error.to_string().contains("give another directory, or resume that run"), "{error}");
    assert_eq!(files(dir.path()).len(), 1);
}
