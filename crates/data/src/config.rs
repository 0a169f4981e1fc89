//! The section `data` of a config.

use std::path::PathBuf;

use rappel_config::{ConfigError, Family, Info, Kind, OptionSet, Options};
use toml::{Table, Value};

use crate::Drawing;
use crate::sources::{SOURCES, Source};

/// The options that every source takes.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct TextOptions {
    /// `byte`: a token a byte, `bpe`: one trained on the text, or the path of a tokenizer.json; unset: that of
    /// model.pretrained, else byte
    #[option(kind = Kind::Path(&["byte", "bpe"]), changeable)]
    pub tokenizer: Option<PathBuf>,
    /// tokens of a `bpe` that is trained, the end of a document included
    #[option(default = 4096, range = 257..=2_097_152)]
    pub vocab_size: usize,
    /// bytes of training text that a `bpe` is trained on
    #[option(default = 8_388_608, range = 1..)]
    pub bpe_sample_bytes: usize,
    /// token of a tokenizer.json that closes documents; unset: its eos_token
    pub end_of_document: Option<String>,
    /// bytes of text to read at most
    #[option(range = 1.., aka("max_size"))]
    pub max_bytes: Option<u64>,
    /// share of the bytes that is kept for validation
    #[option(default = 0.05, range = 0.0..1.0)]
    #[option(aka("val_fraction", "validation_split", "test_size"))]
    pub validation_fraction: f64,
    /// keep the tokens of large texts in the user's cache folder for later runs; see `rappel cache`
    #[option(default = true, changeable)]
    pub cache: bool,
    /// tokens that a sample reads
    #[option(default = 256, range = 1..)]
    #[option(aka("block_size", "seq_len", "context_length", "max_length"))]
    pub sequence_length: usize,
    /// a token attends only to those of its own document, where samples span several
    #[option(default = false)]
    pub document_attention: bool,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

/// Which tokenizer a run uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerChoice {
    /// A token a byte.
    Byte,
    /// A byte-level BPE trained on the training documents.
    Bpe {
        /// Its tokens, the end of a document included.
        vocab_size: usize,
        /// Bytes of training text it is trained on.
        sample_bytes: usize,
    },
    /// A `tokenizer.json` that exists.
    File {
        /// Its path, or its folder's.
        path: PathBuf,
        /// The token that closes a document, if not its `eos_token`.
        end_of_document: Option<String>,
    },
}

/// The section `data`, checked.
#[derive(Debug)]
pub struct DataConfig {
    /// Where the text comes from.
    pub source: Box<dyn Source>,
    /// How it becomes tokens; unset: by the tokenizer of a pretrained model, else by bytes.
    pub tokenizer: Option<TokenizerChoice>,
    /// The token that closes a document, where it is not the tokenizer's own.
    pub end_of_document: Option<String>,
    /// Bytes of text to read at most.
    pub max_bytes: Option<u64>,
    /// Share of the bytes kept for validation, in [0, 1).
    pub validation_fraction: f64,
    /// Whether tokens are kept in the user's cache folder.
    pub cache: bool,
    /// Tokens that a sample reads.
    pub sequence_length: usize,
    /// Whether a token attends only to those of its own document.
    pub document_attention: bool,
}

impl DataConfig {
    /// Checks a section `data`; where it gives no `name`, the source is `files`.
    ///
    /// # Errors
    /// What is wrong with the section, by key.
    pub fn from_toml(path: &str, given: &Table) -> Result<Self, ConfigError> {
        Self::from_options(&DATA.resolve_options(path, given)?)
    }

    /// Builds the section from options that [`DATA`] has resolved.
    ///
    /// # Errors
    /// What is wrong with options in their relation to each other.
    pub fn from_options(options: &Options) -> Result<Self, ConfigError> {
        let entry = SOURCES.lookup(options.name())?;
        let text = TextOptions::from_options(options)?;
        let choice = |path: PathBuf| {
            Ok(match path.to_str() {
                Some("byte") => TokenizerChoice::Byte,
                Some("bpe") => TokenizerChoice::Bpe {
                    vocab_size: text.vocab_size,
                    sample_bytes: text.bpe_sample_bytes,
                },
                _ => TokenizerChoice::File {
                    path: existing(options, path)?,
                    end_of_document: text.end_of_document.clone(),
                },
            })
        };
        let tokenizer = text.tokenizer.clone().map(choice).transpose()?;
        Ok(Self {
            source: (entry.build)(options)?,
            tokenizer,
            end_of_document: text.end_of_document,
            max_bytes: text.max_bytes,
            validation_fraction: text.validation_fraction,
            cache: text.cache,
            sequence_length: text.sequence_length,
            document_attention: text.document_attention,
        })
    }
}

fn existing(options: &Options, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.exists() {
        return Ok(path);
    }
    let reason =
        format!("`{}` is neither `byte` nor `bpe`, and no such file exists", path.display());
    Err(options.invalid("tokenizer", reason))
}

/// The section `data` for the description of a whole config: the [`SOURCES`], with `files` where
/// the section names none.
pub static DATA: DataSection = DataSection;

/// See [`DATA`].
#[derive(Debug, Clone, Copy)]
pub struct DataSection;

impl Family for DataSection {
    fn kind(&self) -> &'static str {
        SOURCES.kind
    }

    fn infos(&self) -> Vec<Info> {
        SOURCES.infos()
    }

    fn resolve_options(&self, path: &str, given: &Table) -> Result<Options, ConfigError> {
        let mut given = given.clone();
        given.entry("name").or_insert_with(|| Value::String("files".to_owned()));
        SOURCES.resolve_options(path, &given)
    }

    fn info(&self, name: &str) -> Result<Info, ConfigError> {
        SOURCES.info(name)
    }
}
