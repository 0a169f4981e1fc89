//! Predicting the label of a text, its labels, or a number.

use std::sync::Arc;

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{
    Dataset, LabelledText, LabelledTexts, LabelledTextsConfig, labels_of, read_labelled_texts,
};
use rappel_model::{Labels, Problem};

use super::table::split;
use super::{Prepared, TaskEntry};
use crate::models::{ClassifierModelOptions, EncoderBase, known_labels};
use crate::objectives::TextLabel;
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "sequence_classification",
    summary: "a label of a text, several, or a number, by an encoder that was trained before: accuracy, log-loss, F1, AUC; correlations",
    reference: "Devlin et al., https://arxiv.org/abs/1810.04805",
    fields: &[
        Field::required("data", Kind::Table(LabelledTextsConfig::FIELDS), "what is learned from"),
        Field::required(
            "model",
            Kind::Table(ClassifierModelOptions::FIELDS),
            "the encoder that learns",
        ),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let data = LabelledTextsConfig::from_options(config.section("data"))?;
    observer.stage("reading the pretrained model")?;
    let base = EncoderBase::open(config.section("model"), data.max_length, observer)?;
    let completed = config.with("model", "sha256", base.sha256())?;
    let completed = completed.with("model", "pretrained", base.absolute_path()?)?;
    observer.stage("reading the texts")?;
    let read = |file| read_labelled_texts(file, &data.text, Some(&data.label));
    let texts = read(&data.file)?;
    let options = ClassifierModelOptions::from_options(config.section("model"))?;
    let labels = match options.problem_type {
        Problem::Regression => Labels::number(),
        problem => {
            let any = problem == Problem::MultiLabel;
            Labels { names: labels_of(&data.file, &texts, any)?, problem }
        }
    };
    let (rows, held) = split(config, texts.len(), data.validation_fraction)?;
    let encode = |texts: &[LabelledText]| {
        LabelledTexts::new(texts, base.tokenizer(), base.max_length(), known_labels(&labels))
    };
    let of = |rows: &[usize]| rows.iter().map(|row| texts[*row].clone()).collect::<Vec<_>>();
    let training = Arc::new(encode(&of(&rows))?);
    let held_out = match &data.validation_file {
        Some(file) => Some(encode(&read(file)?)?),
        None if held.is_empty() => None,
        None => Some(encode(&of(&held))?),
    };
    let held_out = completed.held_out(held_out, training.len())?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(completed, move |config| {
        let model = base.classifier(config.params(base.dtype())?, labels.clone())?;
        Ok(Learner::new(model, training.clone(), TextLabel).held_out(held_out.clone()))
    }))
}
