//! Rows of supervised fine-tuning: formats, what is trained, bad rows, packing.

use std::path::PathBuf;

use rappel_config::{ConfigError, OptionSet, resolve};
use rappel_data::{Dataset, Sft, SftConfig, SftModel, SftSamples, Tokenizer};
use tempfile::TempDir;

const END: &str = "<|endoftext|>";
const PLAIN: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>\n{% endfor %}\
                     {% if add_generation_prompt %}<assistant>{% endif %}";
const MARKED: &str = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}\
                      {{ m.content }}<|endoftext|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}";
const TALK: &str = r#"{"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"},
    {"role": "user", "content": "more?"}, {"role": "assistant", "content": "no"}]}"#;

/// A folder with files, and a model that reads bytes.
struct Place(TempDir, Tokenizer);

impl Place {
    fn new(template: &str) -> Self {
        let mut tokenizer = Tokenizer::byte();
        tokenizer.set_chat_template(template);
        Self(tempfile::tempdir().unwrap(), tokenizer)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The data of a file with these options.
    fn build(&self, name: &str, content: impl AsRef<[u8]>, options: &str) -> Result<Sft, String> {
        let path = self.write(name, content);
        let given = format!("files = ['{}']\nshuffle = false\n{options}", path.display());
        let mut given: toml::Table = toml::from_str(&given).unwrap();
        given.entry("validation_fraction").or_insert_with(|| 0.0.into());
        let config = resolve("data", SftConfig::FIELDS, &given);
        let config = config.and_then(|options| SftConfig::from_options(&options));
        let config = config.map_err(|error: ConfigError| error.to_string())?;
        let model = SftModel { tokenizer: &self.1, stops: &[], positions: 512 };
        Sft::build(&config, 3, &model).map_err(|error| error.to_string())
    }

    /// Each row as a text in which what is trained is in brackets.
    #[track_caller]
    fn rows(&self, name: &str, content: impl AsRef<[u8]>, options: &str) -> Vec<String> {
        shown(&self.1, &self.build(name, content, options).unwrap().training)
    }

    #[track_caller]
    fn refusal(&self, name: &str, content: impl AsRef<[u8]>, options: &str) -> String {
        self.build(name, content, options).unwrap_err()
    }
}

fn shown(tokenizer: &Tokenizer, samples: &SftSamples) -> Vec<String> {
    let row = |row: rappel_data::SftRow<'_>| {
        let mut text = String::new();
        let mut open = false;
        for (id, weight) in row.ids.iter().zip(row.weights) {
            if (*weight > 0.0) != open {
                text.push(if open { ']' } else { '[' });
                open = !open;
            }
            let end = *id == tokenizer.end_of_document();
            text += if end {
                "$"
            } else {
                std::str::from_utf8(&[*id as u8]).map(str::to_owned).unwrap().leak()
            };
        }
        if open { text + "]" } else { text }
    };
    samples.rows().map(row).collect()
}

