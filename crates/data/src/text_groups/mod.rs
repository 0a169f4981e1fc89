//! Texts that belong together, or do not: pairs, triplets, pairs with numbers.

mod columns;

use std::path::Path;

use rappel_config::{InvalidOption, Options};
use rappel_files::hex;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::sft::reading::{Found, Outcomes, Reader};
use crate::sft::rows::Rows;
use crate::{DataError, Dataset, RowFiles, Tokenizer};
use columns::Columns;

pub use columns::TextGroupsFormat;

/// The section `data` of a config that learns embeddings of texts.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct TextGroupsConfig {
    /// The files.
    #[option(flatten, required)]
    pub source: RowFiles,
    /// columns of the texts, in their order: the anchor, its positive, its negatives; unset: recognised by their names
    #[option(default = [], aka("text_columns", "column_names"))]
    pub columns: Vec<String>,
    /// column of how alike two texts are, or of whether they belong together; unset: score or label, where there is one
    #[option(aka("label_column", "score", "score_column"))]
    pub label: Option<String>,
    /// longest text in tokens, the rest is left out; unset: as the model's files say
    #[option(range = 1.., aka("max_seq_length", "sequence_length", "max_len"))]
    pub max_length: Option<usize>,
}

impl TextGroupsConfig {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.columns.len() == 1 {
            return Err(InvalidOption::new(
                "columns",
                "one text alone has none beside it; name two at least",
            ));
        }
        Ok(())
    }
}

/// How texts become tokens.
#[derive(Debug, Clone, Copy)]
pub struct TextReader<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// What is put before each text.
    pub prompt: &'a str,
    /// The longest text, in tokens.
    pub max_length: usize,
}

impl TextReader<'_> {
    fn read(&self, text: &str, place: &str) -> Result<(Vec<u32>, bool), String> {
        let text = format!("{}{text}", self.prompt);
        let (ids, cut) = self
            .tokenizer
            .encode_within(text.as_bytes(), self.max_length, place)
            .map_err(|error| error.to_string())?;
        if ids.is_empty() {
            return Err("a text has no tokens; take it out".to_owned());
        }
        Ok((ids, cut))
    }
}

/// What files of groups of texts hold.
#[derive(Debug)]
pub struct ReadTextGroups {
    /// To train on.
    pub training: TextGroups,
    /// To validate on, if there are any.
    pub held_out: Option<TextGroups>,
    /// Rows that were left out, with the reason.
    pub skipped: Vec<String>,
}

/// Rows of texts as tokens.
#[derive(Debug, Clone)]
pub struct TextGroups {
    format: TextGroupsFormat,
    /// Texts of a row.
    columns: usize,
    /// Those of all rows, one row after another.
    texts: Vec<Vec<u32>>,
    /// A number for each row, where rows have numbers.
    numbers: Vec<f64>,
    /// Texts whose ends were left out.
    truncated: usize,
    most: usize,
    notes: Vec<String>,
}

/// Rows that a forward pass reads.
#[derive(Debug, Clone)]
pub struct TextGroupBatch {
    /// The texts' tokens, by column.
    pub columns: Vec<Vec<Vec<u32>>>,
    /// The number of each row, where rows have numbers.
    pub numbers: Vec<f64>,
}

/// A row as tokens.
#[derive(Debug, Clone)]
struct Group {
    texts: Vec<Vec<u32>>,
    number: Option<f64>,
    truncated: usize,
}

