//! Penalised models, trained as users train them, against scikit-learn's coefficients.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rappel_data::TargetKind;
use rappel_tensor::TensorFile;
use rappel_train::{Config, Ended, Run, TabularModel};
use serde_json::Value;

fn testdata(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata")).join(name)
}

/// Trains to the end, and returns the folder of the model.
#[track_caller]
fn train(config: &str, folder: &Path) -> PathBuf {
    let out = format!("out='{}'", folder.join("run").display());
    let config = Config::parse(config, &[&out, "telemetry.sinks=[]"]).unwrap();
    let mut run = Run::create(&config, "t", &mut ()).unwrap();
    match run.train(&mut ()).unwrap() {
        Ended::Finished(report) => report.model,
        Ended::Stopped { .. } => panic!("nobody asked to stop"),
    }
}

/// All rows in each step, in double precision. scikit-learn's penalties are of sums, ours of means:
/// `Ridge` adds `alpha |w|^2` to the sum of squares, so that lambda is `alpha / n`; `Lasso` adds
/// `alpha |w|_1` to half the mean of squares: `2 alpha`; `ElasticNet`: `2 alpha l1_ratio` and
/// `alpha (1 - l1_ratio)`; `LogisticRegression` adds `|w|^2 / 2` or `|w|_1` to `C` times the sum of
/// log-losses: `1 / (2 C n)` and `1 / (C n)`.
fn config(case: &Value) -> String {
    let text = |key: &str| case[key].as_str().unwrap().to_owned();
    let (table, target) = (text("table"), text("target"));
    let task = if target == "target" { "regression" } else { "classification" };
    let loss = if task == "regression" { "[loss]\nstandardize_target=false\n" } else { "" };
    let exclude = match (table.as_str(), target.as_str()) {
        ("breast_cancer", _) => "",
        (_, "grade") => "exclude = ['sex_word', 'target']",
        _ => "exclude = ['sex_word', 'grade']",
    };
    let list = |name: &str, key: &str, more: &str| {
        let lambda = case[key].as_f64()?;
        Some(format!("[[regularize]]\nname='{name}'\nlambda={lambda:e}\n{more}\n"))
    };
    // Penalties with corners act as proximal steps, after steps of gradient descent; the others are
    // part of the loss. Momentum adds gradients up but not penalties, unless it is dampened.
    let columns = "proximal=true\ngroups='columns'\nscale_by_size=false";
    let penalties = [
        list("l1", "l1", "proximal=true"),
        list("l2", "l2", ""),
        list("group_lasso", "group", columns),
    ];
    let smooth = penalties[0].is_none() && penalties[2].is_none();
    let (optimizer, steps) = if smooth {
        (
            "name='lbfgs'\nlr=1.0\nline_search_fn='strong_wolfe'\nmax_iter=200\nhistory_size=50\n\
             tolerance_grad=1e-13\ntolerance_change=0.0",
            3,
        )
    } else if task == "regression" {
        ("name='sgd'\nlr=1.2\nmomentum=0.9\ndampening=0.9", 3000)
    } else {
        ("name='sgd'\nlr=5.0\nmomentum=0.9\ndampening=0.9", 6000)
    };
    let regularize: String = penalties.into_iter().flatten().collect();
    format!(
        "task='{task}'\n[data]\nfile='{}'\ntarget='{target}'\n{exclude}\nvalidation_fraction=0.0\n\
         [model]\nname='linear'\ndtype='float64'\n[optimizer]\n{optimizer}\n\
         [train]\nsteps={steps}\nbatch_size='all'\nmax_grad_norm=0.0\n{regularize}{loss}",
        testdata(&format!("tabular/{table}.csv")).display(),
    )
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        one => vec![one.as_f64().unwrap()],
    }
}

