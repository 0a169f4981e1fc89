//! TensorBoard event files.

use std::path::Path;

use rappel_config::{Entry, OptionSet, Options};
use rappel_files::host;

use crate::log_file::LogFile;
use crate::plugins::{layout, session_end, session_start};
use crate::record::{Event as Message, SessionLog, SessionStatus, SourceMetadata, What, framed};
use crate::summary::{Summary, Value};
use crate::{Build, Detail, Event, Moment, Sink, Start, Started, TelemetryError};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "tensorboard",
    summary: "event files for `tensorboard --logdir`",
    reference: "https://www.tensorflow.org/tensorboard; the bytes of TensorBoard's own writer",
    fields: TensorBoardOptions::FIELDS,
    build: |options, opening| {
        let options = TensorBoardOptions::from_options(options)?;
        Ok(Box::new(
            TensorBoard::open(opening.dir, opening.start, opening.wall_time)?.with(options),
        ))
    },
};

/// The options of the sink.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct TensorBoardOptions {
    /// steps between histograms of weights, gradients and updates; the last step has them, too. 0: none
    #[option(default = 500, aka("histogram_freq", "log_freq"))]
    pub histogram_every: u64,
    /// steps between pictures and precision-recall curves of validations; the last one has them, too. 0: no
    /// pictures
    #[option(default = 1000, aka("image_freq", "images_every"))]
    pub image_every: u64,
}

const PREFIX: &str = "events.out.tfevents.";

/// Writes an event file, `events.out.tfevents.<seconds>.<host>.<process>.0`.
///
/// | event | in TensorBoard |
/// |---|---|
/// | scalars, a validation | scalars; losses of training and validation in one chart under custom scalars |
/// | histograms | histograms and distributions |
/// | a text, an image | text, images |
/// | precision-recall curves | PR curves |
/// | the options, the end | HPARAMS: the options, and as metrics all scalars; those of the model that is kept are named `final/` |
///
/// Scalars are `simple_value`s, as PyTorch's `SummaryWriter` writes them: f32, so a value beyond
/// f32's range reads as infinite. The values of one event share its record.
#[derive(Debug)]
pub struct TensorBoard {
    file: LogFile,
    options: TensorBoardOptions,
}

impl TensorBoard {
    /// Opens a new event file in `dir`; `wall_time` is now, in seconds since 1970-01-01 UTC.
    ///
    /// A resumed run adds a file beside those before. It begins with a `SessionLog` of status `START`
    /// and the first step to come, at which TensorBoard purges the events from that step on that older
    /// files hold, just as for `SummaryWriter(purge_step=...)`. TensorBoard reads files in the
    /// order of their names, as text, so the digits in the name are put after those of every older file.
    ///
    /// # Errors
    /// [`TelemetryError::Exists`] for a fresh run in a directory that holds an event file; the
    /// system's refusals.
    pub fn open(dir: &Path, start: Start, wall_time: f64) -> Result<Self, TelemetryError> {
        let mut seconds = format!("{:010}", wall_time as u64);
        if let Some(newest) = newest(dir)? {
            if matches!(start, Start::Fresh) {
                let name = format!("{PREFIX}{newest}");
                return Err(TelemetryError::Exists { path: dir.join(name) });
            }
            seconds = after(&newest, seconds);
        }
        let name = format!("{PREFIX}{seconds}.{}.{}.0", host(), std::process::id());
        let mut file = LogFile::create(&dir.join(name))?;
        file.append(&framed(&Message {
            wall_time,
            what: Some(What::FileVersion("brain.Event:2".to_owned())),
            source_metadata: Some(SourceMetadata { writer: "rappel".to_owned() }),
            ..Message::default()
        }))?;
        if let Start::Resume { last_step, .. } = start {
            let status = SessionStatus::Start.into();
            file.append(&framed(&Message {
                wall_time,
                step: last_step.saturating_add(1).cast_signed(),
                what: Some(What::SessionLog(SessionLog { status })),
                ..Message::default()
            }))?;
        }
        Ok(Self { file, options: TensorBoardOptions::default() })
    }

    /// The same sink with other options.
    #[must_use]
    pub fn with(self, options: TensorBoardOptions) -> Self {
        Self { options, ..self }
    }
}

impl Sink for TensorBoard {
    fn log(
        &mut self,
        Moment { step, wall_time }: Moment,
        event: &Event,
    ) -> Result<(), TelemetryError> {
        let value = values(event, wall_time);
        if value.is_empty() {
            return Ok(());
        }
        self.file.append(&framed(&Message {
            wall_time,
            step: step.cast_signed(),
            what: Some(What::Summary(Summary { value })),
            ..Message::default()
        }))
    }

