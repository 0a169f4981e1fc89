//! `metrics.jsonl`: a JSON object a line.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use rappel_config::Entry;
use rappel_files::{clear_leftovers, replace};
use serde_json::Value;

use crate::log_file::LogFile;
use crate::{Build, Event, Moment, Sink, Start, TelemetryError};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "jsonl",
    summary: "metrics.jsonl: a JSON object a line, with step, wall_time and the scalars",
    reference: "https://jsonlines.org",
    fields: &[],
    build: |_, opening| Ok(Box::new(JsonLines::open(opening.dir, opening.start)?)),
};

const STEP: &str = "step";
const WALL_TIME: &str = "wall_time";

/// Writes `metrics.jsonl`, an object a line: `{"step":1,"wall_time":1.7e9,"train/loss":4.25}`.
///
/// Numbers are written with as many digits as bring back the same float. JSON has no word for
/// those that are not finite: they are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`, which
/// Python's `float` and JavaScript's `Number` read.
#[derive(Debug)]
pub struct JsonLines {
    file: LogFile,
    /// What the file that was there lacks.
    note: Option<String>,
}

impl JsonLines {
    /// Opens `metrics.jsonl` in `dir`.
    ///
    /// For a resumed run, lines of steps after `last_step` are dropped, and so is an unfinished last
    /// line; the rest is put in place by a rename, so that no moment can lose it. A file that is
    /// missing is begun. Where events are missing, [`notes`](Sink::notes) tells.
    ///
    /// # Errors
    /// [`TelemetryError::Exists`] for a fresh run; [`TelemetryError::Corrupt`] for a resumed one with a
    /// whole line that is not an event; the system's refusals.
    pub fn open(dir: &Path, start: Start) -> Result<Self, TelemetryError> {
        let path = dir.join("metrics.jsonl");
        match start {
            Start::Fresh => Ok(Self { file: LogFile::create(&path)?, note: None }),
            Start::Resume { last_step, events } => {
                clear_leftovers(&path)?;
                let kept = forget_after(&path, last_step)?;
                let note = || {
                    format!(
                        "{} has {kept} of the {events} lines up to step {last_step}; the others were lost \
                         before and do not come again",
                        path.display()
                    )
                };
                let note = (kept < events).then(note);
                Ok(Self { file: LogFile::open_end(&path)?, note })
            }
        }
    }
}

impl Sink for JsonLines {
    /// # Errors
    /// [`TelemetryError::Name`] for a scalar named `step` or `wall_time`; the system's refusals.
    fn log(&mut self, at: Moment, event: &Event) -> Result<(), TelemetryError> {
        let Some(values) = event.scalars() else { return Ok(()) };
        let Moment { step, wall_time } = at;
        let mut line = format!("{{\"{STEP}\":{step},\"{WALL_TIME}\":{}", number(wall_time));
        for (name, value) in values {
            if [STEP, WALL_TIME].contains(&name.as_str()) {
                let reason = "the key is taken in metrics.jsonl";
                return Err(TelemetryError::Name { name, reason });
            }
            // Writing to a `String` cannot fail.
            let _ = write!(line, ",{}:{}", Value::from(name), number(value));
        }
        line.push_str("}\n");
        self.file.append(line.as_bytes())
    }

    fn notes(&self) -> Vec<String> {
        self.note.clone().into_iter().collect()
    }

    fn flush(&mut self) -> Result<(), TelemetryError> {
        self.file.sync()
    }
}

fn number(value: f64) -> Value {
    // `Value::from` would write null, which does not tell NaN from infinity.
    match value {
        value if value.is_finite() => Value::from(value),
        value if value.is_nan() => Value::from("NaN"),
        value if value > 0.0 => Value::from("Infinity"),
        _ => Value::from("-Infinity"),
    }
}

/// Drops the lines of later steps; returns how many are left.
fn forget_after(path: &Path, last_step: u64) -> Result<u64, TelemetryError> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(TelemetryError::io("read", path, error)),
    };
    let (mut kept, mut lines) = (Vec::with_capacity(content.len()), 0);
    for (i, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break;
        }
        let step = step_of(line).map_err(|reason| TelemetryError::Corrupt {
            path: path.to_owned(),
            line: i + 1,
            reason,
        })?;
        if step <= last_step {
            kept.extend_from_slice(line);
            lines += 1;
        }
    }
    if kept.len() < content.len() {
        replace(path, |out| out.write_all(&kept))?;
    }
    Ok(lines)
}

fn step_of(line: &[u8]) -> Result<u64, String> {
    let object: Value =
        serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    object.get(STEP).and_then(Value::as_u64).ok_or_else(|| format!("no `{STEP}` that counts steps"))
}
