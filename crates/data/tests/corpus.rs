//! Files in, documents out; and what bad input is told.

use std::fs;
use std::path::Path;

use rappel_data::{Corpus, DataConfig, Text};
use toml::Table;

fn config(text: &str) -> Result<DataConfig, rappel_config::ConfigError> {
    DataConfig::from_toml("data", &text.parse::<Table>().unwrap())
}

fn config_of(folder: &Path, patterns: &[&str], more: &str) -> DataConfig {
    let paths: Vec<_> = patterns.iter().map(|pattern| folder.join(pattern)).collect();
    config(&format!("files = {paths:?}\n{more}")).unwrap()
}

fn names(config: &DataConfig) -> Vec<String> {
    config.source.list().unwrap().into_iter().map(|document| document.name).collect()
}

fn build_error(config: &DataConfig) -> String {
    Text::build(config, 0).unwrap_err().to_string()
}

/// A folder with `n` files of `size` bytes each.
fn folder_of(n: usize, size: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..n {
        let text = format!("{i:04} ").repeat(size.div_ceil(5));
        fs::write(folder.path().join(format!("{i:04}.txt")), &text[..size]).unwrap();
    }
    folder
}

#[test]
fn paths_folders_and_globs_name_each_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("sub/.hidden")).unwrap();
    for name in ["a.txt", "b.md", "sub/c.txt", "sub/[d].txt", "sub/.hidden/e.txt", ".f"] {
        fs::write(at(name), "x").unwrap();
    }
    let names = |patterns: &[&str]| names(&config_of(folder.path(), patterns, ""));
    assert_eq!(names(&["."]), ["a.txt", "b.md", "sub/[d].txt", "sub/c.txt"]);
    assert_eq!(
        names(&["**/*.txt", "a.txt", "sub"]),
        ["a.txt", "sub/.hidden/e.txt", "sub/[d].txt", "sub/c.txt"]
    );
    assert_eq!(names(&["sub/[d].txt"]), ["[d].txt"]);
    assert_eq!(names(&["s*"]), ["[d].txt", "c.txt"]);
}

#[test]
fn the_seed_orders_and_a_new_document_moves_no_other() {
    let folder = folder_of(40, 10);
    let order = |seed| -> Vec<String> {
        let config = config_of(folder.path(), &["."], "");
        let corpus = Corpus::read(config.source.as_ref(), seed, None).unwrap();
        corpus.documents.into_iter().map(|document| document.name).collect()
    };
    let before = order(1);
    assert!(!before.is_sorted());
    assert_ne!(before, order(2));
    fs::write(folder.path().join("new.txt"), "new").unwrap();
    let mut after = order(1);
    after.retain(|name| name != "new.txt");
    assert_eq!(after, before);
}

#[test]
fn the_cap_is_exact_and_takes_the_same_documents_first() {
    let folder = folder_of(40, 100);
    let config = config_of(folder.path(), &["."], "");
    let read = |cap| Corpus::read(config.source.as_ref(), 3, cap).unwrap();
    let (all, capped) = (read(None), read(Some(1050)));
    assert_eq!((all.text_bytes(), capped.text_bytes()), (4000, 1050));
    assert_eq!(capped.documents[..10], all.documents[..10]);
    assert_eq!(capped.documents[10].bytes, all.documents[10].bytes[..50]);
    assert_eq!(read(Some(4000)), all);
    assert_eq!(read(Some(u64::MAX)), all);
}

#[test]
fn a_cap_inside_a_character_ends_the_corpus_before_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::write(folder.path().join(name), "xé".repeat(10)).unwrap();
    }
    let config = config_of(folder.path(), &["."], "");
    let corpus = Corpus::read(config.source.as_ref(), 0, Some(32)).unwrap();
    let sizes: Vec<_> = corpus.documents.iter().map(|document| document.bytes.len()).collect();
    assert_eq!(sizes, [30, 1]);
}

