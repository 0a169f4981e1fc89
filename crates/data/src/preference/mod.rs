//! Learning from preferences: rows with two answers of which one is better, or with an answer that is good or bad.
//!
//! [`format`] says what the columns mean and [`samples`] is the dataset; files, tokens and templates are those of
//! supervised fine-tuning.

mod format;
mod samples;
mod section;

use rayon::prelude::*;

use crate::sft::check_stops;
use crate::sft::encode::{Encoded, Encoder, Trained};
use crate::sft::format::{Example, Format};
use crate::sft::reading::{Found, Outcomes, Reader};
use crate::sft::rows::Rows;
use crate::sft::samples::Encodings;
use crate::{DataError, Place, SftModel};
use format::Preference;

pub use format::PreferenceFormat;
pub use samples::{Answers, PreferenceBatch, PreferenceSamples};
pub use section::{PreferenceConfig, Truncation};

/// The data of learning from preferences: what the config, the files, the tokenizer and the seed determine.
#[derive(Debug)]
pub struct Preferences {
    /// The samples to train on.
    pub training: PreferenceSamples,
    /// The samples to validate on, if there are any.
    pub held_out: Option<PreferenceSamples>,
    /// Rows that were left out, with the reason.
    pub skipped: Vec<String>,
    /// The token that ends a text.
    pub eos: u32,
}

/// A row as tokens: the answers with their prompts, and their label or margin.
#[derive(Debug, Clone)]
struct Sample {
    answers: Vec<Encoded>,
    value: Option<f32>,
}

impl Preferences {
    /// Reads and encodes the files of a config. Where samples are [`Answers::Labelled`], pairs become two of them.
    ///
    /// # Errors
    /// A file or a row that cannot be read; a row from which nothing can be learned, unless such are skipped; answers that
    /// never end.
    pub fn build(
        config: &PreferenceConfig,
        answers: Answers,
        seed: u64,
        model: &SftModel<'_>,
    ) -> Result<Self, DataError> {
        let most = model.max_length(&config.rows);
        let trained = Trained { assistant_only: Some(false), completion_only: Some(true) };
        let mut encoder = Encoder::new(&config.rows, model.tokenizer, trained)?;
        let mut reader = Reader::new(&config.rows.source);
        let kept = Kept { most, truncation: config.truncation_mode, answers };
        let [train, held_out] =
            reader.read_all(seed, |rows| of_file(config, rows, &mut encoder, kept))?;
        let stops: Vec<u32> = model.stops.iter().copied().chain([encoder.eos()]).collect();
        let all = train.iter().flat_map(|found| &found.row.answers);
        check_stops(all, &stops, model.tokenizer)?;
        let held_out = (!held_out.is_empty()).then(|| kept.samples(held_out)).transpose()?;
        let (training, skipped) = (kept.samples(train)?, reader.skipped);
        Ok(Self { training, held_out, skipped, eos: encoder.eos() })
    }
}

/// The rows of a file as tokens.
fn of_file(
    config: &PreferenceConfig,
    rows: Rows,
    encoder: &mut Encoder<'_>,
    kept: Kept,
) -> Result<Outcomes<Sample>, DataError> {
    let format = match config.format {
        Some(format) => format,
        None => PreferenceFormat::told(&rows.columns(), kept.answers == Answers::Labelled)
            .map_err(|reason| DataError::table(&rows.path, reason))?,
    };
    let read: Vec<(Place, Result<Preference, String>)> = rows
        .rows
        .into_iter()
        .map(|row| (row.place, row.fields.and_then(|fields| Preference::of(format, &fields))))
        .collect();
    encoder.prepare(
        read.iter().filter_map(|(_, row)| row.as_ref().ok()).flat_map(Preference::examples),
    )?;
    let encoder = &*encoder;
    let encode = |(place, row): (Place, Result<Preference, String>)| match row {
        Ok(row) => kept.encode(encoder, &row).into_iter().map(|row| (place, row)).collect(),
        Err(reason) => vec![(place, Err(reason))],
    };
    let encoded: Vec<Outcomes<Sample>> = read.into_par_iter().map(encode).collect();
    Ok(encoded.into_iter().flatten().collect())
}

impl Preference {
    fn examples(&self) -> &[Example] {
        match self {
            Self::Pair { answers, .. } => answers.as_slice(),
            Self::Labelled { answer, .. } => std::slice::from_ref(answer),
        }
    }
}

