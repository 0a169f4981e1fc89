//! What a config says of interactions.

use std::path::PathBuf;

use rappel_config::{InvalidOption, Options, Words};

use super::Split;
use crate::{Drawing, OnBadRow};

/// What becomes of an interaction that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum OnDuplicate {
    /// The run does not begin.
    Error,
    /// The first one of a file counts; the others are left out, and counted.
    Skip,
    /// Each one counts.
    Keep,
}

/// Where interactions are, and which of them count: options of every section `data` that learns from them.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct InteractionOptions {
    /// a row for each interaction: .csv, .tsv, .parquet or RecBole's .inter
    #[option(aka("path", "train_file", "files"))]
    pub file: PathBuf,
    /// the column of users; unset: user_id, user, userId or uid
    #[option(aka("user_column", "USER_ID_FIELD"))]
    pub user: Option<String>,
    /// the column of items; unset: item_id, item, itemId or movieId
    #[option(aka("item_column", "ITEM_ID_FIELD"))]
    pub item: Option<String>,
    /// the column of ratings; unset: rating, stars or score, if there is one
    #[option(aka("rating_column", "RATING_FIELD"))]
    pub rating: Option<String>,
    /// the column of times, numbers or ISO 8601; unset: timestamp, time or date, if there is one
    #[option(aka("time_column", "TIME_FIELD", "timestamp"))]
    pub time: Option<String>,
    /// users with fewer interactions are left out, and items likewise, until nobody is left with fewer
    #[option(default = 1, range = 1.., aka("k_core", "user_inter_num_interval"))]
    pub min_user_interactions: usize,
    /// see min_user_interactions
    #[option(default = 1, range = 1.., aka("item_inter_num_interval"))]
    pub min_item_interactions: usize,
    /// the same user and item a second time: an error, left out and counted ("skip"), or counted like any other ("keep")
    #[option(default = OnDuplicate::Error, aka("rm_dup_inter", "duplicates"))]
    pub on_duplicate: OnDuplicate,
    /// a row without user or item, or whose rating or time cannot be read: an error, or left out and counted ("skip")
    #[option(default = OnBadRow::Error)]
    pub on_bad_row: OnBadRow,
}

/// Which interactions are set apart to validate and to test on.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct ApartOptions {
    /// interactions to validate on
    #[option(aka("eval_file"))]
    pub validation_file: Option<PathBuf>,
    /// which interactions of each user are set apart: some drawn by the seed, the last ones, or the last two, of which
    /// the first is to validate and the second to test
    #[option(default = Split::Random, aka("split_strategy"))]
    pub split: Split,
    /// share of each user's interactions to validate on; unset: 0.1, or 0 with a validation_file
    #[option(unset = if validation_file.is_some() { 0.0 } else { 0.1 }, range = 0.0..1.0)]
    #[option(aka("val_fraction", "validation_split"))]
    pub validation_fraction: f64,
    /// share of each user's interactions to test on, once, at the end
    #[option(default = 0.0, range = 0.0..1.0, aka("test_size"))]
    pub test_fraction: f64,
}

/// The section `data` of a config that learns which items a user takes.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RecommendationConfig {
    /// Where the interactions are.
    #[option(flatten, required)]
    pub interactions: InteractionOptions,
    /// interactions of a lower rating do not count; unset: all do
    #[option(aka("val_interval", "threshold", "positive_threshold"))]
    pub min_rating: Option<f64>,
    /// What is set apart.
    #[option(flatten)]
    pub apart: ApartOptions,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

impl ApartOptions {
    /// The shares to validate and to test on.
    pub fn shares(&self) -> [f64; 2] {
        [self.validation_fraction, self.test_fraction]
    }

    /// Whether what is set apart leaves something, and is not named twice.
    fn check(&self) -> Result<(), InvalidOption> {
        let [validation, test] = self.shares();
        let has_file = self.validation_file.is_some();
        if has_file && (validation > 0.0 || test > 0.0) {
            let reason =
                "a share is set apart, too (validation_fraction, test_fraction); give one of both";
            return Err(InvalidOption::new("validation_file", reason));
        }
        if has_file && self.split == Split::LeaveOneOut {
            let reason = "leave_one_out sets interactions apart, too; give one of both";
            return Err(InvalidOption::new("validation_file", reason));
        }
        if validation + test >= 1.0 {
            let reason = "with test_fraction nothing is left to train on; lower one of them";
            return Err(InvalidOption::new("validation_fraction", reason));
        }
        Ok(())
    }
}