#[test]
fn the_split_is_exact_disjoint_and_complete() {
    let folder = folder_of(40, 100);
    let config = config_of(folder.path(), &["."], "");
    let corpus = Corpus::read(config.source.as_ref(), 3, None).unwrap();
    let (train, validation) = corpus.clone().split(0.12);
    assert_eq!((train.text_bytes(), validation.text_bytes()), (3520, 480));
    let shared: Vec<_> = train
        .documents
        .iter()
        .filter(|document| validation.documents.iter().any(|other| other.name == document.name))
        .collect();
    // Only the document at the mark is cut, and its end is validation.
    let [cut] = shared.as_slice() else { panic!("{} documents are cut", shared.len()) };
    let tail = validation.documents.iter().find(|document| document.name == cut.name).unwrap();
    let whole = corpus.documents.iter().find(|document| document.name == cut.name).unwrap();
    assert_eq!([&cut.bytes[..], &tail.bytes[..]].concat(), whole.bytes);
    assert_eq!((cut.bytes.len(), tail.bytes.len()), (20, 80));
    let (train, validation) = corpus.clone().split(0.0);
    assert_eq!((train, validation.documents.len()), (corpus, 0));
}

#[test]
fn one_document_is_split_between_characters() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "é".repeat(1000)).unwrap();
    let config = config_of(folder.path(), &["a"], "");
    for fraction in [0.0501, 0.0504, 0.051, 0.0515] {
        let corpus = Corpus::read(config.source.as_ref(), 0, Some(1999)).unwrap();
        assert_eq!(corpus.text_bytes(), 1998);
        let (train, validation) = corpus.split(fraction);
        let texts =
            [&train, &validation].map(|side| String::from_utf8(side.documents[0].bytes.clone()));
        assert!(texts.iter().all(Result::is_ok));
        assert!((98..=104).contains(&validation.text_bytes()));
    }
}

#[test]
fn a_dataset_is_what_config_corpus_and_seed_determine() {
    let folder = folder_of(30, 2000);
    let build = |seed, tokenizer: &str| {
        let config = config_of(
            folder.path(),
            &["."],
            &format!("tokenizer = '{tokenizer}'\nvocab_size = 280"),
        );
        Text::build(&config, seed).unwrap()
    };
    let print = |text: &Text| [&text.train, &text.validation].map(|side| side.fingerprint());
    for tokenizer in ["byte", "bpe"] {
        let data = build(5, tokenizer);
        assert_eq!(print(&data), print(&build(5, tokenizer)));
        assert_ne!(print(&data), print(&build(6, tokenizer)));
        assert_eq!(data.train.text_bytes + data.validation.text_bytes, 60_000);
        let decoded = data.tokenizer.decode(&data.train.tokens.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(decoded.len() as u64, data.train.text_bytes);
    }
}

#[test]
fn bad_sections_are_told_by_key() {
    let message = |text: &str| config(text).unwrap_err().to_string();
    assert!(message("").starts_with("config key `data.files`: missing"));
    assert!(message("files = []").contains("`data.files`: an empty list"));
    assert!(message("files = 3").contains("`data.files`: expected list of paths"));
    assert!(config("files = 'a.txt'").is_ok(), "one path is a list of one");
    assert!(message("name = 'cargoo'").contains("did you mean `cargo`?"));
    let unknown = message("files = ['a']\nseq_len = 3");
    assert!(
        unknown.contains("`data.seq_len`: unknown; did you mean `sequence_length`?"),
        "{unknown}"
    );
    assert!(
        message("files = ['a']\nsequence_length = 0")
            .contains("`data.sequence_length`: 0 is out of range")
    );
    assert!(message("files = ['a']\nvalidation_fraction = 1.0").contains("out of range"));
    assert_eq!(
        message("files = ['a']\ntokenizer = 'bype'"),
        "config key `data.tokenizer`: `bype` is neither `byte` nor `bpe`, and no such file exists"
    );
}

#[test]
fn missing_and_empty_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let message = |pattern: &str| build_error(&config_of(folder.path(), &[pattern], ""));
    assert_eq!(message("none.txt"), format!("data.files: `{}` does not exist", at("none.txt")));
    assert_eq!(message("*.txt"), format!("data.files: `{}` matches no file", at("*.txt")));
    assert!(message("[.txt").contains("is not a valid glob: "));
    fs::create_dir(at("empty")).unwrap();
    assert_eq!(
        message("empty"),
        format!("data.files: `{}` is a folder without files", at("empty"))
    );
    fs::write(at("zero.txt"), "").unwrap();
    assert_eq!(
        message("zero.txt"),
        "the corpus is empty: 1 files with 0 bytes in all; give others in data.files"
    );
}

