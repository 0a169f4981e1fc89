//! Texts with a label each.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rappel_config::{Options, suggest};
use rappel_files::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::table::{Format, ReadAs, Reading, Table};
use crate::{DataError, Dataset, Drawing, Tokenizer, records};

/// The section `data` of a config that learns labels of texts.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct LabelledTextsConfig {
    /// the texts and their labels: .jsonl, .csv, .tsv or .parquet
    #[option(aka("path", "train_file", "files"))]
    pub file: PathBuf,
    /// the column, or the field of records, that holds the text
    #[option(default = "text", aka("text_column", "text_field", "sentence"))]
    pub text: String,
    /// the one that holds the label
    #[option(default = "label", aka("target", "label_column", "y"))]
    pub label: String,
    /// longest text in tokens, the rest is left out; unset: as the model's files say
    #[option(range = 1.., aka("max_seq_length", "sequence_length", "max_len"))]
    pub max_length: Option<usize>,
    /// texts to validate on
    #[option(aka("test_file", "eval_file"))]
    pub validation_file: Option<PathBuf>,
    /// share of the texts, drawn by the seed, to validate on; unset: 0.2, or 0 with a validation_file
    #[option(unset = if validation_file.is_some() { 0.0 } else { 0.2 }, range = 0.0..1.0)]
    #[option(aka("val_fraction", "validation_split", "test_size"))]
    pub validation_fraction: f64,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

/// A text as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// Where it stands, for messages.
    pub place: String,
    /// The text.
    pub text: String,
    /// Its label, where labels were read.
    pub label: Option<String>,
}

/// Reads the texts of a file, and their labels where the column `label` is given.
///
/// # Errors
/// A file that cannot be read, a column that is missing; a record without a text or a label.
pub fn read_labelled_texts(
    path: &Path,
    text: &str,
    label: Option<&str>,
) -> Result<Vec<LabelledText>, DataError> {
    if records::is_jsonl(path) {
        return of_records(path, text, label);
    }
    // No cell is missing for its letters: `None` is a text as good as another.
    let format = Format { missing_values: Vec::new(), ..Format::default() };
    let columns = [Some(text), label].into_iter().flatten();
    let columns = columns.map(|column| (column.to_owned(), ReadAs::Text)).collect();
    let table = Table::read_as(path, &Reading { format, columns, others: ReadAs::Nothing })?;
    let texts = table.column(text)?;
    let labels = label.map(|label| table.column(label)).transpose()?;
    let row = |row: usize| {
        let place = format!("{}, {}", path.display(), table.place(row));
        let label = match labels.map(|labels| labels.text(row)) {
            Some(None) => return Err(missing(&place, label.unwrap_or_default())),
            found => found.flatten().map(Cow::into_owned),
        };
        let text = texts.text(row).unwrap_or_default().into_owned();
        Ok(LabelledText { place, text, label })
    };
    (0..table.rows()).map(row).collect()
}

fn missing(place: &str, label: &str) -> DataError {
    let reason = format!("the label in `{label}` is missing; fill it in, or take the text out");
    DataError::Labels { place: place.to_owned(), reason }
}

fn of_records(
    path: &Path,
    text: &str,
    label: Option<&str>,
) -> Result<Vec<LabelledText>, DataError> {
    let lines = std::fs::read_to_string(path).map_err(DataError::read(path))?;
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let one = |(i, line): (usize, &str)| {
        let place = format!("{}, line {}", path.display(), i + 1);
        let wrong = |reason: String| DataError::Labels { place: place.clone(), reason };
        let record: Value = serde_json::from_str(line)
            .map_err(|error| wrong(format!("not valid JSON: {error}")))?;
        let field = |name: &str| {
            record.get(name).ok_or_else(|| wrong(format!("the record has no field `{name}`")))
        };
        let Some(found) = field(text)?.as_str().map(str::to_owned) else {
            return Err(wrong(format!("field `{text}` is not a text")));
        };
        let label = match label {
            None => None,
            Some(label) => Some(match field(label)? {
                Value::String(name) => name.clone(),
                Value::Null => return Err(missing(&place, label)),
                Value::Number(_) | Value::Bool(_) => record[label].to_string(),
                _ => return Err(wrong(format!("field `{label}` is neither a text nor a number"))),
            }),
        };
        Ok(LabelledText { place, text: found, label })
    };
    lines.map(one).collect()
}

