//! Tokenizers against transformers, and there and back.

use std::path::PathBuf;

use proptest::prelude::*;
use rappel_data::{Conversation, Corpus, Document, Message, RenderOptions, Tokenizer};
use serde_json::Value;

fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tokenizers")
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(golden_folder().join("ids.json")).unwrap()).unwrap()
}

fn sample() -> Vec<Document> {
    let bytes = std::fs::read(golden_folder().join("sample.txt")).unwrap();
    vec![Document { name: "sample.txt".into(), bytes }]
}

fn bpe() -> Tokenizer {
    Tokenizer::train_bpe(&sample(), 512, usize::MAX).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Every text of the golden file has the golden ids.
fn assert_golden(name: &str, tokenizer: &Tokenizer) {
    let golden = golden();
    let expected = &golden["tokenizers"][name];
    assert_eq!(tokenizer.vocab_size() as u64, expected["vocab_size"].as_u64().unwrap());
    assert_eq!(u64::from(tokenizer.end_of_document()), expected["eos_token_id"].as_u64().unwrap());
    let texts = golden["texts"].as_array().unwrap();
    assert!(texts.len() > 30);
    for (text, ids) in texts.iter().zip(expected["ids"].as_array().unwrap()) {
        let text = text.as_str().unwrap();
        assert_eq!(tokenizer.encode(text.as_bytes()).unwrap(), numbers(ids), "{name}: {text:?}");
    }
}

#[test]
fn ids_are_those_of_transformers() {
    assert_golden("byte", &Tokenizer::byte());
    assert_golden("bpe", &bpe());
    for name in ["byte", "bpe", "metaspace"] {
        let tokenizer = Tokenizer::from_file(golden_folder().join(name), None).unwrap();
        assert_golden(name, &tokenizer);
    }
}

#[test]
fn the_files_are_those_transformers_read() {
    for (name, tokenizer) in [("byte", Tokenizer::byte()), ("bpe", bpe())] {
        for (file, contents) in tokenizer.files() {
            let read = std::fs::read_to_string(golden_folder().join(name).join(&file)).unwrap();
            assert_eq!(contents, read, "{name}/{file}");
        }
    }
}

#[test]
fn a_foreign_vocabulary_decodes_as_its_library_does() {
    let tokenizer = Tokenizer::from_file(golden_folder().join("metaspace"), None).unwrap();
    let golden = &golden()["tokenizers"]["metaspace"];
    for (ids, decoded) in
        golden["ids"].as_array().unwrap().iter().zip(golden["decoded"].as_array().unwrap())
    {
        let ids = numbers(ids);
        let decoded = decoded.as_str().unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), decoded.as_bytes());
        let mut decoder = tokenizer.stream_decoder();
        let mut streamed: String = ids.iter().map(|&id| decoder.push(id).unwrap()).collect();
        streamed += &decoder.finish();
        assert_eq!(streamed, decoded);
    }
}

#[test]
fn a_saved_tokenizer_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let saved = bpe();
    saved.save(folder.path()).unwrap();
    let loaded = Tokenizer::from_file(folder.path(), None).unwrap();
    assert_eq!(loaded.files(), saved.files());
    assert_golden("bpe", &loaded);
}

#[test]
fn training_hangs_on_neither_order_nor_threads() {
    let text = String::from_utf8(sample().remove(0).bytes).unwrap();
    let document =
        |line: &str| Document { name: "line".into(), bytes: format!("{line}\n").into_bytes() };
    let lines: Vec<_> = text.lines().map(document).collect();
    let backwards: Vec<_> = lines.iter().rev().cloned().collect();
    let train = |documents: &[Document], threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Tokenizer::train_bpe(documents, 400, usize::MAX).unwrap().files())
    };
    assert_eq!(train(&lines, 1), train(&lines, 3));
    assert_eq!(train(&lines, 2), train(&backwards, 2));
}

