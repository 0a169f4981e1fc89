//! Tables read from files, and what becomes of them.

use std::path::{Path, PathBuf};

use rappel_config::OptionSet;
use rappel_data::{
    DataError, Encoding, Missing, Preprocessing, Table, TableConfig, Wanted, write_csv,
};

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn config(more: &str) -> TableConfig {
    let text = format!("file = 't.csv'\ntarget = 'y'\n{more}");
    TableConfig::from_toml("data", &toml::from_str(&text).unwrap()).unwrap()
}

/// A table, read and fitted as a config says.
fn fit(path: &Path, more: &str, wanted: Wanted) -> (Table, Preprocessing) {
    let (table, found) = try_fit(path, more, wanted);
    (table, found.unwrap())
}

fn try_fit(path: &Path, more: &str, wanted: Wanted) -> (Table, Result<Preprocessing, DataError>) {
    let config = config(more);
    let table = config.read(path, wanted).unwrap();
    let rows: Vec<usize> = (0..table.rows()).collect();
    let found = Preprocessing::fit(&table, &rows, &config, wanted);
    (table, found)
}

/// Why a file with this config is refused.
fn refused(text: &str, more: &str, wanted: Wanted) -> String {
    let (_folder, path) = written(text);
    match config(more).read(&path, wanted) {
        Err(error) => error.to_string(),
        Ok(_) => try_fit(&path, more, wanted).1.unwrap_err().to_string(),
    }
}

const NUMBER: Wanted = Wanted::Number { standardize: false };

#[test]
fn the_same_rows_come_from_parquet_under_each_compression() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tabular");
    for compression in ["none", "snappy", "gzip", "zstd"] {
        let read = Table::read(&folder.join(format!("{compression}.parquet")));
        let table = read.unwrap_or_else(|error| panic!("{compression}: {error}"));
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
    assert!(told.contains("not a complete Parquet file"), "{told}");
}

#[test]
fn numbers_names_and_holes_become_numbers() {
    let (_folder, path) = written("a,b,y\n1,red,0\n3,,1\n,blue,2\n8,red,3\n");
    let (table, found) = fit(&path, "missing = 'median'\nstandardize = false", NUMBER);
    assert_eq!(found.inputs(), ["a", "a is missing", "b=blue", "b=red", "b is missing"]);
    let encoded = found.encode::<f32>(&table, &[0, 1, 2, 3]).unwrap();
    let expected = [[1.0, 0.0, 0.0], [3.0, 0.0, 1.0], [3.0, 1.0, 0.0], [8.0, 0.0, 0.0]];
    assert_eq!((encoded.rows, &encoded.numbers_at[..]), (4, &[0, 1, 4][..]));
    assert_eq!(encoded.numbers, expected.concat());
    assert_eq!(encoded.ones, [3, 3, 2, 3]);
    let notes = ["column `a`: 1 missing, taken for 3", "column `b`: 1 missing, taken for red"];
    assert_eq!(encoded.notes, notes);
    assert_eq!(found.target.encode(&table, &[2, 3]).unwrap(), [2.0, 3.0]);

    // Only the training rows count: mean 2, deviation 1.
    let found = Preprocessing::fit(&table, &[0, 1], &config("missing_indicator = false"), NUMBER);
    let found = found.unwrap();
    assert_eq!((found.inputs(), found.width()), (vec!["a".to_owned(), "b=red".to_owned()], 2));
    let encoded = found.encode::<f64>(&table, &[0, 2, 3]).unwrap();
    assert_eq!((encoded.numbers, encoded.ones), (vec![-1.0, 0.0, 6.0], vec![1, -1, 1]));
    assert!(encoded.notes.contains(&"column `b`: 1 of no known category, such as `blue`".into()));
}

#[test]
fn columns_are_chosen_by_name() {
    let (_folder, path) = written("id,a,zip,y\n7,1,011,0\n8,2,11,1\n9,3,011,5\n");
    let (_, all) = fit(&path, "exclude = ['id']", NUMBER);
    assert_eq!(all.inputs(), ["a", "zip"]);
    let (_, some) = fit(&path, "features = ['zip', 'a']\ncategorical = ['zip']", NUMBER);
    // As texts, 011 and 11 are not the same.
    assert_eq!(some.inputs(), ["zip=011", "zip=11", "a"]);
    let Encoding::Numeric { mean, std, fill, date: false } = some.features[1].encoding else {
        panic!()
    };
    assert_eq!((mean, fill), (2.0, Some(2.0)));
    assert!((std - (2.0_f64 / 3.0).sqrt()).abs() < 1e-15);
    // What a model keeps says it all.
    let json = serde_json::to_string(&some).unwrap();
    assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), some);
    assert_eq!(some.read(&path, false).unwrap().column("zip").unwrap().text(0).unwrap(), "011");
    let (table, classes) = fit(&path, "exclude = ['id']\nmissing = 'error'", Wanted::Classes);
    assert_eq!(classes.target.encode(&table, &[2, 0]).unwrap(), [2.0, 0.0]);
    assert_eq!(<Missing as rappel_config::Words>::WORDS.len(), 4);
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