#[test]
fn penalised_models_reach_the_coefficients_and_zeros_of_references() {
    let text = std::fs::read_to_string(testdata("tabular.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let cases = golden["models"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    let mut zeros = 0;
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let model = train(&config(case), folder.path());
        let file = TensorFile::open(model.join("model.safetensors")).unwrap();
        let about = format!("{} {}", case["model"], case["target"]);
        for (name, key) in [("linear.weight", "coef"), ("linear.bias", "intercept")] {
            let got = file.tensor(name).unwrap().to_vec::<f64>();
            let want = numbers(&case[key]);
            assert_eq!(got.len(), want.len(), "{about}");
            let largest = want.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 1e-6 * largest, "{about} {name}: {got}, not {want}");
                assert_eq!(*got == 0.0, *want == 0.0, "{about} {name}: {got}, not {want}");
                zeros += usize::from(*want == 0.0);
            }
        }
    }
    assert!(zeros > 50, "{zeros} zeros: the penalties do nothing");
}

#[test]
fn a_network_beats_the_baseline_and_its_folder_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let table = testdata("tabular/breast_cancer.csv");
    let text = format!(
        "task='classification'\nseed=3\n[data]\nfile='{}'\ntarget='diagnosis'\n\
         [model]\nname='mlp'\nhidden_sizes=[16]\ndropout=0.1\n[optimizer]\nname='adamw'\nlr=1e-2\n\
         [train]\nepochs=20\nbatch_size=32\n[loss]\nclass_weight='balanced'\n[[regularize]]\nname='label_smoothing'\nlabel_smoothing=0.05\n",
        table.display()
    );
    let config = Config::parse(&text, &["telemetry.sinks=[]"]).unwrap();
    let config = Config::parse(
        &config.to_toml(),
        &[&format!("out='{}'", folder.path().join("run").display())],
    )
    .unwrap();
    let mut run = Run::create(&config, "t", &mut ()).unwrap();
    let Ended::Finished(report) = run.train(&mut ()).unwrap() else { panic!("stopped") };
    let value =
        |name: &str| report.validation.iter().find(|(metric, _)| metric.name == name).unwrap().1;
    assert!(value("accuracy") > 0.93 && value("auc") > 0.98, "{report:?}");
    let baseline = report.baseline.as_ref().unwrap();
    assert_eq!(baseline.name, "frequencies");
    assert!(value("loss") < baseline.values[0].1 / 2.0, "{report:?}");

    let model = TabularModel::load(&report.model).unwrap();
    let table = model.read(&table, true).unwrap();
    let scores = model.evaluate(&table).unwrap();
    assert_eq!(scores.count, 569);
    assert!(scores.values.iter().all(|(_, value)| value.is_finite()));
    let told = model.predict(&table, &[table.column("mean_radius").unwrap()]).unwrap();
    assert_eq!(told.columns[..2], ["mean_radius", "prediction"]);
    let TargetKind::Classes { classes } = &model.preprocessing().target.of else { panic!() };
    assert_eq!(classes, &["benign", "malignant"]);
    let truth = table.column("diagnosis").unwrap();
    let right = (0..569).filter(|row| truth.text(*row).unwrap() == told.rows[*row][1]).count();
    assert!((right as f64 / 569.0 - scores.values[0].1).abs() < 1e-12);
    for row in &told.rows {
        let [a, b] = [&row[2], &row[3]].map(|p| p.parse::<f64>().unwrap());
        assert!((a + b - 1.0).abs() < 1e-9 && (b > a) == (row[1] == "malignant"));
    }
}

/// A run of a few steps with a regularizer; the bits of its weights, or why there is none.
fn regularized(task: &str, model: &str, regularizer: &str) -> Result<Vec<u64>, String> {
    let folder = tempfile::tempdir().unwrap();
    let (table, target) = match task {
        "regression" => ("diabetes", "target"),
        _ => ("breast_cancer", "diagnosis"),
    };
    let text = format!(
        "task='{task}'\n[data]\nfile='{}'\ntarget='{target}'\n[model]\nname='{model}'\ndtype='float64'\n\
         [optimizer]\nname='sgd'\nlr=1e-2\n[train]\nsteps=5\nbatch_size=16\n{regularizer}",
        testdata(&format!("tabular/{table}.csv")).display()
    );
    let out = format!("out='{}'", folder.path().join("run").display());
    let config = Config::parse(&text, &[&out, "telemetry.sinks=[]"]).unwrap();
    let run = Run::create(&config, "t", &mut ());
    let Ended::Finished(report) = run.map_err(|error| error.to_string())?.train(&mut ()).unwrap()
    else {
        panic!("nobody asked to stop")
    };
    let file = TensorFile::open(report.model.join("model.safetensors")).unwrap();
    let values =
        file.names().into_iter().flat_map(|name| file.tensor(&name).unwrap().to_vec::<f64>());
    Ok(values.map(f64::to_bits).collect())
}

