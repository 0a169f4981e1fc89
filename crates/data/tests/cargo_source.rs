//! The corpus of a workspace's crates, on a made-up workspace and on this one.

use std::fs;
use std::path::Path;

use rappel_data::DataConfig;

const LOCK: &str = r#"
version = 4
[[package]]
name = "app"
version = "0.1.0"
dependencies = ["always", "builder", "dev", "inner", "late 2.0.0", "maybe", "windows", "gitty", "two 1.0.0", "two 2.0.0"]
[[package]]
name = "inner"
version = "0.1.0"
dependencies = ["renamed-crate"]
[[package]]
name = "other-member"
version = "0.1.0"
dependencies = ["unused"]
[[package]]
name = "gitty"
version = "1.0.0"
source = "git+https://example.com/gitty#0123"
"#;

const PINNED: [(&str, &str, &str); 13] = [
    ("always", "1.0.0", r#"dependencies = ["deep", "twin 1.9.0"]"#),
    ("builder", "1.0.0", r#"dependencies = ["twin 1.10.0"]"#),
    ("deep", "0.3.1+meta", ""),
    ("dev", "1.0.0", ""),
    ("late", "1.0.0", ""),
    ("late", "2.0.0", ""),
    ("maybe", "1.0.0", ""),
    ("renamed-crate", "1.0.0", ""),
    ("unused", "1.0.0", ""),
    ("windows", "1.0.0", ""),
    ("two", "1.0.0", ""),
    ("twin", "1.9.0", ""),
    ("twin", "1.10.0", ""),
];

const UNPACKED: [(&str, &str); 7] = [
    ("always-1.0.0", "deep = \"0.3\"\ntwin = \"=1.9\""),
    ("builder-1.0.0", "twin = \"1\""),
    ("deep-0.3.1+meta", ""),
    ("late-2.0.0", ""),
    ("renamed-crate-1.0.0", ""),
    ("twin-1.9.0", ""),
    ("twin-1.10.0", ""),
];

const ROOT: &str = r#"
[workspace]
members = ["crates/*"]
default-members = ["crates/app"]
[workspace.dependencies]
always = "1"
inner = { path = "crates/inner" }
"#;

const APP: &str = r#"
package = { name = "app", version = "0.1.0" }
[dependencies]
always.workspace = true
inner.workspace = true
late = "2"
maybe = { version = "1", optional = true }
gitty = { git = "https://example.com/gitty" }
two = "1"
two_new = { package = "two", version = "2" }
[build-dependencies]
builder = "1"
[dev-dependencies]
dev = "1"
[target.'cfg(windows)'.dependencies]
windows = "1"
"#;

const INNER: &str = r#"
package = { name = "inner", version = "0.1.0" }
[dependencies]
renamed = { package = "renamed-crate", version = "1" }
"#;

fn write(path: &Path, contents: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// A workspace and a cargo home in which only what every build needs is unpacked.
fn made_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let pinned = PINNED.map(|(name, version, more)| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\n{more}\n"
        )
    });
    write(&at("work/Cargo.lock"), &format!("{LOCK}{}", pinned.concat()));
    write(&at("work/Cargo.toml"), ROOT);
    write(&at("work/crates/app/Cargo.toml"), APP);
    write(&at("work/crates/inner/Cargo.toml"), INNER);
    for (package, dependency) in UNPACKED {
        let unpacked = at("home/registry/src/index.crates.io-0123").join(package);
        let manifest = format!("[package]\nname = \"any\"\n[dependencies]\n{dependency}\n");
        write(&unpacked.join("Cargo.toml"), &manifest);
        write(&unpacked.join("src/lib.rs"), "pub fn f() {}\n");
        write(&unpacked.join("README.md"), "no Rust\n");
    }
    write(&at("home/registry/src/index.crates.io-0123/always-1.0.0/src/a/b.rs"), "mod b;\n");
    folder
}

fn config(workspace: &Path, cargo_home: Option<&Path>) -> DataConfig {
    let mut section = toml::Table::new();
    section.insert("name".into(), "cargo".into());
    section.insert("workspace".into(), workspace.to_str().unwrap().into());
    if let Some(home) = cargo_home {
        section.insert("cargo_home".into(), home.to_str().unwrap().into());
    }
    DataConfig::from_toml("data", &section).unwrap()
}

