//! Tables read from files, and what becomes of them.

use std::path::{Path, PathBuf};

use rappel_data::{Encoding, Missing, Preprocessing, TABLE, Table, TableConfig, Wanted, write_csv};
use rappel_registry::resolve;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn config(more: &str) -> TableConfig {
    let text = format!("file = 't.csv'\ntarget = 'y'\n{more}");
    let options = resolve("data", TABLE, &toml::from_str(&text).unwrap()).unwrap();
    TableConfig::from_options(&options).unwrap()
}

fn fit(table: &Table, more: &str, wanted: Wanted) -> Preprocessing {
    let rows: Vec<usize> = (0..table.rows()).collect();
    Preprocessing::fit(table, &rows, &config(more), wanted).unwrap()
}

const NUMBER: Wanted = Wanted::Number { standardize: false };

#[test]
fn the_same_rows_come_from_parquet_under_each_compression() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tabular");
    for compression in ["none", "snappy", "gzip", "zstd"] {
        let read = Table::read(&folder.join(format!("{compression}.parquet")));
        if compression == "zstd" && !cfg!(feature = "zstd") {
            let told = read.unwrap_err().to_string();
            assert!(told.contains("or build with `--features zstd`"), "{told}");
            continue;
        }
        let table = read.unwrap();
        assert_eq!(
            (table.rows(), table.names()),
            (4, vec!["count", "share", "single", "colour", "open"])
        );
        let column = |name| table.column(name).unwrap();
        let texts =
            |name| (0..4).map(|row| column(name).text(row).map(String::from)).collect::<Vec<_>>();
        // An integer that no double holds keeps its digits.
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts("count"), [some("3"), None, some("7"), some("1152921504606846976")]);
        assert_eq!(texts("colour"), [some("red"), None, some("blue"), some("red")]);
        assert_eq!(texts("open"), [some("true"), some("false"), some("true"), some("true")]);
        assert_eq!(column("share").number(3), Some(Ok(-1e-300)));
        assert_eq!(column("share").number(2), None);
        assert_eq!(column("single").number(3), Some(Ok(3.5)));
    }
    let (_folder, path) = written("a,b\n1,2\n");
    let torn = path.with_extension("parquet");
    std::fs::write(&torn, "PAR1 and no more").unwrap();
    let told = Table::read(&torn).unwrap_err().to_string();
    assert!(told.contains("not a whole Parquet file"), "{told}");
}

#[test]
fn numbers_names_and_holes_become_numbers() {
    let (_folder, path) = written("a,b,y\n1,red,0\n3,,1\n,blue,2\n8,red,3\n");
    let table = Table::read(&path).unwrap();
    let found = fit(&table, "missing = 'median'\nstandardize = false", NUMBER);
    assert_eq!(found.inputs(), ["a", "a is missing", "b=blue", "b=red", "b is missing"]);
    let encoded = found.encode(&table, &[0, 1, 2, 3]).unwrap();
    let expected = [
        [1.0, 0.0, 0.0, 1.0, 0.0], //
        [3.0, 0.0, 0.0, 1.0, 1.0],
        [3.0, 1.0, 1.0, 0.0, 0.0],
        [8.0, 0.0, 0.0, 1.0, 0.0],
    ];
    assert_eq!(encoded.values, expected.concat());
    let notes = ["column `a`: 1 missing, taken for 3", "column `b`: 1 missing, taken for red"];
    assert_eq!(encoded.notes, notes);
    assert_eq!(found.target.encode(&table, &[2, 3]).unwrap(), [2.0, 3.0]);

    // Only the training rows count: mean 2, deviation 1.
    let found = Preprocessing::fit(&table, &[0, 1], &config("missing_indicator = false"), NUMBER);
    let found = found.unwrap();
    assert_eq!(found.inputs(), ["a", "b=red"]);
    let encoded = found.encode(&table, &[0, 2, 3]).unwrap();
    assert_eq!(encoded.values, [-1.0, 1.0, 0.0, 0.0, 6.0, 1.0]);
    assert!(encoded.notes.contains(&"column `b`: 1 of no known category, such as `blue`".into()));
}

#[test]
fn columns_are_chosen_by_name() {
    let (_folder, path) = written("id,a,zip,y\n7,1,011,0\n8,2,11,1\n9,3,011,5\n");
    let table = Table::read(&path).unwrap();
    let all = fit(&table, "exclude = ['id']", NUMBER);
    assert_eq!(all.inputs(), ["a", "zip"]);
    let some = fit(&table, "features = ['zip', 'a']\ncategorical = ['zip']", NUMBER);
    // As texts, 011 and 11 are not the same.
    assert_eq!(some.inputs(), ["zip=011", "zip=11", "a"]);
    let Encoding::Numeric { mean, std, fill } = some.features[1].encoding else { panic!() };
    assert_eq!((mean, fill), (2.0, Some(2.0)));
    assert!((std - (2.0_f64 / 3.0).sqrt()).abs() < 1e-15);
    // What a model keeps says it all.
    let json = serde_json::to_string(&some).unwrap();
    assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), some);
    let classes = fit(&table, "exclude = ['id']\nmissing = 'error'", Wanted::Classes);
    assert_eq!(classes.target.encode(&table, &[2, 0]).unwrap(), [2.0, 0.0]);
    assert_eq!(Missing::NAMES.len(), 4);
}

#[test]
fn what_was_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    let rows = vec![vec!["a, \"b\"".to_owned(), "0.1".to_owned()]];
    let mut file = std::fs::File::create(&path).unwrap();
    write_csv(&mut file, &["name".to_owned(), "x".to_owned()], &rows).unwrap();
    let table = Table::read(&path).unwrap();
    assert_eq!(table.column("name").unwrap().text(0).unwrap(), "a, \"b\"");
    assert_eq!(table.column("x").unwrap().number(0), Some(Ok(0.1)));
}
