//! Tables, from a CSV to predictions, and what is wrong with them.

mod common;

use std::fmt::Write;

use common::{Place, stderr};

/// Houses: a number with holes, a name, a number to predict and a class.
fn houses(rows: usize) -> String {
    let mut text = "id,area,city,price,band\n".to_owned();
    for i in 0..rows {
        let area = 40 + i * 37 % 90;
        let city = ["north", "south", "west"][i % 3];
        let price = 2 * area + 30 * (i % 3) + i % 5;
        let band = if price > 220 { "dear" } else { "fair" };
        let area = if i % 11 == 5 { String::new() } else { area.to_string() };
        writeln!(text, "h{i},{area},{city},{price},{band}").unwrap();
    }
    text
}

const REGRESSION: &str = "
task = 'regression'
data = { file = 'houses.csv', target = 'price', exclude = ['id', 'band'] }
model = { name = 'linear' }
optimizer = { name = 'adam', lr = 0.05 }
train = { steps = 400, batch_size = 32 }
";

const CLASSIFICATION: &str = "
task = 'classification'
data = { file = 'houses.csv', target = 'band', exclude = ['id', 'price'] }
model = { name = 'mlp', hidden_sizes = [8] }
optimizer = { name = 'adam', lr = 0.02 }
train = { steps = 400, batch_size = 32 }
";

fn place() -> Place {
    let place = Place::new();
    place.write("houses.csv", houses(120));
    place.write("regression.toml", REGRESSION);
    place.write("classification.toml", CLASSIFICATION);
    place
}

#[test]
fn speed_is_told_in_rows_and_no_sample_is_promised() {
    let place = place();
    for (config, run) in [("regression.toml", "r"), ("classification.toml", "c")] {
        let told = stderr(&place.rappel(&["train", config, "--out", run]));
        assert!(told.contains(" rows/s\n"), "{told}");
        assert!(!told.contains("token") && !told.contains("sample"), "{told}");
        let record = place.read(&format!("{run}/metrics.jsonl"));
        assert!(record.contains("train/rows_per_second") && !record.contains("token"), "{record}");
    }
}

#[test]
fn a_table_becomes_a_model_and_the_model_predictions() {
    let place = place();
    let report = place.json(&["train", "regression.toml", "--out", "r", "--json"]);
    assert!(report["validation_r2"].as_f64().unwrap() > 0.9, "{report}");
    assert!(report["validation_loss"].as_f64() < report["mean_loss"].as_f64(), "{report}");
    let worth = place.json(&["eval", "--model", "r/model", "--file", "houses.csv", "--json"]);
    assert_eq!(worth["rows"], 120);
    assert!(worth["rmse"].as_f64().unwrap() < 20.0, "{worth}");

    let apart = ["train", "regression.toml", "--set", "data.validation_file=houses.csv"];
    let apart = place.json(&[&apart[..], &["--out", "v", "--json"]].concat());
    let worth = place.json(&["eval", "--model", "v/model", "--file", "houses.csv", "--json"]);
    assert_eq!(apart["validation_rmse"], worth["rmse"]);

    // Without the target, with the id passed through; a city that nobody knew is told of.
    let rows: Vec<String> = houses(6)
        .lines()
        .map(|line| line.split(',').take(3).collect::<Vec<_>>().join(","))
        .collect();
    place.write("new.csv", rows.join("\n").replace("h1,77,south", "h1,77,elsewhere"));
    let args =
        ["predict", "--model", "r/model", "--file", "new.csv", "--out", "p.csv", "--id", "id"];
    let output = place.rappel(&args);
    let told = common::stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("column `city`: 1 of no known category, such as `elsewhere`"), "{told}");
    assert!(told.contains("column `area`: 1 missing, taken for "), "{told}");
    let predictions = place.read("p.csv");
    let lines: Vec<&str> = predictions.lines().collect();
    assert_eq!((lines[0], lines.len()), ("id,prediction", 7));
    let price: f64 = lines[1].strip_prefix("h0,").unwrap().parse().unwrap();
    assert!((price - 80.0).abs() < 25.0, "{price}");
}

#[test]
fn classes_are_told_with_probabilities() {
    let place = place();
    let report = place.json(&["train", "classification.toml", "--out", "c", "--json"]);
    assert!(report["validation_accuracy"].as_f64().unwrap() > 0.85, "{report}");
    let worth = place.ok(&["eval", "--model", "c/model", "--file", "houses.csv"]);
    for metric in ["accuracy", "log_loss", "f1", "f1_macro", "auc", "rows"] {
        assert!(worth.lines().any(|line| line.starts_with(metric)), "{worth}");
    }
    place.ok(&["predict", "--model", "c/model", "--file", "houses.csv", "--out", "p.csv"]);
    let header = "prediction,probability of dear,probability of fair\n";
    assert!(place.read("p.csv").starts_with(header));
    let refused =
        place.error(&["eval", "--model", "c/model", "--file", "houses.csv", "--window", "8"]);
    assert!(refused.contains("is a model of tables: leave out --window"), "{refused}");
    let same = ["predict", "--model", "c/model", "--file", "houses.csv", "--out", "houses.csv"];
    assert!(place.error(&same).contains("--out is the table itself"));
    assert_eq!(place.read("houses.csv"), houses(120));
}

