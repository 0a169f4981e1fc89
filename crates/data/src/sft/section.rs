//! The section `data` of supervised fine-tuning.

use std::path::PathBuf;

use rappel_config::{InvalidOption, Kind, Options, Words};

use super::Format;
use super::interleaving::StoppingStrategy;
use crate::{Drawing, OnBadRow};

/// How rows share samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum PackingStrategy {
    /// The longest rows first, each where it fills a sample best; longer ones are cut.
    Bfd,
    /// The same, but what is cut off is a row of its own.
    BfdSplit,
    /// One row after another, cut every `max_length` tokens.
    Wrapped,
}

/// Files of rows, which of them are held out, and how samples of them are drawn.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct RowFiles {
    /// rows to train on: .json, .jsonl, .csv, .tsv or .parquet; paths, folders or globs
    #[option(kind = Kind::Paths, changeable)]
    #[option(aka(
        "file",
        "path",
        "train_file",
        "dataset",
        "dataset_name",
        "datasets",
        "data_files"
    ))]
    pub files: Vec<String>,
    /// what happens to a row of which nothing can be trained
    #[option(default = OnBadRow::Error, aka("excess_length_strategy"))]
    pub on_bad_row: OnBadRow,
    /// rows to validate on
    #[option(kind = Kind::Paths, default, changeable)]
    #[option(aka("validation_file", "eval_file", "eval_dataset", "test_datasets"))]
    pub validation_files: Vec<String>,
    /// share of the rows, drawn by the seed, to validate on; unset: 0.05, or 0 with validation_files
    #[option(unset = if validation_files.is_empty() { 0.05 } else { 0.0 }, range = 0.0..1.0)]
    #[option(aka("val_size", "val_set_size", "val_fraction", "validation_split", "test_size"))]
    pub validation_fraction: f64,
    /// how often rows of each entry of `files` come, which are then drawn by the seed; unset: all rows come once
    #[option(default = [], aka("interleave_probs", "mix_probs", "weights"))]
    pub probabilities: Vec<f64>,
    /// with probabilities, where rows end: as soon as an entry has no further row, or when each had all of its rows, for which
    /// others begin again
    #[option(default = StoppingStrategy::FirstExhausted, aka("mix_strategy"))]
    pub stopping_strategy: StoppingStrategy,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

impl RowFiles {
    fn check(&self) -> Result<(), InvalidOption> {
        let (shares, files) = (&self.probabilities, self.files.len());
        let wrong = |key: &'static str, reason: String| Err(InvalidOption::new(key, reason));
        if !shares.is_empty() && shares.len() != files {
            return wrong(
                "probabilities",
                format!("{} of them for {files} entries of files", shares.len()),
            );
        }
        if shares.iter().any(|share| !(share.is_finite() && *share >= 0.0)) {
            return wrong("probabilities", "expected numbers of at least 0".to_owned());
        }
        if !shares.is_empty() && shares.iter().sum::<f64>() <= 0.0 {
            return wrong("probabilities", "all are 0, so that no row ever comes".to_owned());
        }
        if self.stopping_strategy == StoppingStrategy::AllExhausted {
            if shares.is_empty() {
                let reason = "all rows come once without probabilities; give them, or leave it out";
                return wrong("stopping_strategy", reason.to_owned());
            }
            if shares.contains(&0.0) {
                let reason = "a probability of 0 never has all of its rows; leave those files out";
                return wrong("stopping_strategy", reason.to_owned());
            }
        }
        if self.files.is_empty() {
            return Err(InvalidOption::new("files", "an empty list; name at least one file"));
        }
        if !self.validation_files.is_empty() && self.validation_fraction > 0.0 {
            let reason = "there are validation_files too; give one of them";
            return Err(InvalidOption::new("validation_fraction", reason));
        }
        Ok(())
    }
}

/// Where rows of conversations are and how they are read, whatever is learned from them; under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RowsConfig {
    /// The files.
    #[option(flatten, required)]
    pub source: RowFiles,
    /// tokens of a sample at most; unset: 1024, or the model's positions where those are fewer
    #[option(range = 2.., aka("cutoff_len", "sequence_len", "max_seq_length", "sequence_length", "max_seq_len"))]
    pub max_length: Option<usize>,
    /// the token that ends what the model says; unset: that of its tokenizer
    #[option(aka("end_of_document"))]
    pub eos_token: Option<String>,
    /// file of another chat template than the model's, which is saved with it
    #[option(aka("chat_template_path", "chat_template_jinja", "template"))]
    pub chat_template: Option<PathBuf>,
}

/// The section `data` of supervised fine-tuning, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct SftConfig {
    /// Where rows are; the end of one longer than max_length is cut off.
    #[option(flatten, required)]
    pub rows: RowsConfig,
    /// what the columns mean; unset: recognised by their names
    #[option(aka("type", "formatting", "dataset_type"))]
    pub format: Option<Format>,
    /// the column of the format `text`
    #[option(default = "text", aka("dataset_text_field", "text_column", "field"))]
    pub text_field: String,
    /// several rows in a sample, none of which sees the others
    #[option(default = false, aka("sample_packing", "neat_packing", "pack"))]
    pub packing: bool,
    /// how rows share samples
    #[option(default = PackingStrategy::Bfd, aka("packing_method"))]
    pub packing_strategy: PackingStrategy,
    /// train what the model says, and not what it is told; unset: false for `messages`, true for `sharegpt` and `alpaca`,
    /// as the tools do that these formats come from
    #[option(aka("train_on_inputs", "train_on_responses_only", "roles_to_train", "mask_history"))]
    pub assistant_only_loss: Option<bool>,
    /// train completions, and not their prompts; unset: true where there are any
    #[option(aka("train_on_prompt", "train_on_completion_only", "completions_only"))]
    pub completion_only_loss: Option<bool>,
}

impl SftConfig {
    /// Whether the ends of long rows are cut off, before rows share samples or without.
    pub(super) fn cuts_rows(&self) -> bool {
        !self.packing || self.packing_strategy == PackingStrategy::Bfd
    }
}
