//! Rows with preferences: formats, prompts, labels, what is cut, bad rows.

use rappel_config::{OptionSet, resolve};
use rappel_data::{
    Answers, Dataset, PreferenceConfig, PreferenceSamples, Preferences, SftModel, Tokenizer,
};
use tempfile::TempDir;

const PLAIN: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}\
                     {% if add_generation_prompt %}<assistant>{% endif %}";

struct Place(TempDir, Tokenizer);

impl Place {
    fn new() -> Self {
        let mut tokenizer = Tokenizer::byte();
        tokenizer.set_chat_template(PLAIN);
        Self(tempfile::tempdir().unwrap(), tokenizer)
    }

    fn build(&self, content: &str, answers: Answers, options: &str) -> Result<Preferences, String> {
        let path = self.0.path().join("rows.jsonl");
        std::fs::write(&path, content).unwrap();
        let given = format!("files = ['{}']\nshuffle = false\n{options}", path.display());
        let mut given: toml::Table = toml::from_str(&given).unwrap();
        given.entry("validation_fraction").or_insert_with(|| 0.0.into());
        let config = resolve("data", PreferenceConfig::FIELDS, &given)
            .and_then(|options| PreferenceConfig::from_options(&options))
            .map_err(|error| error.to_string())?;
        let model = SftModel { tokenizer: &self.1, stops: &[], positions: 512 };
        Preferences::build(&config, answers, 3, &model).map_err(|error| error.to_string())
    }

    /// Each answer with its prompt, the answer in brackets.
    #[track_caller]
    fn rows(&self, content: &str, answers: Answers, options: &str) -> Vec<String> {
        self.shown(&self.build(content, answers, options).unwrap().training)
    }

    fn shown(&self, samples: &PreferenceSamples) -> Vec<String> {
        let end = self.1.end_of_document();
        let row = |row: rappel_data::SftRow<'_>| {
            let start = row.weights.iter().position(|weight| *weight > 0.0).unwrap();
            let text = |ids: &[u32]| -> String {
                ids.iter().map(|id| if *id == end { '$' } else { char::from(*id as u8) }).collect()
            };
            assert!(row.weights[start..].iter().all(|weight| *weight == 1.0));
            format!("{}[{}]", text(&row.ids[..start]), text(&row.ids[start..]))
        };
        samples.rows().map(row).collect()
    }

    #[track_caller]
    fn refusal(&self, content: &str, answers: Answers, options: &str) -> String {
        self.build(content, answers, options).unwrap_err()
    }
}

/// What is said to a model that answers in one of two ways.
const ASKED: [&str; 2] = ["<user>q$<assistant>[a$]", "<user>q$<assistant>[b$]"];

