//! Predicting the next token of text.

use std::sync::Arc;

use rappel_data::{DATA, DataConfig, Dataset, Text};
use rappel_model::{ARCHITECTURES, GenerateOptions, Sampling};
use rappel_registry::{Field, Kind, Range};

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
        Field::new("sample", Kind::Table(SAMPLE), "{}", "the text generated at the end")
            .changeable(),
    ],
    build: prepare,
};

const SAMPLE: &[Field] = &[
    Field::new("prompt", Kind::Str, "\"\"", "text to continue; empty: a new document"),
    Field::new("max_tokens", Kind::int_from(0), "200", "tokens at most; 0: no sample")
        .aka(&["max_new_tokens"]),
    Field::new(
        "temperature",
        Kind::Float(Range::from(0.0)),
        "0.8",
        "divides the logits; 0 takes the most likely token each time",
    ),
    Field::new("top_k", Kind::int_from(0), "50", "draw among the likeliest; 0: among all"),
];

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    if Base::is_in(config.section("model")) {
        return continued(config, observer);
    }
    let data = DataConfig::from_options(config.section("data"))?;
    let section = config.section("model");
    let architecture = ARCHITECTURES.lookup_at("model.name", section.str("name"))?.build;
    // What can be known before the data is read is.
    check_length(config, (architecture.configure)(section, None)?.max_positions())?;

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
    check_length(config, base.config().max_positions())?;
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
        let (prompt, options) = (config.section("sample").str("prompt"), sampling(config));
        let sample = Sample { prompt: prompt.to_owned(), options };
        let objective = NextToken { document_attention, sample };
        Ok(Learner::new(model(config)?, training.clone(), objective).held_out(held_out.clone()))
    }))
}

/// How the sample at the end is drawn.
fn sampling(config: &Config) -> GenerateOptions {
    let sample = config.section("sample");
    let (top_k, temperature) = (sample.usize("top_k"), sample.f64("temperature"));
    let top_k = (top_k > 0).then_some(top_k);
    let sampling = if temperature == 0.0 {
        Sampling::default()
    } else {
        Sampling { temperature, top_k, ..Sampling::random(config.seed()) }
    };
    let max_new_tokens = sample.usize("max_tokens");
    GenerateOptions { max_new_tokens, sampling, ..GenerateOptions::default() }
}

/// Samples must fit the model's positions.
fn check_length(config: &Config, positions: usize) -> Result<(), TrainError> {
    let data = config.section("data");
    let length = data.usize("sequence_length");
    if length <= positions {
        return Ok(());
    }
    let reason = format!(
        "samples of {length} tokens are longer than the model's {positions} positions; lower it, \
         or raise the model's positions"
    );
    Err(data.invalid("sequence_length", reason).into())
}
