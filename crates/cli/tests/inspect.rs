//! What models have learned: coefficients against scikit-learn's, importances, figures.

mod common;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use common::{Place, testdata};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The intercept and the coefficients of an equation.
fn equation(equation: &Value) -> (f64, Vec<f64>) {
    let coefficients = equation["coefficients"].as_array().unwrap();
    let coefficients = coefficients.iter().map(|of| of["coefficient"].as_f64().unwrap()).collect();
    (equation["intercept"].as_f64().unwrap(), coefficients)
}

/// A linear model in double precision, trained to the minimum.
fn config(task: &str, table: &Path, data: &str, more: &str) -> String {
    let lbfgs = "name = 'lbfgs'\nlr = 1.0\nline_search_fn = 'strong_wolfe'\nmax_iter = 200\n\
                 history_size = 50\ntolerance_grad = 1e-13\ntolerance_change = 0.0";
    config_by(lbfgs, 3, task, table, data, more)
}

/// The same, by another optimizer.
fn config_by(
    optimizer: &str,
    steps: u32,
    task: &str,
    table: &Path,
    data: &str,
    more: &str,
) -> String {
    format!(
        "task = '{task}'\n[data]\nfile = '{}'\nvalidation_fraction = 0.0\n{data}\n\
         [model]\nname = 'linear'\ndtype = 'float64'\n[optimizer]\n{optimizer}\n\
         [train]\nsteps = {steps}\nbatch_size = 'all'\nmax_grad_norm = 0.0\n{more}",
        table.display()
    )
}

fn golden(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(testdata(name)).unwrap()).unwrap()
}

