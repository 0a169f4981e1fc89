//! Tokenizers of GGUF files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rappel_data::{Conversation, GgufTokenizer, RenderOptions, Tokenizer};
use rappel_testkit::Golden;
use rappel_train::{Pretrained, convert};

fn file(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/gguf/{case}.gguf"))
}

#[test]
fn texts_have_the_tokens_that_transformers_gives_them() {
    let golden = Golden::load("gguf/models");
    let texts: Vec<String> = golden.meta("texts");
    let tokens: BTreeMap<String, Vec<Vec<u32>>> = golden.meta("tokens");
    assert_eq!(tokens.len(), 9);
    for (case, wanted) in tokens {
        let model = Pretrained::load(&file(&case)).unwrap();
        for (text, wanted) in texts.iter().zip(wanted) {
            // transformers takes no notice that digits of this kind of vocabulary are split.
            if case == "smollm" && text.contains(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let found = model.tokenizer().encode(text.as_bytes()).unwrap();
            assert_eq!(found, wanted, "{case}: {text:?}");
            let again = model.tokenizer().decode(&found).unwrap();
            assert_eq!(String::from_utf8_lossy(&again), *text, "{case}");
        }
    }
}

#[test]
fn digits_are_split_where_the_file_says_so() {
    let model = Pretrained::load(&file("smollm")).unwrap();
    let ids = model.tokenizer().encode(b"x 1234").unwrap();
    let parts: Vec<_> = ids.iter().map(|id| model.tokenizer().decode(&[*id]).unwrap()).collect();
    let digits: Vec<_> = parts.iter().filter(|part| part[0].is_ascii_digit()).collect();
    assert_eq!(digits, [b"1", b"2", b"3", b"4"]);
}

#[test]
fn special_tokens_and_the_template_come_along() {
    let model = Pretrained::load(&file("gemma3")).unwrap();
    let tokenizer = model.tokenizer();
    let special = tokenizer.special_tokens();
    assert_eq!(
        [&special["bos_token"], &special["eos_token"], &special["unk_token"]],
        ["<s>", "</s>", "<unk>"]
    );
    assert_eq!(tokenizer.encode_prompt("a").unwrap()[0], 1, "a text begins with <s>");
    assert_eq!(tokenizer.end_of_document(), 2);
    let conversation = r#"{"messages": [{"role": "user", "content": "Hello"}]}"#;
    let conversation: Conversation = Conversation::from_json(conversation).unwrap();
    let template = tokenizer.chat_template(None, &conversation).unwrap();
    let text = template.render(&conversation, &RenderOptions::default()).unwrap().text;
    assert_eq!(text, "Hello");
}

#[test]
fn a_tokenizer_comes_back_as_it_was_written() {
    for case in ["llama", "smollm", "qwen2", "gpt2", "gemma2", "phi3"] {
        let model = Pretrained::load(&file(case)).unwrap();
        let tokenizer = model.tokenizer();
        let vocab_size = tokenizer.vocab_size();
        let parts = tokenizer.to_gguf("any", vocab_size + 3).unwrap();
        assert_eq!(parts.tokens[vocab_size], format!("[PAD{vocab_size}]"));
        let again = Tokenizer::from_gguf(&parts, Path::new("again.gguf"), None).unwrap();
        for text in ["Hello, world!  12 345\n", "naïve 你好 🙂", " a"] {
            let tokens = tokenizer.encode(text.as_bytes()).unwrap();
            assert_eq!(again.encode(text.as_bytes()).unwrap(), tokens, "{case}: {text:?}");
            assert_eq!(
                again.encode_prompt(text).unwrap(),
                tokenizer.encode_prompt(text).unwrap(),
                "{case}: {text:?}"
            );
        }
        assert_eq!(again.special_tokens(), tokenizer.special_tokens(), "{case}");
        // Without merges they follow from the scores.
        if parts.model == "llama" {
            let scored = GgufTokenizer { merges: Vec::new(), ..parts };
            let scored = Tokenizer::from_gguf(&scored, Path::new("scored.gguf"), None).unwrap();
            let text = b"the quick brown fox returns some(value)";
            assert_eq!(scored.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{case}");
        }
    }
}

#[test]
fn what_is_not_known_of_a_tokenizer_is_an_error() {
    let told = |edit: &dyn Fn(&mut GgufTokenizer)| {
        let model = Pretrained::load(&file("llama")).unwrap();
        let mut parts = model.tokenizer().to_gguf("llama", 520).unwrap();
        edit(&mut parts);
        Tokenizer::from_gguf(&parts, Path::new("x.gguf"), None).err().unwrap().to_string()
    };
    let splits = told(&|parts| parts.pre = Some("new-split".to_owned()));
    assert!(splits.contains("x.gguf") && splits.contains("`new-split`"), "{splits}");
    assert!(splits.contains("tokenizer.json"), "{splits}");
    let kind = told(&|parts| parts.model = "bert".to_owned());
    assert!(kind.contains("`bert`") && kind.contains("gpt2, llama"), "{kind}");
    let none = told(&|parts| parts.tokens.clear());
    assert!(none.contains("tokenizer.ggml.tokens"), "{none}");
    let torn = told(&|parts| parts.token_type.truncate(3));
    assert!(torn.contains("has 3 items for 520 tokens"), "{torn}");
}

#[test]
fn a_file_becomes_a_folder_and_the_folder_the_file_again() {
    for case in ["qwen2", "gemma3", "phi3", "qwen3_moe", "gpt2"] {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        convert(&file(case), &at("folder"), None).unwrap();
        convert(&at("folder"), &at("model.gguf"), None).unwrap();
        let [one, folder, two] = [file(case), at("folder"), at("model.gguf")]
            .map(|path| rappel_model::Pretrained::load(path, None).unwrap());
        let values = |model: &rappel_model::Pretrained| -> Vec<(String, Vec<f32>)> {
            let tensors = model.params.tensors().into_iter();
            tensors.map(|(name, tensor)| (name, tensor.to_vec())).collect()
        };
        assert!(values(&one) == values(&folder) && values(&one) == values(&two), "{case}");
        assert_eq!(one.model.config().to_json(), folder.model.config().to_json(), "{case}");
        assert_eq!(one.model.config().to_json(), two.model.config().to_json(), "{case}");
        assert_eq!(one.eos_token_id, two.eos_token_id);
        assert_eq!(one.extra, two.extra);
        let tokens = |path: &Path| {
            Pretrained::load(path).unwrap().tokenizer().encode(b"a text of 12 words").unwrap()
        };
        assert_eq!(tokens(&file(case)), tokens(&at("folder")));
        assert_eq!(tokens(&file(case)), tokens(&at("model.gguf")));
        let there = convert(&at("folder"), &at("model.gguf"), None).unwrap_err().to_string();
        assert!(there.contains("is there already"), "{there}");
    }
}

#[test]
fn quantized_models_are_near_and_small() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let whole = rappel_model::Pretrained::load(file("qwen2"), None).unwrap();
    for (dtype, most) in [("F16", 1e-3), ("BF16", 5e-3), ("Q8_0", 5e-3), ("Q4_0", 0.15)] {
        let path = at(&format!("{dtype}.gguf"));
        assert_eq!(convert(&file("qwen2"), &path, Some(dtype)).unwrap().dtype, dtype);
        let read = rappel_model::Pretrained::load(&path, None).unwrap();
        for ((name, a), (_, b)) in whole.params.tensors().into_iter().zip(read.params.tensors()) {
            let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
            let largest = a.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            let far = a.iter().zip(&b).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
            assert!(far <= most * largest, "{dtype} {name}: {far} of {largest}");
        }
    }
    let wrong = convert(&file("qwen2"), &at("x.gguf"), Some("Q9")).unwrap_err().to_string();
    assert!(wrong.contains("F32, F16, BF16, Q8_0, Q4_0") && !at("x.gguf").exists(), "{wrong}");
    let wrong = convert(&file("qwen2"), &at("x"), Some("q8_0")).unwrap_err().to_string();
    assert!(wrong.contains("float32, bfloat16, float64") && !at("x").exists(), "{wrong}");
}