/// What becomes of rows.
#[derive(Debug, Clone, Copy)]
struct Kept {
    most: usize,
    truncation: Truncation,
    answers: Answers,
}

impl Kept {
    /// The samples that a row makes.
    fn encode(self, encoder: &Encoder<'_>, row: &Preference) -> Vec<Result<Sample, String>> {
        match row {
            Preference::Labelled { .. } if self.answers != Answers::Labelled => {
                vec![Err("has one answer with a label; expected two answers".to_owned())]
            }
            Preference::Labelled { answer, label } => vec![self.one(encoder, answer, *label)],
            Preference::Pair { answers, .. } if self.answers == Answers::Labelled => {
                let [chosen, rejected] = answers.as_ref();
                vec![self.one(encoder, chosen, true), self.one(encoder, rejected, false)]
            }
            Preference::Pair { answers, margin } => vec![self.pair(encoder, answers, *margin)],
        }
    }

    fn one(self, encoder: &Encoder<'_>, answer: &Example, label: bool) -> Result<Sample, String> {
        let encoded = whole(encoder, answer)?;
        let answers = vec![self.cut(encoded)?];
        Ok(Sample { answers, value: Some(f32::from(u8::from(label))) })
    }

    fn pair(
        self,
        encoder: &Encoder<'_>,
        pair: &[Example; 2],
        margin: Option<f32>,
    ) -> Result<Sample, String> {
        let named = |i: usize, reason: String| format!("`{}`: {reason}", ["chosen", "rejected"][i]);
        let mut answers = Vec::new();
        for (i, example) in pair.iter().enumerate() {
            answers.push(whole(encoder, example).map_err(|reason| named(i, reason))?);
        }
        if answers[0].ids == answers[1].ids {
            return Err(
                "`chosen` and `rejected` are the same, so that nothing is preferred".to_owned()
            );
        }
        // Where tokens span the end of the prompt, the answers begin together all the same.
        let start = answers.iter().filter_map(Encoded::first_trained).min().unwrap_or(0);
        let mut cut = Vec::new();
        for (i, mut encoded) in answers.into_iter().enumerate() {
            encoded.weights[start..].fill(1.0);
            cut.push(self.cut(encoded).map_err(|reason| named(i, reason))?);
        }
        Ok(Sample { answers: cut, value: margin })
    }

    fn cut(self, mut encoded: Encoded) -> Result<Encoded, String> {
        let tokens = encoded.ids.len();
        if self.answers == Answers::Scored && tokens > self.most {
            return Err(format!(
                "has {tokens} tokens, more than data.max_length = {}; raise that, or leave such rows out with \
                 data.on_bad_row = \"skip\"",
                self.most
            ));
        }
        match self.truncation {
            Truncation::KeepStart => encoded.cut_end(self.most)?,
            Truncation::KeepEnd => {
                encoded.cut = tokens.saturating_sub(self.most);
                encoded.ids.drain(..encoded.cut);
                encoded.weights.drain(..encoded.cut);
            }
        }
        Ok(encoded)
    }

    fn samples(self, found: Vec<Found<Sample>>) -> Result<PreferenceSamples, DataError> {
        let values: Vec<f32> = found.iter().filter_map(|found| found.row.value).collect();
        if let Some(without) = found.iter().find(|found| found.row.value.is_none())
            && !values.is_empty()
        {
            let reason =
                "has no `margin`, but other rows have; give all of them one, or none".to_owned();
            let path = without.path.as_ref().clone();
            return Err(DataError::Row { path, place: without.place, reason });
        }
        let answers = found.into_iter().flat_map(|Found { path, place, row }| {
            row.answers.into_iter().map(move |row| Found { path: path.clone(), place, row })
        });
        let encodings = Encodings::new(answers);
        Ok(PreferenceSamples::new(encodings, self.answers, values, self.most, self.truncation))
    }
}

/// A prompt with its answer, of which there is some.
fn whole(encoder: &Encoder<'_>, example: &Example) -> Result<Encoded, String> {
    let encoded = encoder.whole(Format::PromptCompletion, example)?;
    match encoded.first_trained() {
        Some(_) if encoded.ids.len() > 1 => Ok(encoded),
        _ => Err("the answer is empty".to_owned()),
    }
}