#[test]
fn a_column_of_nearly_distinct_texts_is_asked_about() {
    let rows = (0..60)
        .map(|i| format!("2024-03-{:02},u{i},{i}\n", i % 30 + 1))
        .collect::<Vec<_>>()
        .concat();
    let text = format!("day,user,y\n{rows}");
    let told = refused(&text, "", NUMBER);
    for part in [
        "column `user` holds text, 60 different ones in 60",
        "data.exclude",
        "data.hash",
        "data.dates",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let (_folder, path) = written(&text);
    let (table, found) = fit(
        &path,
        "dates = ['day']\nhash = ['user']\nhash_buckets = 8\nstandardize = false",
        NUMBER,
    );
    assert_eq!(found.width(), 9);
    let encoded = found.encode::<f64>(&table, &[0, 31]).unwrap();
    assert_eq!(encoded.numbers, [19_783.0, 19_784.0]);
    assert!(encoded.ones.iter().all(|one| (1..9).contains(one)) && encoded.ones.len() == 2);
    assert!(found.inputs()[1].starts_with("user hashed to 0"));
    let (table, found) = fit(&path, "categorical = ['user']\nexclude = ['day']", NUMBER);
    assert_eq!((found.width(), found.notes().len()), (60, 0));
    assert_eq!(found.encode::<f32>(&table, &[59]).unwrap().numbers_at, [0; 0]);
}

#[test]
fn wide_columns_are_told_of() {
    let rows = (0..505).map(|i| format!("c{},{i}\n", i % 101)).collect::<Vec<_>>().concat();
    let (_folder, path) = written(&format!("city,y\n{rows}"));
    let (_, found) = fit(&path, "", NUMBER);
    let notes = found.notes();
    assert!(notes.len() == 1 && notes[0].contains("column `city`: 101 categories"), "{notes:?}");
}

#[test]
fn delimiters_decimals_and_missing_values_are_those_of_the_file() {
    for text in ["a;b;y\n1;x;2\n3;z;5\n", "a\tb\ty\n1\tx\t2\n3\tz\t5\n", "a|b|y\n1|x|2\n3|z|5\n"] {
        let (_folder, path) = written(text);
        assert_eq!(fit(&path, "", NUMBER).1.inputs(), ["a", "b=x", "b=z"], "{text}");
    }
    let german = "preis;wann;y\n1.234,5;01.03.2024;1\n-;02.03.2024;2,5\n";
    let more = "decimal = ','\nthousands = '.'\nmissing_values = ['-']\ndates = ['wann']\n\
                date_format = '%d.%m.%Y'\nstandardize = false";
    let (_folder, path) = written(german);
    let (table, found) = fit(&path, more, NUMBER);
    let encoded = found.encode::<f64>(&table, &[0, 1]).unwrap();
    assert_eq!(encoded.numbers, [1234.5, 0.0, 19_783.0, 1234.5, 1.0, 19_784.0]);
    assert_eq!(found.target.encode(&table, &[1]).unwrap(), [2.5]);
    // The model reads other files in the same way.
    let json = serde_json::to_string(&found).unwrap();
    let again: Preprocessing = serde_json::from_str(&json).unwrap();
    let table = again.read(&path, true).unwrap();
    assert_eq!(again.encode::<f64>(&table, &[0, 1]).unwrap(), encoded);
    // A comma between the cells is the user's word, whatever the header has more of.
    let (_folder, path) = written("a;b;c,y\n1,2\n3,4\n");
    assert_eq!(fit(&path, "delimiter = ','", NUMBER).1.inputs(), ["a;b;c"]);
    let (_folder, path) = written("a,y\nNA,1\nnone,2\n");
    assert_eq!(fit(&path, "default_missing_values = false", NUMBER).1.inputs(), ["a=NA", "a=none"]);
}

#[test]
fn lines_are_those_of_the_file_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        for (cells, line) in [("1,2|\"x\ny\",2|3,1O|", 5), ("1,2||4,2|3,1O|", 5), ("3,1O|4,2|", 2)]
        {
            let text = format!("a,y|{cells}").replace('|', end);
            let told = refused(&text, "exclude = ['a']", NUMBER);
            assert!(told.contains(&format!("line {line}, column `y`: `1O`")), "{text:?}: {told}");
        }
    }
    // As many rows as several threads read, with quotes that hold line breaks.
    let row = "\"a, \"\"b\"\"\r\nc\",1\r\n";
    let text = format!("a,y\r\n{}x,1O\r\n", row.repeat(200_000));
    let told = refused(&text, "exclude = ['a']", NUMBER);
    assert!(told.contains("line 400002, column `y`: `1O`"), "{told}");
    let (_folder, path) = written(&text.replace("1O", "2"));
    let table = Table::read(&path).unwrap();
    assert_eq!((table.rows(), table.place(200_000)), (200_001, "line 400002".to_owned()));
    assert_eq!(table.column("a").unwrap().text(199_999).unwrap(), "a, \"b\"\r\nc");
    assert_eq!(table.column("y").unwrap().number(200_000), Some(Ok(2.0)));
    let told = refused("a,y\n1,2\n\"3,4\n5,6\n", "", NUMBER);
    assert!(told.contains("line 3 opens a quote"), "{told}");
}

