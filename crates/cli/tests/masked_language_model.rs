//! Hidden tokens that are predicted, from text to a folder, begun at nothing or at a pretrained encoder.

mod common;

use std::fs;

use common::{Place, testdata, train};
use serde_json::{Value, json};

const CONFIG: &str = "
task = 'masked_language_model'
seed = 3
data = { files = ['text.txt'], sequence_length = 12, validation_fraction = 0.2, tokenizer = 'base' }
optimizer = { name = 'adamw', lr = 0.003 }
train = { steps = 30, batch_size = 8, log_every = 1 }
checkpoint = { every = 5 }

[model]
name = 'bert'
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 16
max_position_embeddings = 16
initializer_range = 0.3
hidden_dropout_prob = 0.0
attention_probs_dropout_prob = 0.0
";

/// A place with a text in which each word follows from those beside it, and a tiny encoder `base`.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.at("base")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(testdata("sentences").join(file), place.at("base").join(file)).unwrap();
    }
    let sentence = |i: usize| ["the cat sat on a mat.\n", "a dog ran over the road.\n"][i % 2];
    place.write("text.txt", (0..200).map(sentence).collect::<String>());
    let lines = (0..200).map(|i| json!({"text": sentence(i).trim()}).to_string() + "\n");
    place.write("lines.jsonl", lines.collect::<String>());
    place.write("run.toml", CONFIG);
    place
}

#[test]
fn an_encoder_learns_from_nothing_what_is_hidden() {
    let place = place();
    let report =
        place.json(&[&train("run.toml", "run", &["train.steps=400"])[..], &["--json"]].concat());
    let value = |name: &str| report[format!("validation_{name}")].as_f64().unwrap();
    assert!(value("loss") < 1.0 && value("accuracy") > 0.6, "{report}");
    assert!((value("perplexity") - value("loss").exp()).abs() < 1e-9);
    let config: Value = serde_json::from_str(&place.read("run/model/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["BertForMaskedLM"]));
    assert_eq!((&config["vocab_size"], &config["pad_token_id"]), (&json!(29), &json!(0)));
    let told = place.ok(&["inspect", "run"]);
    assert!(told.contains("masked language model"), "{told}");
    // It goes on, and becomes a classifier.
    let model = CONFIG.split("[model]").next().unwrap().replace(", tokenizer = 'base'", "");
    place.write("more.toml", format!("{model}[model]\npretrained = 'run'\n"));
    let more = ["train.steps=1", "optimizer.lr=1e-9"];
    let again = place.json(&[&train("more.toml", "more", &more)[..], &["--json"]].concat());
    let again = again["validation_loss"].as_f64().unwrap();
    assert!((again - value("loss")).abs() < 1e-4, "{again} {report}");
}

#[test]
fn documents_may_be_samples_of_their_own() {
    let place = place();
    let settings = ["data.files=['lines.jsonl']", "data.document_attention=true", "train.steps=5"];
    let said = place.said(&train("run.toml", "run", &settings));
    // Lines are short enough to be samples of their own.
    assert!(said.contains("161 samples of at most 12 tokens"), "{said}");
    assert!(place.recorded("run", "train/loss").iter().all(|loss| loss.is_finite()));
}

#[test]
fn runs_have_the_same_bits_killed_resumed_and_on_any_number_of_threads() {
    let place = place();
    place.ok(&[&["--threads", "1"], &train("run.toml", "one", &[])[..]].concat());
    place.ok(&[&["--threads", "2"], &train("run.toml", "two", &[])[..]].concat());
    assert_eq!(place.model("one"), place.model("two"));
    place.kill_and_resume("killed", "2", &train("run.toml", "killed", &[]), 2);
    assert_eq!(place.model("killed"), place.model("one"));
}

#[test]
fn what_cannot_be_learned_is_said_before_anything_is_written() {
    let place = place();
    for (set, want) in [
        ("data.tokenizer=byte", "names no mask_token"),
        ("data.sequence_length=17", "longer than the model's 16 positions"),
        ("loss.random_replace_prob=0.3", "together with mask_replace_prob more than 1"),
        ("model.vocab_size=20", "less than the 29 tokens"),
        ("loss.mlm_probability=0.0", "hides no token"),
    ] {
        let told = place.error(&train("run.toml", "run", &[set]));
        assert!(told.contains(want), "{set}: {told}");
        assert!(!place.at("run").exists(), "{set}");
    }
}