#[test]
fn streams_hang_not_on_threads_and_pieces_join_without_a_seam() {
    let text = String::from_utf8(sample().remove(0).bytes).unwrap().repeat(60);
    let bpe = bpe();
    let document =
        |(i, bytes): (usize, String)| Document { name: i.to_string(), bytes: bytes.into() };
    let texts = [text.clone(), "short\n".to_owned(), "x".to_owned(), text.repeat(2)];
    let corpus = Corpus { documents: texts.into_iter().enumerate().map(document).collect() };
    let encode = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bpe.encode_corpus(&corpus).unwrap())
    };
    let stream = encode(1);
    assert_eq!(stream, encode(3));
    assert_eq!(stream.fingerprint(), encode(8).fingerprint());
    assert_eq!(stream.document_starts.len(), 4);
    assert_eq!(stream.text_bytes, corpus.text_bytes());
    // The library's own encoder, which cuts nothing, on the first document.
    let json = golden_folder().join("bpe/tokenizer.json");
    let whole = tokenizers::Tokenizer::from_file(json).unwrap().encode_fast(text, false).unwrap();
    let first: Vec<u32> = stream.tokens.range(0..stream.document_starts[1]).collect();
    assert_eq!(first[..first.len() - 1], *whole.get_ids());
    assert_eq!(first.last(), Some(&bpe.end_of_document()));
}

proptest! {
    #[test]
    fn bytes_go_there_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let tokenizer = Tokenizer::byte();
        let ids = tokenizer.encode(&bytes).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), bytes.clone());
        let mut decoder = tokenizer.stream_decoder();
        let mut streamed: String = ids.iter().map(|&id| decoder.push(id).unwrap()).collect();
        streamed += &decoder.finish();
        prop_assert_eq!(streamed, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_goes_there_and_back_through_bpe(text in any_text()) {
        let tokenizer = Tokenizer::from_file(golden_folder().join("bpe"), None).unwrap();
        let ids = tokenizer.encode(text.as_bytes()).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
        let mut decoder = tokenizer.stream_decoder();
        let mut streamed: String = ids.iter().map(|&id| decoder.push(id).unwrap()).collect();
        streamed += &decoder.finish();
        prop_assert_eq!(streamed, text);
    }

    #[test]
    fn words_are_cut_as_the_library_cuts_them(text in any_text()) {
        let json = golden_folder().join("bpe/tokenizer.json");
        let mut library = tokenizers::Tokenizer::from_file(json).unwrap();
        library.set_encode_special_tokens(true);
        let tokenizer = Tokenizer::from_file(golden_folder().join("bpe"), None).unwrap();
        let expected = library.encode_fast(text.as_str(), false).unwrap();
        prop_assert_eq!(tokenizer.encode(text.as_bytes()).unwrap(), expected.get_ids());
    }
}

/// Any characters, among them much of what the splitting pattern tells apart.
fn any_text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        " ",
        "  ",
        "\n",
        "\t",
        "\r\n",
        "\u{a0}",
        "\u{3000}",
        "'s",
        "'LL",
        "'re",
        "a",
        "Zz",
        "9",
        "½",
        "Ⅷ",
        "é",
        "e\u{301}",
        "你",
        "🙂",
        "_",
        "!?",
        "<|endoftext|>",
        "\u{200b}",
        "ⓐ",
        "\0",
    ]);
    let piece = prop_oneof![4 => special.prop_map(str::to_owned), 1 => any::<String>()];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A folder with the files of a case of `side_files.json`.