#[test]
fn a_quote_that_nothing_closes_is_told_by_its_line() {
    for (text, line) in [
        ("a,y\n1,2\nb,\"3", 3),
        ("a,y\n1,2\n\"b,3", 3),
        ("a,y\n1,2\nb,\"3\"\"", 3),
        ("a,y\r\n1,2\r\n\"b\nc\",\"3\r\n4,5\r\n", 3),
        ("a,y\n1,2\n3,\"", 3),
        ("a,\"y\n1,2\n3,4\n", 1),
    ] {
        let told = refused(text, "", NUMBER);
        assert!(told.contains(&format!("line {line} opens a quote")), "{text:?}: {told}");
    }
    // Closed, or no quotes at all: none that a cell begins with.
    for text in ["a,y\n\"b\"\"\",\"2\"", "a,y\n5\",2\nb\"\"\",3", "a,y\n\"b\n\",2\n3,\"4\"\n"] {
        let (_folder, path) = written(text);
        assert!(Table::read(&path).is_ok(), "{text:?}");
    }
}

#[test]
fn a_text_below_numbers_leaves_them_as_they_were_written() {
    let (_folder, path) = written("id,y\n007,1\nA12,2\n");
    let table = Table::read(&path).unwrap();
    let id = table.column("id").unwrap();
    assert_eq!([0, 1].map(|row| id.text(row).unwrap().into_owned()), ["007", "A12"]);
}

#[test]
fn very_many_numbers_are_classes_only_when_asked_for() {
    let rows = (0..60).map(|i| format!("{},{i}\n", i % 7)).collect::<Vec<_>>().concat();
    let text = format!("a,y\n{rows}");
    let told = refused(&text, "", Wanted::Classes);
    assert!(told.contains("60 different numbers") && told.contains("data.categorical"), "{told}");
    let (_folder, path) = written(&text);
    assert!(try_fit(&path, "categorical = ['y']", Wanted::Classes).1.is_ok());
    assert!(
        refused(&text, "categorical = ['y']", NUMBER).contains("leave it out of data.categorical")
    );
}

#[test]
fn deviations_that_overflow_are_errors() {
    for cells in [["1e200", "-1e200"], ["1e308", "1.5e308"], ["0", "1e-320"]] {
        let text = format!("a,y\n{},1\n{},2\n", cells[0], cells[1]);
        let told = refused(&text, "", NUMBER);
        assert!(told.contains("column `a`") && told.contains("overflows"), "{told}");
        let text = format!("y,a\n{},1\n{},2\n", cells[0], cells[1]);
        let told = refused(&text, "", Wanted::Number { standardize: true });
        assert!(told.contains("column `y`") && told.contains("overflows"), "{told}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_told() {
    for (more, key) in [
        ("hash = ['a']\ndates = ['a']", "hash"),
        ("numeric = ['y']", "numeric"),
        ("delimiter = ';;'", "delimiter"),
        ("thousands = '.'", "thousands"),
        ("date_format = 'dd.mm'", "date_format"),
    ] {
        let text = format!("file = 't.csv'\ntarget = 'y'\n{more}");
        let given = toml::from_str(&text).unwrap();
        let told = TableConfig::from_toml("data", &given).unwrap_err().to_string();
        assert!(told.contains(&format!("data.{key}")), "{told}");
    }
}
