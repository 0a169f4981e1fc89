//! Ratings of pairs of users and items, from files to predictions, and what is wrong with them.

mod common;

use std::fmt::Write;

use common::{Place, stderr};

/// Ratings that are the sum of what a user and an item are, and of how their tastes meet.
fn ratings() -> String {
    let mut text = "user_id,item_id,rating,hour\n".to_owned();
    for user in 0..40_usize {
        for turn in 0..12_usize {
            let item = (user * 5 + turn * 7) % 30;
            let likes = if user % 2 == item % 3 % 2 { 2 } else { 0 };
            let rating = 1 + likes + user % 3 / 2 + item % 2;
            writeln!(text, "u{user},i{item},{rating},{}", turn % 4).unwrap();
        }
    }
    text
}

const CONFIG: &str = "
task = 'rating'
data = { file = 'ratings.csv', validation_fraction = 0.1, test_fraction = 0.1 }
model = { name = 'biased_mf', embedding_size = 4 }
optimizer = { name = 'adam', lr = 0.03 }
train = { steps = 150, batch_size = 64, eval_every = 50 }
checkpoint = { every = 20 }
";

fn place() -> Place {
    let place = Place::new();
    place.write("ratings.csv", ratings());
    place.write("rating.toml", CONFIG);
    let user = |user: usize| format!("u{user},{},{}\n", ["a", "b"][user % 2], 20 + user % 3);
    place
        .write("users.csv", (0..39).fold("user,group,age\n".to_owned(), |text, i| text + &user(i)));
    let kinds = ["red round", "round", "red"];
    let item = |item: usize| format!("i{item}\t{}\n", kinds[item % 3]);
    let head = "item_id:token\tkinds:token_seq\n".to_owned();
    place.write("items.item", (0..30).fold(head, |text, i| text + &item(i)));
    place
}

#[test]
fn ratings_are_told_of_users_and_items_known_and_not() {
    let place = place();
    let report = place.json(&["train", "rating.toml", "--out", "r", "--json"]);
    let value = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert!(value("validation_rmse") < 0.8 * value("mean_rmse"), "{report}");
    assert!(value("test_mae") < value("mean_rmse"), "{report}");
    let worth = place.json(&["eval", "--model", "r", "--file", "ratings.csv", "--json"]);
    assert_eq!(worth["ratings"], 480);
    assert!(worth["rmse"].as_f64().unwrap() < value("validation_rmse"), "{worth}");

    // The second row is of a user nobody knows: what is known of the item counts, within the range of ratings.
    place.write("ask.csv", "user,item\nu1,i1\nnobody,i1\nu1,i1\nu1,nothing\n");
    let told =
        stderr(&place.rappel(&["predict", "--model", "r", "--file", "ask.csv", "--out", "p.csv"]));
    assert!(
        told.contains("1 interactions are of users and 1 of items that training did not know"),
        "{told}"
    );
    let rows = place.read("p.csv");
    let cells: Vec<Vec<&str>> = rows.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((cells[0].join(" ").as_str(), cells.len()), ("user item prediction", 5));
    assert_eq!((cells[2][0], cells[1][2]), ("nobody", cells[3][2]));
    for row in &cells[1..] {
        let rating: f64 = row[2].parse().unwrap();
        assert!((1.0..=5.0).contains(&rating), "{rows}");
    }
}

