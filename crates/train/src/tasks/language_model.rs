//! Predicting the next token of text.

use std::sync::Arc;

use rappel_config::{Field, Kind, OptionSet, Options};
use rappel_data::{DATA, DataConfig, Dataset, Text};
use rappel_model::{ARCHITECTURES, GenerateOptions, Sampling};

use super::{Prepared, TaskEntry};
use crate::models::{Base, MODELS};
use crate::objectives::{NextToken, Sample};
use crate::{Config, Learner, Observer, Pretrained, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "language_model",
    summary: "next-token prediction: mean over tokens of -ln p(token | those before), in nats",
    reference: "Radford et al., Language models are unsupervised multitask learners, 2019",
    fields: &[
        Field::required("data", Kind::Section(&DATA), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns"),
        Field::table("sample", SampleOptions::FIELDS, "the text generated at the end").changeable(),
    ],
    build: prepare,
};

/// The section `sample`.
#[derive(Debug, Clone, Options)]
struct SampleOptions {
    /// text to continue; empty: a new document
    #[option(default = "")]
    prompt: String,
    /// tokens at most; 0: no sample
    #[option(default = 200, aka("max_new_tokens"))]
    max_tokens: usize,
    /// divides the logits; 0 takes the most likely token each time
    #[option(default = 0.8, range = 0.0..)]
    temperature: f64,
    /// draw among the likeliest; 0: among all
    #[option(default = 50)]
    top_k: usize,
}

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    if Base::is_in(config.section("model")) {
        return continued(config, observer);
    }
    let data = DataConfig::from_options(config.section("data"))?;
    let section = config.section("model");
    let architecture = ARCHITECTURES.lookup_at("model.name", section.name())?.build;
    // What can be known before the data is read is.
    check_length(config, &data, (architecture.configure)(section, None)?.max_positions())?;

    observer.stage("reading the corpus")?;
    let text = Text::build(&data, config.seed())?;
    let sizes = (architecture.configure)(section, Some(text.tokenizer.vocab_size()))?;
    let completed = config.with("model", "vocab_size", sizes.vocab_size() as i64)?;
    let tokenizer = text.tokenizer.clone();
    observer.stage("initialising the model")?;
    prepared(completed, &data, &text, move |config| {
        let mut params = config.params(sizes.dtype())?;
        let model = sizes.build(&mut params);
        Ok(Pretrained::new(model, params, tokenizer.clone()))
    })
}

/// The training of a model that was trained before.
fn continued(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let data = DataConfig::from_options(config.section("data"))?;
    if data.tokenizer.is_some() {
        let reason = "a pretrained model has its own tokenizer, and knows no other one's tokens; leave it out";
        return Err(config.section("data").invalid("tokenizer", reason).into());
    }
    observer.stage("reading the pretrained model")?;
    let base = Base::open(config.section("model"), data.end_of_document.as_deref(), observer)?;
    check_length(config, &data, base.config().max_positions())?;
    let completed = config.with("model", "sha256", base.sha256())?;
    let completed = completed.with("model", "pretrained", base.absolute_path()?)?;

    observer.stage("reading the corpus")?;
    let text = Text::build_with(&data, config.seed(), Some(base.tokenizer().clone()))?;
    observer.stage("loading the pretrained model")?;
    prepared(completed, &data, &text, move |config| {
        base.load(config.params(base.config().dtype())?)
    })
}

/// A task on text, for models that `model` makes.
fn prepared(
    completed: Config,
    data: &DataConfig,
    text: &Text,
    model: impl Fn(&Config) -> Result<Pretrained, TrainError> + 'static,
) -> Result<Prepared, TrainError> {
    let training = Arc::new(text.training()?);
    let held_out = completed.held_out(text.held_out()?, training.len())?;
    let document_attention = data.document_attention;
    Ok(Prepared::new(completed, move |config| {
        let sample = SampleOptions::from_options(config.section("sample"))?;
        let sample = Sample { options: sample.generation(config.seed()), prompt: sample.prompt };
        let objective = NextToken { document_attention, sample };
        Ok(Learner::new(model(config)?, training.clone(), objective).held_out(held_out.clone()))
    }))
}

impl SampleOptions {
    /// How it is drawn, by random numbers of `seed`.
    fn generation(&self, seed: u64) -> GenerateOptions {
        let Self { max_tokens: max_new_tokens, temperature, top_k, .. } = *self;
        let top_k = (top_k > 0).then_some(top_k);
        let sampling = if temperature == 0.0 {
            Sampling::default()
        } else {
            Sampling { temperature, top_k, ..Sampling::random(seed) }
        };
        GenerateOptions { max_new_tokens, sampling, ..GenerateOptions::default() }
    }
}

/// Samples must fit the model's positions.
pub(super) fn check_length(
    config: &Config,
    data: &DataConfig,
    positions: usize,
) -> Result<(), TrainError> {
    let length = data.sequence_length;
    if length <= positions {
        return Ok(());
    }
    let reason = format!(
        "samples of {length} tokens are longer than the model's {positions} positions; lower it, \
         or raise the model's positions"
    );
    Err(config.section("data").invalid("sequence_length", reason).into())
}
