//! Rows of a config as they are trained, to be looked at.

use rappel_config::{ConfigError, OptionSet};
use rappel_data::{
    Answers, Dataset, PreferenceConfig, Preferences, Sft, SftConfig, SftRow, Tokenizer,
};

use super::sft::open_base;
use crate::{Config, Observer, TrainError};

/// Tasks whose rows can be shown, and what their samples are; none: rows of supervised fine-tuning.
const TASKS: [(&str, Option<Answers>); 8] = [
    ("sft", None),
    ("dpo", Some(Answers::Pairs)),
    ("orpo", Some(Answers::Pairs)),
    ("cpo", Some(Answers::Pairs)),
    ("simpo", Some(Answers::Pairs)),
    ("kto", Some(Answers::Labelled)),
    ("bco", Some(Answers::Labelled)),
    ("reward", Some(Answers::Scored)),
];

/// The rows of a config, and the tokenizer that made their tokens.
#[derive(Debug)]
pub struct TuningData {
    found: Found,
    tokenizer: Tokenizer,
}

#[derive(Debug)]
enum Found {
    Sft(Sft),
    Preferences(Preferences),
}

/// Reads the rows of a config that fine-tunes a model as they are trained; the model's weights are not read.
///
/// # Errors
/// A config of another task; what keeps its rows from being trained.
pub fn tuning_data(config: &Config, observer: &mut dyn Observer) -> Result<TuningData, TrainError> {
    let task = &config.run().task;
    let Some((_, answers)) = TASKS.iter().find(|(name, _)| name == task) else {
        let names: Vec<_> = TASKS.iter().map(|(name, _)| *name).collect();
        let reason = format!("`{task}` has no rows to show; expected one of {}", names.join(", "));
        return Err(ConfigError::invalid("task", reason).into());
    };
    let section = config.section("data");
    let (base, found) = match answers {
        None => {
            let data = SftConfig::from_options(section)?;
            let base = open_base(config, &data.rows, observer)?;
            let found = Found::Sft(base.rows(config, &data)?);
            (base, found)
        }
        Some(answers) => {
            let data = PreferenceConfig::from_options(section)?;
            let base = open_base(config, &data.rows, observer)?;
            let found = Found::Preferences(base.preferences(config, &data, *answers)?);
            (base, found)
        }
    };
    Ok(TuningData { found, tokenizer: base.tokenizer().clone() })
}

impl TuningData {
    /// The tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The rows to train on: of pairs two after one another, the better first.
    pub fn rows(&self) -> Vec<SftRow<'_>> {
        match &self.found {
            Found::Sft(sft) => sft.training.rows().collect(),
            Found::Preferences(found) => found.training.rows().collect(),
        }
    }

    /// What a row is, where it is not alone: chosen or rejected, good or bad.
    pub fn role(&self, row: usize) -> Option<&'static str> {
        let Found::Preferences(found) = &self.found else { return None };
        Some(match found.training.answers() {
            Answers::Labelled if found.training.is_good(row) => "good",
            Answers::Labelled => "bad",
            _ if row.is_multiple_of(2) => "chosen",
            _ => "rejected",
        })
    }

    /// How many rows are there to validate on.
    pub fn held_out(&self) -> usize {
        match &self.found {
            Found::Sft(sft) => sft.held_out.as_ref().map_or(0, |rows| rows.rows().len()),
            Found::Preferences(found) => {
                found.held_out.as_ref().map_or(0, |rows| rows.rows().len())
            }
        }
    }

    /// Rows that were left out, with the reason.
    pub fn skipped(&self) -> &[String] {
        match &self.found {
            Found::Sft(sft) => &sft.skipped,
            Found::Preferences(found) => &found.skipped,
        }
    }

    /// How many samples several rows share, where they share any.
    pub fn packed(&self) -> Option<usize> {
        let Found::Sft(sft) = &self.found else { return None };
        let samples = sft.training.len();
        (samples != sft.training.rows().len()).then_some(samples)
    }

    /// The tokens of a sample at most.
    pub fn max_length(&self) -> usize {
        match &self.found {
            Found::Sft(sft) => sft.training.max_length(),
            Found::Preferences(found) => found.training.max_length(),
        }
    }
}