#[test]
fn likes_are_told_from_all_that_is_known() {
    let place = place();
    let fields = [
        "data.threshold=3",
        "data.validation_fraction=0.4",
        "data.user_file=users.csv",
        "data.item_file=items.item",
        "data.features=[\"hour\"]",
    ];
    let set: Vec<&str> = fields.iter().flat_map(|setting| ["--set", setting]).collect();
    for model in ["lr", "fm", "deepfm", "dlrm"] {
        let name = format!("model={{ name = \"{model}\" }}");
        let train = |threads: &str, out: &str| {
            let args = [
                "--threads",
                threads,
                "train",
                "rating.toml",
                "--set",
                &name,
                "--out",
                out,
                "--json",
            ];
            place.json(&[&args, &set[..]].concat())
        };
        let report = train("1", &format!("{model}1"));
        let value = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
        assert!(
            value("validation_auc") > if model == "lr" { 0.5 } else { 0.7 },
            "{model}: {report}"
        );
        assert!(value("mean_auc") == 0.5 && value("validation_gauc") > 0.4, "{report}");
        assert!(
            report["protocol"].as_str().unwrap().starts_with("a rating of at least 3 is liked")
        );
        train("2", &format!("{model}2"));
        assert_eq!(place.model(&format!("{model}1")), place.model(&format!("{model}2")), "{model}");
        let killed = format!("{model}3");
        let args = ["train", "rating.toml", "--set", &name, "--out", &killed];
        place.kill_and_resume(&killed, "2", &[&args, &set[..]].concat(), 2);
        assert_eq!(place.model(&format!("{model}1")), place.model(&killed), "{model}");
    }
    let told = stderr(&place.rappel(
        &[&["train", "rating.toml", "--set", "model.name=fm", "--out", "n"], &set[..]].concat(),
    ));
    assert!(
        told.contains("6 fields")
            && told.contains("users.csv: 1 users of the interactions are not described"),
        "{told}"
    );
    // A file without the column that the model reads.
    place.write("ask.csv", "user,item\nu1,i1\n");
    let told = place.error(&["predict", "--model", "fm1", "--file", "ask.csv", "--out", "p.csv"]);
    assert!(told.contains("ask.csv: has no column `hour`"), "{told}");
    place.write("ask.csv", "user,item,hour\nu1,i1,2\nu2,i1,night\n");
    let told = place.error(&["predict", "--model", "fm1", "--file", "ask.csv", "--out", "p.csv"]);
    assert!(told.contains("line 3, column `hour`: `night` is not a number"), "{told}");
}

#[test]
fn ratings_resume_to_the_same_bits() {
    let place = place();
    place.ok(&["--threads", "1", "train", "rating.toml", "--out", "one"]);
    place.ok(&["--threads", "2", "train", "rating.toml", "--out", "two"]);
    place.kill_and_resume("killed", "2", &["train", "rating.toml", "--out", "killed"], 2);
    assert_eq!(place.model("one"), place.model("two"));
    assert_eq!(place.model("one"), place.model("killed"));
}

#[test]
fn rows_alone_are_what_the_whole_tables_are_where_nothing_else_moves() {
    let place = place();
    let sgd =
        ["--set", "optimizer={ name = \"sgd\", lr = 0.3 }", "--set", "train.max_grad_norm=1.0"];
    let train = |sparse: &str, out: &str| {
        let sparse = format!("model.sparse={sparse}");
        let args = ["train", "rating.toml", "--json", "--out", out, "--set", &sparse];
        place.json(&[&args, &sgd[..]].concat())
    };
    let (whole, rows) = (train("false", "whole"), train("true", "rows"));
    let of = |report: &serde_json::Value| report["validation_rmse"].as_f64().unwrap();
    assert!((of(&whole) - of(&rows)).abs() < 1e-4, "{whole} {rows}");
    // State of other shapes than a row's cannot be cut into rows.
    let adafactor = ["--set", "model.sparse=true", "--set", "optimizer={ name = \"adafactor\" }"];
    let told = place.error(&[&["train", "rating.toml", "--out", "bad"], &adafactor[..]].concat());
    assert!(
        told.contains("linear.weight") && told.contains("its gradient is kept by rows"),
        "{told}"
    );
}

#[test]
fn what_cannot_be_rated_is_told() {
    let place = place();
    let refused = |settings: &[&str], expected: &str| {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let args =
            ["train", "rating.toml", "--out", "bad"].into_iter().chain(set).collect::<Vec<_>>();
        let told = place.error(&args);
        assert!(told.contains(expected), "{expected}: {told}");
        assert!(!place.at("bad").exists());
    };
    refused(&["data.threshold=9"], "all training targets are the same");
    refused(&["loss.name=bce"], "data.threshold says");
    refused(&["data.rating=stars"], "has no column `stars`, which data.rating names");
    refused(&["data.features=[\"houre\"]"], "no column `houre`; did you mean `hour`?");
    refused(&["data.user_file=items.item"], "has no column of users");
    place.write("twice.csv", "user,age\nu1,3\nu1,4\n");
    refused(&["data.user_file=twice.csv"], "twice.csv: line 3: `u1` is described a second time");
    place.write("ratings.csv", ratings().replace("rating", "mark"));
    refused(&[], "has no column of ratings: none is called rating");
}
