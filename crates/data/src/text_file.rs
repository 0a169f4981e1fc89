//! One file of text, or of records with text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::corpus::{self, Document};
use crate::table::{Format, ReadAs, Reading, Table};
use crate::{DataError, records};

/// Reads the documents of one file: the file itself, or what `text_field` holds of each record of `.jsonl` and `.ndjson`,
/// of each row of `.parquet`.
///
/// # Errors
/// A file that cannot be read or is binary; a record without that field, a table without that column.
pub fn read_documents(path: &Path, text_field: &str) -> Result<Vec<Document>, DataError> {
    read(path, &path.display().to_string(), text_field, u64::MAX)
}

/// Reads the texts of one file, in order: the lines of a text file, or what `column` holds: of the records of `.jsonl` and
/// `.ndjson`, of the rows of `.csv`, `.tsv` and `.parquet`. A cell without a value is an empty text.
///
/// # Errors
/// A file that cannot be read or is binary; a record without that field, a table without that column.
pub fn read_texts(path: &Path, column: &str) -> Result<Vec<Document>, DataError> {
    let name = path.display().to_string();
    if has_extension(path, &["csv", "tsv", "parquet"]) {
        return cells(path, &name, column);
    }
    if records::is_jsonl(path) {
        return read_documents(path, column);
    }
    let bytes = read_text(path, u64::MAX)?;
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // A newline ends a line and begins none.
    lines.pop_if(|last| last.is_empty());
    let line = |(i, line): (usize, &&[u8])| Document {
        name: format!("{name}:{}", i + 1),
        bytes: line.strip_suffix(b"\r").unwrap_or(line).to_vec(),
    };
    Ok(lines.iter().enumerate().map(line).collect())
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default();
    known.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The cells of a column of a table, named by the file's `name` and their place in it.
fn cells(path: &Path, name: &str, column: &str) -> Result<Vec<Document>, DataError> {
    let reading = Reading {
        format: Format { missing_values: Vec::new(), ..Format::default() },
        columns: [(column.to_owned(), ReadAs::Text)].into(),
        others: ReadAs::Nothing,
    };
    let table = Table::read_as(path, &reading)?;
    let cells = table.column(column)?;
    let row = |row: usize| Document {
        name: format!("{name}, {}", table.place(row)),
        bytes: cells.text(row).unwrap_or_default().into_owned().into_bytes(),
    };
    Ok((0..table.rows()).map(row).collect())
}

/// [`read_documents`] of at most `limit` bytes of text; of files other than Parquet, little more is read.
pub(crate) fn read(
    path: &Path,
    name: &str,
    text_field: &str,
    limit: u64,
) -> Result<Vec<Document>, DataError> {
    if records::is_jsonl(path) {
        return records::read(path, name, text_field, limit);
    }
    if has_extension(path, &["parquet"]) {
        let (mut documents, mut left) = (cells(path, name, text_field)?, limit);
        for document in &mut documents {
            left = corpus::cut(&mut document.bytes, left);
        }
        return Ok(documents);
    }
    Ok(vec![Document { name: name.to_owned(), bytes: read_text(path, limit)? }])
}

/// The bytes of a file, cut at `limit`.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    // The bytes after the cut tell whether it would split a character.
    let file = File::open(path).map_err(DataError::read(path))?;
    let read = file.take(limit.saturating_add(4)).read_to_end(&mut bytes);
    read.map_err(DataError::read(path))?;
    corpus::cut(&mut bytes, limit);
    match binary_at(&bytes) {
        Some(offset) => Err(DataError::Binary { path: path.to_owned(), offset }),
        None => Ok(bytes),
    }
}

/// The first byte that no text has: NUL in any, other control characters where the bytes are not UTF-8
/// either. So text in an encoding of single bytes, such as Latin-1, remains text.
fn binary_at(bytes: &[u8]) -> Option<usize> {
    if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
        return Some(nul);
    }
    std::str::from_utf8(bytes).err()?;
    let of_no_text = |byte: &u8| matches!(byte, 1..=6 | 14..=26 | 28..=31 | 127);
    bytes.iter().position(of_no_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_binary() {
        let texts: [&[u8]; 5] =
            [b"", b"a\tb\r\n\x0c\x1b[0m", "\u{1}é".as_bytes(), b"caf\xe9\n", b"\xff\x85"];
        assert!(texts.iter().all(|text| binary_at(text).is_none()));
        assert_eq!(binary_at(b"ab\0"), Some(2));
        assert_eq!(binary_at(b"\x89PNG\r\n\x1a\n\x01"), Some(6));
        // UTF-16 text has to be converted first.
        assert_eq!(binary_at(b"\xff\xfea\0"), Some(3));
    }
}
