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
    /// the one that holds the label, the number that is predicted, or the labels of a text: a list in a record, or names with
    /// commas between them
    #[option(default = "label", aka("target", "label_column", "labels", "y"))]
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

/// What the labels of texts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// One of these.
    One(&'a [String]),
    /// Any number of these.
    Any(&'a [String]),
    /// A number.
    Number,
}

impl Known<'_> {
    /// Numbers that a text has: that of its label; 1 or 0 for each label; or its number.
    pub fn width(self) -> usize {
        match self {
            Self::One(_) | Self::Number => 1,
            Self::Any(names) => names.len(),
        }
    }

    fn numbers(self, text: &LabelledText) -> Result<Vec<f64>, DataError> {
        let wrong = |reason: String| DataError::Labels { place: text.place.clone(), reason };
        let label = text.label.as_deref().unwrap_or_default();
        let place_of = |name: &str, known: &[String]| {
            known.iter().position(|other| other == name).ok_or_else(|| {
                let near = suggest(name, known.iter().map(String::as_str));
                let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                wrong(format!("no label is named `{name}`{near} (known: {})", known.join(", ")))
            })
        };
        match self {
            Self::One(known) => Ok(vec![place_of(label, known)? as f64]),
            Self::Any(known) => {
                let mut numbers = vec![0.0; known.len()];
                for name in names(label) {
                    numbers[place_of(name, known)?] = 1.0;
                }
                Ok(numbers)
            }
            Self::Number => {
                let number = label.trim().parse().ok().filter(|number: &f64| number.is_finite());
                let number = number.ok_or_else(|| {
                    wrong(format!("the label is `{label}`, expected a number to predict"))
                })?;
                Ok(vec![number])
            }
        }
    }
}

/// The names in a cell, which commas keep apart.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// A text as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// Where it stands, for messages.
    pub place: String,
    /// The text.
    pub text: String,
    /// Its label, where labels were read; several have commas between them.
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
                Value::Array(several) => {
                    let name = |of: &Value| match of.as_str() {
                        Some(name) if !name.contains(',') => Ok(name.to_owned()),
                        _ => Err(wrong(format!(
                            "field `{label}` has {of} in its list, expected names without commas"
                        ))),
                    };
                    several.iter().map(name).collect::<Result<Vec<_>, _>>()?.join(",")
                }
                Value::Object(_) => {
                    return Err(wrong(format!("field `{label}` is neither a text nor a number")));
                }
            }),
        };
        Ok(LabelledText { place, text: found, label })
    };
    lines.map(one).collect()
}

/// The different labels of texts, in order: by number where all are numbers, else by text. Texts may have several where
/// `any`.
///
/// # Errors
/// Fewer than two of them, or more than anybody can have meant.
pub fn labels_of(path: &Path, texts: &[LabelledText], any: bool) -> Result<Vec<String>, DataError> {
    let cells = texts.iter().filter_map(|text| text.label.as_deref());
    let all: BTreeSet<&str> = if any { cells.flat_map(names).collect() } else { cells.collect() };
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
    /// Of each text as many as there are, see [`Known::width`].
    labels: Vec<f64>,
    width: usize,
    /// Texts whose ends were left out.
    truncated: usize,
    most: usize,
}

/// Texts that a forward pass reads.
#[derive(Debug, Clone)]
pub struct LabelledBatch {
    /// The tokens of each text.
    pub texts: Vec<Vec<u32>>,
    /// The numbers of each one's labels.
    pub labels: Vec<f64>,
}

impl LabelledTexts {
    /// Encodes texts, of at most `most` tokens each, whose labels are as `known` says.
    ///
    /// # Errors
    /// A text without tokens; a label that is not known.
    pub fn new(
        texts: &[LabelledText],
        tokenizer: &Tokenizer,
        most: usize,
        known: Known<'_>,
    ) -> Result<Self, DataError> {
        let width = known.width();
        let mut encoded = Self { texts: Vec::new(), labels: Vec::new(), width, truncated: 0, most };
        for text in texts {
            let place = &text.place;
            let (ids, cut) = tokenizer.encode_within(text.text.as_bytes(), most, place)?;
            if ids.is_empty() {
                let reason = "the text has no tokens; take it out".to_owned();
                return Err(DataError::Labels { place: place.clone(), reason });
            }
            encoded.labels.extend(known.numbers(text)?);
            encoded.texts.push(ids);
            encoded.truncated += usize::from(cut);
        }
        Ok(encoded)
    }

    /// The numbers of the labels of the first texts.
    pub fn labels_of(&self, texts: usize) -> &[f64] {
        &self.labels[..texts * self.width]
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
            labels: samples
                .iter()
                .flat_map(|i| &self.labels[i * self.width..][..self.width])
                .copied()
                .collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "texts"
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (text, labels) in self.texts.iter().zip(self.labels.chunks(self.width)) {
            hash.update((text.len() as u64).to_le_bytes());
            for id in text {
                hash.update(id.to_le_bytes());
            }
            for label in labels {
                hash.update(label.to_bits().to_le_bytes());
            }
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