impl TextGroups {
    /// Reads and encodes the files of a config.
    ///
    /// # Errors
    /// A file or a row that cannot be read; files whose rows are of several formats.
    pub fn build(
        config: &TextGroupsConfig,
        seed: u64,
        texts: &TextReader<'_>,
    ) -> Result<ReadTextGroups, DataError> {
        let mut reader = Reader::new(&config.source);
        let mut first: Option<(String, Columns)> = None;
        let [train, held_out] = reader.read_all(seed, |rows| {
            let columns = Columns::of(&rows.columns(), &config.columns, config.label.as_ref())
                .map_err(|reason| DataError::table(&rows.path, reason))?;
            let path = rows.path.display().to_string();
            let (of, known) = first.get_or_insert((path, columns.clone()));
            if known.texts.len() != columns.texts.len()
                || known.number.is_some() != columns.number.is_some()
            {
                let named = |of: &Columns| {
                    of.texts.iter().chain(&of.number).cloned().collect::<Vec<_>>().join(", ")
                };
                let reason = format!(
                    "has {}, but {of} has {}; train on files of one format",
                    named(&columns),
                    named(known)
                );
                return Err(DataError::table(&rows.path, reason));
            }
            Ok(encode(rows, &columns, texts))
        })?;
        let (_, columns) = first.expect("files with rows");
        let numbers: Vec<f64> = train.iter().filter_map(|found| found.row.number).collect();
        let format = TextGroupsFormat::of(&columns, &numbers);
        let groups = |found: Vec<Found<Group>>| Self::new(format, found, texts.max_length);
        let held_out = (!held_out.is_empty()).then(|| groups(held_out));
        Ok(ReadTextGroups { training: groups(train), held_out, skipped: reader.skipped })
    }

    /// Reads and encodes one file, whose columns are recognised by their names.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn of_file(path: &Path, texts: &TextReader<'_>) -> Result<Self, DataError> {
        let rows = Rows::read(path)?;
        let wrong = |reason: String| DataError::table(path, reason);
        let columns = Columns::of(&rows.columns(), &[], None).map_err(wrong)?;
        let row = |(place, row): (_, Result<Group, String>)| {
            row.map_err(|reason| DataError::Row { path: path.to_owned(), place, reason })
        };
        let rows = encode(rows, &columns, texts).into_iter().map(row);
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let numbers: Vec<f64> = rows.iter().filter_map(|row| row.number).collect();
        let mut groups = Self::empty(TextGroupsFormat::of(&columns, &numbers), texts.max_length);
        for row in rows {
            groups.push(row);
        }
        Ok(groups)
    }

    fn empty(format: TextGroupsFormat, most: usize) -> Self {
        let (texts, numbers, notes) = (Vec::new(), Vec::new(), Vec::new());
        Self { format, columns: 2, texts, numbers, truncated: 0, most, notes }
    }

    fn new(format: TextGroupsFormat, found: Vec<Found<Group>>, most: usize) -> Self {
        let mut groups = Self::empty(format, most);
        for found in found {
            groups.push(found.row);
        }
        groups
    }

    fn push(&mut self, row: Group) {
        self.columns = row.texts.len();
        self.texts.extend(row.texts);
        self.numbers.extend(row.number);
        self.truncated += row.truncated;
    }

    /// The same with more to say of the data.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// What a row says of its texts.
    pub fn format(&self) -> TextGroupsFormat {
        self.format
    }

    /// Texts of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The tokens of a row's text.
    pub fn text(&self, row: usize, column: usize) -> &[u32] {
        &self.texts[row * self.columns + column]
    }

    /// The number of each row, where rows have numbers.
    pub fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// Tokens of the longest text.
    pub fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// The rows of a file as tokens.
fn encode(rows: Rows, columns: &Columns, reader: &TextReader<'_>) -> Outcomes<Group> {
    let path = rows.path.display().to_string();
    let row = |row: crate::sft::rows::Row| {
        let place = format!("{path}, {}", row.place);
        let group = row.fields.and_then(|fields| {
            let (texts, number) = columns.read(&fields)?;
            let read = texts.iter().map(|text| reader.read(text, &place));
            let (texts, cut): (Vec<_>, Vec<_>) =
                read.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
            Ok(Group { texts, number, truncated: cut.into_iter().filter(|cut| *cut).count() })
        });
        (row.place, group)
    };
    rows.rows.into_par_iter().map(row).collect()
}