#[test]
fn the_format_is_told_from_the_columns() {
    let place = Place::new(PLAIN);
    for (content, expected) in [
        (r#"{"text": "ab"}"#.to_owned(), "a[b$]"),
        (r#"{"prompt": "ab", "completion": "cd"}"#.to_owned(), "ab[cd$]"),
        (TALK.replace('\n', " "), "<[user>2+3?$\n<assistant>5$\n<user>more?$\n<assistant>no$\n]"),
        (
            r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"}"#.to_owned(),
            "<system>s$\n<user>q$\n<assistant>[a$]\n",
        ),
        (
            r#"{"instruction": "do", "input": "it", "output": "ok", "history": [["q", "a"]]}"#.to_owned(),
            "<user>q$\n<assistant>[a$]\n<user>do\nit$\n<assistant>[ok$]\n",
        ),
        (
            r#"{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}"#.to_owned(),
            "<user>q$\n<assistant>[a$\n]",
        ),
    ] {
        assert_eq!(place.rows("rows.jsonl", &content, ""), [expected], "{content}");
    }
}

#[test]
fn every_kind_of_file_has_the_same_rows() {
    let place = Place::new(PLAIN);
    let rows = ["ab[cd$]", "e\nf[g,\"h$]"];
    let records =
        [r#"{"prompt": "ab", "completion": "cd"}"#, r#"{"prompt": "e\nf", "completion": "g,\"h"}"#];
    assert_eq!(place.rows("a.jsonl", records.join("\n\n"), ""), rows);
    assert_eq!(place.rows("a.json", format!("[{}]", records.join(",")), ""), rows);
    assert_eq!(place.rows("b.json", records.join("\n"), ""), rows);
    assert_eq!(place.rows("a.csv", "prompt,completion\nab,cd\n\"e\nf\",\"g,\"\"h\"\n", ""), rows);
    let nested = "messages\n\"[{\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"a\"\"}]\"\n";
    assert_eq!(place.rows("b.csv", nested, "assistant_only_loss = true"), ["<assistant>[a$]\n"]);
    let several = "validation_fraction = 0.5";
    let built = place.build("c.jsonl", [records[0]; 10].join("\n"), several).unwrap();
    assert_eq!((built.training.len(), built.held_out.unwrap().len()), (5, 5));
}

#[test]
fn lists_and_structs_of_parquet_files_are_messages() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/sft/messages.parquet");
    let place = Place::new(PLAIN);
    let rows = place.rows("a.parquet", std::fs::read(path).unwrap(), "assistant_only_loss = true");
    assert_eq!(rows, ["<user>2+3?$\n<assistant>[5$]\n", "<system>s$\n<user>q$\n<assistant>[a$]\n"]);
}

#[test]
fn what_the_model_says_is_told_by_marks_or_by_prefixes() {
    let expected = "<user>2+3?$\n<assistant>[5$]\n<user>more?$\n<assistant>[no$]\n";
    let only = "assistant_only_loss = true";
    let talk = TALK.replace('\n', " ");
    assert_eq!(Place::new(PLAIN).rows("a.jsonl", &talk, only), [expected]);
    let marked = Place::new(MARKED).rows("a.jsonl", &talk, only);
    assert_eq!(marked, ["<user>2+3?<assistant>[5$]<user>more?<assistant>[no$]"]);
    // A template that writes only the last answer in full.
    let pruning = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'user' or loop.last %}{{ m.content }}{% endif %}\
                   <|endoftext|>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let told = Place::new(pruning).refusal("a.jsonl", &talk, only);
    assert!(
        told.contains("a.jsonl, line 1: ") && told.contains("messages up to number 2"),
        "{told}"
    );
}

#[test]
fn messages_say_what_of_them_is_trained() {
    let place = Place::new(PLAIN);
    let some = TALK
        .replace('\n', " ")
        .replace("\"content\": \"5\"", "\"content\": \"5\", \"train\": false");
    let first = "<user>2+3?$\n<assistant>5$\n<user>more?$\n<assistant>[no$]\n";
    assert_eq!(place.rows("a.jsonl", &some, ""), [first]);
    let weighted = TALK
        .replace('\n', " ")
        .replace("\"content\": \"5\"", "\"content\": \"5\", \"weight\": 0.25");
    let built = place.build("a.jsonl", &weighted, "").unwrap().training;
    let weights: f64 = built.weight(&mut (0..1));
    assert_eq!(weights, 2.0 * 0.25 + 3.0);
    let batch = built.batch(&[0]);
    assert_eq!(batch.weights.iter().filter(|weight| **weight == 0.25).count(), 2);
    let wrong = some.replace("false", "\"yes\"");
    let told = place.refusal("a.jsonl", &wrong, "");
    assert!(told.contains("message 2: `train` is neither"), "{told}");
}

#[test]
fn rows_that_cannot_be_trained_are_errors_or_skipped() {
    let place = Place::new(PLAIN);
    let good = r#"{"prompt": "ab", "completion": "cd"}"#;
    for (bad, reason) in [
        (r#"{"prompt": "ab""#, "not valid JSON"),
        ("[1]", "expected an object"),
        (r#"{"prompt": "ab"}"#, "has no `completion`"),
        (r#"{"prompt": ["x"], "completion": []}"#, "message 1: expected an object"),
        (r#"{"prompt": "a", "completion": 3}"#, "must both be texts"),
        (r#"{"prompt": "abcdefghijkl", "completion": "cd"}"#, "nothing of it is trained"),
    ] {
        let content = [good, bad, good].join("\n");
        let told = place.refusal("rows.jsonl", &content, "max_length = 10");
        assert!(told.contains("rows.jsonl, line 2: ") && told.contains(reason), "{told}");
        let built =
            place.build("rows.jsonl", &content, "max_length = 10\non_bad_row = 'skip'").unwrap();
        assert_eq!((built.training.len(), built.skipped.len()), (2, 1), "{bad}");
        assert!(built.skipped[0].contains(reason));
    }
    let role =
        r#"{"messages": [{"role": "user", "content": "q"}, {"role": "bot", "content": "a"}]}"#;
    let told = place.refusal("rows.jsonl", role, "");
    assert!(told.contains("message 2: unknown role `bot`"), "{told}");
    let none = r#"{"messages": [{"role": "user", "content": "q"}]}"#;
    let told = place.refusal("rows.jsonl", none, "assistant_only_loss = true");
    assert!(told.contains("nothing of it is trained"), "{told}");
    let told = place.refusal("rows.jsonl", none, "assistant_only_loss = true\non_bad_row = 'skip'");
    assert!(told.contains("`data.files`") && told.contains("no row"), "{told}");
}

#[test]
fn formats_that_are_none_or_several_are_errors_that_ask() {
    let place = Place::new(PLAIN);
    let both = r#"{"text": "a", "instruction": "b", "output": "c"}"#;
    let told = place.refusal("a.jsonl", both, "");
    assert!(told.contains("more than one format: text (text); alpaca"), "{told}");
    assert!(told.contains("data.format"), "{told}");
    assert_eq!(place.rows("a.jsonl", both, "format = 'text'"), ["a[$]"]);
    assert_eq!(place.rows("a.jsonl", both, "text_field = 'output'\nformat = 'text'"), ["c[$]"]);
    let told = place.refusal("a.jsonl", r#"{"question": "a"}"#, "");
    assert!(
        told.contains("it has question") && told.contains("prompt_completion (prompt, completion)"),
        "{told}"
    );
    let told = place.refusal("a.jsonl", r#"{"chosen": [], "rejected": []}"#, "");
    assert!(told.contains("pairs"), "{told}");
    let told = place.refusal("a.txt", "abc", "");
    assert!(told.contains("expected one of .json"), "{told}");
    let told = place.refusal("a.jsonl", r#"{"text": "a"}"#, "completion_only_loss = true");
    assert!(told.contains("data.completion_only_loss"), "{told}");
    let told = place.refusal("a.jsonl", both, "train_on_inputs = false");
    assert!(told.contains("did you mean `assistant_only_loss`"), "{told}");
}

#[test]
fn data_that_never_trains_an_end_is_refused() {
    let place = Place::new(&PLAIN.replace(END, "#"));
    let told = place.refusal("a.jsonl", TALK.replace('\n', " "), "");
    assert!(told.contains("never stop") && told.contains("data.eos_token"), "{told}");
    // Texts end whatever they say, by position: a padding that is the end hides none.
    assert_eq!(place.rows("a.jsonl", r#"{"text": "a<|endoftext|>"}"#, ""), ["a[$]"]);
    assert_eq!(place.rows("a.jsonl", r#"{"text": "a<|endoftext|>b"}"#, ""), ["a[$b$]"]);
}

#[test]
fn a_template_that_begins_texts_twice_is_an_error() {
    let mut place = Place::new(&format!("{END}{END}{PLAIN}"));
    let told = place.refusal("a.jsonl", TALK.replace('\n', " "), "");
    assert!(told.contains("twice"), "{told}");
    place.1.set_chat_template("");
    assert!(
        place.refusal("a.jsonl", TALK.replace('\n', " "), "").contains("nothing of it is trained")
    );
}

#[test]
fn batches_are_segments_without_padding() {
    let place = Place::new(PLAIN);
    let rows = [r#"{"prompt": "ab", "completion": "c"}"#, r#"{"prompt": "x", "completion": "y"}"#];
    let samples = place.build("a.jsonl", rows.join("\n"), "").unwrap().training;
    let end = i64::from(place.1.end_of_document());
    let batch = samples.batch(&[0, 1]);
    let byte = |c: u8| i64::from(c);
    assert_eq!(batch.input_ids, [byte(b'a'), byte(b'b'), byte(b'c'), byte(b'x'), byte(b'y')]);
    assert_eq!(batch.targets, [-100, byte(b'c'), end, byte(b'y'), end]);
    assert_eq!(batch.segment_ids, [0, 0, 0, 1, 1]);
    assert_eq!(batch.positions, [0, 1, 2, 0, 1]);
    assert_eq!(samples.units(&mut (0..2)), 7);
    assert_eq!(samples.weight(&mut (0..2)), 4.0);
    // Packed, the same segments are one sample.
    let packed = place.build("a.jsonl", rows.join("\n"), "packing = true").unwrap().training;
    assert_eq!((packed.len(), packed.batch(&[0])), (1, batch));
    assert_ne!(packed.fingerprint(), samples.fingerprint());
}

#[test]
fn tools_reach_the_template_and_calls_are_trained() {
    let template = "{% if tools %}{{ tools[0].function.name }};{% endif %}{% for m in messages %}<{{ m.role }}>\
                    {% if m.tool_calls %}{{ m.tool_calls[0].function.name }}{{ m.tool_calls[0].function.arguments | tojson }}\
                    {% else %}{{ m.content }}{% endif %}<|endoftext|>\n{% endfor %}\
                    {% if add_generation_prompt %}<assistant>{% endif %}";
    let place = Place::new(template);
    let row = r#"{"conversations": [{"from": "human", "value": "q"},
        {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": 2}}"},
        {"from": "observation", "value": "7"}, {"from": "gpt", "value": "it is 7"}],
        "tools": "[{\"name\": \"f\", \"description\": \"d\", \"parameters\": {}}]"}"#;
    let rows = place.rows("a.jsonl", row.replace('\n', " "), "");
    let expected =
        "f;<user>q$\n<assistant>[f{\"b\": 1, \"a\": 2}$]\n<tool>7$\n<assistant>[it is 7$]\n";
    assert_eq!(rows, [expected]);
}