#[cfg(unix)]
#[test]
fn unreadable_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("gone.txt");
    std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
    let message = build_error(&config_of(folder.path(), &["gone.txt"], ""));
    assert!(message.contains("gone.txt` does not exist"), "{message}");
    // A file that vanishes between listing and reading.
    let path = folder.path().join("a.txt");
    fs::write(&path, "x").unwrap();
    let config = config_of(folder.path(), &["a.txt"], "");
    let [listed] = &config.source.list().unwrap()[..] else { panic!("one file") };
    fs::remove_file(&path).unwrap();
    let message = config.source.read(listed, u64::MAX).unwrap_err().to_string();
    assert!(message.starts_with(&format!("cannot read {}: ", path.display())), "{message}");
}

#[test]
fn text_that_is_none_is_told_by_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, [b"good text ".repeat(50), b"\xff".to_vec(), b" bad".repeat(50)].concat())
        .unwrap();
    let config = |tokenizer: &str| {
        config_of(
            folder.path(),
            &["a.txt"],
            &format!("tokenizer = '{tokenizer}'\nvalidation_fraction = 0.0"),
        )
    };
    assert_eq!(
        build_error(&config("bpe")),
        "a.txt: not UTF-8 at byte offset 500; give UTF-8 text, or set tokenizer = \"byte\", which \
         takes text in any encoding"
    );
    assert_eq!(Text::build(&config("byte"), 0).unwrap().train.text_bytes, 701);
}

#[test]
fn vocabularies_that_cannot_be_are_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "abab ".repeat(100)).unwrap();
    let message = build_error(&config_of(folder.path(), &["a.txt"], "tokenizer = 'bpe'"));
    assert!(
        message.starts_with("data.vocab_size = 4096: the corpus gives a vocabulary of 26"),
        "{message}"
    );
    let byte = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tokenizers/byte");
    let whole = fs::read_to_string(byte.join("tokenizer.json")).unwrap();
    let endless = whole.replace("<|endoftext|>", "<other>");
    for (contents, told) in [
        ("{", "is not valid JSON: "),
        ("{}", "Model missing"),
        (&endless, "names no token that closes a document; set data.end_of_document"),
        (r#"{"added_tokens": [{"content": "</s>"}]}"#, ": "),
        (r#"{"model": {"type": "BPE", "dropout": 0.1, "vocab": {"</s>": 0}}}"#, "has dropout"),
    ] {
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, contents).unwrap();
        let config = config_of(folder.path(), &["a.txt"], &format!("tokenizer = {path:?}"));
        let message = build_error(&config);
        assert!(message.starts_with(&format!("tokenizer {}: ", path.display())), "{message}");
        assert!(message.contains(told), "{message}");
    }
    let config = config_of(
        folder.path(),
        &["a.txt"],
        &format!("tokenizer = {byte:?}\nend_of_document = '<end>'"),
    );
    assert!(build_error(&config).ends_with("has no token `<end>`"));
}

