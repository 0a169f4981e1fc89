//! From the sections of a config.

use rappel_config::{ConfigError, OptionSet, Options, resolve};
use rappel_schedule::{Horizon, Schedule};
use toml::{Table, Value};

use super::group::{COMMON, ParamGroup};
use super::options::OptimizerConfig;
use super::registry::{OPTIMIZERS, Section};
use crate::kernels::RuleEntry;

impl OptimizerConfig {
    /// The config that a resolved `[optimizer]` section describes, with the run's `schedule` as
    /// factor of every learning rate.
    ///
    /// # Errors
    /// What is wrong with an option, alone or beside others, in the section or in a group.
    ///
    /// ```
    /// use rappel_optim::{OPTIMIZERS, OptimizerConfig};
    /// use rappel_config::Family;
    /// use rappel_schedule::{Horizon, constant};
    /// let section = "name = 'adamw'\nlr = 1e-3\ngroups = [{ params = ['*.bias'], weight_decay = 0 }]";
    /// let given = toml::from_str(section).unwrap();
    /// let options = OPTIMIZERS.resolve_options("optimizer", &given)?;
    /// let config = OptimizerConfig::from_section(&options, Horizon { steps: 100 }, constant(1.0))?;
    /// # Ok::<(), rappel_config::ConfigError>(())
    /// ```
    pub fn from_section(
        options: &Options,
        horizon: Horizon,
        schedule: impl Into<Schedule>,
    ) -> Result<Self, ConfigError> {
        let entry = OPTIMIZERS.lookup(options.name())?;
        let group = ParamGroup::from_options(entry, options, horizon)?;
        let mut config = Self::new(group).schedule(schedule);
        for (i, given) in groups(options)?.iter().enumerate() {
            let path = format!("{}.groups[{i}]", options.path());
            config.groups.push(Self::group_from(&path, given, options, horizon)?);
        }
        config.check().map_err(|error| options.invalid(error.option, error.reason))?;
        Ok(config)
    }

    /// The config of a resolved `[optimizer]` section under a resolved `[schedule]`: a factor of each
    /// group's learning rate, which its options that are learning rates themselves are compared with.
    ///
    /// # Errors
    /// As [`from_section`](OptimizerConfig::from_section), and what is wrong with the schedule.
    pub fn from_sections(
        options: &Options,
        schedule: &Options,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::from_section(options, horizon, 1.0)?;
        let groups = config.groups.iter_mut().map(|(_, group)| group);
        for group in std::iter::once(&mut config.default).chain(groups) {
            group.schedule = Schedule::from_section(schedule, horizon, group.first_lr())?;
        }
        Ok(config)
    }

    /// Adds a group behind the others for the parameters whose name one of the glob `patterns` matches: as the section
    /// has it, with a learning rate `factor` times as large.
    ///
    /// # Errors
    /// As [`from_sections`](OptimizerConfig::from_sections).
    pub fn with_lr_factor(
        mut self,
        patterns: impl IntoIterator<Item = String>,
        factor: f64,
        options: &Options,
        schedule: &Options,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let entry = OPTIMIZERS.lookup(options.name())?;
        let mut group = ParamGroup::from_options(entry, options, horizon)?;
        group.schedule = Schedule::from_section(schedule, horizon, group.first_lr())? * factor;
        self.groups.push((patterns.into_iter().collect(), group));
        self.check().map_err(|error| options.invalid(error.option, error.reason))?;
        Ok(self)
    }

    /// The patterns and the group of a config's group, in a section with these `options`.
    fn group_from(
        path: &str,
        given: &Table,
        options: &Options,
        horizon: Horizon,
    ) -> Result<(Vec<String>, ParamGroup), ConfigError> {
        let (entry, options) = group_options(path, given, options)?;
        let patterns = GroupKeys::from_options(&options)?.params;
        if patterns.is_empty() {
            let reason = "is an empty list, so that nothing belongs to this group; name its parameters, \
                          or take the group out";
            return Err(options.invalid("params", reason));
        }
        Ok((patterns, ParamGroup::from_options(entry, &options, horizon)?))
    }
}

/// The tables of a section's `groups`.
pub(super) fn groups(options: &Options) -> Result<Vec<Table>, ConfigError> {
    let wrong = || {
        let field = Section::FIELDS.iter().find(|field| field.name == "groups");
        options.invalid("groups", format!("expected a {}", field.map_or("list", |field| field.doc)))
    };
    match options.get("groups")? {
        None => Ok(Vec::new()),
        Some(Value::Array(groups)) => {
            let table = |given: Value| match given {
                Value::Table(table) => Ok(table),
                _ => Err(wrong()),
            };
            groups.into_iter().map(table).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// The optimizer of a config's group, in a section with these `options`, and its own options in full.
pub(super) fn group_options(
    path: &str,
    given: &Table,
    options: &Options,
) -> Result<(&'static RuleEntry, Options), ConfigError> {
    let named = given.get(NAME).map(|name| (NAME.to_owned(), name.clone()));
    let named = GroupName::from_toml(path, &named.into_iter().collect())?.name;
    let name = named.as_deref().unwrap_or(options.name());
    let entry = OPTIMIZERS.lookup_at(&format!("{path}.name"), name)?;
    // What the group does not say is as in the section; of another optimizer, only what all have.
    let mut full = options.to_toml();
    let same = name == options.name();
    full.retain(|key, _| {
        key != "groups" && key != "name" && (same || COMMON.iter().any(|field| field.name == key))
    });
    full.extend(given.clone());
    let fields = [GroupKeys::FIELDS, entry.fields, COMMON].concat();
    Ok((entry, resolve(path, &fields, &full)?))
}

const NAME: &str = "name";

/// What a group has beside the options of its optimizer.
#[derive(Debug, Options)]
struct GroupKeys {
    /// globs over whole parameter names, such as *.bias
    params: Vec<String>,
    #[option(flatten)]
    optimizer: GroupName,
}

/// See [`GroupKeys`].
#[derive(Debug, Options)]
struct GroupName {
    /// another optimizer for these parameters
    name: Option<String>,
}
