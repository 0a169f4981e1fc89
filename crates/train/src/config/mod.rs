//! What a run is to do: parsed, completed, checked.

mod changes;
mod fields;
mod order;
mod overrides;
mod places;
mod train;

use rappel_config::{ConfigError, OptionSet, Options, map_paths, resolve};
use rappel_regularize::set_forms;
use rappel_schedule::Feedback;
use rappel_tensor::{DType, Device, DeviceError, Params};
use toml::{Table, Value};

use crate::tasks::{OWN, TaskEntry, complete, task};
use crate::{Observer, TrainError};

pub use fields::{CheckpointOptions, RunOptions, TelemetryOptions, fields};
pub(crate) use train::clipping;
pub use train::{BatchSizeConfig, TrainOptions};

/// The key that picks the task, and the task where a config does not give it.
const TASK: &str = "task";
const DEFAULT_TASK: &str = "language_model";

/// A config with every default filled in, each value checked by itself.
///
/// ```
/// use rappel_train::Config;
/// let text = "
///     data.files = ['README.md']
///     model.name = 'gpt2'
///     optimizer = { name = 'adamw', lr = 1e-3 }
///     train.steps = 100
/// ";
/// let config = Config::parse(text, &["train.batch_size=4"])?;
/// assert_eq!(config.run().train.steps, Some(100));
/// assert_eq!(Config::parse(&config.to_toml(), &[])?, config);
///
/// let wrong = Config::parse(&text.replace("steps", "step"), &[]).unwrap_err();
/// assert!(wrong.to_string().contains("`train.step`: unknown; did you mean `steps`?"));
/// # Ok::<(), rappel_train::TrainError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    options: Options,
    run: RunOptions,
}

impl Config {
    /// Parses a config, after putting the settings `key=value` into it: dotted keys, TOML values,
    /// bare words for texts.
    ///
    /// # Errors
    /// [`TrainError::Toml`] and [`TrainError::Config`]; a wrong key comes with the nearest one.
    pub fn parse(text: &str, settings: &[&str]) -> Result<Self, TrainError> {
        Self::parse_noting(text, settings, &mut ())
    }

    /// As [`parse`](Self::parse); what the settings did beyond what they say is a note: one that gives a
    /// section another name, such as `schedule.name=rex`, drops the keys that the new one does not have.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    ///
    /// ```
    /// use rappel_train::{Config, Notes};
    /// let text = "
    ///     data.files = 'README.md'
    ///     model.name = 'gpt2'
    ///     optimizer = { name = 'adamw', lr = 1e-3 }
    ///     schedule = { name = 'cosine', warmup_steps = 10 }
    ///     train.steps = 100
    /// ";
    /// let mut notes = Notes::default();
    /// let settings = ["schedule.name=constant"];
    /// Config::parse_noting(text, &settings, &mut notes)?;
    /// assert_eq!(
    ///     notes.0,
    ///     ["schedule.name = \"constant\" drops what the config gives to `cosine` alone: warmup_steps"]
    /// );
    /// # Ok::<(), rappel_train::TrainError>(())
    /// ```
    pub fn parse_noting(
        text: &str,
        settings: &[&str],
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        Self::from_table(&Self::table(text, settings, observer)?)
    }

    /// As [`parse`](Self::parse), for a program's own learner: the sections of tasks are not there, but for
    /// the options of `data` that say how samples are drawn. See [`Run::own`](crate::Run::own).
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn own(text: &str, settings: &[&str]) -> Result<Self, TrainError> {
        let mut table = Self::table(text, settings, &mut ())?;
        table.insert(TASK.to_owned(), OWN.name.into());
        Self::from_table(&table)
    }

