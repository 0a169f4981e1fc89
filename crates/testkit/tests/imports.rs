//! No circles of imports among the source files of a crate.

use std::path::{Path, PathBuf};

use rappel_testkit::import_circles;

/// Files that may import one another in a circle: two at most.
const MOST: usize = 2;

/// Crates that still have larger circles, most of them through a `mod.rs` that declares what its own modules
/// use. One that no longer has must leave this list.
const TANGLED: &[&str] =
    &["cli", "config", "data", "model", "regularize", "schedule", "telemetry", "tensor", "train"];

#[test]
fn no_more_than_two_files_import_one_another_in_a_circle() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("Cargo.toml").exists());
    folders.sort();
    assert!(folders.len() > 10);
    let mut wrong = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let mut circles = import_circles(&folder);
        circles.retain(|circle| circle.len() > MOST);
        if circles.is_empty() == TANGLED.contains(&name) {
            wrong.push(format!("{name}: {circles:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