#[test]
fn regularizers_act_or_are_refused() {
    let section = |name: &str, key: &str| format!("[[regularize]]\nname='{name}'\n{key}=0.25\n");
    let of_classes = [
        ("label_smoothing", "label_smoothing"),
        ("confidence_penalty", "lambda"),
        ("z_loss", "lambda"),
        ("r_drop", "alpha"),
    ];
    let of_any = [("mixup", "alpha"), ("neftune", "alpha"), ("dropout", "p")];
    for task in ["classification", "regression"] {
        let plain = regularized(task, "mlp", "").unwrap();
        for (name, key) in of_any {
            assert_ne!(
                regularized(task, "mlp", &section(name, key)).unwrap(),
                plain,
                "{task} {name}"
            );
        }
        for (name, key) in of_classes {
            let with = section(name, key)
                + if name == "r_drop" { "[[regularize]]\nname='dropout'\np=0.1\n" } else { "" };
            let found = regularized(task, "mlp", &with);
            if task == "regression" {
                let told = found.unwrap_err();
                assert!(told.contains("the task predicts numbers"), "{told}");
            } else {
                assert_ne!(found.unwrap(), plain, "{name}");
            }
        }
    }
    let told = regularized("regression", "linear", &section("dropout", "p")).unwrap_err();
    assert!(told.contains("the model has no dropout layer"), "{told}");
    let weighted = section("r_drop", "alpha") + "[loss]\nclass_weight='balanced'\n";
    let told = regularized("classification", "mlp", &weighted).unwrap_err();
    assert!(told.contains("does not go with loss.class_weight"), "{told}");
    let smoothed =
        section("label_smoothing", "label_smoothing") + "[loss]\nclass_weight='balanced'\n";
    assert!(regularized("classification", "linear", &smoothed).is_ok());
}

/// Looked-up categories train as columns of ones and zeros would, mixed rows included.
#[test]
fn categories_are_what_ones_and_zeros_would_be() {
    let towns = ["a", "b", "c"];
    let rows = (0..60).map(|i| (i, (f64::from(i) * 0.7).sin(), (i * i) as usize % 7 % 3));
    let (mut named, mut dense) = ("x,town,y\n".to_owned(), "x,a,b,c,y\n".to_owned());
    for (i, x, town) in rows {
        let y = x * 2.0 + town as f64 + f64::from(i % 5) * 0.1;
        let ones = [0, 1, 2].map(|at| if at == town { "1" } else { "0" }).join(",");
        writeln!(named, "{x},{},{y}", towns[town]).unwrap();
        writeln!(dense, "{x},{ones},{y}").unwrap();
    }
    for (model, mixup) in [("linear", false), ("mlp", false), ("mlp", true)] {
        let weights = |table: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.csv");
            std::fs::write(&path, table).unwrap();
            let mixup = if mixup { "[[regularize]]\nname='mixup'\nalpha=0.5\n" } else { "" };
            let model = train(
                &format!(
                    "task='regression'\n[data]\nfile='{}'\ntarget='y'\nstandardize=false\n\
                     [model]\nname='{model}'\ndtype='float64'\n[optimizer]\nname='adam'\nlr=1e-2\n\
                     [train]\nsteps=30\nbatch_size=8\n{mixup}",
                    path.display()
                ),
                folder.path(),
            );
            let file = TensorFile::open(model.join("model.safetensors")).unwrap();
            let of = |name: String| file.tensor(&name).unwrap().to_vec::<f64>();
            file.names().into_iter().flat_map(of).collect::<Vec<f64>>()
        };
        let (looked_up, multiplied) = (weights(&named), weights(&dense));
        assert_eq!(looked_up.len(), multiplied.len());
        for (got, want) in looked_up.iter().zip(&multiplied) {
            assert!((got - want).abs() < 1e-9, "{model}, mixup {mixup}: {got}, not {want}");
        }
    }
}