/// The mean and the deviation of columns of a CSV of numbers.
fn scales(table: &Path, columns: &[String]) -> Vec<(f64, f64)> {
    let text = fs::read_to_string(table).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (head, rows) = (lines.next().unwrap(), lines.collect::<Vec<_>>());
    let of = |column: &String| {
        let at = head.iter().position(|name| name == column).unwrap();
        let values: Vec<f64> = rows.iter().map(|row| row[at].parse().unwrap()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
    };
    columns.iter().map(of).collect()
}

/// The golden values are of standardized columns: here in the columns' own units.
#[test]
fn coefficients_are_those_of_scikit_learn_in_the_units_of_the_table() {
    let golden = golden("tabular.json");
    let cases = golden["models"].as_array().unwrap();
    let of_these =
        |case: &&Value| ["ridge", "logistic l2", "lasso"].iter().any(|name| case["model"] == *name);
    let (mut seen, mut zeros) = (0, 0);
    for case in cases.iter().filter(of_these) {
        let text = |key: &str| case[key].as_str().unwrap();
        let (table, target) = (text("table"), text("target"));
        let columns: Vec<String> =
            serde_json::from_value(golden["features"][table].clone()).unwrap();
        let path = testdata(format!("tabular/{table}.csv"));
        let data = format!("target = '{target}'\nfeatures = {columns:?}");
        let lasso = case["model"] == "lasso";
        let (kind, more) = if lasso { ("l1", "proximal = true\n") } else { ("l2", "") };
        let lambda = case[kind].as_f64().unwrap();
        let penalty = format!("[[regularize]]\nname = '{kind}'\nlambda = {lambda:e}\n{more}");
        let (task, losses) = match target {
            // Coefficients of a scaled target under another penalty would be others.
            "target" if lasso => ("regression", &["standardize_target = false"][..]),
            "target" => {
                ("regression", &["standardize_target = true", "standardize_target = false"][..])
            }
            _ => ("classification", &[""][..]),
        };
        let coef = numbers(&case["coef"][0]);
        let scales = scales(&path, &columns);
        let wanted: Vec<f64> = coef.iter().zip(&scales).map(|(w, (_, std))| w / std).collect();
        let shift: f64 = wanted.iter().zip(&scales).map(|(w, (mean, _))| w * mean).sum();
        let intercept = numbers(&case["intercept"])[0] - shift;
        for loss in losses {
            let place = Place::new();
            let more = format!("{penalty}[loss]\n{loss}\n");
            let text = if lasso {
                let sgd = "name = 'sgd'\nlr = 1.2\nmomentum = 0.9\ndampening = 0.9";
                config_by(sgd, 3000, task, &path, &data, &more)
            } else {
                config(task, &path, &data, &more)
            };
            place.write("c.toml", text);
            place.ok(&["train", "c.toml", "--out", "r"]);
            let told = place.json(&["inspect", "r", "--json"]);
            assert_eq!((&told["model"], &told["task"]), (&"linear".into(), &task.into()));
            assert_eq!(told["parameters"], columns.len() + 1);
            let equations = told["equations"].as_array().unwrap();
            assert_eq!(equations.len(), 1);
            let output = if task == "regression" { target } else { "malignant" };
            assert_eq!(equations[0]["output"], output);
            assert_eq!(equations[0]["coefficients"][1]["input"], columns[1].as_str());
            let (found, coefficients) = equation(&equations[0]);
            assert!(
                (found - intercept).abs() < 1e-6 * intercept.abs(),
                "{table}: {found}, not {intercept}"
            );
            assert_eq!(coefficients.len(), wanted.len());
            for ((got, want), (_, std)) in coefficients.iter().zip(&wanted).zip(&scales) {
                assert!(
                    (got - want).abs() * std
                        < 1e-6 * coef.iter().fold(1.0_f64, |a, b| a.max(b.abs())),
                    "{table}: {got}, not {want}"
                );
                assert_eq!(*got == 0.0, *want == 0.0, "{table}: {got}, not {want}");
                zeros += usize::from(*want == 0.0);
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
    assert!(zeros > 2, "{zeros} zeros: the lasso does nothing");
}

/// Both means are of random permutations: they agree as well as their deviations allow.
#[test]
fn importances_are_those_of_scikit_learn() {
    let (repeats, golden) = (1000, golden("importance.json"));
    let cases = golden["cases"].as_array().unwrap();
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let (table, target, metric) = (text("table"), text("target"), text("metric"));
        let path = testdata(format!("tabular/{table}.csv"));
        let columns: Vec<String> = serde_json::from_value(case["columns"].clone()).unwrap();
        let data = format!("target = '{target}'\nfeatures = {columns:?}");
        let (task, loss) = match target {
            "target" => ("regression", "[loss]\nstandardize_target = false\n"),
            _ => ("classification", ""),
        };
        let lambda = case["l2"].as_f64().unwrap();
        let more = format!("[[regularize]]\nname = 'l2'\nlambda = {lambda:e}\n{loss}");
        let place = Place::new();
        place.write("c.toml", config(task, &path, &data, &more));
        place.ok(&["train", "c.toml", "--out", "r"]);
        let (file, count) = (path.to_str().unwrap(), repeats.to_string());
        let args = ["inspect", "r", "--file", file, "--metric", metric, "--repeats", &count];
        let told = place.json(&[&args[..], &["--json"]].concat());
        let found = told["importances"]["columns"].as_array().unwrap();
        assert_eq!(found.len(), columns.len());
        let (means, deviations) = (numbers(&case["mean"]), numbers(&case["std"]));
        let theirs = case["repeats"].as_f64().unwrap();
        for (i, of) in found.iter().enumerate() {
            assert_eq!(of["column"], columns[i].as_str());
            let about = format!("{table} {metric} {}", columns[i]);
            let (mean, std) = (of["mean"].as_f64().unwrap(), of["std"].as_f64().unwrap());
            // Five deviations of the difference of two means: one in two million by chance.
            let apart = deviations[i] * (1.0 / f64::from(repeats) + 1.0 / theirs).sqrt();
            assert!((mean - means[i]).abs() <= 5.0 * apart, "{about}: {mean}, not {}", means[i]);
            // Of a deviation the deviation is about its 1 / sqrt(2 n)th part; these are not normal.
            let near = 0.15 * deviations[i];
            assert!((std - deviations[i]).abs() <= near, "{about}: {std}, not {}", deviations[i]);
        }
    }
    assert_eq!(cases.len(), 3);
}

/// Houses: a number with holes, a name, a price and one of three bands.
fn houses(rows: usize) -> String {
    let mut text = "area,city,price,band\n".to_owned();
    for i in 0..rows {
        let area = 40 + i * 37 % 90;
        let price = 2 * area + 30 * (i % 3) + i % 5;
        let band = ["low", "middle", "high"][(price / 90).min(2)];
        let area = if i % 11 == 5 { String::new() } else { area.to_string() };
        writeln!(text, "{area},{},{price},{band}", ["north", "south", "west"][i % 3]).unwrap();
    }
    text
}

/// Three classes and their penalty, so that there is a minimum.
fn bands(place: &Place) {
    let penalty = "[[regularize]]\nname = 'l2'\nlambda = 1e-3\n";
    let data = "target = 'band'\nexclude = ['price']";
    place.write("bands.toml", config("classification", Path::new("houses.csv"), data, penalty));
    place.ok(&["train", "bands.toml", "--out", "bands"]);
}

#[test]
fn equations_with_categories_and_missing_values_give_the_predictions() {
    let place = Place::new();
    place.write("houses.csv", houses(90));
    let data = "target = 'price'\nexclude = ['band']";
    place.write("prices.toml", config("regression", Path::new("houses.csv"), data, ""));
    place.ok(&["train", "prices.toml", "--out", "prices"]);
    bands(&place);
    let table = houses(90);
    let rows: Vec<Vec<&str>> =
        table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let areas: Vec<f64> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    let fill = areas.iter().sum::<f64>() / areas.len() as f64;
    for run in ["prices", "bands"] {
        let told = place.json(&["inspect", run, "--json"]);
        let equations: Vec<_> =
            told["equations"].as_array().unwrap().iter().map(equation).collect();
        let names: Vec<&str> = told["equations"][0]["coefficients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["input"].as_str().unwrap())
            .collect();
        let wanted = ["area", "area is missing", "city=north", "city=south", "city=west"];
        assert_eq!(names, wanted);
        let sums = |row: &[&str]| -> Vec<f64> {
            let area = row[0].parse::<f64>();
            let city = |name| f64::from(u8::from(row[1] == name));
            let missing = f64::from(u8::from(area.is_err()));
            let inputs =
                [area.unwrap_or(fill), missing, city("north"), city("south"), city("west")];
            let sum = |(intercept, coefficients): &(f64, Vec<f64>)| {
                intercept + inputs.iter().zip(coefficients).map(|(x, w)| x * w).sum::<f64>()
            };
            equations.iter().map(sum).collect()
        };
        place.ok(&["predict", "--model", run, "--file", "houses.csv", "--out", "p.csv"]);
        let predictions = place.read("p.csv");
        for (row, line) in rows.iter().zip(predictions.lines().skip(1)) {
            let got: Vec<f64> = line.split(',').filter_map(|cell| cell.parse().ok()).collect();
            let mut wanted = sums(row);
            if run == "bands" {
                let total: f64 = wanted.iter().map(|logit| logit.exp()).sum();
                for logit in &mut wanted {
                    *logit = logit.exp() / total;
                }
            }
            assert_eq!(got.len(), wanted.len(), "{line}");
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted).abs() < 1e-9 * wanted.abs().max(1.0), "{got}, not {wanted}");
            }
        }
    }
    let shown = place.ok(&["inspect", "bands"]);
    for part in
        ["linear, classification of band", "logit of high", "area is missing", "--file TABLE"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_column_without_weight_has_no_importance_whatever_the_threads() {
    let place = Place::new();
    let table = testdata("tabular/diabetes.csv");
    place.write(
        "lasso.toml",
        format!(
            "task = 'regression'\ndata = {{ file = '{}', target = 'target', exclude = ['grade'] }}\n\
             model = {{ name = 'linear' }}\noptimizer = {{ name = 'sgd', lr = 0.1 }}\n\
             train = {{ steps = 200, batch_size = 'all', max_grad_norm = 0.0 }}\nloss = {{ standardize_target = false }}\n\
             [[regularize]]\nname = 'l1'\nlambda = 20.0\nproximal = true\n",
            table.display()
        ),
    );
    place.ok(&["train", "lasso.toml", "--out", "r"]);
    let table = table.to_str().unwrap();
    let args = ["inspect", "r", "--file", table, "--json", "--seed", "3", "--threads"];
    let told = place.ok(&[&args[..], &["1"]].concat());
    for threads in ["2", "3"] {
        assert_eq!(place.ok(&[&args[..], &[threads]].concat()), told);
    }
    assert_ne!(place.ok(&[&args[..5], &["--seed", "4"]].concat()), told);
    let told: Value = serde_json::from_str(&told).unwrap();
    let equation = &told["equations"][0]["coefficients"].as_array().unwrap();
    let importances = &told["importances"];
    assert_eq!((&importances["metric"], &importances["repeats"]), (&"r2".into(), &5.into()));
    let worth = place.json(&["eval", "--model", "r", "--file", table, "--json"]);
    assert_eq!(importances["baseline"], worth["r2"]);
    let (mut none, mut some) = (0, 0);
    for of in importances["columns"].as_array().unwrap() {
        let column = of["column"].as_str().unwrap();
        let own = |input: &str| input == column || input.starts_with(&format!("{column}="));
        let ignored = equation
            .iter()
            .filter(|of| own(of["input"].as_str().unwrap()))
            .all(|of| of["coefficient"].as_f64() == Some(0.0));
        let values = numbers(&of["values"]);
        assert_eq!(values.len(), 5);
        if ignored {
            assert!(values.iter().all(|value| *value == 0.0), "{of}");
            assert_eq!((of["mean"].as_f64(), of["std"].as_f64()), (Some(0.0), Some(0.0)));
            none += 1;
        } else {
            assert!(
                of["mean"].as_f64().unwrap() > 0.0 && of["std"].as_f64().unwrap() > 0.0,
                "{of}"
            );
            some += 1;
        }
    }
    assert!(none >= 3 && some >= 2, "{none} ignored, {some} read");
    let shown = place.ok(&["inspect", "r", "--file", table, "--metric", "rmse", "--repeats", "2"]);
    assert!(shown.contains("how much it grows, 2 permutations a column:"), "{shown}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = Place::new();
    place.write("houses.csv", houses(90));
    bands(&place);
    let error = |args: &[&str]| place.error(&[&["inspect", "bands"][..], args].concat());
    let told = error(&["--file", "houses.csv", "--metric", "acuracy"]);
    assert!(told.contains("no `acuracy`; did you mean `accuracy`?"), "{told}");
    let one =
        houses(90).lines().filter(|line| !line.ends_with("high")).collect::<Vec<_>>().join("\n");
    place.write("one.csv", one);
    let told = error(&["--file", "one.csv", "--metric", "auc"]);
    assert!(told.contains("one.csv") && told.contains("auc is NaN on this table"), "{told}");
    place.write("bare.csv", "area,city\n50,west\n");
    assert!(error(&["--file", "bare.csv"]).contains("has no column `band`"));
    for flags in [&["--seed", "1"][..], &["--file", "houses.csv", "--repeats", "0"]] {
        let output = place.rappel(&[&["inspect", "bands"][..], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    spoil(&place, "bands", &f64::NAN.to_le_bytes());
    let told = error(&[]);
    assert!(told.contains("the parameter linear.") && told.contains("is NaN"), "{told}");
}

/// Overwrites the end of a model's weights.
fn spoil(place: &Place, run: &str, with: &[u8]) {
    let path = format!("{run}/model/model.safetensors");
    let mut bytes = fs::read(place.at(&path)).unwrap();
    let start = bytes.len() - with.len();
    bytes[start..].copy_from_slice(with);
    place.write(&path, bytes);
}

#[test]
fn a_language_model_is_told_in_figures() {
    let place = Place::new();
    let tiny = ["--set", "train.steps=1", "--set", "schedule={ name = 'constant' }"];
    place.ok(&[&["train", "tiny.toml", "--out", "r"][..], &tiny].concat());
    let told = place.json(&["inspect", "r", "--json"]);
    // Embeddings, twelve squares and thirteen rows a layer, the last normalisation.
    let (vocabulary, width, positions) = (257, 16, 32);
    let parameters =
        (vocabulary + positions) * width + 2 * (12 * width * width + 13 * width) + 2 * width;
    assert_eq!((&told["model"], &told["dtype"]), (&"gpt2".into(), &"f32".into()));
    assert_eq!(told["parameters"], parameters);
    assert_eq!((&told["vocab_size"], &told["max_positions"]), (&257.into(), &32.into()));
    assert_eq!(told["tokenizer"]["kind"], "byte");
    let tensors = told["tensors"].as_array().unwrap();
    let attention =
        tensors.iter().find(|of| of["name"].as_str().unwrap().ends_with("h.*.attn.c_attn.weight"));
    assert_eq!(attention.unwrap()["shape"], serde_json::json!([16, 48]));
    assert_eq!(attention.unwrap()["count"], 2);
    let shown = place.ok(&["inspect", "r/model"]);
    assert!(shown.contains("tokenizer   byte, 257 tokens"), "{shown}");
    let told = place.error(&["inspect", "r", "--file", "corpus.txt"]);
    assert!(told.contains("is a language model, which reads no table: leave out --file"), "{told}");
    fs::remove_file(place.at("r/model/tokenizer.json")).unwrap();
    assert!(place.json(&["inspect", "r", "--json"])["tokenizer"].is_null());
    spoil(&place, "r", &f32::NAN.to_le_bytes());
    let told = place.error(&["inspect", "r"]);
    assert!(told.contains("the parameter ") && told.contains("is NaN"), "{told}");
}
