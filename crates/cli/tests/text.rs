//! Generation and evaluation of a trained model.

mod common;

use std::fs;

use common::{Place, stderr};

fn trained(settings: &[&str]) -> Place {
    let place = Place::new();
    let mut args = vec!["train", "tiny.toml", "--out", "run", "--set", "train.steps=60"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    place.ok(&args);
    place
}

#[test]
fn evaluation_agrees_with_what_training_said_of_the_same_kind_of_text() {
    let place = trained(&[]);
    let told = place.json(&["eval", "--model", "run/model", "--file", "corpus.txt", "--json"]);
    let bytes = place.read("corpus.txt").len() as u64;
    let loss = told["loss"].as_f64().unwrap();
    assert_eq!(told["tokens"].as_u64(), Some(bytes - 1));
    assert!((told["perplexity"].as_f64().unwrap() - loss.exp()).abs() < 1e-9);
    assert!(loss < 3.5, "{told}");
    let text = place.ok(&["eval", "--model", "run/model", "--file", "corpus.txt"]);
    assert!(text.contains(&format!("{loss:.4} nats per token")), "{text}");
    // The whole text in disjoint windows is another mean, but of the same tokens.
    let disjoint =
        ["eval", "--model", "run/model", "--file", "corpus.txt", "--stride", "32", "--json"];
    let disjoint = place.json(&disjoint);
    assert_eq!(disjoint["tokens"], told["tokens"]);
    assert!((disjoint["loss"].as_f64().unwrap() - loss).abs() < 0.3);
}

#[test]
fn generation_is_the_same_for_the_same_seed() {
    let place = trained(&[]);
    let generate = |more: &[&str]| {
        let args = ["generate", "--model", "run/model", "--prompt", "let x", "--max-tokens", "25"];
        place.ok(&[&args[..], more].concat())
    };
    let one = generate(&["--seed", "1", "--temperature", "1.5", "--top-k", "20"]);
    assert!(one.starts_with("let x") && one.ends_with('\n'), "{one}");
    assert_eq!(one, generate(&["--seed", "1", "--temperature", "1.5", "--top-k", "20"]));
    assert_ne!(one, generate(&["--seed", "2", "--temperature", "1.5", "--top-k", "20"]));
    assert_eq!(generate(&["--greedy"]), generate(&["--top-k", "1"]));
    assert_eq!(
        place.ok(&["generate", "--model", "run/model", "--prompt", "é", "--max-tokens", "0"]),
        "é\n"
    );
}

#[test]
fn a_text_that_fills_the_models_positions_ends_with_a_note() {
    let place = trained(&[]);
    let args = ["generate", "--model", "run/model", "--prompt", "let x1", "--greedy"];
    let told = stderr(&place.rappel(&args));
    assert_eq!(told, "note: it ends here because the model has no more than 32 positions\n");
    let enough = [&args[..], &["--max-tokens", "26"]].concat();
    assert_eq!(stderr(&place.rappel(&enough)), "");
}

#[test]
fn a_byte_model_reads_any_bytes() {
    let place = trained(&[]);
    place.write("latin1.txt", b"gr\xfc\xdfe\n".repeat(10));
    let told = place.json(&["eval", "--model", "run/model", "--file", "latin1.txt", "--json"]);
    assert_eq!(told["tokens"].as_u64(), Some(59));
}

#[test]
fn a_trained_bpe_goes_the_whole_way() {
    let place = trained(&["data.tokenizer=bpe", "data.vocab_size=300"]);
    let told = place.json(&["eval", "--model", "run/model", "--file", "corpus.txt", "--json"]);
    let bytes = place.read("corpus.txt").len() as u64;
    assert!(told["tokens"].as_u64().unwrap() < bytes * 3 / 4, "{told}");
    place.write("latin1.txt", b"gr\xfc\xdfe\n");
    let told = place.error(&["eval", "--model", "run/model", "--file", "latin1.txt"]);
    assert!(told.contains("latin1.txt") && told.contains("not UTF-8 at byte offset 2"), "{told}");
    let text =
        place.ok(&["generate", "--model", "run/model", "--prompt", "let", "--max-tokens", "5"]);
    assert!(text.starts_with("let"), "{text}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let place = trained(&[]);
    let told = place.error(&["eval", "--model", "none", "--file", "corpus.txt"]);
    assert!(told.contains("none"), "{told}");
    let told = place.error(&["eval", "--model", "run/model", "--file", "none.txt"]);
    assert!(told.contains("cannot read none.txt") && told.contains("No such file"), "{told}");
    place.write("one.txt", "x");
    let told = place.error(&["eval", "--model", "run/model", "--file", "one.txt"]);
    assert!(told.contains("one.txt") && told.contains("give one of at least 2"), "{told}");
    let args = ["eval", "--model", "run/model", "--file", "corpus.txt", "--window", "33"];
    assert!(place.error(&args).contains("window 33 is out of range; expected 1 to 32"));
    let long = "x".repeat(33);
    let told = place.error(&["generate", "--model", "run/model", "--prompt", &long]);
    assert!(told.contains("the prompt has 33 tokens, the model positions for 32"), "{told}");
}

#[test]
fn torn_and_hostile_models_are_refused() {
    let place = trained(&[]);
    let path = place.at("run/model/model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&whole[8..8 + header]).unwrap().to_owned();
    let with_header = |text: &str| {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &whole[8 + header..]].concat()
    };
    let first_end = text.split("\"data_offsets\":[").nth(1).unwrap().split(']').next().unwrap();
    let overlapping = first_end.replacen(',', ",1", 1);
    let files = [
        ("cut", whole[..whole.len() - 5].to_vec()),
        ("header cut", whole[..20].to_vec()),
        ("nothing", Vec::new()),
        ("endless header", [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat()),
        (
            "huge shape",
            with_header(&text.replace("\"shape\":[257", "\"shape\":[18446744073709551615")),
        ),
        ("overlap", with_header(&text.replacen(first_end, &overlapping, 1))),
    ];
    for (what, bytes) in files {
        assert_ne!(bytes, whole, "{what}");
        fs::write(&path, bytes).unwrap();
        let told = place.error(&["generate", "--model", "run/model"]);
        assert!(told.contains("model.safetensors"), "{what}: {told}");
    }
}
