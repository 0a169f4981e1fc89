//! Recommendations, from interactions to items for users, and what is wrong with interactions.

mod common;

use std::collections::HashSet;
use std::fmt::Write;

use common::{Place, stderr};

/// Users of four tastes, each of whom takes most items of one, in an order, and few others.
fn interactions() -> String {
    let mut text = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n".to_owned();
    for user in 0..60_usize {
        for turn in 0..9_usize {
            let item =
                if turn % 5 == 4 { user * 7 % 48 } else { user % 4 * 12 + (user + turn) % 12 };
            let rating = 1 + (user + 2 * turn) % 5;
            let time = 1000 + 100 * turn + user % 3;
            writeln!(text, "u{user}\ti{item}\t{rating}\t{time}").unwrap();
        }
    }
    let mut seen = HashSet::new();
    let once = |line: &&str| seen.insert(line.split('\t').take(2).collect::<Vec<_>>().join(" "));
    text.lines().filter(once).map(|line| line.to_owned() + "\n").collect()
}

const MF: &str = "
task = 'recommendation'
data = { file = 'taken.inter', validation_fraction = 0.2, test_fraction = 0.1 }
model = { name = 'mf', embedding_size = 8 }
evaluation = { k = [3, 5] }
optimizer = { name = 'adam', lr = 0.03 }
train = { steps = 120, batch_size = 64, eval_every = 40 }
checkpoint = { every = 10 }
";

const SASREC: &str = "
task = 'recommendation'
data = { file = 'taken.inter', split = 'leave_one_out' }
model = { name = 'sasrec', hidden_size = 16, n_layers = 1, max_length = 6 }
loss = { name = 'softmax' }
optimizer = { name = 'adam', lr = 0.02 }
train = { steps = 60, batch_size = 20, eval_every = 30 }
checkpoint = { every = 10 }
";

/// Alternating least squares: no optimizer, and no portions.
const IALS: &str = "
task = 'recommendation'
data = { file = 'taken.inter', validation_fraction = 0.2, test_fraction = 0.1 }
model = { name = 'ials', embedding_size = 8, regularization = 0.1, alpha = 4 }
evaluation = { k = [3, 5] }
train = { steps = 12, eval_every = 3 }
early_stopping = { metric = 'ndcg@5', patience = 3 }
checkpoint = { every = 1 }
";

const TWO_TOWER: &str = "
task = 'recommendation'
data = { file = 'taken.inter', validation_fraction = 0.2, test_fraction = 0.1 }
model = { name = 'two_tower', embedding_size = 16, hidden_sizes = [32, 16], normalize = true, dropout = 0.1 }
loss = { name = 'in_batch_softmax', temperature = 0.1 }
evaluation = { k = [3, 5] }
optimizer = { name = 'adam', lr = 0.01 }
train = { steps = 150, batch_size = 64, eval_every = 50 }
checkpoint = { every = 10 }
";

fn place() -> Place {
    let place = Place::new();
    place.write("taken.inter", interactions());
    place.write("mf.toml", MF);
    place.write("sasrec.toml", SASREC);
    place.write("ials.toml", IALS);
    place.write("two_tower.toml", TWO_TOWER);
    place
}

