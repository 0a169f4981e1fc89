//! What holds for every registry: its folder, its names, its options.

use std::collections::BTreeSet;
use std::path::Path;

use rappel_config::{Default, Family, Field, Kind, resolve};

/// Panics unless the Rust files of `dir`, `mod.rs` aside, are named as the entries `names`.
///
/// A `-` in a name stands as `_` in its file's name.
pub fn assert_folder_matches(dir: &Path, names: &[&str]) {
    let listing = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("cannot read the folder {}: {error}", dir.display()));
    let files: BTreeSet<String> = listing
        .map(|file| file.expect("a readable folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|stem| stem != "mod")
        .collect();
    let entries: BTreeSet<String> = names.iter().map(|name| name.replace('-', "_")).collect();
    assert_eq!(entries.len(), names.len(), "a name stands twice among {names:?}");
    let unregistered: Vec<_> = files.difference(&entries).collect();
    let without_file: Vec<_> = entries.difference(&files).collect();
    assert!(
        unregistered.is_empty() && without_file.is_empty(),
        "{}: files without an entry: {unregistered:?}; entries without a file: {without_file:?}",
        dir.display()
    );
}

/// Panics unless every entry of the family has a summary, a reference, documented options without
/// repeats, and defaults that pass their own checks.
pub fn assert_sound(family: &dyn Family) {
    let infos = family.infos();
    assert!(!infos.is_empty(), "the registry of {}s is empty", family.kind());
    for (i, info) in infos.iter().enumerate() {
        let at = format!("{} `{}`", family.kind(), info.name);
        assert!(infos[..i].iter().all(|other| other.name != info.name), "{at}: named twice");
        assert!(!info.summary.is_empty(), "{at}: no summary");
        assert!(!info.reference.is_empty(), "{at}: no reference");
        assert_fields_sound(&at, &info.fields);
        assert!(info.fields.iter().all(|field| field.name != "name"), "{at}: `name` is taken");
    }
}

fn assert_fields_sound(at: &str, fields: &[Field]) {
    for (i, field) in fields.iter().enumerate() {
        let at = format!("{at}, option `{}`", field.name);
        assert!(fields[..i].iter().all(|other| other.name != field.name), "{at}: declared twice");
        assert!(!field.doc.is_empty(), "{at}: no doc");
        if let Kind::Table(nested) | Kind::Tables(nested) = field.kind {
            assert_fields_sound(&at, nested);
        }
        if let Default::Value { .. } = field.default
            && let Err(error) = resolve("", &[*field], &toml::Table::new())
        {
            panic!("{at}: its default does not pass: {error}");
        }
    }
}