impl Dataset for TextGroups {
    type Batch = TextGroupBatch;

    fn len(&self) -> usize {
        self.texts.len() / self.columns
    }

    fn batch(&self, samples: &[usize]) -> TextGroupBatch {
        let column = |column| samples.iter().map(|row| self.text(*row, column).to_vec()).collect();
        TextGroupBatch {
            columns: (0..self.columns).map(column).collect(),
            numbers: samples.iter().filter_map(|row| self.numbers.get(*row).copied()).collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "rows"
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.columns as u64).to_le_bytes());
        for text in &self.texts {
            hash.update((text.len() as u64).to_le_bytes());
            for id in text {
                hash.update(id.to_le_bytes());
            }
        }
        self.numbers.iter().for_each(|number| hash.update(number.to_bits().to_le_bytes()));
        hex(&hash.finalize())
    }

    fn details(&self) -> Vec<String> {
        let tokens: usize = self.texts.iter().map(Vec::len).sum();
        let mean = tokens as f64 / self.texts.len().max(1) as f64;
        let sizes = format!(
            "{} texts each, of {mean:.0} tokens on average, at most {}",
            self.columns,
            self.longest()
        );
        let cut = (self.truncated > 0).then(|| {
            format!(
                "{} texts are longer than {} tokens, whose ends are left out",
                self.truncated, self.most
            )
        });
        [Some(sizes), cut].into_iter().flatten().chain(self.notes.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use rappel_config::OptionSet;

    use super::*;

    #[test]
    fn files_come_in_turn_by_their_probabilities() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, rows: usize| {
            let row = |i| format!("{{\"anchor\": \"{name} {i}\", \"positive\": \"p\"}}\n");
            let path = folder.path().join(name);
            std::fs::write(&path, (0..rows).map(row).collect::<String>()).unwrap();
            path.display().to_string()
        };
        let files = vec![write("a.jsonl", 40), write("b.jsonl", 8)];
        let build = |more: toml::Table| {
            let mut given = toml::Table::from_iter([("files".to_owned(), files.clone().into())]);
            given.insert("validation_fraction".to_owned(), 0.0.into());
            given.extend(more);
            let config = TextGroupsConfig::from_toml("data", &given).map_err(|e| e.to_string())?;
            let tokenizer = Tokenizer::byte();
            let texts = TextReader { tokenizer: &tokenizer, prompt: "", max_length: 64 };
            TextGroups::build(&config, 3, &texts).map_err(|error| error.to_string())
        };
        let rows = |more| build(more).unwrap().training;
        assert_eq!(rows(toml::Table::new()).len(), 48);
        let shares = || toml::toml! { probabilities = [0.5, 0.5] };
        let first = rows(shares());
        let of = |groups: &TextGroups, name: u8| {
            (0..groups.len()).filter(|row| groups.text(*row, 0)[0] == u32::from(name)).count()
        };
        // It ends with the last row of one of them.
        assert_eq!(of(&first, b'b'), 8);
        assert!((1..40).contains(&of(&first, b'a')));
        assert_eq!(first.fingerprint(), rows(shares()).fingerprint());
        let all =
            rows(toml::toml! { probabilities = [0.5, 0.5] stopping_strategy = "all_exhausted" });
        assert_eq!(of(&all, b'a'), 40);
        assert!(of(&all, b'b') > 20);
        for (more, want) in [
            (toml::toml! { probabilities = [0.5] }, "1 of them for 2 entries of files"),
            (toml::toml! { stopping_strategy = "all_exhausted" }, "all rows come once without"),
            (toml::toml! { probabilities = [0.0, 0.0] }, "no row ever comes"),
            (toml::toml! { probabilities = [-1.0, 2.0] }, "numbers of at least 0"),
        ] {
            let told = build(more).unwrap_err();
            assert!(told.contains(want), "{told}");
        }
    }
}
