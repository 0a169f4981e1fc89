//! Learning embeddings of texts.

use std::sync::Arc;

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{Dataset, TextGroups, TextGroupsConfig};

use super::{Prepared, TaskEntry};
use crate::models::{EmbedderModelOptions, EncoderBase};
use crate::objectives::{EmbeddingLossOptions, TextSimilarity};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "embedding",
    summary: "vectors of texts, near where texts belong together, by a pretrained encoder: pairs, triplets, scores; NDCG, MRR, recall",
    reference: "Reimers and Gurevych, https://arxiv.org/abs/1908.10084",
    fields: &[
        Field::required("data", Kind::Table(TextGroupsConfig::FIELDS), "what is learned from"),
        Field::required(
            "model",
            Kind::Table(EmbedderModelOptions::FIELDS),
            "the encoder that learns",
        ),
        Field::table("loss", EmbeddingLossOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let data = TextGroupsConfig::from_options(config.section("data"))?;
    let section = config.section("loss");
    let loss = EmbeddingLossOptions::from_options(section)?;
    observer.stage("reading the pretrained model")?;
    let base = EncoderBase::open(config.section("model"), data.max_length, observer)?;
    let options = EmbedderModelOptions::from_options(config.section("model"))?;
    let (pooling, normalize) = base.pooling(&options);
    let completed = config.with("model", "sha256", base.sha256())?;
    let completed = completed.with("model", "pretrained", base.absolute_path()?)?;
    let completed = completed.with("model", "pooling", pooling.name())?;
    let completed = completed.with("model", "normalize", normalize)?;
    observer.stage("reading the texts")?;
    let reader = base.reader(data.max_length);
    let max_length = reader.max_length;
    let found = TextGroups::build(&data, config.seed(), &reader)?;
    let training = Arc::new(found.training.with_notes(super::sft::skipped(&found.skipped)));
    let format = training.format();
    let loss = loss
        .for_rows(format, training.columns(), base.width())
        .map_err(|(key, reason)| section.invalid(key, reason))?;
    let completed = completed.with("loss", "loss_type", loss.word())?;
    let held_out = completed.held_out(found.held_out, training.len())?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(completed, move |config| {
        let params = config.params(base.dtype())?;
        let model = base.embedder(params, (pooling, normalize), max_length)?;
        let objective = TextSimilarity::new(loss.clone(), format);
        Ok(Learner::new(model, training.clone(), objective).held_out(held_out.clone()))
    }))
}