    /// The TOML of a config with settings put into it, nothing checked.
    pub(crate) fn table(
        text: &str,
        settings: &[&str],
        observer: &mut dyn Observer,
    ) -> Result<Table, TrainError> {
        let mut table: Table = toml::from_str(text).map_err(|error| TrainError::Toml {
            origin: "config".to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        overrides::apply_all(&mut table, settings, observer)?;
        Ok(table)
    }

    /// Completes and checks a config.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_table(given: &Table) -> Result<Self, TrainError> {
        // A task that is not text is reported like any other value of the wrong type.
        let name = given.get(TASK).and_then(Value::as_str).unwrap_or(DEFAULT_TASK);
        let fields = fields(task(TASK, name)?);
        let mut given = given.clone();
        complete(name, &mut given);
        let options = resolve("", &fields, &given)
            .map_err(|error| places::suggest_elsewhere(error, &fields))?;
        Ok(Self { run: RunOptions::from_options(&options)?, options })
    }

    /// The config as TOML, every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.options.to_toml()).expect("TOML with texts for keys")
    }

    /// The same config with another value for one key of a section.
    pub(crate) fn with(
        &self,
        section: &str,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<Self, TrainError> {
        let mut table = self.options.to_toml();
        if let Some(Value::Table(section)) = table.get_mut(section) {
            section.insert(key.to_owned(), value.into());
        }
        Self::from_table(&table)
    }

    /// The same config with other values for some keys of no section.
    pub(crate) fn with_keys(&self, values: &[(&str, String)]) -> Result<Self, TrainError> {
        let mut table = self.options.to_toml();
        table.extend(values.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())));
        Self::from_table(&table)
    }

    /// The same config with paths that hold from any current folder, so that a run can be resumed
    /// from anywhere.
    pub(crate) fn with_absolute_paths(&self) -> Result<Self, TrainError> {
        let absolute = |path: &str| -> Result<String, TrainError> {
            let path =
                std::path::absolute(path).map_err(TrainError::io("resolve", path.as_ref()))?;
            path.into_os_string()
                .into_string()
                .map_err(|path| TrainError::Name { path: path.into() })
        };
        let mut table = self.options.to_toml();
        map_paths(&fields(self.task()), &mut table, &absolute)?;
        Self::from_table(&table)
    }

    /// Whether steps depend on what validations found.
    pub(crate) fn follows_validations(&self) -> bool {
        let feedback = Feedback::from_section(&self.run.schedule);
        self.run.early_stopping.is_some()
            || feedback.is_ok_and(|feedback| !feedback.watches().is_empty())
    }

    /// What is learned.
    pub(crate) fn task(&self) -> &'static TaskEntry {
        task(TASK, &self.run.task).expect("a task: checked when parsed")
    }

    /// What the config says, whatever is learned.
    pub fn run(&self) -> &RunOptions {
        &self.run
    }

    /// All options, those of the task included.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The options of a section that is always there, such as `train`.
    ///
    /// # Panics
    /// If there is no such section.
    #[track_caller]
    pub fn section(&self, name: &str) -> &Options {
        match self.options.table(name) {
            Some(section) => section,
            None => panic!("section `{name}` is not set; it is declared optional"),
        }
    }

    /// An empty set of parameters of `dtype`, initialised from the run's seed, for a task to build its
    /// model in: weights have the forms that regularizers give them.
    ///
    /// # Errors
    /// A pattern that is none.
    pub(crate) fn params(&self, dtype: DType) -> Result<Params, TrainError> {
        let mut params = Params::with_dtype(self.seed(), dtype);
        set_forms(&self.run.regularize, &mut params)?;
        Ok(params.on(self.device()?.0))
    }

    /// Where the run's parameters lie, ready for use; and where a GPU was looked for and does not work, why not.
    pub(crate) fn device(&self) -> Result<(Device, Option<DeviceError>), TrainError> {
        let wrong = |error: DeviceError| {
            TrainError::from(ConfigError::invalid("device", error.to_string()))
        };
        match self.run.device.as_str() {
            "auto" => Ok(Device::auto()),
            name => {
                let device: Device = name.parse().map_err(wrong)?;
                device.open().map_err(wrong)?;
                Ok((device, None))
            }
        }
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.run.seed
    }
}
