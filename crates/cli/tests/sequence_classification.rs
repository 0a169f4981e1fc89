//! Labels of texts, from a pretrained encoder to predictions, and what is wrong with them.

mod common;

use std::fs;

use common::{Place, train};
use rappel_testkit::assert_close_floor;
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

/// A place with what transformers and peft began and trained, and that.
fn golden() -> (Place, Value) {
    let place = place();
    for folder in ["regression", "multi_label", "adapter"] {
        fs::create_dir(place.at(folder)).unwrap();
        for file in fs::read_dir(common::testdata("text_labels").join(folder)).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, place.at(folder).join(file.file_name().unwrap())).unwrap();
        }
    }
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(place.at("base").join(file), place.at("adapter").join(file)).unwrap();
    }
    let config: Value = serde_json::from_str(&place.read("base/config.json")).unwrap();
    let mut config = config.as_object().unwrap().clone();
    for name in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        config.insert(name.to_owned(), json!(0.0));
    }
    place.write("base/config.json", Value::from(config).to_string());
    let rows = common::testdata("text_labels");
    place.write("rows.jsonl", fs::read(rows.join("rows.jsonl")).unwrap());
    place.write("steps.toml", STEPS);
    (place, serde_json::from_slice(&fs::read(rows.join("golden.json")).unwrap()).unwrap())
}

const STEPS: &str = "
task = 'sequence_classification'
data = { file = 'rows.jsonl', validation_fraction = 0.0, shuffle = false }
model = { pretrained = 'base' }
optimizer = { name = 'adamw', lr = 0.01, weight_decay = 0.0 }
train = { steps = 3, batch_size = 4, max_grad_norm = 0.0, log_every = 1 }
";

#[test]
fn numbers_labels_and_adapters_are_learned_as_by_transformers_and_peft() {
    let (place, golden) = golden();
    for (name, settings) in [
        ("regression", &["model.problem_type=regression", "data.label=number"][..]),
        ("multi_label", &["model.problem_type=multi_label_classification", "data.label=labels"]),
        ("adapter", &["model.lora.adapter_name_or_path=adapter"]),
    ] {
        let base = format!("model.pretrained={}", if name == "adapter" { "base" } else { name });
        let settings = [&[base.as_str()], settings].concat();
        place.ok(&train("steps.toml", &format!("run_{name}"), &settings));
        for figure in ["loss", "grad_norm"] {
            let got = place.recorded(&format!("run_{name}"), &format!("train/{figure}"));
            let want: Vec<f64> =
                serde_json::from_value(golden["steps"][name][figure].clone()).unwrap();
            assert_close_floor(&got, &want, 1e-4, 0.1, &format!("{name} {figure}"));
        }
    }
}

#[test]
fn adapters_of_peft_predict_what_they_do_there() {
    let (place, golden) = golden();
    place.ok(&["predict", "--model", "adapter", "--file", "rows.jsonl", "--out", "out.csv"]);
    let text = place.read("out.csv");
    let lines = text.lines().skip(1);
    let numbers: Vec<f64> =
        lines.flat_map(|line| line.split(',').skip(1).map(|cell| cell.parse().unwrap())).collect();
    let want: Vec<Vec<f64>> = serde_json::from_value(golden["probabilities"].clone()).unwrap();
    assert_close_floor(&numbers, &want.concat(), 1e-5, 0.1, "probabilities");
}

#[test]
fn an_adapter_learns_labels_and_is_saved_with_its_head_alone() {
    let (place, _) = golden();
    let settings = ["model.lora={r=4,lora_alpha=8,lora_dropout=0.1}", "train.steps=600"];
    let report = place.json(&[&train("run.toml", "run", &settings)[..], &["--json"]].concat());
    assert!(report["validation_accuracy"].as_f64().unwrap() > 0.9, "{report}");
    let file = place.at("run/model/adapter_model.safetensors");
    let names = rappel_tensor::TensorFile::open(file).unwrap().names();
    let has = |name: &str| names.iter().any(|other| other == &format!("base_model.model.{name}"));
    assert!(has("classifier.weight") && has("classifier.bias") && has("bert.pooler.dense.weight"));
    assert!(has("bert.encoder.layer.1.attention.self.query.lora_A.weight"), "{names:?}");
    assert!(!has("bert.embeddings.word_embeddings.weight"));
    let config: Value = serde_json::from_str(&place.read("run/model/adapter_config.json")).unwrap();
    assert_eq!(config["task_type"], "SEQ_CLS");
    assert_eq!(config["modules_to_save"], json!(["bert.pooler.dense", "classifier"]));
    let scores = place.json(&["eval", "--model", "run", "--file", "test.jsonl", "--json"]);
    assert_eq!(scores["accuracy"], report["validation_accuracy"]);
    // Killed and resumed, it is the same.
    let short = ["model.lora={r=4,lora_dropout=0.1}", "train.steps=40", "checkpoint.every=5"];
    place.ok(&[&["--threads", "1"], &train("run.toml", "one", &short)[..]].concat());
    place.kill_and_resume("two", "2", &train("run.toml", "two", &short), 2);
    let hash = |run: &str| common::sha256(place.at(run).join("model/adapter_model.safetensors"));
    assert_eq!(hash("one"), hash("two"));
}

#[test]
fn texts_may_have_several_labels_or_a_number() {
    let (place, _) = golden();
    let rows = (0..60).map(|i| {
        let animals = [["cat", "dog"], ["fox", "cat"], ["dog", "fox"]][i % 3];
        let text = format!("the {} and the {} ran", animals[0], animals[1]);
        json!({"text": text, "labels": animals, "size": animals.len() as f64 + (i % 3) as f64})
            .to_string()
            + "\n"
    });
    place.write("rows.jsonl", rows.collect::<String>());
    let data = "data={file='rows.jsonl',validation_fraction=0.2}";
    let with = |label, problem| [data, label, problem, "train.steps=800"];
    let several = with("data.label=labels", "model.problem_type=multi_label_classification");
    let report = place.json(&[&train("run.toml", "any", &several)[..], &["--json"]].concat());
    assert!(report["validation_f1"].as_f64().unwrap() > 0.95, "{report}");
    assert!(report["frequencies_loss"].as_f64().unwrap() > 0.6, "{report}");
    place.ok(&["predict", "--model", "any", "--file", "rows.jsonl", "--out", "out.csv"]);
    assert!(place.read("out.csv").lines().nth(1).unwrap().starts_with("\"cat,dog\","));
    let number = with("data.label=size", "model.problem_type=regression");
    let report = place.json(&[&train("run.toml", "number", &number)[..], &["--json"]].concat());
    assert!(report["validation_pearson"].as_f64().unwrap() > 0.95, "{report}");
    let scores = place.json(&[
        "eval",
        "--model",
        "number",
        "--file",
        "rows.jsonl",
        "--label-field",
        "size",
        "--json",
    ]);
    assert!(scores["spearman"].as_f64().unwrap() > 0.8, "{scores}");
    let told = place.error(&train("run.toml", "bad", &with("data.label=text", number[2])));
    assert!(told.contains("expected a number to predict"), "{told}");
}

#[test]
fn what_cannot_be_learned_is_told_before_anything_is_written() {
    let place = place();
    for (set, want) in [
        ("data.label=kind", "kind"),
        ("data.text=body", "body"),
        ("data.max_length=17", "data.max_length"),
        ("model.freeze=['encoder.*']", "`encoder.*` matches no parameter"),
        ("model.lora={target_modules=['q_proj']}", "`q_proj` is no linear layer of the model"),
        ("model.quantization={load_in_4bit=true}", "encoders are read whole"),
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
