//! The wiring that the tasks of tables share.

use std::sync::Arc;

use rappel_config::{ConfigError, OptionSet};
use rappel_data::{BatchSize, Drawing, HeldOut, Order, Preprocessing, TableConfig, Wanted};
use rappel_tensor::Key;

use super::Prepared;
use crate::objectives::TableTarget;
use crate::{Config, Learner, Observer, TabularModel, TrainError};

/// Rows of a validation's batch.
const VALIDATED: usize = 4096;

/// Reads the table, and fits what becomes of its columns.
pub(super) fn prepare(
    config: &Config,
    wanted: Wanted,
    observer: &mut dyn Observer,
) -> Result<Prepared, TrainError> {
    let data = TableConfig::from_options(config.section("data"))?;
    if config.run().train.eval_batches.is_some() {
        let reason = "a table is validated in one piece; leave it out";
        return Err(ConfigError::invalid("train.eval_batches", reason).into());
    }
    observer.stage("reading the table")?;
    let table = data.read(&data.file, wanted)?;
    let (rows, held) = split(config, table.rows(), data.validation_fraction)?;
    let preprocessing = Preprocessing::fit(&table, &rows, &data, wanted)?;
    let model = move |config: &Config| {
        let (section, preprocessing) = (config.section("model"), preprocessing.clone());
        TabularModel::new(section, preprocessing, |dtype| config.params(dtype))
    };
    let first = model(config)?;
    let training =
        Arc::new(first.rows(&table, &rows)?.with_details(details(first.preprocessing())));
    let objective =
        TableTarget::new(config.section("loss"), &first.preprocessing().target, &training)?;
    let held_out = match &data.validation_file {
        Some(file) => {
            let table = data.read(file, wanted)?;
            Some(first.rows(&table, &(0..table.rows()).collect::<Vec<_>>())?)
        }
        None if held.is_empty() => None,
        None => Some(first.rows(&table, &held)?),
    };
    let held_out = held_out.map(|rows| HeldOut::new(rows, VALIDATED));
    Ok(Prepared::new(config.clone(), move |config| {
        Ok(Learner::new(model(config)?, training.clone(), objective.clone())
            .held_out(held_out.clone()))
    }))
}

fn details(preprocessing: &Preprocessing) -> Vec<String> {
    let (columns, inputs) = (preprocessing.features.len(), preprocessing.width());
    let sizes = format!("{columns} columns as {inputs} inputs");
    [sizes].into_iter().chain(preprocessing.notes()).collect()
}

/// Of so many rows, those to train on and those to validate on, drawn by the seed, each in their order.
pub(super) fn split(
    config: &Config,
    rows: usize,
    fraction: f64,
) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    let held = (fraction * rows as f64).round() as usize;
    if held == rows || (fraction > 0.0 && held == 0) {
        let reason = format!(
            "{held} of {rows} rows; give more rows, another share, or a data.validation_file"
        );
        return Err(config.section("data").invalid("validation_fraction", reason).into());
    }
    // The order in which an epoch of another seed would go through all rows.
    let seed = u64::from(Key::new(config.seed()).with_name("split").bits(0));
    let order = Order::new(rows, BatchSize::Fixed(rows), Drawing { seed, ..Drawing::default() })?;
    let mut drawn: Vec<usize> = order.samples(0).collect();
    let mut held = drawn.split_off(rows - held);
    drawn.sort_unstable();
    held.sort_unstable();
    Ok((drawn, held))
}