#[test]
fn users_get_items_of_their_taste_that_they_have_not_taken() {
    let place = place();
    let report = place.json(&["train", "mf.toml", "--out", "m", "--json"]);
    let value = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert!(value("validation_ndcg@5") > 2.0 * value("popularity_ndcg@5"), "{report}");
    assert!(value("test_recall@5") > value("test_recall@3") - 1e-9, "{report}");
    assert!(report["protocol"].as_str().unwrap().contains("among all 48 items"), "{report}");

    place.write("users.csv", "user\nu1\nnobody\nu1\nu2\n");
    let args = ["predict", "--model", "m", "--file", "users.csv", "--out", "p.csv", "--top-k", "4"];
    let told = stderr(&place.rappel(&args));
    assert!(told.contains("1 users are not known"), "{told}");
    let rows = place.read("p.csv");
    let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows[0].join(" ").as_str(), rows.len()), ("user rank item score", 1 + 3 * 4));
    let taken: HashSet<(String, String)> = interactions()
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    // The test's share is no more known to the model than what comes.
    let again =
        rows[1..].iter().filter(|row| taken.contains(&(row[0].into(), row[2].into()))).count();
    assert!(again <= 4, "{rows:?}");
    let of_taste =
        |row: &&Vec<&str>| row[0] == "u1" && (12..24).contains(&row[2][1..].parse().unwrap());
    assert!(rows.iter().filter(of_taste).count() >= 2, "{rows:?}");

    // What the file says was taken since is not told.
    place.write("since.csv", format!("user,item\nu1,{}\nu1,new\n", rows[1][2]));
    let args = ["predict", "--model", "m", "--file", "since.csv", "--out", "s.csv"];
    let told = stderr(&place.rappel(&args));
    assert!(told.contains("1 items of the file are not known"), "{told}");
    let since = place.read("s.csv");
    assert!(
        !since.contains(&format!(",{},", rows[1][2])) && since.lines().count() == 11,
        "{since}"
    );
}

#[test]
fn a_folder_is_measured_as_the_run_measured_it() {
    let place = place();
    place.write(
        "train.csv",
        interactions().replace('\t', ",").lines().step_by(2).fold(
            "user_id,item_id,rating,timestamp\n".to_owned(),
            |text, line| {
                if line.starts_with("user") { text } else { text + line + "\n" }
            },
        ),
    );
    let held = interactions().replace('\t', ",");
    let held =
        held.lines().skip(1).step_by(2).fold("user_id,item_id\n".to_owned(), |text, line| {
            text + &line.split(',').take(2).collect::<Vec<_>>().join(",") + "\n"
        });
    place.write("held.csv", held + "u1,never\nnobody,i3\n");
    let files = [
        "data.file=train.csv",
        "data.validation_file=held.csv",
        "data.validation_fraction=0",
        "data.test_fraction=0",
    ];
    let set = files.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>();
    let report = place.json(&[&["train", "mf.toml", "--out", "m", "--json"], &set[..]].concat());
    assert!(report["protocol"].as_str().unwrap().ends_with("held out by a file"), "{report}");
    let output = place.rappel(&["eval", "--model", "m", "--file", "held.csv", "--json"]);
    let told = stderr(&output);
    assert!(
        told.contains(
            "1 interactions of users and 1 of items that the training data does not have"
        ),
        "{told}"
    );
    let worth: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for metric in ["ndcg@3", "map@5", "coverage@5", "gini@3"] {
        assert_eq!(worth[metric], report[format!("validation_{metric}")], "{metric}");
    }
    let sampled =
        [&["--set", "evaluation.candidates=uniform", "--set", "evaluation.negatives=5"], &set[..]]
            .concat();
    let report =
        place.json(&[&["train", "mf.toml", "--out", "n", "--json"], &sampled[..]].concat());
    assert!(
        report["protocol"]
            .as_str()
            .unwrap()
            .contains("among 5 that the user had not taken, drawn alike")
    );
    assert!(report["validation_recall@5"].as_f64() > worth["recall@5"].as_f64(), "{report}");
}

#[test]
fn sequences_tell_what_comes_next_and_users_whom_training_did_not_know() {
    let place = place();
    let report = place.json(&["train", "sasrec.toml", "--out", "s", "--json"]);
    let value = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert!(value("validation_ndcg@10") > value("popularity_ndcg@10"), "{report}");
    // A new user who went from item to item as those of a taste do.
    place.write("new.csv", "user,item\nnew,i13\nnew,i14\nnew,i15\n");
    let told = place.rappel(&["predict", "--model", "s", "--file", "new.csv", "--out", "n.csv"]);
    assert!(!stderr(&told).contains("not known"), "{}", stderr(&told));
    let rows = place.read("n.csv");
    assert!(rows.starts_with("user,rank,item,score\nnew,1,i16,"), "{rows}");
}

