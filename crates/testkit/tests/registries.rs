//! A folder of techniques and its registry cannot drift apart unseen.

use std::fs::File;
use std::panic::catch_unwind;

use rappel_testkit::assert_folder_matches;

#[test]
fn files_and_names_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["mod.rs", "sgd.rs", "adam_w.rs", "notes.md"] {
        File::create(folder.path().join(file)).unwrap();
    }
    let matches = |names: &[&str]| {
        let names: Vec<_> = names.to_vec();
        catch_unwind(|| assert_folder_matches(folder.path(), &names)).is_ok()
    };
    assert!(matches(&["sgd", "adam-w"]));
    assert!(!matches(&["sgd"]));
    assert!(!matches(&["sgd", "adam-w", "lion"]));
    assert!(!matches(&["sgd", "adam-w", "sgd"]));
}
