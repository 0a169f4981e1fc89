//! Predicting a class from a table's row.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{TableConfig, Wanted};
use rappel_model::PREDICTORS;

use super::{TaskEntry, table};
use crate::objectives::ClassificationLoss;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "classification",
    summary: "a class from the columns of a table: accuracy, log-loss, F1, AUC",
    reference: "Hastie, Tibshirani and Friedman, The elements of statistical learning, 2009",
    fields: &[
        Field::required("data", Kind::Table(TableConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&PREDICTORS), "what learns"),
        Field::table("loss", ClassificationLoss::FIELDS, "what an error costs"),
    ],
    build: |config, observer| table::prepare(config, Wanted::Classes, observer),
};