#[test]
fn records_are_documents_by_their_text_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let lines: Vec<_> =
        (0..40).map(|i| format!(r#"{{"id": {i}, "text": "line {i:02} é\n"}}"#)).collect();
    fs::write(&path, lines.join("\n") + "\n\n").unwrap();
    let read = |more: &str, seed, cap| {
        let config = config_of(folder.path(), &["a.jsonl"], more);
        Corpus::read(config.source.as_ref(), seed, cap)
    };
    let corpus = read("", 0, None).unwrap();
    assert_eq!((corpus.documents.len(), corpus.text_bytes()), (40, 40 * 11));
    assert!(!corpus.documents.is_sorted_by_key(|document| document.bytes.clone()));
    let third = corpus.documents.iter().find(|document| document.name == "a.jsonl:3").unwrap();
    assert_eq!(third.bytes, "line 02 é\n".as_bytes());
    assert_ne!(corpus, read("", 1, None).unwrap());

    // The cap ends the reading: what is wrong further down is not seen.
    fs::write(&path, lines.join("\n") + "\n{\"id\": 40}\n").unwrap();
    let capped = read("", 0, Some(11 * 5 + 9)).unwrap();
    let mut names: Vec<_> = capped.documents.iter().map(|d| d.name.clone()).collect();
    names.sort();
    assert_eq!((names.len(), capped.text_bytes()), (6, 11 * 5 + 8), "{names:?}");
    let told = |more: &str| read(more, 0, None).unwrap_err().to_string();
    let at = |line: usize| format!("{}, line {line}: ", path.display());
    assert_eq!(
        told(""),
        at(41) + "the record has no field `text` (it has: id); name its text in data.text_field"
    );
    assert_eq!(
        told("text_field = 'id'"),
        at(1) + "field `id` is a number, not a string; name the text in data.text_field"
    );
    fs::write(&path, "{\"content\": \"x\"}\n{\"content\": \"y}\n").unwrap();
    assert!(told("text_field = 'content'").starts_with(&(at(2) + "not valid JSON: ")));
    fs::write(&path, "{\"content\": \"x\"}\n[1]\n").unwrap();
    let list = told("text_field = 'content'");
    assert!(list.contains("an object with a field `content`"), "{list}");
}

#[test]
fn rows_of_parquet_are_documents_by_their_text_column() {
    let folder = tempfile::tempdir().unwrap();
    let tabular = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tabular");
    fs::copy(tabular.join("snappy.parquet"), folder.path().join("a.parquet")).unwrap();
    let read = |more: &str, cap| {
        let config = config_of(folder.path(), &["a.parquet"], more);
        Corpus::read(config.source.as_ref(), 0, cap)
    };
    let corpus = read("text_field = 'colour'", None).unwrap();
    let mut found: Vec<_> = corpus.documents.iter().map(|d| (&d.name[..], &d.bytes[..])).collect();
    found.sort();
    // The second row has no text.
    assert_eq!(found[0], ("a.parquet, row 1", &b"red"[..]));
    assert_eq!(found[1], ("a.parquet, row 3", &b"blue"[..]));
    assert_eq!(read("text_field = 'colour'", Some(5)).unwrap().text_bytes(), 5);
    let told = read("", None).unwrap_err().to_string();
    assert!(told.contains("text") && told.contains("colour"), "{told}");
}

#[test]
fn binary_files_are_refused_by_every_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "text ".repeat(1000)).unwrap();
    fs::write(folder.path().join("b.png"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    for tokenizer in ["byte", "bpe"] {
        let config = config_of(folder.path(), &["."], &format!("tokenizer = '{tokenizer}'"));
        let told = build_error(&config);
        assert!(told.contains("b.png: not text: byte 8 is"), "{told}");
    }
}

/// A file without an end: reading on would never return.
#[cfg(unix)]
#[test]
fn the_cap_ends_the_reading_within_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("a.txt");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let endless = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            use std::io::Write;
            let mut to = fs::OpenOptions::new().write(true).open(pipe).unwrap();
            while to.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    let config = config_of(folder.path(), &["a.txt"], "");
    let corpus = Corpus::read(config.source.as_ref(), 0, Some(100_000)).unwrap();
    assert_eq!(corpus.text_bytes(), 100_000);
    endless.join().unwrap();
}