#[test]
fn a_run_that_was_stopped_ends_with_the_same_bits() {
    let place = place();
    place.ok(&["train", "classification.toml", "--out", "whole"]);
    let cut = ["--set", "checkpoint.every=100", "--set", "train.steps=400", "--out", "cut"];
    place.ok(&[&["train", "classification.toml"], &cut[..]].concat());
    // As if it had been killed after step 300.
    std::fs::remove_dir_all(place.at("cut/checkpoints/step-400")).unwrap();
    let steps = place.names("cut/checkpoints");
    assert!(steps.len() == 1, "{steps:?}");
    place.ok(&["train", "--resume", "cut"]);
    assert_eq!(place.model("whole"), place.model("cut"));
}

/// A task, what its table holds, settings, and what is told.
type Case<'a> = (&'a str, String, &'a [&'a str], &'a str);

#[track_caller]
fn assert_refused(cases: &[Case]) {
    for (task, table, settings, expected) in cases {
        let place = place();
        place.write("houses.csv", table);
        let mut args = vec!["train".to_owned(), format!("{task}.toml"), "--out".into(), "x".into()];
        for setting in *settings {
            args.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let told = place.error(&args);
        assert!(told.contains(expected), "expected {expected:?} in {told:?}");
        assert!(!place.at("x").exists() && !place.at("runs").exists(), "{expected}: wrote");
    }
}

/// Sixty houses with another cell on a line.
fn with_cell(number: usize, cell: usize, with: &str) -> String {
    let mut lines: Vec<String> = houses(60).lines().map(str::to_owned).collect();
    let mut cells: Vec<&str> = lines[number - 1].split(',').collect();
    cells[cell] = with;
    lines[number - 1] = cells.join(",");
    lines.join("\n")
}

const ALL: &[&str] = &["data.validation_fraction=0"];

#[test]
fn cells_that_cannot_be_read_are_told_by_line_and_column() {
    assert_refused(&[
        ("regression", with_cell(7, 1, "4,2"), &[], "line 7 has 6 cells, the header names 5"),
        (
            "regression",
            with_cell(7, 1, "4o"),
            &[],
            "line 7, column `area`: `4o` is not a number, while 55 other cells are numbers; correct",
        ),
        (
            "regression",
            with_cell(7, 2, "17"),
            &[],
            "line 7, column `city`: `17` is a number, while 59 other cells are text",
        ),
        ("regression", with_cell(7, 3, "x"), ALL, "line 7, column `price`: `x` is not a number"),
        ("regression", with_cell(7, 3, ""), ALL, "line 7, column `price`: the target is missing"),
        (
            "classification",
            with_cell(7, 4, ""),
            &[],
            "line 7, column `band`: the target is missing",
        ),
        (
            "regression",
            with_cell(7, 1, "inf"),
            ALL,
            "line 7, column `area`: inf is not finite; leave",
        ),
        ("regression", with_cell(7, 3, "-inf"), ALL, "line 7, column `price`: -inf is not finite"),
        (
            "regression",
            houses(60),
            &["data.missing=error", "data.validation_fraction=0"],
            "line 7, column `area`: a value is missing; fill it in, or set data.missing",
        ),
    ]);
}

#[test]
fn tables_that_cannot_be_learned_are_told_before_anything_is_written() {
    let constant = houses(60).lines().enumerate().fold(String::new(), |text, (i, line)| {
        let head = line.split(',').take(3).collect::<Vec<_>>().join(",");
        text + &if i == 0 { format!("{line}\n") } else { format!("{head},7,fair\n") }
    });
    let header = "id,area,city,price,band\n".to_owned();
    assert_refused(&[
        ("regression", constant.clone(), &[], "`price`: the target is 7 in all 48 training rows"),
        ("classification", constant, &[], "column `band`: the target is `fair` in all rows"),
        (
            "regression",
            with_cell(1, 1, "city"),
            &[],
            "columns 2 and 3 are both named `city`; rename",
        ),
        ("regression", String::new(), &[], "is empty; the first line must name the columns"),
        ("regression", header, &[], "has no rows below its header"),
        (
            "regression",
            houses(60),
            &["data.target=prize"],
            "no column `prize`; did you mean `price`?",
        ),
        (
            "regression",
            houses(60),
            &["data.features=[\"aera\"]", "data.exclude=[]"],
            "has no column `aera`; did you mean `area`?",
        ),
        (
            "regression",
            houses(60),
            &["data.categorical=[\"id\"]"],
            "config key `data.categorical`: `id` is not a feature",
        ),
        (
            "regression",
            houses(60),
            &["data.features=[\"area\", \"city\", \"area\"]", "data.exclude=[]"],
            "config key `data.features`: `area` is named twice; name it once",
        ),
        (
            "classification",
            houses(60),
            &["loss.class_weight={ dera = 2.0 }"],
            "config key `loss.class_weight`: no class is named `dera`; did you mean `dear`?",
        ),
        ("regression", houses(60), &["train.eval_batches=2"], "a table is validated in one piece"),
    ]);
}

#[test]
fn what_other_tasks_have_is_unknown() {
    let place = place();
    let told = place.error(&["train", "regression.toml", "--set", "sample.prompt=x"]);
    assert!(told.contains("config key `sample`: unknown"), "{told}");
    let told = place.error(&["train", "regression.toml", "--set", "task=regresion"]);
    assert!(told.contains("no task is named `regresion`; did you mean `regression`?"), "{told}");
    let told = place.error(&["train", "regression.toml", "--set", "data.file=houses.xls"]);
    assert!(told.contains("expected one of .csv, .tsv, .parquet"), "{told}");
    let keys = place.ok(&["list", "keys"]);
    assert!(keys.contains("with task = \"regression\"") && keys.contains("data.target"), "{keys}");
}
