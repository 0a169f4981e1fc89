//! Predicting hidden tokens of text.

use std::sync::Arc;

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{DATA, DataConfig, Dataset, MaskedTexts, Masking, Text, Tokenizer};
use rappel_model::ENCODERS;

use super::{Prepared, TaskEntry};
use crate::models::{ENCODER_MODELS, EncoderBase, MaskedLanguageModel};
use crate::objectives::MaskedToken;
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "masked_language_model",
    summary: "hidden tokens of text, by an encoder: mean over these of -ln p(token | those not hidden), in nats; perplexity",
    reference: "Devlin et al., https://arxiv.org/abs/1810.04805",
    fields: &[
        Field::required("data", Kind::Section(&DATA), "what is learned from"),
        Field::required("model", Kind::Section(&ENCODER_MODELS), "the encoder that learns"),
        Field::table("loss", Masking::FIELDS, "which tokens are hidden"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let section = config.section("model");
    let data = DataConfig::from_options(config.section("data"))?;
    if EncoderBase::is_in(section) {
        if data.tokenizer.is_some() {
            let reason = "a pretrained model has its own tokenizer, and knows no other one's tokens; leave it out";
            return Err(config.section("data").invalid("tokenizer", reason).into());
        }
        observer.stage("reading the pretrained model")?;
        let base = EncoderBase::open(section, None, observer)?;
        super::language_model::check_length(config, &data, base.positions())?;
        let completed = config.with("model", "sha256", base.sha256())?;
        let completed = completed.with("model", "pretrained", base.absolute_path()?)?;
        observer.stage("reading the corpus")?;
        let tokenizer = base.tokenizer().clone();
        let text = Text::build_with(&data, config.seed(), Some(tokenizer))?;
        observer.stage("loading the pretrained model")?;
        return prepared(completed, &data, &text, move |config| {
            base.masked(config.params(base.dtype())?)
        });
    }
    let configure = ENCODERS.lookup_at("model.name", section.name())?.build.configure;
    super::language_model::check_length(config, &data, configure(section)?.max_positions())?;
    observer.stage("reading the corpus")?;
    let text = Text::build(&data, config.seed())?;
    let tokens = text.tokenizer.vocab_size();
    let completed = match section.get::<usize>("vocab_size")? {
        None => config.with("model", "vocab_size", tokens as i64)?,
        Some(rows) if rows < tokens => {
            let reason = format!("{rows} is less than the {tokens} tokens of the tokenizer");
            return Err(section.invalid("vocab_size", reason).into());
        }
        Some(_) => config.clone(),
    };
    let sizes = configure(completed.section("model"))?;
    let tokenizer = text.tokenizer.clone();
    observer.stage("initialising the model")?;
    prepared(completed, &data, &text, move |config| {
        Ok(MaskedLanguageModel::new(&sizes, config.params(sizes.dtype())?, tokenizer.clone()))
    })
}

/// The task on text, for models that `model` makes.
fn prepared(
    completed: Config,
    data: &DataConfig,
    text: &Text,
    model: impl Fn(&Config) -> Result<MaskedLanguageModel, TrainError> + 'static,
) -> Result<Prepared, TrainError> {
    let masking = Masking::from_options(completed.section("loss"))?;
    let tokenizer: &Tokenizer = &text.tokenizer;
    let samples = |split, stream: &Arc<_>| {
        MaskedTexts::new(
            split,
            Arc::clone(stream),
            tokenizer,
            data.sequence_length,
            data.document_attention,
        )
    };
    let training = Arc::new(samples("training", &text.train)?);
    let held_out = if text.validation.is_empty() {
        None
    } else {
        Some(samples("validation", &text.validation)?)
    };
    let held_out = completed.held_out(held_out, training.len())?;
    Ok(Prepared::new(completed, move |config| {
        let objective = MaskedToken::new(masking, training.as_ref().clone());
        Ok(Learner::new(model(config)?, training.clone(), objective).held_out(held_out.clone()))
    }))
}
