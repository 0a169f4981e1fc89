//! CSV files (RFC 4180): UTF-8, quotes where needed, a header.
//!
//! A file is read in blocks, and a block by all threads: each takes a piece that begins after a line
//! break. Where that break was within quotes, which shows at the end of the piece before it, or
//! anything is wrong, what is left of the file is read again from the block's beginning as one piece.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::str::Utf8Error;

use csv::{ByteRecord, ErrorKind, ReaderBuilder, StringRecord};
use memchr::{memchr, memchr_iter, memrchr};
use rayon::prelude::*;

use super::column::Builder;
use super::lines::Lines;
use super::{Reading, Table};
use crate::DataError;

/// Bytes of a block, and of a piece.
const BLOCK: usize = 8 << 20;
const PIECE: usize = 1 << 20;

const UNCLOSED: &str = "opens a quote that nothing closes; close it, or double it";

const NOT_UTF8: &str = "not UTF-8; save the file as UTF-8";

const DELIMITERS: &[u8] = b",;\t|";

pub(super) fn read(path: &Path, usual: u8, reading: &Reading) -> Result<Table, DataError> {
    let mut file = File::open(path).map_err(DataError::read(path))?;
    let (mut bytes, mut next) = (Vec::new(), Vec::new());
    let mut ended = fill(&mut file, &mut bytes, BLOCK).map_err(DataError::read(path))?;
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    let delimiter =
        reading.format.delimiter.map_or_else(|| told(&bytes, usual), |given| given as u8);
    let (names, header) = header(path, &bytes, delimiter)?;
    let shape = Shape { delimiter, names: &names, reading };
    let mut whole = shape.part(1 + line_breaks(&bytes[..header]));
    bytes.drain(..header);
    loop {
        let cut = if ended { bytes.len() } else { after_break(&bytes) };
        next.clear();
        next.extend_from_slice(&bytes[cut..]);
        bytes.truncate(cut);
        // Without a line break the block has to grow.
        let more = next.len() + BLOCK;
        let (parts, read): (Result<Vec<Part>, Wrong>, _) = rayon::join(
            || pieces(&bytes).into_par_iter().map(|piece| shape.read(piece)).collect(),
            || if ended { Ok(true) } else { fill(&mut file, &mut next, more) },
        );
        let all_read = read.map_err(DataError::read(path))?;
        if let Ok(parts) = parts {
            whole.append(parts);
            std::mem::swap(&mut bytes, &mut next);
        } else {
            bytes.append(&mut next);
            file.read_to_end(&mut bytes).map_err(DataError::read(path))?;
            let rest = shape.read(&bytes).map_err(|wrong| wrong.after(&whole, path))?;
            whole.append(vec![rest]);
            break;
        }
        if ended {
            break;
        }
        ended = all_read;
    }
    let columns = names.iter().zip(whole.columns);
    let columns = columns.map(|(name, cells)| cells.finish(name)).collect();
    Ok(Table { path: path.to_owned(), columns, rows: whole.rows, lines: whole.lines })
}

/// Reads until there are `len` bytes; whether the file has ended.
fn fill(file: &mut File, bytes: &mut Vec<u8>, len: usize) -> std::io::Result<bool> {
    let wanted = len.saturating_sub(bytes.len());
    bytes.reserve(wanted);
    Ok(Read::by_ref(file).take(wanted as u64).read_to_end(bytes)? < wanted)
}

/// The delimiter that the first line has most of outside quotes; the usual one where none is ahead.
fn told(bytes: &[u8], usual: u8) -> u8 {
    let (mut counts, mut quoted) = ([0; DELIMITERS.len()], false);
    for byte in bytes.iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')) {
        quoted ^= *byte == b'"';
        if let Some(at) = DELIMITERS.iter().position(|delimiter| delimiter == byte && !quoted) {
            counts[at] += 1;
        }
    }
    let of =
        |delimiter: u8| DELIMITERS.iter().position(|d| *d == delimiter).map_or(0, |at| counts[at]);
    let most = DELIMITERS
        .iter()
        .copied()
        .fold(usual, |best, next| if of(next) > of(best) { next } else { best });
    if of(most) > 0 { most } else { usual }
}

/// The columns' names, and where the rows begin.
fn header(path: &Path, bytes: &[u8], delimiter: u8) -> Result<(Vec<String>, usize), DataError> {
    let mut reader =
        ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(bytes);
    let mut record = ByteRecord::new();
    let there = reader
        .read_byte_record(&mut record)
        .map_err(|error| DataError::table(path, format!("line 1 is not CSV: {error}")))?;
    if !there {
        return Err(DataError::table(path, "is empty; the first line must name the columns"));
    }
    let name = |(i, cell): (usize, &[u8])| {
        let name = std::str::from_utf8(cell).map(|name| name.trim().to_owned());
        name.map_err(|_| DataError::table(path, format!("line 1, cell {}: {NOT_UTF8}", i + 1)))
    };
    let end = reader.position().byte() as usize;
    if ends_in_quotes(&bytes[..end], delimiter) {
        return Err(DataError::table(path, format!("line 1 {UNCLOSED}")));
    }
    let names = record.iter().enumerate().map(name).collect::<Result<_, _>>()?;
    Ok((names, end))
}

