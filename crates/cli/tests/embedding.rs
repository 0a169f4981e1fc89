//! Embeddings that are learned, against sentence-transformers, from pairs to a folder that `rappel embed` reads.

mod common;

use std::fs;

use common::{Place, testdata, train};
use rappel_testkit::assert_close_floor;
use serde_json::{Value, json};

const CONFIG: &str = "
task = 'embedding'
seed = 1
data = { files = ['pairs.jsonl'], shuffle = false, validation_fraction = 0.0 }
model = { pretrained = 'base' }
optimizer = { name = 'adamw', lr = 1e-3, weight_decay = 0.0 }
train = { steps = 4, batch_size = 4, max_grad_norm = 0.0, log_every = 1 }
";

/// A place with the encoder that the golden cases began at, in `base`, and their rows.
fn place() -> Place {
    let place = Place::new();
    for folder in ["base", "base/1_Pooling", "base/2_Normalize"] {
        fs::create_dir(place.at(folder)).unwrap();
        let from = folder.strip_prefix("base").unwrap().trim_start_matches('/');
        for file in fs::read_dir(testdata("sentences").join(from)).unwrap() {
            let file = file.unwrap().path();
            if file.is_file() {
                fs::copy(&file, place.at(folder).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    let config = place.read("base/config.json");
    let mut config: Value = serde_json::from_str(&config).unwrap();
    for name in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        config[name] = json!(0.0);
    }
    place.write("base/config.json", config.to_string());
    for name in ["pairs", "triplets", "negatives", "scores", "classes"] {
        let name = format!("{name}.jsonl");
        place.write(&name, fs::read(testdata("embeddings").join(&name)).unwrap());
    }
    place.write("run.toml", CONFIG);
    place
}

fn golden() -> Value {
    serde_json::from_slice(&fs::read(testdata("embeddings/golden.json")).unwrap()).unwrap()
}

fn numbers(values: &Value) -> Vec<f64> {
    serde_json::from_value(values.clone()).unwrap()
}

#[test]
fn losses_and_gradients_are_those_of_sentence_transformers() {
    let place = place();
    for (i, case) in golden()["cases"].as_array().unwrap().iter().enumerate() {
        let [file, loss, options] =
            ["file", "loss_type", "options"].map(|key| case[key].as_str().unwrap());
        let config = format!("{CONFIG}\n[loss]\nloss_type = '{loss}'\n{options}\n");
        place.write("case.toml", config.replace("pairs.jsonl", &format!("{file}.jsonl")));
        let run = format!("run{i}");
        place.ok(&train("case.toml", &run, &[]));
        for (name, key) in [("loss", "train/loss"), ("grad_norm", "train/grad_norm")] {
            let got = place.recorded(&run, key);
            assert_close_floor(
                &got,
                &numbers(&case["steps"][name]),
                1e-4,
                0.1,
                &format!("{file} {loss} {options} {name}"),
            );
        }
    }
}

#[test]
fn metrics_are_those_of_sentence_transformers() {
    let place = place();
    let golden = golden();
    for (name, file) in
        [("pairs", "pairs"), ("triplets", "triplets"), ("scores", "scores"), ("classes", "classes")]
    {
        let scores =
            place.json(&["eval", "--model", "base", "--file", &format!("{file}.jsonl"), "--json"]);
        assert_eq!(scores["rows"], 16);
        for (metric, want) in golden["evaluated"][name].as_object().unwrap() {
            let (got, want) = (scores[metric].as_f64().unwrap(), want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-5, "{name} {metric}: {got}, {want}");
        }
    }
}

/// Pairs whose positive has the animal of its anchor.
fn pairs(seed: usize, rows: usize) -> String {
    let one = |i: usize| {
        let animal = ["cat", "dog", "fox"][i % 3];
        let [a, b] = [["sat", "ran", "walked", "jumps"][i * 7 % 4], ["mat", "road"][i * 5 % 2]];
        let anchor = format!("the {animal} {a} on a {b}");
        json!({"anchor": anchor, "positive": format!("a quick {animal}")}).to_string() + "\n"
    };
    (seed..seed + rows).map(one).collect()
}

#[test]
fn a_run_learns_which_texts_belong_together_and_leaves_a_folder_that_embeds() {
    let place = place();
    place.write("pairs.jsonl", pairs(0, 60));
    place.write("test.jsonl", pairs(100, 24));
    let settings = [
        "train.steps=150",
        "data.validation_files=['test.jsonl']",
        "data.shuffle=true",
        "optimizer.lr=0.01",
    ];
    let before = place.json(&["eval", "--model", "base", "--file", "test.jsonl", "--json"]);
    let report = place.json(&[&train("run.toml", "run", &settings)[..], &["--json"]].concat());
    let [before, after] = [&before["mrr@10"], &report["validation_mrr@10"]];
    assert!(before.as_f64().unwrap() < 0.9 && after.as_f64().unwrap() > 0.95, "{before} {report}");
    let names = place.names("run/model");
    for name in ["1_Pooling", "modules.json", "sentence_bert_config.json", "tokenizer.json"] {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    // The layers are those that it began with.
    let told = place.ok(&["inspect", "run"]);
    assert!(told.contains("8 numbers, mean of up to 8 tokens, normalized"), "{told}");
    let scores = place.json(&["eval", "--model", "run", "--file", "test.jsonl", "--json"]);
    assert_eq!(&scores["mrr@10"], after);
    place.write("texts.txt", "a quick cat\n");
    place.ok(&["embed", "--model", "run", "--file", "texts.txt", "--out", "out.npy"]);
    // Another one begins at it.
    place.ok(&train("run.toml", "again", &["model.pretrained=run", "train.steps=1"]));
}

#[test]
fn runs_have_the_same_bits_killed_resumed_and_on_any_number_of_threads() {
    let place = place();
    place.write("pairs.jsonl", pairs(0, 60));
    let settings = ["train.steps=40", "checkpoint.every=5", "data.shuffle=true"];
    place.ok(&[&["--threads", "1"], &train("run.toml", "one", &settings)[..]].concat());
    place.ok(&[&["--threads", "2"], &train("run.toml", "two", &settings)[..]].concat());
    assert_eq!(place.model("one"), place.model("two"));
    place.kill_and_resume("killed", "2", &train("run.toml", "killed", &settings), 2);
    assert_eq!(place.model("killed"), place.model("one"));
}

#[test]
fn columns_may_be_named_and_files_may_be_tables() {
    let place = place();
    let rows = (0..8).map(|i| format!("{i},the cat {i},a dog\n"));
    place.write("rows.csv", format!("id,instruction,output\n{}", rows.collect::<String>()));
    let files = "data.files=['rows.csv']";
    let told = place.error(&train("run.toml", "run", &[files]));
    assert!(
        told.contains("rows.csv") && told.contains("name those of the texts in data.columns"),
        "{told}"
    );
    let columns = "data.columns=['instruction','output']";
    place.ok(&train("run.toml", "run", &[files, columns]));
    // A plain encoder's states are averaged.
    fs::remove_file(place.at("base/modules.json")).unwrap();
    place.ok(&train("run.toml", "plain", &[files, columns]));
    let pooling: Value =
        serde_json::from_str(&place.read("plain/model/1_Pooling/config.json")).unwrap();
    assert_eq!(pooling["pooling_mode_mean_tokens"], true);
    let told = place.ok(&["inspect", "plain"]);
    assert!(
        told.lines().any(|line| line == "embedding   8 numbers, mean of up to 8 tokens"),
        "{told}"
    );
    place.ok(&train(
        "run.toml",
        "cls",
        &[files, columns, "model.pooling=cls", "model.normalize=true"],
    ));
    let told = place.ok(&["inspect", "cls"]);
    assert!(told.contains("cls of up to 8 tokens, normalized"), "{told}");
}

#[test]
fn what_cannot_be_learned_is_said_before_anything_is_written() {
    let place = place();
    place.write("odd.jsonl", "{\"anchor\": \"a cat\", \"positive\": 3}\n");
    place.write("number.jsonl", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"score\": \"x\"}\n");
    for (settings, want) in [
        (
            ["data.files=['odd.jsonl']", "seed=1"],
            "odd.jsonl, line 1: `positive` is not a text but 3",
        ),
        (["data.files=['number.jsonl']", "seed=1"], "`score` is `x`, expected a number"),
        (["data.files=['pairs.jsonl','scores.jsonl']", "seed=1"], "train on files of one format"),
        (
            ["data.files=['scores.jsonl']", "loss.loss_type=triplet"],
            "triplet needs an anchor, a positive and one negative",
        ),
        (["data.files=['scores.jsonl']", "loss.loss_type=contrastive"], "a label that is 0 or 1"),
        (["loss.matryoshka_dims=[9]", "seed=1"], "9 is more than the 8 numbers of an embedding"),
        (["model.freeze=['embedings.*']", "seed=1"], "matches no parameter"),
        (["regularize=[{name='mixup',alpha=0.2}]", "seed=1"], "cannot be mixed"),
    ] {
        let told = place.error(&train("run.toml", "run", &settings));
        assert!(told.contains(want), "{settings:?}: {told}");
        assert!(!place.at("run").exists(), "{settings:?}");
    }
}
