//! Opening the sinks a config names.

use std::io::Write;
use std::path::Path;

use rappel_registry::{ConfigError, Options};

use crate::{Event, SINKS, Sink, TelemetryError};

/// Whether a run begins or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It begins: files of another run are an error.
    Fresh,
    /// It goes on from a checkpoint: events of later steps are forgotten, for they come again.
    Resume {
        /// The last step whose events stay. All of them must have been logged before the checkpoint
        /// was written, for they do not come again.
        last_step: u64,
        /// How many events were logged up to it, so that a sink can tell what is missing.
        events: u64,
    },
}

/// What a sink is opened with.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The run's directory, which exists.
    pub dir: &'a Path,
    /// Whether the run begins or goes on.
    pub start: Start,
    /// Now, in seconds since 1970-01-01 UTC.
    pub wall_time: f64,
    /// Gives what console sinks write to: this library never prints by itself.
    pub console: &'a dyn Fn() -> Box<dyn Write + Send>,
}

/// How an entry of [`SINKS`] is opened.
pub type Build = fn(&Options, &Opening) -> Result<Box<dyn Sink>, TelemetryError>;

/// Several sinks as one.
pub struct Sinks(Vec<Box<dyn Sink>>);

impl Sinks {
    /// The sinks as one; with none, events go nowhere.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self(sinks)
    }
}

/// Each sink takes every event, even where another sink failed; the first error is returned.
impl Sink for Sinks {
    fn log(&mut self, event: &Event) -> Result<(), TelemetryError> {
        first_error(self.0.iter_mut().map(|sink| sink.log(event)))
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

/// Where a config gives the names.
const KEY: &str = "telemetry.sinks";

/// Opens the sinks with these names of [`SINKS`].
///
/// # Errors
/// [`ConfigError::UnknownName`]; [`ConfigError::Invalid`] for a name given twice; for a fresh run
/// [`TelemetryError::Exists`]; for a resumed one [`TelemetryError::Corrupt`]; the system's refusals.
/// All names are checked before the first file is touched.
pub fn open(names: &[&str], opening: &Opening) -> Result<Sinks, TelemetryError> {
    let mut builds = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            let reason = format!("`{name}` is given twice; give it once");
            return Err(ConfigError::Invalid { key: KEY.to_owned(), reason }.into());
        }
        let entry = SINKS.lookup_at(KEY, name)?;
        let options = rappel_registry::resolve(entry.name, entry.fields, &toml::Table::new())?;
        builds.push((entry.build, options));
    }
    let open = |(build, options): (Build, Options)| build(&options, opening);
    builds.into_iter().map(open).collect::<Result<_, _>>().map(Sinks)
}
