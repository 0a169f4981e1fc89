//! The settings of a config that a resumed run may change.

use rappel_config::{ConfigError, remove_changeable};
use toml::{Table, Value};

use super::{Config, fields};
use crate::TrainError;
use crate::checkpoint::sha256;

impl Config {
    /// What decides the numbers of a run, but for its length: all keys that are not
    /// [`changeable`](rappel_config::Field::changeable).
    ///
    /// The length is compared by what it does to the schedules, and the data by its fingerprint.
    pub(crate) fn decisive(&self) -> Table {
        let mut table = self.options.to_toml();
        remove_changeable(&fields(self.task()), &mut table);
        table.remove("out");
        if let Some(Value::Table(train)) = table.get_mut("train") {
            train.remove("steps");
            train.remove("epochs");
            if !self.follows_validations() {
                train.remove("eval_every");
            }
        }
        table
    }

    /// A hash of what decides the numbers.
    pub(crate) fn sha256(&self) -> String {
        sha256(&toml::to_string(&self.decisive()).expect("TOML with texts for keys"))
    }

    /// Whether this config can take the place of `old` in a run that has begun.
    ///
    /// # Errors
    /// The first key that would change its numbers.
    pub(crate) fn check_changes(&self, old: &Self) -> Result<(), TrainError> {
        let Some(key) = difference("", &old.decisive(), &self.decisive()) else { return Ok(()) };
        let reason = "another value would change the numbers of a run that has begun; give it to a new run \
                      that begins at a checkpoint of this one, by --from";
        Err(ConfigError::Invalid { key, reason: reason.to_owned() }.into())
    }
}

/// The path of the first key whose values differ.
fn difference(path: &str, old: &Table, new: &Table) -> Option<String> {
    let added = new.keys().filter(|key| !old.contains_key(*key));
    old.keys().chain(added).find_map(|key| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => difference(&path, old, new),
            // NaN, which no key takes, aside.
            (old, new) => (old != new).then_some(path),
        }
    })
}