/// Whether a record ends within quotes. Only a quote that a cell begins with opens any.
fn ends_in_quotes(record: &[u8], delimiter: u8) -> bool {
    let (mut quoted, mut begins) = (false, true);
    let mut bytes = record.iter().peekable();
    while let Some(byte) = bytes.next() {
        if quoted {
            // Two of them stand for one.
            quoted = *byte != b'"' || bytes.next_if_eq(&&b'"').is_some();
        } else {
            quoted = begins && *byte == b'"';
            begins = *byte == delimiter || matches!(byte, b'\n' | b'\r');
        }
    }
    quoted
}

fn line_breaks(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Where the last line begins.
fn after_break(bytes: &[u8]) -> usize {
    memrchr(b'\n', bytes).map_or(0, |at| at + 1)
}

/// Cuts a block after line breaks.
fn pieces(mut block: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !block.is_empty() {
        let cut = match block.get(..PIECE).map_or(0, after_break) {
            0 => block.len(),
            cut => cut,
        };
        let (piece, rest) = block.split_at(cut);
        pieces.push(piece);
        block = rest;
    }
    pieces
}

/// The text of a piece in which every cell stands as it is and every line ends in the same way as others do: without
/// quotes, and a carriage return only before a line break.
fn plain(piece: &[u8]) -> Option<&str> {
    let ends_a_line = |at: usize| piece.get(at + 1) == Some(&b'\n');
    let plain = memchr(b'"', piece).is_none() && memchr_iter(b'\r', piece).all(ends_a_line);
    if plain { std::str::from_utf8(piece).ok() } else { None }
}

/// What stands between bytes that are ASCII; `str::split` begins its search anew for each.
fn cut(text: &str, at: u8) -> impl Iterator<Item = &str> {
    let ends = memchr_iter(at, text.as_bytes()).chain(std::iter::once(text.len()));
    ends.scan(0, |begin, end| Some(&text[std::mem::replace(begin, end + 1)..end]))
}

/// What all parts of a file have in common.
struct Shape<'a> {
    delimiter: u8,
    names: &'a [String],
    reading: &'a Reading,
}

/// Rows that follow each other.
struct Part<'a> {
    columns: Vec<Builder<'a>>,
    rows: usize,
    lines: Lines,
    /// The line after the last one.
    next_line: u64,
}

impl Part<'_> {
    fn append(&mut self, parts: Vec<Self>) {
        let mut more: Vec<Vec<_>> = self.columns.iter().map(|_| Vec::new()).collect();
        for part in parts {
            self.lines.append(self.rows, self.next_line, &part.lines);
            self.next_line += part.next_line;
            self.rows += part.rows;
            for (more, column) in more.iter_mut().zip(part.columns) {
                more.push(column);
            }
        }
        self.columns.par_iter_mut().zip(more).for_each(|(column, more)| {
            for part in more {
                column.append(part);
            }
        });
    }
}

/// What is wrong with a part, whose first line is 0.
struct Wrong {
    line: u64,
    column: Option<String>,
    reason: String,
}

impl Wrong {
    fn after(self, part: &Part, path: &Path) -> DataError {
        let line = self.line + part.next_line;
        let at = self.column.map_or_else(String::new, |name| format!(", column `{name}`:"));
        DataError::table(path, format!("line {line}{at} {}", self.reason))
    }
}