#[test]
fn pairs_are_told_from_their_columns() {
    let place = Place::new();
    let user = r#"{"role": "user", "content": "q"}"#;
    let [a, b] = ["a", "b"].map(|c| format!(r#"{{"role": "assistant", "content": "{c}"}}"#));
    for content in [
        format!(r#"{{"prompt": [{user}], "chosen": [{a}], "rejected": [{b}]}}"#),
        // Without a prompt, and with one that the messages repeat.
        format!(r#"{{"chosen": [{user}, {a}], "rejected": [{user}, {b}]}}"#),
        format!(r#"{{"prompt": "q", "chosen": [{user}, {a}], "rejected": [{user}, {b}]}}"#),
        r#"{"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"}}"#.replace('\n', " "),
        r#"{"instruction": "q", "input": "", "chosen": "a", "rejected": "b"}"#.to_owned(),
    ] {
        assert_eq!(place.rows(&content, Answers::Pairs, ""), ASKED, "{content}");
    }
    let texts = r#"{"prompt": "2+3=", "chosen": "5", "rejected": "6"}"#;
    assert_eq!(place.rows(texts, Answers::Pairs, ""), ["2+3=[5$]", "2+3=[6$]"]);
    let implicit = r#"{"chosen": "sky is blue", "rejected": "sky is green"}"#;
    let rows = place.rows(implicit, Answers::Pairs, "");
    assert_eq!(rows, ["sky is[ blue$]", "sky is[ green$]"]);
}

#[test]
fn answers_have_labels_by_themselves_or_as_pairs() {
    let place = Place::new();
    let rows = [
        r#"{"prompt": "p", "completion": "x", "label": true}"#,
        r#"{"prompt": "p", "completion": "yz", "label": false}"#,
    ];
    let built = place.build(&rows.join("\n"), Answers::Labelled, "").unwrap().training;
    assert_eq!(place.shown(&built), ["p[x$]", "p[yz$]"]);
    let batch = built.batch(&[0, 1]);
    assert_eq!((batch.labels, batch.lengths), (vec![true, false], vec![2, 3]));
    // Each prompt with the answer before, the first with the last.
    let end = i64::from(place.1.end_of_document());
    let [p, x, y, z] = [b'p', b'x', b'y', b'z'].map(i64::from);
    assert_eq!(batch.mismatched.input_ids, [p, y, z, p, x]);
    assert_eq!(batch.mismatched.targets, [y, z, end, x, end]);
    assert_eq!(batch.mismatched.segment_ids, [0, 0, 0, 1, 1]);
    let messages = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "label": 0}"#;
    assert_eq!(place.rows(messages, Answers::Labelled, ""), [ASKED[0]]);
    let shared = r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "b"}], "kto_tag": "true"}"#;
    assert_eq!(place.rows(shared, Answers::Labelled, ""), [ASKED[1]]);
    let pair = r#"{"prompt": "p", "chosen": "x", "rejected": "y"}"#;
    let built = place.build(pair, Answers::Labelled, "").unwrap().training;
    assert_eq!((built.len(), built.good()), (2, 1));
    let wrong = messages.replace("\"label\": 0", "\"label\": \"maybe\"");
    let told = place.refusal(&wrong, Answers::Labelled, "");
    assert!(told.contains("line 1: ") && told.contains("expected true or false"), "{told}");
}

#[test]
fn batches_have_chosen_answers_first() {
    let place = Place::new();
    let rows = [
        r#"{"prompt": "p", "chosen": "a", "rejected": "bb", "margin": 0.5}"#,
        r#"{"prompt": "q", "chosen": "c", "rejected": "d", "margin": 2}"#,
    ];
    let built = place.build(&rows.join("\n"), Answers::Pairs, "").unwrap().training;
    let batch = built.batch(&[1, 0]);
    let [p, q, a, b, c, d] = [b'p', b'q', b'a', b'b', b'c', b'd'].map(i64::from);
    assert_eq!(batch.answers.input_ids, [q, c, p, a, q, d, p, b, b]);
    assert_eq!(batch.answers.segment_ids, [0, 0, 1, 1, 2, 2, 3, 3, 3]);
    assert_eq!(batch.answers.positions, [0, 1, 0, 1, 0, 1, 0, 1, 2]);
    assert_eq!(batch.lengths, [2, 2, 2, 3]);
    assert_eq!(batch.margins, [2.0, 0.5]);
    assert_eq!(built.units(&mut (0..2)), 3 + 4 + 3 + 3);
    // Scored answers are read to their ends.
    let scored = place.build(&rows.join("\n"), Answers::Scored, "").unwrap().training;
    let end = i64::from(place.1.end_of_document());
    assert_eq!(scored.batch(&[1]).answers.input_ids, [q, c, end, q, d, end]);
    assert_ne!(
        scored.fingerprint(),
        place.build(rows[0], Answers::Scored, "").unwrap().training.fingerprint()
    );
    let some = format!("{}\n{}", rows[0], rows[1].replace(", \"margin\": 2", ""));
    let told = place.refusal(&some, Answers::Pairs, "");
    assert!(told.contains("line 2: has no `margin`"), "{told}");
}

#[test]
fn long_rows_are_cut_at_the_end_or_from_the_left() {
    let place = Place::new();
    let row = r#"{"prompt": "abcdef", "chosen": "ghi", "rejected": "j"}"#;
    let cut = place.build(row, Answers::Pairs, "max_length = 8").unwrap().training;
    assert_eq!(place.shown(&cut), ["abcdef[gh]", "abcdef[j$]"]);
    assert_eq!(cut.rows().map(|row| row.cut).collect::<Vec<_>>(), [2, 0]);
    let left = "max_length = 5\ntruncation_mode = 'keep_end'";
    assert_eq!(place.rows(row, Answers::Pairs, left), ["f[ghi$]", "def[j$]"]);
    let told = place.refusal(row, Answers::Pairs, "max_length = 6");
    assert!(told.contains("`chosen`: cut to data.max_length = 6"), "{told}");
    let long = place.refusal(row, Answers::Scored, "max_length = 8");
    assert!(long.contains("10 tokens, more than data.max_length = 8"), "{long}");
}

#[test]
fn rows_without_a_preference_are_errors_or_skipped() {
    let place = Place::new();
    let good = r#"{"prompt": "p", "chosen": "a", "rejected": "b"}"#;
    for (bad, reason) in [
        (r#"{"prompt": "p", "chosen": "a", "rejected": "a"}"#, "are the same"),
        (r#"{"prompt": "p", "chosen": "a"}"#, "has no `rejected`"),
        (
            r#"{"prompt": "p", "chosen": "a", "rejected": [{"role": "assistant", "content": "b"}]}"#,
            "all be texts or all be messages",
        ),
        (
            r#"{"prompt": "p", "chosen": "a", "rejected": "b", "margin": "x"}"#,
            "`margin` is not a number",
        ),
        (
            r#"{"prompt": [{"role": "bot", "content": "q"}], "chosen": "a", "rejected": "b"}"#,
            "unknown role `bot`",
        ),
    ] {
        let content = [good, bad].join("\n");
        let told = place.refusal(&content, Answers::Pairs, "");
        assert!(told.contains("rows.jsonl, line 2: ") && told.contains(reason), "{told}");
        let built = place.build(&content, Answers::Pairs, "on_bad_row = 'skip'").unwrap();
        assert_eq!((built.training.len(), built.skipped.len()), (1, 1), "{bad}");
    }
    let apart = r#"{"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        "rejected": [{"role": "user", "content": "r"}, {"role": "assistant", "content": "a"}]}"#;
    let told = place.refusal(&apart.replace('\n', " "), Answers::Pairs, "");
    assert!(told.contains("there is no prompt"), "{told}");
    let labels = r#"{"prompt": "p", "completion": "c", "label": true}"#;
    assert!(place.refusal(labels, Answers::Pairs, "").contains("task = \"kto\""));
    let none = place.refusal(r#"{"text": "a"}"#, Answers::Pairs, "");
    assert!(
        none.contains("it has text") && none.contains("preference (chosen, rejected)"),
        "{none}"
    );
    let two = r#"{"prompt": "p", "conversations": [], "chosen": "a", "rejected": "b"}"#;
    assert!(place.refusal(two, Answers::Pairs, "").contains("data.format"));
}
