//! Predicting a number from a table's row.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{TableConfig, Wanted};
use rappel_model::PREDICTORS;

use super::{TaskEntry, table};
use crate::objectives::RegressionLoss;

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "regression",
    summary: "a number from the columns of a table: rmse, mae, r2",
    reference: "Hastie, Tibshirani and Friedman, The elements of statistical learning, 2009",
    fields: &[
        Field::required("data", Kind::Table(TableConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&PREDICTORS), "what learns"),
        Field::table("loss", RegressionLoss::FIELDS, "what an error costs"),
    ],
    build: |config, observer| {
        let standardize = RegressionLoss::from_options(config.section("loss"))?.standardize_target;
        table::prepare(config, Wanted::Number { standardize }, observer)
    },
};