impl<'a> Shape<'a> {
    /// A part without rows, before a line.
    fn part(&self, next_line: u64) -> Part<'a> {
        let column = |name: &String| Builder::new(self.reading.of(name), &self.reading.format);
        let columns = self.names.iter().map(column).collect();
        Part { columns, rows: 0, lines: Lines::default(), next_line }
    }

    /// The rows of a piece that begins with one; its first line is 0.
    fn read(&self, bytes: &[u8]) -> Result<Part<'a>, Wrong> {
        match plain(bytes) {
            Some(text) => self.read_plain(text),
            None => self.read_records(bytes),
        }
    }

    /// Lines whose cells stand as they are: most files are nothing else, and are read twice as fast.
    fn read_plain(&self, text: &str) -> Result<Part<'a>, Wrong> {
        let mut part = self.part(0);
        for (at, line) in (0..).zip(cut(text, b'\n')) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            // As the reader of records does.
            if line.is_empty() {
                continue;
            }
            let mut cells = cut(line, self.delimiter).map(Ok);
            let added = self.add(&mut part, &mut cells, at);
            // A row of too few or too many cells says more of what is wrong than a cell that stands in another's place.
            if !matches!(added, Ok(added) if added == self.names.len()) || cells.next().is_some() {
                self.check(cut(line, self.delimiter).count(), at)?;
            }
            added?;
        }
        part.next_line = line_breaks(text.as_bytes());
        Ok(part)
    }

    fn read_records(&self, bytes: &[u8]) -> Result<Part<'a>, Wrong> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(bytes);
        let (mut part, mut record, mut line) = (self.part(0), ByteRecord::new(), None::<u64>);
        loop {
            let begin = reader.position().byte() as usize;
            match reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {}
                Err(error) => {
                    let (line, reason) =
                        (line.map_or(0, |line| line + 1), format!("is not CSV: {error}"));
                    return Err(Wrong { line, column: None, reason });
                }
            }
            // The reader counts the line breaks that it has passed; whether the record's own is one of
            // them depends on its kind.
            let after = reader.position();
            let end = after.byte() as usize;
            let torn = end == bytes.len() && ends_in_quotes(&bytes[begin..], self.delimiter);
            let passed = !torn && bytes.get(end - 1) == Some(&b'\n');
            let last = after.line() - 1 - u64::from(passed);
            let one_line = line.map_or(0, |line| line + 1) == last;
            let inside = if one_line { 0 } else { line_breaks(record.as_slice()) };
            let first = last - inside;
            line = Some(last);
            if torn {
                let (line, reason) = (first, UNCLOSED.to_owned());
                return Err(Wrong { line, column: None, reason });
            }
            self.check(record.len(), first)?;
            record = match StringRecord::from_byte_record(record) {
                Ok(texts) => {
                    self.add(&mut part, texts.iter().map(Ok), first)?;
                    texts.into_byte_record()
                }
                Err(error) => {
                    let record = error.into_byte_record();
                    self.add(&mut part, record.iter().map(std::str::from_utf8), first)?;
                    record
                }
            };
        }
        part.next_line = line_breaks(bytes);
        Ok(part)
    }

    fn check(&self, cells: usize, line: u64) -> Result<(), Wrong> {
        let columns = self.names.len();
        if cells == columns {
            return Ok(());
        }
        let reason = format!(
            "has {cells} cells, the header names {columns} columns; put quotes around cells that hold the \
             delimiter, complete the line, or set data.delimiter"
        );
        Err(Wrong { line, column: None, reason })
    }

    /// Adds a row; how many cells. A cell that is not text matters only where it is read.
    fn add<'c>(
        &self,
        part: &mut Part<'a>,
        row: impl Iterator<Item = Result<&'c str, Utf8Error>>,
        line: u64,
    ) -> Result<usize, Wrong> {
        part.lines.push(part.rows, line);
        part.rows += 1;
        let mut added = 0;
        for (i, (column, cell)) in part.columns.iter_mut().zip(row).enumerate() {
            added += 1;
            if !column.reads() {
                column.push_missing();
                continue;
            }
            let text = cell.map_err(|_| NOT_UTF8.to_owned());
            text.and_then(|text| column.push(text)).map_err(|reason| Wrong {
                line,
                column: Some(self.names[i].clone()),
                reason,
            })?;
        }
        Ok(added)
    }
}

/// Writes a CSV with a header.
///
/// # Errors
/// What `out` refuses.
pub fn write_csv(
    out: &mut dyn Write,
    columns: &[String],
    rows: &[Vec<String>],
) -> std::io::Result<()> {
    // Kept as the system's own error, so that its kind still tells what to do.
    let refused = |error: csv::Error| match error.into_kind() {
        ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    };
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(columns).map_err(refused)?;
    for row in rows {
        writer.write_record(row).map_err(refused)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that a reading of rows says: how many, each cell, where each row stands, or what is wrong.
    fn summary(part: Result<Part, Wrong>) -> String {
        let part = match part {
            Ok(part) => part,
            Err(wrong) => return format!("{} {:?} {}", wrong.line, wrong.column, wrong.reason),
        };
        let lines: Vec<u64> = (0..part.rows).map(|row| part.lines.place(row)).collect();
        let columns: Vec<_> = part.columns.into_iter().map(|cells| cells.finish("c")).collect();
        let row = |row| columns.iter().map(|c| (c.text(row), c.number(row))).collect::<Vec<_>>();
        let rows: Vec<_> = (0..part.rows).map(row).collect();
        format!("{rows:?} {lines:?} {}", part.next_line)
    }

    proptest! {
        #[test]
        fn plain_lines_are_what_the_reader_of_records_makes_of_them(
            text in "([a0é. -]{0,3}(,|,|\n|\r\n)){0,12}[a0,]{0,4}",
        ) {
            let names = ["a".to_owned(), "b".to_owned()];
            let reading = Reading::default();
            let shape = Shape { delimiter: b',', names: &names, reading: &reading };
            let text = plain(text.as_bytes()).unwrap();
            let (plain, records) = (shape.read_plain(text), shape.read_records(text.as_bytes()));
            prop_assert_eq!(summary(plain), summary(records));
        }
    }
}