/// The different labels of texts, in order: by number where all are numbers, else by text.
///
/// # Errors
/// Fewer than two of them, or more than anybody can have meant.
pub fn labels_of(path: &Path, texts: &[LabelledText]) -> Result<Vec<String>, DataError> {
    let all: BTreeSet<&str> = texts.iter().filter_map(|text| text.label.as_deref()).collect();
    let mut labels: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let wrong =
        |reason: String| Err(DataError::Labels { place: path.display().to_string(), reason });
    if labels.len() < 2 {
        let reason =
            format!("the texts have {} label, so that there is nothing to learn", labels.len());
        return wrong(reason + "; give texts of at least two labels");
    }
    if labels.len() > MOST_LABELS {
        return wrong(format!(
            "{} labels are more than {MOST_LABELS}; are they numbers?",
            labels.len()
        ));
    }
    let numbers: Option<Vec<f64>> = labels.iter().map(|label| label.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut pairs: Vec<(f64, String)> = numbers.into_iter().zip(labels).collect();
        pairs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        labels = pairs.into_iter().map(|(_, label)| label).collect();
    }
    Ok(labels)
}

const MOST_LABELS: usize = 10_000;

/// Texts as tokens, each with the number of its label.
#[derive(Debug, Clone)]
pub struct LabelledTexts {
    texts: Vec<Vec<u32>>,
    labels: Vec<f64>,
    /// Texts whose ends were left out.
    truncated: usize,
    most: usize,
}

/// Texts that a forward pass reads.
#[derive(Debug, Clone)]
pub struct LabelledBatch {
    /// The tokens of each text.
    pub texts: Vec<Vec<u32>>,
    /// The number of each one's label.
    pub labels: Vec<f64>,
}

impl LabelledTexts {
    /// Encodes texts, of at most `most` tokens each, whose labels are among `known`.
    ///
    /// # Errors
    /// A text without tokens; a label that is not known.
    pub fn new(
        texts: &[LabelledText],
        tokenizer: &Tokenizer,
        most: usize,
        known: &[String],
    ) -> Result<Self, DataError> {
        let mut encoded = Self { texts: Vec::new(), labels: Vec::new(), truncated: 0, most };
        for LabelledText { place, text, label } in texts {
            let (ids, cut) = tokenizer.encode_within(text.as_bytes(), most, place)?;
            let wrong = |reason: String| DataError::Labels { place: place.clone(), reason };
            if ids.is_empty() {
                return Err(wrong("the text has no tokens; take it out".to_owned()));
            }
            let label = label.as_deref().unwrap_or_default();
            let number = known.iter().position(|name| name == label).ok_or_else(|| {
                let near = suggest(label, known.iter().map(String::as_str));
                let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                wrong(format!("no label is named `{label}`{near} (known: {})", known.join(", ")))
            })?;
            encoded.texts.push(ids);
            encoded.labels.push(number as f64);
            encoded.truncated += usize::from(cut);
        }
        Ok(encoded)
    }

    /// The numbers of the labels.
    pub fn labels(&self) -> &[f64] {
        &self.labels
    }

    /// Tokens of the longest text.
    pub fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or(0)
    }
}

impl Dataset for LabelledTexts {
    type Batch = LabelledBatch;

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn batch(&self, samples: &[usize]) -> LabelledBatch {
        LabelledBatch {
            texts: samples.iter().map(|i| self.texts[*i].clone()).collect(),
            labels: samples.iter().map(|i| self.labels[*i]).collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "texts"
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (text, label) in self.texts.iter().zip(&self.labels) {
            hash.update((text.len() as u64).to_le_bytes());
            for id in text {
                hash.update(id.to_le_bytes());
            }
            hash.update(label.to_bits().to_le_bytes());
        }
        hex(&hash.finalize())
    }

    fn details(&self) -> Vec<String> {
        let tokens: usize = self.texts.iter().map(Vec::len).sum();
        let mean = tokens as f64 / self.texts.len().max(1) as f64;
        let sizes = format!("{mean:.0} tokens each on average, at most {}", self.longest());
        let cut = (self.truncated > 0).then(|| {
            format!(
                "{} are longer than {} tokens, whose ends are left out",
                self.truncated, self.most
            )
        });
        [Some(sizes), cut].into_iter().flatten().collect()
    }
}