    fn wants(&self, detail: Detail, since: u64, step: u64, is_last: bool) -> bool {
        let every = match detail {
            Detail::Histograms => self.options.histogram_every,
            Detail::Pictures => self.options.image_every,
        };
        every > 0 && (is_last || step / every > since / every)
    }

    fn flush(&mut self) -> Result<(), TelemetryError> {
        self.file.sync()
    }
}

/// What TensorBoard shows of an event; nothing of most.
fn values(event: &Event, wall_time: f64) -> Vec<Value> {
    let scalars = |values: Vec<(String, f64)>| {
        values.into_iter().map(|(name, value)| Value::scalar(name, value)).collect()
    };
    if let Some(values) = event.scalars() {
        return scalars(values);
    }
    match event {
        Event::Started(started) => vec![charts(started)],
        Event::HParams(options) => vec![session_start(options, wall_time)],
        Event::Histograms(all) => all.iter().map(|(name, of)| Value::histogram(name, of)).collect(),
        Event::PrCurves(all) => {
            all.iter().map(|(name, curve)| Value::pr_curve(name, curve)).collect()
        }
        Event::Text { name, markdown } => vec![Value::text(name, markdown)],
        Event::Image { name, size, png } => vec![Value::image(name, *size, png)],
        Event::Ended(metrics) => {
            let named = metrics.iter().map(|(name, value)| (format!("final/{name}"), *value));
            let mut values: Vec<Value> = scalars(named.collect());
            values.push(session_end(wall_time));
            values
        }
        _ => Vec::new(),
    }
}

/// The layout of custom scalars: the losses in one chart, then each other metric.
fn charts(started: &Started) -> Value {
    // Tags are regular expressions, matched from their beginning.
    let tag = |name: &str| format!("{name}$");
    let validation = |name: &str| tag(&format!("validation/{name}"));
    let mut losses = vec![tag("train/loss")];
    losses.extend(started.metrics.first().map(|loss| validation(loss)));
    let others = started.metrics.iter().skip(1);
    let others = others.map(|name| ((*name).to_owned(), vec![validation(name)]));
    let charts = std::iter::once(("loss".to_owned(), losses)).chain(others).collect();
    layout(&[("training and validation", charts)])
}

/// What follows the prefix in the name of the event file in `dir` that TensorBoard reads last.
fn newest(dir: &Path) -> Result<Option<String>, TelemetryError> {
    let refused = |error| TelemetryError::io("list", dir, error);
    let mut newest = None;
    for file in std::fs::read_dir(dir).map_err(refused)? {
        let Ok(name) = file.map_err(refused)?.file_name().into_string() else { continue };
        let rest = name.strip_prefix(PREFIX).filter(|rest| !digits(rest).is_empty());
        newest = newest.max(rest.map(str::to_owned));
    }
    Ok(newest)
}

/// The digits that a text begins with.
fn digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

/// `seconds`, or where that is not after `newest` as text, the next digits that are. Seconds have one
/// digit more from the year 2286 on, and then come before older ones.
fn after(newest: &str, seconds: String) -> String {
    let last = digits(newest);
    if seconds.as_str() > last {
        return seconds;
    }
    match last.rfind(|digit| digit != '9') {
        Some(at) => {
            let next = char::from(last.as_bytes()[at] + 1);
            let zeros = "0".repeat(last.len() - at - 1);
            format!("{}{next}{zeros}", &last[..at])
        }
        // A digit more is after the point that follows the last one.
        None => format!("{last}0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_rise_as_text_whatever_the_clock_says() {
        for (newest, seconds, expected) in [
            ("1700000000.h.1.0", "1700000001", "1700000001"),
            ("1700000000.h.1.0", "1700000000", "1700000001"),
            ("1700000009.h.1.0", "1600000000", "1700000010"),
            // Over the year 2286.
            ("9999999990.h.1.0", "10000000005", "9999999991"),
            ("9999999999.h.1.0", "10000000005", "99999999990"),
            ("99999999990.h.1.0", "10000000005", "99999999991"),
            ("99999999999.h.1.0", "10000000005", "999999999990"),
            ("10000000005.h.1.0", "10000000006", "10000000006"),
            ("18446744073709551615.h", "1700000000", "18446744073709551616"),
            ("1700000000.h.1.0", "17000000000", "17000000000"),
        ] {
            let next = after(newest, seconds.to_owned());
            assert_eq!(next, expected, "{newest}");
            assert!(format!("{next}.a.1.0").as_str() > newest, "{newest}: {next}");
        }
    }
}
