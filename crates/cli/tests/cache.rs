//! Tokens are kept from one run to the next.

mod common;

use common::Place;

/// A config whose text is large enough to be kept, with a tokenizer that is trained on it.
fn place() -> Place {
    let place = Place::new();
    let line = |i: u32| format!("let x{} = {} + {}; // line {i}\n", i % 97, i % 13, i % 7);
    place.write("corpus.txt", (0..160_000).map(line).collect::<String>());
    place
}

const BPE: [&str; 10] = [
    "--set",
    "data.tokenizer=bpe",
    "--set",
    "data.vocab_size=300",
    "--set",
    "data.bpe_sample_bytes=20000",
    "--set",
    "data.validation_fraction=0.001",
    "--set",
    "train.steps=4",
];

fn train(place: &Place, out: &str, more: &[&str]) -> serde_json::Value {
    place.json(&[&["train", "tiny.toml", "--json", "--out", out], &BPE[..], more].concat())
}

#[test]
fn a_second_run_reads_the_tokens_of_the_first_and_ends_on_the_same_bits() {
    let place = place();
    let first = train(&place, "a", &[]);
    let cache = place.json(&["cache", "--json"]);
    let entries = cache["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{cache}");
    assert_eq!(entries[0]["tokenizer"], "bpe");
    assert!(entries[0]["bytes"].as_u64().unwrap() > 2 * entries[0]["tokens"].as_u64().unwrap());

    let second = train(&place, "b", &[]);
    assert_eq!(first["validation_loss"], second["validation_loss"]);
    assert_eq!(place.model("a"), place.model("b"));
    assert_eq!(place.read("a/model/tokenizer.json"), place.read("b/model/tokenizer.json"));
    assert_eq!(place.json(&["cache", "--json"])["entries"].as_array().unwrap().len(), 1);

    // Resumed without the cache, it is the same data.
    place.ok(&["train", "--resume", "a", "--set", "data.cache=false", "--set", "train.steps=4"]);
    let told = place.ok(&["cache", "--clear"]);
    assert!(told.starts_with("removed ") && told.contains(" of 1 text from "), "{told}");
    assert_eq!(place.json(&["cache", "--json"])["entries"].as_array().unwrap().len(), 0);
    train(&place, "c", &["--set", "data.cache=false"]);
    assert_eq!(place.json(&["cache", "--json"])["bytes"], 0);
}
