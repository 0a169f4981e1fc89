//! Opening the sinks a config names.

use std::fmt;
use std::io::Write;
use std::path::Path;

use rappel_config::{ConfigError, Options};

use crate::{Detail, Event, Moment, SINKS, Sink, TelemetryError};

/// Whether a run begins or continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It begins: files of another run are an error.
    Fresh,
    /// It continues from a checkpoint: events of later steps are forgotten, for they come again.
    Resume {
        /// The last step whose events stay. All of them must have been logged before the checkpoint
        /// was written, for they do not come again.
        last_step: u64,
        /// How many events were logged up to it, so that a sink knows what is missing.
        events: u64,
    },
}

/// What a sink is opened with.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The run's directory, which exists.
    pub dir: &'a Path,
    /// Whether the run begins or continues.
    pub start: Start,
    /// Now, in seconds since 1970-01-01 UTC.
    pub wall_time: f64,
    /// Gives what console sinks write to: this library never prints by itself.
    pub console: &'a dyn Fn() -> Box<dyn Write + Send>,
}

impl fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut debug = f.debug_struct("Opening");
        debug
            .field("dir", &self.dir)
            .field("start", &self.start)
            .field("wall_time", &self.wall_time);
        debug.finish_non_exhaustive()
    }
}

/// How an entry of [`SINKS`] is opened.
pub type Build = fn(&Options, &Opening) -> Result<Box<dyn Sink + Send>, TelemetryError>;

/// Several sinks as one.
pub struct Sinks(Vec<Box<dyn Sink + Send>>);

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} sinks", self.0.len())
    }
}

impl Sinks {
    /// The sinks as one; with none, events go nowhere.
    pub fn new(sinks: Vec<Box<dyn Sink + Send>>) -> Self {
        Self(sinks)
    }
}

/// Each sink takes every event, even where another sink failed; the first error is returned.
impl Sink for Sinks {
    fn log(&mut self, at: Moment, event: &Event) -> Result<(), TelemetryError> {
        first_error(self.0.iter_mut().map(|sink| sink.log(at, event)))
    }

    fn wants(&self, detail: Detail, since: u64, step: u64, is_last: bool) -> bool {
        self.0.iter().any(|sink| sink.wants(detail, since, step, is_last))
    }

    fn notes(&self) -> Vec<String> {
        self.0.iter().flat_map(|sink| sink.notes()).collect()
    }

    fn flush(&mut self) -> Result<(), TelemetryError> {
        first_error(self.0.iter_mut().map(|sink| sink.flush()))
    }
}

/// Goes through all results, for each is a sink that must be told, and returns the first error.
fn first_error(
    results: impl Iterator<Item = Result<(), TelemetryError>>,
) -> Result<(), TelemetryError> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

/// Where a config gives the sinks.
const KEY: &str = "telemetry.sinks";

/// Checks that no two sections are of the same sink: they would write the same file.
///
/// # Errors
/// The reason, which names the sink.
pub fn check_sections(sections: &[Options]) -> Result<(), String> {
    for (i, section) in sections.iter().enumerate() {
        let name = section.name();
        if sections[..i].iter().any(|other| other.name() == name) {
            return Err(format!("`{name}` is given twice; give it once"));
        }
    }
    Ok(())
}

/// Whether a sink of these sections will want histograms at any step: what they are computed from takes memory.
pub fn draws_histograms(sections: &[Options]) -> bool {
    const EVERY: &str = "histogram_every";
    let every = |section: &Options| section.get::<u64>(EVERY).ok().flatten().unwrap_or(0);
    sections.iter().any(|section| section.declares(EVERY) && every(section) > 0)
}

/// Opens the sinks of resolved sections of [`SINKS`].
///
/// # Errors
/// [`ConfigError::Invalid`] for a sink given twice; for a fresh run
/// [`TelemetryError::Exists`]; for a resumed one [`TelemetryError::Corrupt`]; the system's refusals.
/// All sections are checked before the first file is touched.
pub fn open(sections: &[Options], opening: &Opening) -> Result<Sinks, TelemetryError> {
    let twice = |reason| ConfigError::Invalid { key: KEY.to_owned(), reason };
    check_sections(sections).map_err(twice)?;
    let mut sinks = Vec::with_capacity(sections.len());
    for section in sections {
        sinks.push((SINKS.lookup_at(KEY, section.name())?.build)(section, opening)?);
    }
    Ok(Sinks(sinks))
}
