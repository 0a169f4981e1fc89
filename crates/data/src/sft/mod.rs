//! Supervised fine-tuning: rows of files, from their columns to token ids and what of them is trained.
//!
//! [`rows`] reads files, [`format`] says what their columns mean, [`encode`] makes ids and weights by position,
//! [`packing`] puts rows together, and [`samples`] is the dataset of all that.

mod encode;
mod format;
mod nested;
mod packing;
mod rows;
mod samples;
mod section;

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use crate::mix::hash_words;
use crate::sources::files::expand;
use crate::{DataError, OnBadRow, Permutation, Place, Tokenizer};
use encode::{Encoded, Encoder};
use format::Example;
use rows::Rows;

pub use format::Format as SftFormat;
pub use samples::{SftBatch, SftRow, SftSamples};
pub use section::{PackingStrategy, SftConfig};

use format::Format;
use samples::Encodings;

/// The data of supervised fine-tuning: what the config, the files, the tokenizer and the seed determine.
#[derive(Debug)]
pub struct Sft {
    /// The samples to train on.
    pub training: SftSamples,
    /// The samples to validate on, if there are any.
    pub held_out: Option<SftSamples>,
    /// Rows that were left out, with the reason.
    pub skipped: Vec<String>,
    /// The token that ends a text.
    pub eos: u32,
}

/// What a model says of the data that it takes.
#[derive(Debug, Clone, Copy)]
pub struct SftModel<'a> {
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The tokens that end a text for it.
    pub stops: &'a [u32],
    /// The longest sequence that it takes.
    pub positions: usize,
}

/// `data.max_length` where the config gives none.
const MAX_LENGTH: usize = 1024;

/// Keeps the hash that chooses held-out rows apart from others under the same seed.
const HELD_OUT_ROWS: u64 = 0x7366_745f_726f_7773;

impl Sft {
    /// Reads and encodes the files of a config.
    ///
    /// # Errors
    /// A file or a row that cannot be read; a row of which nothing is trained, unless such are skipped; data that never
    /// trains a token which ends a text.
    pub fn build(config: &SftConfig, seed: u64, model: &SftModel<'_>) -> Result<Self, DataError> {
        let max_length = config.max_length.unwrap_or(MAX_LENGTH.min(model.positions));
        let mut reader = Reader {
            config,
            encoder: Encoder::new(config, model.tokenizer, max_length)?,
            skipped: Vec::new(),
        };
        let all = reader.read(&config.files)?;
        let (train, held_out) = if config.validation_files.is_empty() {
            split(all, config.validation_fraction, seed)
        } else {
            (all, reader.read(&config.validation_files)?)
        };
        let Reader { encoder, skipped, .. } = reader;
        let stops: Vec<u32> = model.stops.iter().copied().chain([encoder.eos()]).collect();
        check_stops(&train, &stops, model.tokenizer)?;
        let samples = |rows: Vec<Found>| {
            let encodings = Arc::new(Encodings::new(rows));
            SftSamples::new(encodings, config, max_length)
        };
        let held_out = (!held_out.is_empty()).then(|| samples(held_out));
        Ok(Self { training: samples(train), held_out, skipped, eos: encoder.eos() })
    }
}

/// A row that was read.
#[derive(Debug)]
struct Found {
    path: Arc<PathBuf>,
    place: Place,
    encoded: Encoded,
}

struct Reader<'a> {
    config: &'a SftConfig,
    encoder: Encoder<'a>,
    skipped: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, patterns: &[String]) -> Result<Vec<Found>, DataError> {
        let mut found = Vec::new();
        for pattern in patterns {
            for path in expand(pattern)? {
                self.read_file(Rows::read(&path)?, &mut found)?;
            }
        }
        if found.is_empty() {
            let reason = format!(
                "no row of {} is left to train on: {}",
                patterns.join(", "),
                self.skipped.first().map_or("there are none", String::as_str)
            );
            return Err(config_error("files", reason));
        }
        Ok(found)
    }

    fn read_file(&mut self, rows: Rows, found: &mut Vec<Found>) -> Result<(), DataError> {
        let SftConfig { text_field, on_bad_row, .. } = self.config;
        let format = match self.config.format {
            Some(format) => format,
            None => Format::told(&rows.columns(), text_field)
                .map_err(|reason| DataError::table(&rows.path, reason))?,
        };
        if self.config.completion_only_loss == Some(true) && format != Format::PromptCompletion {
            let reason = format!("the rows of {} have no completions", rows.path.display());
            return Err(config_error("completion_only_loss", reason));
        }
        let example = |fields: rows::Fields| Example::of(format, text_field, &fields);
        let examples: Vec<_> =
            rows.rows.into_iter().map(|row| (row.place, row.fields.and_then(example))).collect();
        self.encoder.prepare(examples.iter().filter_map(|(_, example)| example.as_ref().ok()))?;
        let encode = |(place, example): (Place, Result<Example, String>)| {
            (place, example.and_then(|example| self.encoder.encode(format, &example)))
        };
        let encoded: Vec<_> = examples.into_par_iter().map(encode).collect();
        let path = Arc::new(rows.path);
        for (place, encoded) in encoded {
            match encoded {
                Ok(encoded) => found.push(Found { path: Arc::clone(&path), place, encoded }),
                Err(reason) => {
                    let error = DataError::Row { path: path.as_ref().clone(), place, reason };
                    if *on_bad_row == OnBadRow::Error {
                        return Err(error);
                    }
                    self.skipped.push(error.to_string());
                }
            }
        }
        Ok(())
    }
}

fn config_error(key: &str, reason: String) -> DataError {
    rappel_registry::ConfigError::invalid(format!("data.{key}"), reason).into()
}

/// Rows to train on and rows to validate on, drawn by the seed, each in the order of the files.
fn split(rows: Vec<Found>, share: f64, seed: u64) -> (Vec<Found>, Vec<Found>) {
    let count = rows.len();
    let wanted = ((count as f64 * share).round() as usize).min(count - 1);
    let drawn = Permutation::new(count, hash_words(seed, &[HELD_OUT_ROWS]));
    let mut is_held_out = vec![false; count];
    (0..wanted).for_each(|i| is_held_out[drawn.at(i)] = true);
    let mut sides = (Vec::new(), Vec::new());
    for (row, is_held_out) in rows.into_iter().zip(is_held_out) {
        if is_held_out { sides.1.push(row) } else { sides.0.push(row) }
    }
    sides
}

/// A model that is never trained to stop does not stop.
fn check_stops(rows: &[Found], stops: &[u32], tokenizer: &Tokenizer) -> Result<(), DataError> {
    let trains_one = |row: &Found| {
        let Encoded { ids, weights, .. } = &row.encoded;
        ids.iter().zip(weights).any(|(id, weight)| *weight > 0.0 && stops.contains(id))
    };
    if rows.iter().any(trains_one) {
        return Ok(());
    }
    let last = rows.iter().map(|row| &row.encoded).find(|row| row.cut == 0).and_then(|row| {
        let last = row.weights.iter().rposition(|weight| *weight > 0.0)?;
        tokenizer.token(row.ids[last])
    });
    let names: Vec<_> = stops.iter().filter_map(|id| tokenizer.token(*id)).collect();
    Err(DataError::NeverStops { stops: names.join(", "), last })
}