#[test]
fn a_model_that_solves_for_its_vectors_trains_without_an_optimizer() {
    let place = place();
    let report = place.json(&["train", "ials.toml", "--out", "m", "--json"]);
    let value = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert!(value("validation_ndcg@5") > 2.0 * value("popularity_ndcg@5"), "{report}");
    assert!(value("train_loss") < 0.2 && value("validation_loss") < 1.0, "{report}");

    // The same folder serves as any recommender's.
    place.write("users.csv", "user\nu1\nu2\n");
    for out in ["p.csv", "p.parquet"] {
        place.ok(&["predict", "--model", "m", "--file", "users.csv", "--out", out, "--top-k", "4"]);
    }
    assert_eq!(place.read("p.csv").lines().count(), 9);
    // Parquet holds the same: as users and what they took since, both say the same.
    for since in ["p.csv", "p.parquet"] {
        place.ok(&[
            "predict",
            "--model",
            "m",
            "--file",
            since,
            "--out",
            &format!("since-{since}.csv"),
        ]);
    }
    assert_eq!(place.read("since-p.csv.csv"), place.read("since-p.parquet.csv"));

    for (setting, expected) in [
        ("optimizer={ name = 'adam', lr = 1e-3 }", "`optimizer`: ials solves for its vectors"),
        ("train.batch_size=32", "`train.batch_size`: ials solves for its vectors"),
        ("loss.name=bce", "`loss`: ials solves for its vectors"),
        ("average={ name = 'ema' }", "`average`: ials solves for its vectors"),
        ("model.dtype=float64", "`model.dtype`: ials is computed in float32"),
        ("model.regularization=0", "`model.regularization`"),
    ] {
        let told = place.error(&["train", "ials.toml", "--set", setting, "--out", "bad"]);
        assert!(told.contains(expected), "{expected}: {told}");
        assert!(!place.at("bad").exists());
    }
    let told = place.error(&["train", "mf.toml", "--set", "optimizer=", "--out", "bad"]);
    assert!(told.contains("`optimizer`"), "{told}");
}

#[test]
fn two_towers_learn_tastes() {
    let place = place();
    let report = place.json(&["train", "two_tower.toml", "--out", "m", "--json"]);
    let value = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert!(value("validation_ndcg@5") > 2.0 * value("popularity_ndcg@5"), "{report}");
    place.write("users.csv", "user\nu1\nnobody\n");
    place.ok(&["predict", "--model", "m", "--file", "users.csv", "--out", "p.csv", "--top-k", "4"]);
    assert_eq!(place.read("p.csv").lines().count(), 9);
}

#[test]
fn runs_resume_to_the_same_bits_on_any_number_of_threads() {
    let place = place();
    let losses = ["bpr", "bce", "softmax", "sampled_softmax", "in_batch_softmax"];
    let runs = losses
        .map(|loss| ("mf.toml", loss))
        .into_iter()
        .chain([("sasrec.toml", "softmax"), ("sasrec.toml", "bce"), ("ials.toml", "")])
        .chain([("two_tower.toml", "in_batch_softmax")]);
    let runs = runs.map(|(config, loss)| (config, loss, false)).chain([("mf.toml", "bpr", true)]);
    for (number, (config, loss, sparse)) in runs.enumerate() {
        let loss = format!("loss.name={loss}");
        let mut set = if config == "ials.toml" { vec![] } else { vec!["--set", &loss[..]] };
        if loss.ends_with("bpr") {
            set.extend([
                "--set",
                "loss.sampling=popularity",
                "--set",
                "loss.candidates=3",
                "--set",
                "model.item_bias=true",
            ]);
        }
        if sparse {
            set.extend(["--set", "model.sparse=true"]);
            set.extend(["--set", "train.gradient_accumulation_steps=2"]);
        }
        let train = |threads: &str, out: &str| {
            place.ok(&[&["--threads", threads, "train", config, "--out", out], &set[..]].concat());
        };
        let [one, two, killed] = ["one", "two", "killed"].map(|name| format!("{name}{number}"));
        train("1", &one);
        train("2", &two);
        assert_eq!(place.model(&one), place.model(&two), "{config}, {loss}");
        place.kill_and_resume(
            &killed,
            "2",
            &[&["train", config, "--out", &killed], &set[..]].concat(),
            2,
        );
        assert_eq!(place.model(&one), place.model(&killed), "{config}, {loss}");
    }
}

