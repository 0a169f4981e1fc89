//! Predicting which items a user takes.

use std::sync::Arc;

use rappel_config::{ConfigError, Field, Kind, OptionSet};
use rappel_data::{
    Dataset, HeldOut, Histories, Interactions, Known, Parts, RecommendationConfig,
    RecommendationData,
};
use rappel_model::RECOMMENDERS;
use rappel_optim::OPTIMIZERS;
use toml::{Table, Value};

use super::{Prepared, TaskEntry};
use crate::config::BatchSizeConfig;
use crate::models::{Catalogue, EvaluationOptions, RecommenderModel};
use crate::objectives::{Recommended, RecommendedOptions};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "recommendation",
    summary: "items for users, from who took what: NDCG, recall, hits, MRR, MAP, precision, coverage",
    reference: "Rendle et al., https://arxiv.org/abs/1205.2618",
    fields: &[
        Field::required("data", Kind::Table(RecommendationConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&RECOMMENDERS), "what learns"),
        Field::table("loss", RecommendedOptions::FIELDS, "what a recommendation costs"),
        Field::table("evaluation", EvaluationOptions::FIELDS, "how recommendations are measured"),
    ],
    build: prepare,
};

/// Interactions of a validation's batch, whose loss is measured.
const VALIDATED: usize = 1024;

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let data = RecommendationConfig::from_options(config.section("data"))?;
    let loss = RecommendedOptions::from_options(config.section("loss"))?;
    let evaluation = EvaluationOptions::from_options(config.section("evaluation"))?;
    if config.run().train.eval_batches.is_some() {
        let reason = "all users are measured; leave it out";
        return Err(ConfigError::invalid("train.eval_batches", reason).into());
    }
    observer.stage("reading the interactions")?;
    let read =
        Interactions::read(&data.interactions, &data.interactions.file, data.min_rating, None)?;
    let (mut parts, mut notes) = (parts(config, &data, &read), read.notes.clone());
    if let Some(file) = &data.apart.validation_file {
        let known = Known { users: &read.user_ids, items: &read.item_ids, keeps_others: false };
        let validation =
            Interactions::read(&data.interactions, file, data.min_rating, Some(known))?;
        notes.extend(validation.notes.iter().map(|note| format!("{}: {note}", file.display())));
        parts.validation = validation.by_user();
    }
    let Parts { training, validation, test } = parts;
    let known = Arc::new(training.followed_by(&validation));
    let (users, items) = (read.user_ids.len(), read.item_ids.len());
    let catalogue = Arc::new(Catalogue {
        users: read.user_ids,
        items: read.item_ids,
        histories: known.clone(),
        columns: data.interactions.clone(),
        min_rating: data.min_rating,
    });
    let sizes = format!("{users} users and {items} items");
    let training = Arc::new(training);
    let of = |positives: Arc<Histories>, known: &Arc<Histories>| {
        RecommendationData::new(positives, known.clone(), items)
    };
    let held = |part: Histories, known: &Arc<Histories>| {
        (!part.is_empty()).then(|| HeldOut::new(of(Arc::new(part), known), VALIDATED))
    };
    let (held_out, test) = (held(validation, &training), held(test, &known));
    let model = move |config: &Config| {
        let (section, evaluation) = (config.section("model"), evaluation.clone());
        RecommenderModel::new(section, evaluation, catalogue.clone(), |dtype| config.params(dtype))
    };
    let first = model(config)?;
    let nothing = Arc::new(Histories::default());
    let mut samples = of(training, &nothing).with_details([vec![sizes], notes].concat());
    if let Some(longest) = first.recommender().longest_history() {
        samples = samples.sequences(longest);
    }
    if samples.is_empty() {
        let reason =
            "no user has two interactions to train on; give more, or set less of them apart";
        return Err(config.section("data").invalid("file", reason).into());
    }
    let shares = data.apart.shares();
    let protocol = match &data.apart.validation_file {
        Some(_) => "held out by a file".to_owned(),
        None => data.apart.split.describe(shares),
    };
    let solves = first.recommender().alternating().is_some();
    if solves {
        check_sweeps(config, &loss)?;
    }
    let mut objective = Recommended::new(loss, &samples, protocol);
    if solves {
        objective = objective.sweeping(&samples);
    }
    let samples = Arc::new(samples);
    Ok(Prepared::new(config.clone(), move |config| {
        Ok(Learner::new(model(config)?, samples.clone(), objective.clone())
            .held_out(held_out.clone())
            .test(test.clone()))
    }))
}

/// What need not be said of a model that solves for its vectors: it takes no optimizer, and a step is all interactions.
pub(super) fn complete(given: &mut Table) {
    let name = given.get("model").and_then(|model| model.get("name").unwrap_or(model).as_str());
    if name != Some(SOLVES) {
        return;
    }
    given.entry("optimizer").or_insert_with(|| Value::Table(no_optimizer()));
    let train = given.entry("train").or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(train) = train
        && !train.contains_key("batch_size")
    {
        train.insert("batch_size".to_owned(), "all".into());
    }
}

/// The model that solves for its vectors.
const SOLVES: &str = "ials";

/// The optimizer of a run that takes no step with it.
fn no_optimizer() -> Table {
    [("name".to_owned(), "sgd".into()), ("lr".to_owned(), 0.0.into())].into_iter().collect()
}

/// What says something of steps by gradients, where there are none.
fn check_sweeps(config: &Config, loss: &RecommendedOptions) -> Result<(), ConfigError> {
    let run = config.run();
    let (_, none) = OPTIMIZERS.resolve("optimizer", &no_optimizer())?;
    let wrong = [
        ("optimizer", run.optimizer.to_toml() != none.to_toml()),
        ("schedule", run.schedule.name() != "constant"),
        ("average", run.average.is_some()),
        ("regularize", !run.regularize.is_empty()),
        ("loss", *loss != RecommendedOptions::default()),
        ("train.batch_size", !matches!(run.train.batch_size, BatchSizeConfig::All)),
        ("train.gradient_accumulation_steps", run.train.gradient_accumulation_steps > 1),
        ("train.update_in_backward", run.train.update_in_backward),
        ("train.noise_scale", run.train.noise_scale),
    ];
    let found = wrong.into_iter().find(|(_, wrong)| *wrong);
    found.map_or(Ok(()), |(key, _)| {
        let reason = format!(
            "{SOLVES} solves for its vectors, without gradients, and each step takes all interactions; leave it out"
        );
        Err(ConfigError::invalid(key, reason))
    })
}

/// The interactions to train, validate and test on; all are trained on where a file validates.
fn parts(config: &Config, data: &RecommendationConfig, read: &Interactions) -> Parts {
    if data.apart.validation_file.is_some() {
        let (validation, test) = (Histories::default(), Histories::default());
        return Parts { training: read.by_user(), validation, test };
    }
    data.apart.split.parts(read, data.apart.shares(), config.seed())
}
