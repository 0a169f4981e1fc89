//! The section `data` of a config.

use std::path::PathBuf;

use rappel_registry::{ConfigError, Family, Field, Info, Kind, Options, Range, joined};
use toml::{Table, Value};

use crate::DRAWING;
use crate::sources::{SOURCES, Source};

/// The options that every source takes.
pub(crate) const COMMON: &[Field] = &joined::<{ OWN.len() + DRAWING.len() }>(&[OWN, DRAWING]);

const OWN: &[Field] =
    &[
        Field::new(
            "tokenizer",
            Kind::Path(&["byte", "bpe"]),
            "\"byte\"",
            "a token a byte, one trained on the text, or the path of a tokenizer.json",
        )
        .changeable(),
        Field::new(
            "vocab_size",
            Kind::Int { min: 257, max: 1 << 21 },
            "4096",
            "tokens of a `bpe` that is trained, the end of a document included",
        ),
        Field::new(
            "bpe_sample_bytes",
            Kind::int_from(1),
            "8388608",
            "bytes of training text that a `bpe` is trained on",
        ),
        Field::optional(
            "end_of_document",
            Kind::Str,
            "token of a tokenizer.json that closes documents; unset: its eos_token",
        ),
        Field::optional("max_bytes", Kind::int_from(1), "bytes of text to read at most")
            .aka(&["max_size"]),
        Field::new(
            "validation_fraction",
            Kind::Float(Range::from(0.0).below(1.0)),
            "0.05",
            "share of the bytes that is kept for validation",
        )
        .aka(&["val_fraction", "validation_split", "test_size"]),
        Field::new("sequence_length", Kind::int_from(1), "256", "tokens that a sample reads")
            .aka(&["block_size", "seq_len", "context_length", "max_length"]),
        Field::new(
            "document_attention",
            Kind::Bool,
            "false",
            "a token attends only to those of its own document, where samples span several",
        ),
    ];

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
    /// How it becomes tokens.
    pub tokenizer: TokenizerChoice,
    /// Bytes of text to read at most.
    pub max_bytes: Option<u64>,
    /// Share of the bytes kept for validation, in [0, 1).
    pub validation_fraction: f64,
    /// Tokens that a sample reads.
    pub sequence_length: usize,
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
        let entry = SOURCES.lookup(options.str("name"))?;
        let tokenizer = match options.str("tokenizer") {
            "byte" => TokenizerChoice::Byte,
            "bpe" => TokenizerChoice::Bpe {
                vocab_size: options.usize("vocab_size"),
                sample_bytes: options.usize("bpe_sample_bytes"),
            },
            path => TokenizerChoice::File {
                path: existing(options, path)?,
                end_of_document: options.opt_str("end_of_document").map(str::to_owned),
            },
        };
        Ok(Self {
            source: (entry.build)(options)?,
            tokenizer,
            max_bytes: options.opt_u64("max_bytes"),
            validation_fraction: options.f64("validation_fraction"),
            sequence_length: options.usize("sequence_length"),
        })
    }
}

fn existing(options: &Options, path: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(path);
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
