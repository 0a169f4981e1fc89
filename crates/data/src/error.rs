//! What can go wrong between a config and its batches.

use std::io;
use std::path::PathBuf;

use rappel_config::ConfigError;
use rappel_files::FileError;
use thiserror::Error;

/// Why there is no data: what, where, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A config key is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An entry of `data.files` that stands for no file.
    #[error("data.files: `{pattern}` {reason}")]
    NoFiles {
        /// The entry as the config gives it.
        pattern: String,
        /// Why it stands for none.
        reason: String,
    },
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Images that cannot be read or do not fit.
    #[error("{path}: {reason}")]
    Image {
        /// The image, or the file or folder that says which there are.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file that cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// Bytes that are not text, for a tokenizer of text.
    #[error(
        "{document}: not UTF-8 at byte offset {offset}; give UTF-8 text, or set \
         tokenizer = \"byte\", which takes text in any encoding"
    )]
    NotUtf8 {
        /// The document's name or path.
        document: String,
        /// Where its first byte stands that is not part of UTF-8 text.
        offset: usize,
    },
    /// Texts or labels that cannot be learned from.
    #[error("{place}: {reason}")]
    Labels {
        /// The file, and where in it.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A file that is not text, whatever the tokenizer.
    #[error(
        "{path}: not text: byte {offset} is a control character that no text has; leave the file out of \
         data.files, or convert it to UTF-8 text"
    )]
    Binary {
        /// The file.
        path: PathBuf,
        /// Where that byte is.
        offset: usize,
    },
    /// A line of a `.jsonl` file that holds no text.
    #[error("{path}, line {line}: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A row that cannot be trained.
    #[error("{path}, {place}: {reason}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Where the row is in it.
        place: crate::Place,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// Rows that train no token which ends a text.
    #[error(
        "no row trains a token that ends a text ({stops}), so the model would never stop{}; name the token that ends \
         what the model says in data.eos_token, put it within {{% generation %}} of the chat template, or raise \
         data.max_length if every row is cut",
        last.as_ref().map_or(String::new(), |last| format!(": what is trained ends in `{last}`"))
    )]
    NeverStops {
        /// The tokens that end a text.
        stops: String,
        /// The last token that is trained of a row that was not cut.
        last: Option<String>,
    },
    /// A corpus without a byte of text.
    #[error(
        "the corpus is empty: {documents} files with 0 bytes in all; give others in data.files"
    )]
    EmptyCorpus {
        /// How many files it has.
        documents: usize,
    },
    /// The Rust sources that cargo has unpacked are not to be found.
    #[error("cannot find the Rust sources of the workspace's crates: {reason}; or give data.files")]
    CargoCorpus {
        /// What was looked for, where, and what to do.
        reason: String,
    },
    /// A tokenizer that cannot be loaded, or that fails on a text.
    #[error("tokenizer {name}: {reason}")]
    Tokenizer {
        /// Its path, or its kind.
        name: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A chat template that is missing or not valid, or a conversation that it cannot write.
    #[error("chat template of {name}: {reason}")]
    Chat {
        /// Where the template comes from.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A corpus with too few repeated pairs for the vocabulary asked for.
    #[error(
        "data.vocab_size = {asked}: the corpus gives a vocabulary of {found} at most; lower \
         vocab_size, give more text, or set tokenizer = \"byte\""
    )]
    Vocabulary {
        /// The size asked for.
        asked: usize,
        /// The size that training came to.
        found: usize,
    },
    /// Fewer tokens than one sample takes.
    #[error(
        "the {split} tokens are {tokens}, but one sample of sequence_length = {sequence_length} \
         takes {}; give more text, lower sequence_length, or change validation_fraction",
        sequence_length + 1
    )]
    TooShort {
        /// Which side of the split.
        split: &'static str,
        /// How many tokens there are.
        tokens: usize,
        /// The tokens of a sample's input.
        sequence_length: usize,
    },
    /// Fewer samples than one batch takes, where smaller batches are dropped.
    #[error(
        "{samples} samples make no batch of {batch_size} with drop_last = true; lower batch_size, \
         set drop_last = false, or give more text"
    )]
    TooFewSamples {
        /// How many samples there are.
        samples: usize,
        /// How many a batch takes.
        batch_size: usize,
    },
    /// Draws with replacement in the samples' own order.
    #[error(
        "replacement = true draws samples at random, but shuffle = false keeps their order; set one \
         of them to the other"
    )]
    Unshuffled,
    /// A table that cannot be learned from or predicted.
    #[error("{path}: {reason}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong, where in it, and what to do.
        reason: String,
    },
    /// A number that a batch plan cannot work with.
    #[error("{name} = 0: expected at least 1")]
    Zero {
        /// The option.
        name: &'static str,
    },
}

impl DataError {
    #[cfg(feature = "tables")]
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    #[cfg(feature = "tables")]
    pub(crate) fn table(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Self::Table { path: path.to_owned(), reason: reason.into() }
    }

    #[cfg(feature = "text")]
    pub(crate) fn chat(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Chat { name: name.into(), reason: reason.into() }
    }

    #[cfg(feature = "text")]
    pub(crate) fn tokenizer(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Tokenizer { name: name.into(), reason: reason.into() }
    }
}
