//! What a config's optimizer varies over the steps.

use rappel_registry::{ConfigError, Field, Kind, Options, Scheduled};
use rappel_schedule::{Horizon, Schedule, constant};
use toml::Value;

use super::group::COMMON;
use super::registry::OPTIMIZERS;
use super::sections::{group_options, groups};
use crate::options::item;

/// A hyperparameter over the steps of a run.
#[derive(Debug, Clone)]
pub struct ScheduledValue {
    /// Where it stands in the optimizer's section: `lr`, `betas[0]`, `groups[1].weight_decay`.
    pub name: String,
    /// Its values; of learning rates, with the run's schedule.
    pub curve: Schedule,
}

/// Every learning rate of a resolved `[optimizer]` section under a resolved `[schedule]`, and every other
/// option that follows a schedule. Of a group, what it sets itself.
///
/// # Errors
/// What is wrong with a schedule or a group.
///
/// ```
/// use rappel_optim::{OPTIMIZERS, scheduled_values};
/// use rappel_registry::Family;
/// use rappel_schedule::{Horizon, SCHEDULES};
/// let section = "name = 'sgd'\nlr = 0.1\ngroups = [{ params = ['*.bias'], lr = 0.2 }]";
/// let options = OPTIMIZERS.resolve_options("optimizer", &toml::from_str(section).unwrap())?;
/// let schedule = SCHEDULES.resolve_options("schedule", &toml::from_str("name = 'linear'").unwrap())?;
/// let values = scheduled_values(&options, &schedule, Horizon { steps: 10 })?;
/// assert_eq!((values[1].name.as_str(), values[1].curve.at(5)), ("groups[0].lr", 0.1));
/// # Ok::<(), rappel_registry::ConfigError>(())
/// ```
pub fn scheduled_values(
    options: &Options,
    schedule: &Options,
    horizon: Horizon,
) -> Result<Vec<ScheduledValue>, ConfigError> {
    let mut found = Found { values: Vec::new(), horizon, schedule };
    let entry = OPTIMIZERS.lookup(options.str("name"))?;
    found.take("", options, &[entry.fields, COMMON].concat())?;
    for (i, given) in groups(options)?.iter().enumerate() {
        let path = format!("{}.groups[{i}]", options.path());
        let (entry, options) = group_options(&path, given, options)?;
        let mut fields = [entry.fields, COMMON].concat();
        fields.retain(|field| given.contains_key(field.name) || given.contains_key("name"));
        found.take(&format!("groups[{i}]."), &options, &fields)?;
    }
    Ok(found.values)
}

struct Found<'a> {
    values: Vec<ScheduledValue>,
    horizon: Horizon,
    schedule: &'a Options,
}

impl Found<'_> {
    fn take(
        &mut self,
        prefix: &str,
        options: &Options,
        fields: &[Field],
    ) -> Result<(), ConfigError> {
        for Field { name, kind, .. } in fields {
            match kind {
                Kind::Scheduled { .. } => self.take_scalar(prefix, options, name)?,
                Kind::Raw => self.take_list(prefix, options, name)?,
                Kind::Table(fields) => {
                    if let Some(table) = options.opt_table(name) {
                        self.take(&format!("{prefix}{name}."), table, fields)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_scalar(
        &mut self,
        prefix: &str,
        options: &Options,
        name: &str,
    ) -> Result<(), ConfigError> {
        let Some(value) = options.opt_scheduled(name) else { return Ok(()) };
        let is_lr = name == "lr";
        if is_lr || matches!(value, Scheduled::Table(..)) {
            let curve = Schedule::from_option(options, name, self.horizon)?;
            let factor = if is_lr {
                Schedule::from_section(self.schedule, self.horizon, curve.at(0))?
            } else {
                constant(1.0)
            };
            let curve = curve * factor;
            self.values.push(ScheduledValue { name: format!("{prefix}{name}"), curve });
        }
        Ok(())
    }

    /// The tables of a list such as `betas`.
    fn take_list(
        &mut self,
        prefix: &str,
        options: &Options,
        name: &str,
    ) -> Result<(), ConfigError> {
        let Some(Value::Array(list)) = options.raw(name) else { return Ok(()) };
        for (i, value) in list.iter().enumerate().filter(|(_, value)| value.is_table()) {
            let curve = item(options, name, i, value, self.horizon)?;
            self.values.push(ScheduledValue { name: format!("{prefix}{name}[{i}]"), curve });
        }
        Ok(())
    }
}
