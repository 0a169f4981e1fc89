//! Predicting how a user rates an item.

use std::sync::Arc;

use rappel_config::{ConfigError, Field, Kind, OptionSet};
use rappel_data::{HeldOut, RatedFile, RatedRows, RatingConfig, RatingFields};
use rappel_model::RATERS;

use super::{Prepared, TaskEntry};
use crate::models::{RaterModel, gauc_doubt};
use crate::objectives::{RatedOptions, RatedPairs, RatingCost, start};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "rating",
    summary: "a rating of a user and an item, or whether it is liked: RMSE, MAE; AUC, GAUC, log-loss",
    reference: "Koren, Bell and Volinsky, 2009, https://doi.org/10.1109/MC.2009.263",
    fields: &[
        Field::required("data", Kind::Table(RatingConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&RATERS), "what learns"),
        Field::table("loss", RatedOptions::FIELDS, "what an error costs"),
    ],
    build: prepare,
};

/// Interactions of a validation's batch.
const VALIDATED: usize = 4096;

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let section = config.section("data");
    let data = RatingConfig::from_options(section)?;
    let RatedOptions { name, l2 } = RatedOptions::from_options(config.section("loss"))?;
    let cost =
        name.unwrap_or(if data.threshold.is_some() { RatingCost::Bce } else { RatingCost::Mse });
    if (cost == RatingCost::Bce) != data.threshold.is_some() {
        let reason = "bce predicts whether an item is liked, which data.threshold says, and the others predict ratings";
        return Err(config.section("loss").invalid("name", reason).into());
    }
    if config.run().train.eval_batches.is_some() {
        let reason = "ratings are validated in one piece; leave it out";
        return Err(ConfigError::invalid("train.eval_batches", reason).into());
    }
    observer.stage("reading the interactions")?;
    let (fields, file) = RatingFields::read(&data)?;
    let fields = Arc::new(fields);
    let shares = data.apart.shares();
    let parts = match data.apart.validation_file {
        Some(_) => vec![0; file.read.len()],
        None => data.apart.split.assign(&file.read, shares, config.seed()),
    };
    let rows = |part: u8, file: &RatedFile| {
        let places: Vec<usize> = (0..parts.len()).filter(|at| parts[*at] == part).collect();
        RatedRows::new(&fields, file, &places)
    };
    let held =
        |rows: RatedRows| (!rows.targets().is_empty()).then(|| HeldOut::new(rows, VALIDATED));
    let mut notes = file.notes.clone();
    let (mut held_out, test) = (held(rows(1, &file)), held(rows(2, &file)));
    if let Some(path) = &data.apart.validation_file {
        let more = fields.read_more(&data.interactions, path, true)?;
        notes.extend(more.notes.iter().map(|note| format!("{}: {note}", path.display())));
        let places: Vec<usize> = (0..more.read.len()).collect();
        held_out = held(RatedRows::new(&fields, &more, &places));
    }
    if let Some(held_out) = held_out.as_ref().filter(|_| data.threshold.is_some()) {
        let rows = held_out.data();
        if let Some(doubt) = gauc_doubt(rows.targets(), rows.users()) {
            let watched = config.run().early_stopping.as_ref();
            if watched.is_some_and(|section| section.metric == "gauc") {
                return Err(ConfigError::invalid("early_stopping.metric", doubt).into());
            }
            notes.push(doubt);
        }
    }
    let (users, items) = (fields.ids(0).len(), fields.ids(1).len());
    let sizes = format!("{users} users, {items} items and {} fields", fields.fields.len());
    let training = rows(0, &file).with_details([vec![sizes], notes].concat());
    let mean = training.targets().iter().sum::<f64>() / training.targets().len().max(1) as f64;
    if training.targets().iter().all(|target| *target == training.targets()[0]) {
        let reason = "all training targets are the same, so that there is nothing to learn; give more, or another threshold";
        return Err(section.invalid("file", reason).into());
    }
    let protocol = match &data.apart.validation_file {
        Some(_) => "held out by a file".to_owned(),
        None => data.apart.split.describe(shares),
    };
    let liked = data.threshold.map(|least| format!("a rating of at least {least} is liked; "));
    let protocol = liked.unwrap_or_default() + &protocol;
    let objective = RatedPairs::new(cost, l2, protocol, mean);
    let (first, columns) = (start(mean, data.threshold.is_some()), data.interactions);
    let model = move |config: &Config| {
        let params = |dtype| config.params(dtype);
        RaterModel::new(config.section("model"), fields.clone(), columns.clone(), first, params)
    };
    model(config)?;
    let training = Arc::new(training);
    Ok(Prepared::new(config.clone(), move |config| {
        Ok(Learner::new(model(config)?, training.clone(), objective.clone())
            .held_out(held_out.clone())
            .test(test.clone()))
    }))
}
