//! The section `data` of learning from preferences.

use rappel_config::{Options, Words};

use super::PreferenceFormat;
use crate::RowsConfig;

/// What is kept of a row that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Truncation {
    /// Its start: answers are cut.
    KeepStart,
    /// Its end: prompts are cut from the left.
    KeepEnd,
}

/// The section `data` of learning from preferences, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct PreferenceConfig {
    /// Where rows are.
    #[option(flatten, required)]
    pub rows: RowsConfig,
    /// what the columns mean; unset: recognised by their names
    #[option(aka("type", "formatting", "dataset_type"))]
    pub format: Option<PreferenceFormat>,
    /// what is kept of a prompt with its answer that is longer than max_length
    #[option(default = Truncation::KeepStart, aka("truncation", "truncation_side"))]
    pub truncation_mode: Truncation,
}