#[test]
fn interactions_that_cannot_be_are_told_with_file_and_row() {
    let place = place();
    let good = interactions();
    let with = |line: usize, text: &str| {
        let mut lines: Vec<&str> = good.lines().collect();
        lines.insert(line, text);
        lines.join("\n") + "\n"
    };
    let first = good.lines().nth(1).unwrap();
    let cases = [
        (
            with(7, first),
            "line 8: user `u0` takes item `i0` a second time, after line 2; take one out, or set data.on_duplicate",
        ),
        (with(7, "u1\t\t3\t1000"), "line 8, column `item_id:token`: the cell is empty; fill it in"),
        (with(7, "\ti1\t3\t1000"), "line 8, column `user_id:token`: the cell is empty"),
        (with(7, "u1\ti47\tgood\t1000"), "line 8, column `rating:float`: `good` is not a number"),
        (
            with(7, "u1\ti47\t3\tyesterday"),
            "line 8, column `timestamp:float`: `yesterday` is neither a number nor an ISO 8601 date",
        ),
        (with(7, "u1\ti47\t3\tinf"), "line 8, column `timestamp:float`: inf is not finite"),
        (with(7, "u1\ti47\t3"), "line 8 has 3 cells"),
        (
            good.replace("item_id:token", "thing"),
            "has no column of items: none is called item_id, item",
        ),
        (good.replace("user_id:token", "who"), "has no column of users"),
        (good.lines().next().unwrap().to_owned() + "\n", "has no rows"),
    ];
    for (text, expected) in cases {
        place.write("taken.inter", text);
        let told = place.error(&["train", "mf.toml", "--out", "bad"]);
        assert!(told.contains("taken.inter") && told.contains(expected), "{expected}: {told}");
        assert!(!place.at("bad").exists());
    }
    let told = place.error(&["train", "mf.toml", "--set", "data.item=thang", "--out", "bad"]);
    assert!(told.contains("has no"), "{told}");
    place.write("taken.inter", good.replace("rating:float", "stars_given"));
    let told = place.error(&["train", "mf.toml", "--set", "data.min_rating=4", "--out", "bad"]);
    assert!(told.contains("has no column of ratings"), "{told}");

    // Where that is asked for, they are left out and counted; order in the file means nothing where there are times.
    let mut spoiled: Vec<String> = with(7, first).lines().map(str::to_owned).collect();
    spoiled.push("u1\t\t3\t1000".to_owned());
    spoiled[1..].reverse();
    place.write("taken.inter", spoiled.join("\n"));
    let skip = ["--set", "data.on_duplicate=skip", "--set", "data.on_bad_row=skip"];
    let told =
        stderr(&place.rappel(&[&["train", "sasrec.toml", "--out", "s"], &skip[..]].concat()));
    assert!(told.contains("1 rows cannot be used"), "{told}");
    assert!(told.contains("1 interactions are there a second time and are left out"), "{told}");
    let few = [
        "--set",
        "data.min_item_interactions=8",
        "--set",
        "data.min_rating=2",
        "--set",
        "data.split=time",
    ];
    let told =
        stderr(&place.rappel(&[&["train", "mf.toml", "--out", "k"], &skip[..], &few].concat()));
    assert!(
        told.contains("of a rating below 2 are left out")
            && told.contains("with too few are left out"),
        "{told}"
    );
}
