//! Panics of the decoder of Parquet are errors that name the file.

use std::collections::BTreeSet;
use std::path::Path;

use rappel_data::Table;
use rappel_testkit::Random;

/// Changed files of each compression.
const CASES: u64 = 2500;

/// Different panics that these cases reach with the decoder as it is: fewer would mean that the cases no longer
/// test the border.
const PANICS: usize = 3;

/// `bytes` with up to four bytes changed.
fn changed(bytes: &[u8], seed: u64) -> Vec<u8> {
    let random = &mut Random::new(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
    }
    bytes
}

#[test]
fn panics_within_the_decoder_of_parquet_are_errors_that_name_the_file() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("changed.parquet");
    let mut panics = BTreeSet::new();
    for compression in ["none", "snappy", "gzip", "zstd"] {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tabular");
        let bytes = std::fs::read(testdata.join(format!("{compression}.parquet"))).unwrap();
        for seed in 0..CASES {
            std::fs::write(&path, changed(&bytes, seed)).unwrap();
            let Err(error) = Table::read(&path) else { continue };
            let text = error.to_string();
            assert!(text.contains("changed.parquet"), "{compression}, seed {seed}: {text}");
            if let Some((_, panic)) = text.split_once("its decoder failed: ") {
                // Numbers are those of the case.
                panics.insert(panic.replace(|c: char| c.is_ascii_digit(), ""));
            }
        }
    }
    eprintln!("{panics:#?}");
    assert!(panics.len() >= PANICS, "{panics:#?}");
}
