//! What a config's optimizer varies over the steps.

use rappel_config::{ConfigError, Field, Kind, Options};
use rappel_schedule::{Horizon, Schedule, ScheduleConfig, constant};

use super::group::COMMON;
use super::registry::OPTIMIZERS;
use super::sections::{group_options, groups};

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
/// use rappel_config::Family;
/// use rappel_schedule::{Horizon, SCHEDULES};
/// let section = "name = 'sgd'\nlr = 0.1\ngroups = [{ params = ['*.bias'], lr = 0.2 }]";
/// let options = OPTIMIZERS.resolve_options("optimizer", &toml::from_str(section).unwrap())?;
/// let schedule = SCHEDULES.resolve_options("schedule", &toml::from_str("name = 'linear'").unwrap())?;
/// let values = scheduled_values(&options, &schedule, Horizon { steps: 10 })?;
/// assert_eq!((values[1].name.as_str(), values[1].curve.at(5)), ("groups[0].lr", 0.1));
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub fn scheduled_values(
    options: &Options,
    schedule: &Options,
    horizon: Horizon,
) -> Result<Vec<ScheduledValue>, ConfigError> {
    let mut found = Found { values: Vec::new(), horizon, schedule };
    let entry = OPTIMIZERS.lookup(options.name())?;
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
                Kind::Scheduled { .. } => {
                    let given = options.get::<ScheduleConfig>(name)?;
                    if let Some(given) = given {
                        self.take_scalar(prefix, name, &given)?;
                    }
                }
                Kind::Schedules { .. } => {
                    let given = options.get::<Vec<ScheduleConfig>>(name)?;
                    for (i, curve) in given.iter().flatten().enumerate() {
                        self.take_curve(format!("{prefix}{name}[{i}]"), curve)?;
                    }
                }
                Kind::Table(fields) => {
                    if let Some(table) = options.table(name) {
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
        name: &str,
        given: &ScheduleConfig,
    ) -> Result<(), ConfigError> {
        let full = format!("{prefix}{name}");
        if name != "lr" {
            return self.take_curve(full, given);
        }
        let curve = given.over(self.horizon)?;
        let factor = Schedule::from_section(self.schedule, self.horizon, curve.at(0))?;
        self.values.push(ScheduledValue { name: full, curve: curve * factor });
        Ok(())
    }

    fn take_curve(&mut self, name: String, given: &ScheduleConfig) -> Result<(), ConfigError> {
        if given.number().is_none() {
            let curve = given.over(self.horizon)? * constant(1.0);
            self.values.push(ScheduledValue { name, curve });
        }
        Ok(())
    }
}