fn source(folder: &Path) -> DataConfig {
    let (workspace, home) = (folder.join("work/crates/app"), folder.join("home"));
    config(&workspace, Some(&home))
}

#[test]
fn it_is_what_every_build_unpacks() {
    let folder = made_up();
    let listed = source(folder.path()).source.list().unwrap();
    let names: Vec<_> = listed.iter().map(|document| document.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "always-1.0.0/src/a/b.rs",
            "always-1.0.0/src/lib.rs",
            "builder-1.0.0/src/lib.rs",
            "deep-0.3.1+meta/src/lib.rs",
            "late-2.0.0/src/lib.rs",
            "renamed-crate-1.0.0/src/lib.rs",
            "twin-1.10.0/src/lib.rs",
        ]
    );
    // What else happens to be unpacked changes nothing.
    for package in ["windows-1.0.0", "dev-1.0.0", "maybe-1.0.0", "late-1.0.0", "two-1.0.0"] {
        let at = folder.path().join("home/registry/src/index.crates.io-0123").join(package);
        write(&at.join("Cargo.toml"), "[package]\nname = \"any\"\n");
        write(&at.join("src/lib.rs"), "pub fn f() {}\n");
    }
    assert_eq!(source(folder.path()).source.list().unwrap(), listed);
}

#[test]
fn a_crate_that_is_not_there_is_named() {
    let folder = made_up();
    let gone = folder.path().join("home/registry/src/index.crates.io-0123/deep-0.3.1+meta");
    fs::remove_dir_all(gone).unwrap();
    let message = source(folder.path()).source.list().unwrap_err().to_string();
    let lock = folder.path().canonicalize().unwrap().join("work/Cargo.lock");
    assert_eq!(
        message,
        format!(
            "cannot find the Rust sources of the workspace's crates: deep-0.3.1+meta, which {} pins, \
             is not unpacked; run `cargo fetch --locked` there; or give data.files",
            lock.display()
        )
    );
}

#[test]
fn a_folder_without_a_workspace_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("work/crates/app")).unwrap();
    let message = source(folder.path()).source.list().unwrap_err().to_string();
    assert!(message.contains("no Cargo.lock in "), "{message}");
    assert!(message.ends_with("; or give data.files"), "{message}");
    write(&folder.path().join("work/Cargo.lock"), "version = ");
    let message = source(folder.path()).source.list().unwrap_err().to_string();
    assert!(message.contains("Cargo.lock is not what cargo writes: "), "{message}");
}

#[test]
fn this_workspace_has_a_corpus_of_text() {
    let config = config(Path::new(env!("CARGO_MANIFEST_DIR")), None);
    let corpus = rappel_data::Corpus::read(config.source.as_ref(), 0, None).unwrap();
    assert!(corpus.text_bytes() > 20_000_000, "{} bytes", corpus.text_bytes());
    for document in &corpus.documents {
        assert!(std::str::from_utf8(&document.bytes).is_ok(), "{}", document.name);
    }
}

#[test]
fn vendored_crates_are_found_by_asking_cargo() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join("work").join(path);
    let checksum = "0".repeat(64);
    write(
        &at(".cargo/config.toml"),
        "[source.crates-io]\nreplace-with = 'vendored'\n[source.vendored]\ndirectory = 'vendor'\n",
    );
    write(
        &at("Cargo.toml"),
        "[package]\nname = 'app'\nversion = '0.1.0'\n[dependencies]\nalways = '1'\n[workspace]\n",
    );
    write(&at("src/lib.rs"), "");
    write(
        &at("Cargo.lock"),
        &format!(
            "version = 4\n[[package]]\nname = \"always\"\nversion = \"1.0.0\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
             checksum = \"{checksum}\"\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\
             dependencies = [\n \"always\",\n]\n"
        ),
    );
    write(&at("vendor/always/Cargo.toml"), "[package]\nname = 'always'\nversion = '1.0.0'\n");
    write(&at("vendor/always/src/lib.rs"), "pub fn vendored() {}\n");
    write(
        &at("vendor/always/.cargo-checksum.json"),
        &format!("{{\"files\":{{}},\"package\":\"{checksum}\"}}"),
    );
    let listed = config(&at("src"), Some(&folder.path().join("home"))).source.list().unwrap();
    let [document] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(document.name, "always-1.0.0/src/lib.rs");
    assert_eq!(fs::read_to_string(&document.path).unwrap(), "pub fn vendored() {}\n");
}
