//! Checksums of files, as they are written down.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Bytes as hexadecimal digits.
///
/// ```
/// assert_eq!(rappel_files::hex(&[0x0f, 0xa0]), "0fa0");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The SHA-256 of a file in hexadecimal digits, and how many bytes it has.
///
/// # Errors
/// The system's.
pub fn sha256_of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hex(&hash.finalize()), bytes)),
            n => {
                hash.update(&piece[..n]);
                bytes += n as u64;
            }
        }
    }
}