fn side_files(case: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let json = std::fs::read(golden_folder().join("metaspace/tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    json["post_processor"] = case["post_processor"].clone();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    for (file, text) in case["files"].as_object().unwrap() {
        std::fs::write(folder.path().join(file), text.as_str().unwrap()).unwrap();
    }
    folder
}

#[test]
fn files_beside_a_tokenizer_mean_what_they_mean_to_transformers() {
    let golden = std::fs::read(golden_folder().join("side_files.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let cases = golden["cases"].as_object().unwrap();
    assert!(cases.len() >= 9);
    let chat = Conversation::from_json(&golden["chat"].to_string()).unwrap();
    for (name, case) in cases {
        let folder = side_files(case);
        let read = Tokenizer::from_file(folder.path(), None).unwrap();
        // What is saved is read as the same.
        let saved = tempfile::tempdir().unwrap();
        read.save(saved.path()).unwrap();
        for tokenizer in [&read, &Tokenizer::from_file(saved.path(), None).unwrap()] {
            let texts = golden["texts"].as_array().unwrap();
            for (text, ids) in texts.iter().zip(case["ids"].as_array().unwrap()) {
                let got = tokenizer.encode_prompt(text.as_str().unwrap()).unwrap();
                assert_eq!(got, numbers(ids), "{name}: {text}");
            }
            let special = tokenizer.special_tokens();
            assert_eq!(serde_json::to_value(special).unwrap(), case["special_tokens"], "{name}");
            assert_eq!(u64::from(tokenizer.end_of_document()), case["eos_token_id"], "{name}");
            assert_eq!(tokenizer.vocab_size() as u64, case["vocab_size"], "{name}");
            // Where the files say nothing, the side is that of a class of transformers.
            if let Some(side) = tokenizer.padding_side() {
                assert_eq!(side, case["padding_side"], "{name}");
            }
            assert_eq!(tokenizer.padding_side().is_some(), name == "added");
            let most = case["model_max_length"].as_u64().map(|most| most as usize);
            assert_eq!(tokenizer.model_max_length(), most, "{name}");
            let template = tokenizer.chat_template(None, &chat);
            if case["chat_ids"].is_null() {
                let told = template.err().unwrap().to_string();
                assert!(
                    told.contains("there is none") && told.contains("chat_template.jinja"),
                    "{told}"
                );
                continue;
            }
            let rendered = template.unwrap().render(&chat, &RenderOptions::default()).unwrap();
            let tokens = tokenizer.encode_chat(&rendered).unwrap();
            assert_eq!(tokens.ids, numbers(&case["chat_ids"]), "{name}");
            let mask: Vec<u32> =
                tokens.parts.iter().map(|part| u32::from(part.is_some())).collect();
            assert_eq!(mask, numbers(&case["assistant_masks"]), "{name}");
        }
    }
}

#[test]
fn a_conversation_with_tools_has_its_own_template_where_there_is_one() {
    let golden = std::fs::read(golden_folder().join("side_files.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let folder = side_files(&golden["cases"]["named_templates"]);
    let tokenizer = Tokenizer::from_file(folder.path(), None).unwrap();
    let mut chat = Conversation::new(vec![Message::new("user", "hi")]);
    let text = |name, chat: &Conversation| {
        let template = tokenizer.chat_template(name, chat).unwrap();
        template.render(chat, &RenderOptions::default()).unwrap().text
    };
    assert!(
        text(None, &chat).starts_with("<s>")
            && text(Some("tool_use"), &chat).starts_with("tools <s>")
    );
    chat.tools = Some(Vec::new());
    assert!(text(None, &chat).starts_with("tools <s>"));
    let told = tokenizer.chat_template(Some("rag"), &chat).err().unwrap().to_string();
    assert!(told.ends_with("there is none called `rag`; there are: default, tool_use"), "{told}");
}

#[test]
fn a_text_that_begins_twice_is_refused() {
    let mut tokenizer = Tokenizer::byte();
    tokenizer.set_chat_template("{{ bos_token }}{{ messages[0].content }}");
    let encode = |content: &str| {
        let chat = Conversation::new(vec![Message::new("user", content)]);
        let template = tokenizer.chat_template(None, &chat).unwrap();
        tokenizer.encode_chat(&template.render(&chat, &RenderOptions::default()).unwrap())
    };
    assert_eq!(encode("Hi").unwrap().ids, [256, 72, 105]);
    let told = encode("<|endoftext|>Hi").unwrap_err().to_string();
    assert!(told.contains("begins with `<|endoftext|>` twice"), "{told}");
}

#[test]
fn tokens_whose_ids_contradict_the_vocabulary_are_refused() {
    let token = r#"{"content": "</s>", "special": true}"#;
    let files = serde_json::json!({"tokenizer_config.json": format!(r#"{{"added_tokens_decoder": {{"7": {token}}}}}"#)});
    let folder = side_files(&serde_json::json!({"post_processor": null, "files": files}));
    let told = Tokenizer::from_file(folder.path(), None).unwrap_err().to_string();
    assert!(told.contains("gives `</s>` the id 2, but the files beside it say 7"), "{told}");
}

#[test]
fn bytes_that_make_no_character_do_not_take_back_what_came_before() {
    let tokenizer = Tokenizer::from_file(golden_folder().join("metaspace"), None).unwrap();
    let byte = |byte: u8| tokenizer.token_id(&format!("<0x{byte:02X}>")).unwrap();
    let mut decoder = tokenizer.stream_decoder();
    let letters = tokenizer.encode(b"the").unwrap();
    let ids =
        [&letters[..], &[byte(0xd8), byte(0x9d), byte(0x80), byte(0xc3)], &letters[..]].concat();
    let text: String = ids.into_iter().map(|id| decoder.push(id).unwrap()).collect();
    assert_eq!(text, "the\u{61d}\u{fffd}\u{fffd} the");
    assert_eq!(decoder.finish(), "");
}
