//! Labels of texts, from a pretrained encoder to predictions, and what is wrong with them.

mod common;

use std::fs;

use common::Place;
use serde_json::{Value, json};

const CONFIG: &str = "
task = 'sequence_classification'
seed = 2
data = { file = 'train.csv', validation_file = 'test.jsonl' }
model = { pretrained = 'base' }
optimizer = { name = 'adamw', lr = 0.01 }
train = { steps = 60, batch_size = 8 }
checkpoint = { every = 20 }
";

/// Texts whose label is the animal in them, whatever the case and what is beside it.
fn texts(seed: usize) -> Vec<(String, &'static str)> {
    let one = |i: usize| {
        let animal = ["cat", "dog", "fox"][i % 3];
        let verb = ["sat", "ran", "walked", "jumps"][i * 7 % 4];
        let place = ["mat", "road"][i * 5 % 2];
        let long =
            if i.is_multiple_of(5) { " the quick brown the lazy road over the mat" } else { "" };
        (format!("The {animal} {verb} on a {place}.{long}"), ["feline", "canine", "vulpine"][i % 3])
    };
    (seed..seed + 36).map(one).collect()
}

fn place() -> Place {
    let place = Place::new();
    let golden = common::testdata("sentences");
    fs::create_dir(place.at("base")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(golden.join(file), place.at("base").join(file)).unwrap();
    }
    let rows = texts(0).into_iter().enumerate();
    let rows = rows.map(|(i, (text, label))| format!("{i},\"{text}\",{label}\n"));
    place.write("train.csv", format!("id,text,label\n{}", rows.collect::<String>()));
    let records = texts(100).into_iter();
    let records =
        records.map(|(text, label)| format!("{}\n", json!({"text": text, "label": label})));
    place.write("test.jsonl", records.collect::<String>());
    place.write("run.toml", CONFIG);
    place
}

#[test]
fn an_encoder_learns_labels_and_its_folder_predicts_them() {
    let place = place();
    let steps = ["--set", "train.steps=400"];
    let report =
        place.json(&[&["train", "run.toml", "--out", "run", "--json"][..], &steps].concat());
    let [loss, of_frequencies] =
        ["validation_loss", "frequencies_loss"].map(|name| report[name].as_f64().unwrap());
    assert!((of_frequencies - 3_f64.ln()).abs() < 1e-9 && loss < 0.2, "{report}");
    assert_eq!(report["validation_accuracy"], 1.0);
    let config: Value = serde_json::from_str(&place.read("run/model/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    // In order: by text, since they are no numbers.
    assert_eq!(config["id2label"], json!({"0": "canine", "1": "feline", "2": "vulpine"}));
    assert_eq!(config["label2id"]["vulpine"], 2);
    let scores = place.json(&["eval", "--model", "run", "--file", "test.jsonl", "--json"]);
    assert_eq!((&scores["accuracy"], &scores["texts"]), (&json!(1.0), &json!(36)));
    assert!(scores["auc"].as_f64().unwrap() > 0.999 && scores["f1_macro"] == 1.0, "{scores}");
    place.write("new.csv", "n,body\n7,the FOX ran on a mat.\n8,The dog walked on a road.\n");
    let args = [
        "predict",
        "--model",
        "run/model",
        "--file",
        "new.csv",
        "--id",
        "n",
        "--text-field",
        "body",
    ];
    place.ok(&[&args[..], &["--out", "out.csv"]].concat());
    let lines = place.read("out.csv");
    let lines: Vec<&str> = lines.lines().collect();
    let head = "n,prediction,probability of canine,probability of feline,probability of vulpine";
    assert_eq!(lines[0], head);
    assert!(lines[1].starts_with("7,vulpine,") && lines[2].starts_with("8,canine,"), "{lines:?}");
    let told = place.ok(&["inspect", "run"]);
    let head =
        "head        sequence classification, single_label_classification: canine, feline, vulpine";
    assert!(told.lines().any(|line| line == head), "{told}");
    // What was learned goes on: its own head is kept where the labels are the same.
    place.write(
        "again.toml",
        CONFIG.replace("'base'", "'run/model'").replace("steps = 60", "steps = 1"),
    );
    place.ok(&["train", "again.toml", "--out", "again", "--set", "optimizer.lr=1e-9"]);
    let scores = place.json(&["eval", "--model", "again", "--file", "test.jsonl", "--json"]);
    assert_eq!(scores["accuracy"], 1.0);
}

#[test]
fn runs_have_the_same_bits_resumed_and_on_any_number_of_threads() {
    let place = place();
    place.ok(&["train", "run.toml", "--out", "one", "--threads", "1"]);
    place.ok(&["train", "run.toml", "--out", "two", "--threads", "2"]);
    assert_eq!(place.model("one"), place.model("two"));
    place.ok(&[
        "train",
        "run.toml",
        "--out",
        "half",
        "--set",
        "train.steps=40",
        "--set",
        "schedule.name=constant",
    ]);
    place.ok(&["train", "--resume", "half", "--set", "train.steps=60"]);
    assert_eq!(place.model("half"), place.model("one"));
}

#[test]
fn frozen_parameters_stay_as_they_are() {
    let place = place();
    let weights = |folder: &str| {
        let file =
            rappel_tensor::TensorFile::open(place.at(folder).join("model.safetensors")).unwrap();
        let name = "embeddings.word_embeddings.weight";
        let name = file.names().into_iter().find(|other| other.ends_with(name)).unwrap();
        file.tensor(&name).unwrap().to_f64_vec()
    };
    place.ok(&["train", "run.toml", "--out", "free", "--set", "train.steps=3"]);
    assert_ne!(weights("free/model"), weights("base"));
    let freeze = "model.freeze=['bert.embeddings.*']";
    place.ok(&["train", "run.toml", "--out", "kept", "--set", "train.steps=3", "--set", freeze]);
    assert_eq!(weights("kept/model"), weights("base"));
}

#[test]
fn what_cannot_be_learned_is_told_before_anything_is_written() {
    let place = place();
    for (set, want) in [
        ("data.label=kind", "kind"),
        ("data.text=body", "body"),
        ("data.max_length=17", "data.max_length"),
        ("model.freeze=['encoder.*']", "`encoder.*` matches no parameter"),
        ("model.sha256=abc", "its SHA-256 is"),
        ("model.pretrained=none", "there is no folder"),
    ] {
        let told = place.error(&["train", "run.toml", "--out", "run", "--set", set]);
        assert!(told.contains(want), "{set}: {told}");
        assert!(!place.at("run").exists(), "{set}");
    }
    place.write("test.jsonl", json!({"text": "a", "label": "felin"}).to_string());
    let told = place.error(&["train", "run.toml", "--out", "run"]);
    assert!(
        told.contains("test.jsonl, line 1: no label is named `felin`; did you mean `feline`?"),
        "{told}"
    );
    place.write("test.jsonl", json!({"text": "a"}).to_string());
    let told = place.error(&["train", "run.toml", "--out", "run"]);
    assert!(told.contains("test.jsonl, line 1: the record has no field `label`"), "{told}");
    place.write("train.csv", "text,label\na,x\nb,x\n");
    let told = place.error(&["train", "run.toml", "--out", "run"]);
    assert!(told.contains("so that there is nothing to learn"), "{told}");
    let told =
        place.error(&["predict", "--model", "base", "--file", "train.csv", "--out", "out.csv"]);
    assert!(told.contains("this is an encoder of texts: it cannot predict"), "{told}");
}
