//! `rappel embed` on a tiny folder of sentence-transformers, against that library and transformers.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Place;
use rappel_testkit::assert_close_floor;
use serde_json::{Value, json};

fn golden() -> PathBuf {
    common::testdata("sentences")
}

/// A place with the folder `model`, and the texts of the golden file in `texts.txt`.
fn place() -> (Place, Value) {
    let place = Place::new();
    for folder in ["model", "model/1_Pooling", "model/2_Normalize"] {
        fs::create_dir(place.at(folder)).unwrap();
        for file in fs::read_dir(
            golden().join(folder.strip_prefix("model").unwrap().trim_start_matches('/')),
        )
        .unwrap()
        {
            let file = file.unwrap().path();
            if file.is_file() {
                fs::copy(&file, place.at(folder).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    let expected: Value = serde_json::from_str(&place.read("model/expected.json")).unwrap();
    let lines = texts(&expected).into_iter().map(|text| format!("{text}\n"));
    place.write("texts.txt", lines.collect::<String>());
    (place, expected)
}

fn texts(expected: &Value) -> Vec<String> {
    serde_json::from_value(expected["texts"].clone()).unwrap()
}

fn numbers(rows: &Value) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone()).unwrap();
    rows.concat()
}

/// The shape and the numbers of a `.npy`, by its header.
fn npy(place: &Place, name: &str) -> (String, Vec<f64>) {
    let bytes = fs::read(place.at(name)).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0);
    let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
    assert!(header.ends_with('\n') && header.contains("'<f4'"), "{header}");
    let (_, shape) = header.split_once("'shape': ").unwrap();
    let numbers = bytes[10 + length..].chunks_exact(4);
    let numbers = numbers.map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
    (shape.split(", }").next().unwrap().to_owned(), numbers.collect())
}

fn close(got: &[f64], want: &Value, what: &str) {
    assert_close_floor(got, &numbers(want), 1e-5, 1.0, what);
}

#[test]
fn embeddings_are_those_of_sentence_transformers_in_the_order_of_the_texts() {
    let (place, expected) = place();
    for batch in ["1", "3", "100"] {
        let args = [
            "embed",
            "--model",
            "model",
            "--file",
            "texts.txt",
            "--out",
            "out.npy",
            "--batch-size",
            batch,
        ];
        let output = place.rappel(&[&args[..], &["--json"]].concat());
        assert!(output.status.success(), "{}", common::stderr(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&told["texts"], &told["numbers"], &told["truncated"]),
            (&json!(8), &json!(8), &json!(2))
        );
        assert_eq!(told["max_length"], 8);
        let note = "note: 2 texts are longer than 8 tokens, whose ends were left out";
        assert!(common::stderr(&output).contains(note), "{}", common::stderr(&output));
        let (shape, got) = npy(&place, "out.npy");
        assert_eq!(shape, "(8, 8)");
        close(&got, &expected["sentences"], "sentences");
    }
}

#[test]
fn plain_encoders_are_pooled_as_asked() {
    let (place, expected) = place();
    fs::remove_file(place.at("model/modules.json")).unwrap();
    let args = ["embed", "--model", "model", "--file", "texts.txt", "--out", "out.npy"];
    let told = place.error(&args);
    assert!(told.contains("has no modules.json") && told.contains("--pooling mean"), "{told}");
    assert!(!place.at("out.npy").exists());
    let more = ["--pooling", "cls", "--max-length", "16"];
    place.ok(&[&args[..], &more].concat());
    close(&npy(&place, "out.npy").1, &expected["first"], "first");
    place.ok(&[&args[..], &["--pooling", "mean", "--normalize"]].concat());
    close(&npy(&place, "out.npy").1, &expected["sentences"], "mean");
    let told = place.error(&[&args[..], &["--pooling", "cls", "--max-length", "17"]].concat());
    assert!(told.contains("max_length") && told.contains("16"), "{told}");
}

#[test]
fn texts_come_from_lines_records_and_columns() {
    let (place, expected) = place();
    let texts = texts(&expected);
    let records = texts.iter().map(|text| format!("{}\n", json!({ "id": 1, "body": text })));
    place.write("texts.jsonl", records.collect::<String>());
    let rows = texts.iter().map(|text| format!("1,\"{text}\"\n"));
    place.write("texts.csv", format!("id,body\n{}", rows.collect::<String>()));
    for file in ["texts.jsonl", "texts.csv"] {
        let args =
            ["embed", "--model", "model", "--file", file, "--column", "body", "--out", "out.npy"];
        place.ok(&args);
        close(&npy(&place, "out.npy").1, &expected["sentences"], file);
        let told = place.error(&["embed", "--model", "model", "--file", file, "--out", "none.npy"]);
        assert!(told.contains("text"), "{told}");
        assert!(!place.at("none.npy").exists());
    }
}

#[test]
fn records_and_tables_hold_texts_and_embeddings() {
    let (place, expected) = place();
    let args = ["embed", "--model", "model", "--file", "texts.txt", "--out"];
    place.ok(&[&args[..], &["out.jsonl"]].concat());
    let lines: Vec<Value> =
        place.read("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all: Vec<String> =
        lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(all, texts(&expected));
    let rows: Vec<Value> = lines.iter().map(|line| line["embedding"].clone()).collect();
    close(&numbers(&rows.into()), &expected["sentences"], "records");
    place.ok(&[&args[..], &["out.parquet"]].concat());
    // What reads tables reads its texts.
    place.ok(&["embed", "--model", "model", "--file", "out.parquet", "--out", "again.npy"]);
    close(&npy(&place, "again.npy").1, &expected["sentences"], "parquet");
}

#[test]
fn what_cannot_be_is_told_before_anything_is_written() {
    let (place, _) = place();
    let args = ["embed", "--model", "model", "--file", "texts.txt", "--out"];
    let told = place.error(&[&args[..], &["out.txt"]].concat());
    assert!(told.contains("expected a name that ends in .npy, .jsonl or .parquet"), "{told}");
    place.write("empty.txt", "");
    let told =
        place.error(&["embed", "--model", "model", "--file", "empty.txt", "--out", "out.npy"]);
    assert!(told.contains("empty.txt: has no texts"), "{told}");
    for (file, change, want) in [
        (
            "1_Pooling/config.json",
            json!({"pooling_mode": "lasttoken"}),
            "`pooling_mode` is \"lasttoken\"",
        ),
        (
            "1_Pooling/config.json",
            json!({"pooling_mode_max_tokens": true}),
            "pooling_mode_max_tokens",
        ),
        ("sentence_bert_config.json", json!({"do_lower_case": true}), "`do_lower_case` is true"),
        (
            "config_sentence_transformers.json",
            json!({"default_prompt_name": "x"}),
            "default_prompt_name",
        ),
        (
            "modules.json",
            json!([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}, {"path": "2_Dense", "type": "a.Dense"}]),
            "has the layers Transformer, Pooling, Dense",
        ),
        (
            "modules.json",
            json!([{"path": "../other", "type": "a.Transformer"}]),
            "a folder beside it",
        ),
    ] {
        let path = format!("model/{file}");
        let kept = place.read(&path);
        place.write(&path, change.to_string());
        let told = place.error(&[&args[..], &["out.npy"]].concat());
        assert!(told.contains(want) && told.contains(file), "{told}");
        place.write(&path, kept);
    }
    assert!(!place.at("out.npy").exists());
}

#[test]
fn prompts_stand_before_each_text() {
    let (place, _) = place();
    let args = ["embed", "--model", "model", "--file"];
    place.write("plain.txt", "a cat\n");
    place.write("with.txt", "the dog a cat\n");
    place.ok(&[&args[..], &["with.txt", "--out", "with.npy"]].concat());
    let prompts = json!({"prompts": {"query": "the dog "}, "default_prompt_name": "query"});
    place.write("model/config_sentence_transformers.json", prompts.to_string());
    place.ok(&[&args[..], &["plain.txt", "--out", "prompted.npy"]].concat());
    assert_eq!(npy(&place, "prompted.npy"), npy(&place, "with.npy"));
}

#[test]
fn inspect_tells_an_encoder_and_other_commands_what_it_is_not() {
    let (place, _) = place();
    let told = place.ok(&["inspect", "model"]);
    for line in [
        "model       bert, encoder of texts",
        "head        none",
        "embedding   8 numbers, mean of up to 8 tokens, normalized",
        "tokenizer   WordPiece, 29 tokens",
    ] {
        assert!(told.lines().any(|one| one == line), "{told}");
    }
    assert!(told.contains("encoder.layer.*.attention.self.query.weight"), "{told}");
    let told: Value = serde_json::from_str(&place.ok(&["inspect", "model", "--json"])).unwrap();
    assert_eq!(
        (&told["model"], &told["hidden_size"], &told["embedding"]["pooling"]),
        (&json!("bert"), &json!(8), &json!("mean"))
    );
    let told = place.error(&["inspect", "model", "--file", "texts.txt"]);
    assert!(told.contains("is an encoder of texts, which reads no table"), "{told}");
    let told = place.error(&["generate", "--model", "model", "--prompt", "a"]);
    assert!(told.contains("this is a model of embeddings: it cannot generate text"), "{told}");
    let told = place.error(&["eval", "--model", "model", "--file", "texts.txt"]);
    assert!(told.contains("texts.txt: is not a file type that holds rows"), "{told}");
    let told = place.ok(&["list", "encoders"]);
    for name in ["bert", "distilbert", "modernbert", "roberta", "xlm-roberta"] {
        assert!(told.lines().any(|line| line.starts_with(name)), "{told}");
    }
    assert!(place.ok(&["list", "encoders", "modernbert"]).contains("local_attention"));
}
