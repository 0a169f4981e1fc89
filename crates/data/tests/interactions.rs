//! Files of interactions that were spoiled: an error that names the file, or interactions, and never a panic.

use std::fmt::Write;
use std::path::Path;

use rappel_config::OptionSet;
use rappel_data::{InteractionOptions, Interactions, read_users};
use rappel_testkit::mutated;

/// Files of who took what, each of another kind.
fn whole() -> Vec<(&'static str, Vec<u8>)> {
    let mut inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n".to_owned();
    let mut csv = "user,item,rating,time\n".to_owned();
    for i in 0..40 {
        let (user, item, rating) = (i % 7, i * 5 % 11, 1 + i % 5);
        writeln!(inter, "u{user}\ti{item}\t{rating}\t{}", 1000 + i).unwrap();
        writeln!(csv, "u{user},\"i, {item}\",{rating},2024-01-{:02}T03:04:05Z", 1 + i % 28)
            .unwrap();
    }
    let parquet =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/recommendation/taken.parquet");
    vec![
        ("taken.inter", inter.into_bytes()),
        ("taken.csv", csv.into_bytes()),
        ("taken.parquet", std::fs::read(parquet).unwrap()),
    ]
}

fn options(more: &str, file: &Path) -> InteractionOptions {
    let text = format!("file = '{}'\n{more}", file.display());
    InteractionOptions::from_toml("data", &toml::from_str(&text).unwrap()).unwrap()
}

/// RAPPEL_MUTATIONS=20000 tries so many.
#[test]
fn spoiled_files_are_errors_or_interactions() {
    let count = std::env::var("RAPPEL_MUTATIONS").map_or(600, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let files = whole();
    let (mut refused, mut read) = (0, 0);
    for number in 0..count {
        let (name, bytes) = &files[number % files.len()];
        let path = folder.path().join(name);
        std::fs::write(&path, mutated(bytes, number as u64)).unwrap();
        let lenient = number % 2 == 1;
        let more = if lenient { "on_bad_row = 'skip'\non_duplicate = 'skip'" } else { "" };
        let options = options(more, &path);
        match Interactions::read(&options, &path, Some(2.0), None) {
            Ok(found) => {
                let (users, items) = (found.user_ids.len(), found.item_ids.len());
                assert!(found.users.iter().all(|user| (*user as usize) < users), "{number}");
                assert!(found.items.iter().all(|item| (*item as usize) < items), "{number}");
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(name), "{number}: {error}");
                refused += 1;
            }
        }
        // Whom items are to be recommended to.
        if let Err(error) = read_users(&options, &path) {
            assert!(error.to_string().contains(name), "{number}: {error}");
        }
    }
    assert!(refused > count / 10 && read > count / 10, "{refused} refused, {read} read");
}
