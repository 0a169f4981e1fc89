//! Permutation importance against its definition: the table itself with one column permuted.

use std::path::Path;

use rappel_data::{Permutation, Table};
use rappel_tensor::Key;
use rappel_train::{Config, Ended, Permuting, Run, TabularModel};

const ROWS: usize = 90;

/// Rows of a table: a number with holes, a category, a number that tells nothing, the target.
fn rows() -> Vec<[String; 4]> {
    let row = |i: usize| {
        let (size, kind) = (i * 37 % 50, i % 3);
        let hole = i % 7 == 3;
        let target = 3 * size + 40 * kind + i % 5;
        let size = if hole { String::new() } else { size.to_string() };
        [size, ["a", "b", "c"][kind].to_owned(), (i % 11).to_string(), target.to_string()]
    };
    (0..ROWS).map(row).collect()
}

fn table(path: &Path, rows: &[[String; 4]]) -> Table {
    let lines: String = rows.iter().map(|row| row.join(",") + "\n").collect();
    std::fs::write(path, format!("size,kind,other,target\n{lines}")).unwrap();
    Table::read(path).unwrap()
}

#[test]
fn importance_is_what_is_lost_on_the_table_with_the_column_permuted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let original = table(&path, &rows());
    let text = format!(
        "task='regression'\nout='{}'\n[data]\nfile='{}'\ntarget='target'\nvalidation_fraction=0.0\n\
         [model]\nname='mlp'\nhidden_sizes=[8]\n[optimizer]\nname='adam'\nlr=2e-2\n\
         [train]\nsteps=150\nbatch_size='all'\n",
        folder.path().join("run").display(),
        path.display()
    );
    let config = Config::parse(&text, &["telemetry.sinks=[]"]).unwrap();
    let mut run = Run::create(&config, "t", &mut ()).unwrap();
    let Ended::Finished(report) = run.train(&mut ()).unwrap() else { panic!("stopped") };
    let model = TabularModel::load(&report.model).unwrap();
    let value = |table: &Table, name: &str| {
        let scores = model.evaluate(table).unwrap();
        scores.values.iter().find(|(metric, _)| metric.name == name).unwrap().1
    };
    for (metric, sign) in [("r2", 1.0), ("rmse", -1.0)] {
        let permuting = Permuting { repeats: 3, seed: 9, metric: Some(metric.to_owned()) };
        let found = model.importances(&original, &permuting).unwrap();
        assert_eq!((found.metric.name, found.rows), (metric, ROWS));
        assert_eq!(found.baseline, value(&original, metric));
        let names: Vec<&str> = found.columns.iter().map(|of| of.column.as_str()).collect();
        assert_eq!(names, ["size", "kind", "other"]);
        for (at, of) in found.columns.iter().enumerate() {
            for (repeat, lost) in of.values.iter().enumerate() {
                let key = Key::new(9).with_name("permutation importance").with(repeat as u64);
                let order = Permutation::new(ROWS, key.below(u64::MAX));
                let mut permuted = rows();
                for (i, row) in permuted.iter_mut().enumerate() {
                    row[at] = rows()[order.at(i)][at].clone();
                }
                let score = value(&table(&folder.path().join("p.csv"), &permuted), metric);
                assert_eq!(*lost, sign * (found.baseline - score), "{metric} {}", of.column);
            }
            let mean = of.values.iter().sum::<f64>() / 3.0;
            let variance = of.values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 3.0;
            assert_eq!(of.values.len(), 3);
            assert!((of.mean - mean).abs() < 1e-12 && (of.std - variance.sqrt()).abs() < 1e-12);
        }
        assert!(found.columns[0].mean > 10.0 * found.columns[2].mean.abs(), "{found:?}");
    }
    let typo = Permuting { repeats: 1, seed: 0, metric: Some("rsme".to_owned()) };
    let told = model.importances(&original, &typo).unwrap_err().to_string();
    assert!(told.contains("`rsme`; did you mean `rmse`?"), "{told}");
}
