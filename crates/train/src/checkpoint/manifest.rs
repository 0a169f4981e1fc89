//! The list of a checkpoint's files with their checksums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use blake3::Hasher;
use rappel_files::{create, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Flaw;
use crate::TrainError;

const NAME: &str = "manifest.json";

/// Bytes read or written at a time.
const PIECE: usize = 1 << 20;

/// Sizes and checksums of a checkpoint's files. They are BLAKE3's: several times as fast as SHA-256, so that the
/// disk bounds a save, and `b3sum` prints them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    files: BTreeMap<String, Sum>,
}

/// The size and the checksum of a file.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Sum {
    bytes: u64,
    blake3: String,
}

impl Manifest {
    /// Writes the list of a folder's files.
    pub fn write<const N: usize>(folder: &Path, files: [(&str, Sum); N]) -> Result<(), TrainError> {
        let files = files.into_iter().map(|(name, sum)| (name.to_owned(), sum)).collect();
        let json = serde_json::to_vec_pretty(&Self { files }).expect("JSON with texts for keys");
        Ok(create(&folder.join(NAME), |out| out.write_all(&json))?)
    }
}

/// Writes a file of a folder; its checksum is computed on the way.
pub(super) fn create_summed(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Sum, TrainError> {
    let mut sum = None;
    create(&folder.join(name), |out| {
        let mut summing = Summing { out, hash: Hasher::new(), bytes: 0 };
        write(&mut summing)?;
        sum = Some(summing.sum());
        Ok(())
    })?;
    Ok(sum.expect("the file was written"))
}

/// Passes on what is written, and sums it up.
struct Summing<'a> {
    out: &'a mut dyn Write,
    hash: Hasher,
    bytes: u64,
}

impl Summing<'_> {
    fn sum(&self) -> Sum {
        Sum { bytes: self.bytes, blake3: self.hash.finalize().to_hex().to_string() }
    }
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What is hashed is still in the processor's cache when it is written.
        let written = self.out.write(&bytes[..bytes.len().min(PIECE)])?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether a folder's manifest lists exactly these files and they are as it says; if not, why.
pub(super) fn verify(folder: &Path, names: &[&str]) -> Result<(), Flaw> {
    let json = std::fs::read(folder.join(NAME)).map_err(|error| Flaw::of(folder, NAME, error))?;
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|error| format!("{NAME}: {error}"))?;
    if !manifest.files.keys().map(String::as_str).eq(sorted(names)) {
        return Err(format!("{NAME} lists other files").into());
    }
    for (name, wanted) in &manifest.files {
        let found = sum(&folder.join(name)).map_err(|error| Flaw::of(folder, name, error))?;
        if found.bytes != wanted.bytes {
            let reason = format!("{name} has {} bytes of {}", found.bytes, wanted.bytes);
            return Err(reason.into());
        }
        if found != *wanted {
            return Err(format!("{name} is not what was written: its BLAKE3 sum differs").into());
        }
    }
    Ok(())
}

/// The SHA-256 of a folder's manifest itself.
pub(super) fn sha256_of(folder: &Path) -> Result<String, TrainError> {
    sha256_of_file(&folder.join(NAME))
}

/// The SHA-256 of a file.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String, TrainError> {
    Ok(rappel_files::sha256_of_file(path).map_err(TrainError::io("read", path))?.0)
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

fn sum(path: &Path) -> io::Result<Sum> {
    let mut hash = Hasher::new();
    hash.update_reader(File::open(path)?)?;
    Ok(Sum { bytes: hash.count(), blake3: hash.finalize().to_hex().to_string() })
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}
