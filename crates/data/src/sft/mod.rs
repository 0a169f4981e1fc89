//! Supervised fine-tuning: rows of files, from their columns to token ids and what of them is trained.
//!
//! [`rows`] reads files, [`reading`] all of a config, [`format`] says what columns mean, [`encode`] makes ids and weights by
//! position, [`packing`] puts rows together, and [`samples`] is the dataset of all that.

pub(crate) mod encode;
pub(crate) mod format;
mod interleaving;
mod nested;
mod packing;
pub(crate) mod reading;
pub(crate) mod rows;
pub(crate) mod samples;
mod section;

use std::sync::Arc;

use rayon::prelude::*;

use crate::{DataError, Place, Tokenizer};
use encode::{Encoded, Encoder, Trained};
use format::Example;
use reading::{Found, Outcomes, Reader, config_error};
use rows::Rows;

pub use format::Format as SftFormat;
pub use interleaving::StoppingStrategy;
pub use samples::{SftBatch, SftRow, SftSamples};
pub use section::{PackingStrategy, RowFiles, RowsConfig, SftConfig};

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

impl SftModel<'_> {
    /// The tokens of a sample at most.
    pub(crate) fn max_length(&self, rows: &RowsConfig) -> usize {
        rows.max_length.unwrap_or(MAX_LENGTH.min(self.positions))
    }
}

impl Sft {
    /// Reads and encodes the files of a config.
    ///
    /// # Errors
    /// A file or a row that cannot be read; a row of which nothing is trained, unless such are skipped; data that never
    /// trains a token which ends a text.
    pub fn build(config: &SftConfig, seed: u64, model: &SftModel<'_>) -> Result<Self, DataError> {
        let max_length = model.max_length(&config.rows);
        let trained = Trained {
            assistant_only: config.assistant_only_loss,
            completion_only: config.completion_only_loss,
        };
        let mut encoder = Encoder::new(&config.rows, model.tokenizer, trained)?;
        let most = config.cuts_rows().then_some(max_length);
        let mut reader = Reader::new(&config.rows.source);
        let [train, held_out] =
            reader.read_all(seed, |rows| of_file(config, rows, &mut encoder, most))?;
        let stops: Vec<u32> = model.stops.iter().copied().chain([encoder.eos()]).collect();
        check_stops(train.iter().map(|row| &row.row), &stops, model.tokenizer)?;
        let samples = |rows: Vec<Found<Encoded>>| {
            let encodings = Arc::new(Encodings::new(rows));
            SftSamples::new(encodings, config, max_length)
        };
        let held_out = (!held_out.is_empty()).then(|| samples(held_out));
        let skipped = reader.skipped;
        Ok(Self { training: samples(train), held_out, skipped, eos: encoder.eos() })
    }
}

/// The rows of a file as tokens, cut to `most` where they are cut.
fn of_file(
    config: &SftConfig,
    rows: Rows,
    encoder: &mut Encoder<'_>,
    most: Option<usize>,
) -> Result<Outcomes<Encoded>, DataError> {
    let text_field = &config.text_field;
    let format = match config.format {
        Some(format) => format,
        None => Format::told(&rows.columns(), text_field)
            .map_err(|reason| DataError::table(&rows.path, reason))?,
    };
    if config.completion_only_loss == Some(true) && format != Format::PromptCompletion {
        let reason = format!("the rows of {} have no completions", rows.path.display());
        return Err(config_error("completion_only_loss", reason));
    }
    let example = |fields: rows::Fields| Example::of(format, text_field, &fields);
    let examples: Vec<_> =
        rows.rows.into_iter().map(|row| (row.place, row.fields.and_then(example))).collect();
    encoder.prepare(examples.iter().filter_map(|(_, example)| example.as_ref().ok()))?;
    let encoder = &*encoder;
    let encode = |example: &Example| {
        let mut encoded = encoder.encode(format, example)?;
        most.map_or(Ok(()), |most| encoded.cut_end(most))?;
        Ok(encoded)
    };
    let encode = |(place, example): (Place, Result<Example, String>)| {
        (place, example.and_then(|example| encode(&example)))
    };
    Ok(examples.into_par_iter().map(encode).collect())
}

/// A model that is never trained to stop does not stop.
pub(crate) fn check_stops<'a>(
    rows: impl Iterator<Item = &'a Encoded> + Clone,
    stops: &[u32],
    tokenizer: &Tokenizer,
) -> Result<(), DataError> {
    let trains_one = |row: &Encoded| {
        row.ids.iter().zip(&row.weights).any(|(id, weight)| *weight > 0.0 && stops.contains(id))
    };
    if rows.clone().any(trains_one) {
        return Ok(());
    }
    let mut whole = rows.filter(|row| row.cut == 0);
    let last = whole.next().and_then(|row| {
        let last = row.weights.iter().rposition(|weight| *weight > 0.0)?;
        tokenizer.token(row.ids[last])
    });
    let names: Vec<_> = stops.iter().filter_map(|id| tokenizer.token(*id)).collect();
    Err(DataError::NeverStops { stops: names.join(", "), last })
}
