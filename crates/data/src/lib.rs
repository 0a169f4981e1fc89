#![forbid(unsafe_code)]
//! Data for training: text with its sources and tokenizers, tables, images, interactions, and samples as pure
//! functions of the seed and the step.
//!
//! The way of the text: a [`Source`] lists documents; [`Corpus::read`] orders them by the seed, caps
//! and reads them; [`Corpus::split`] sets validation documents apart; a [`Tokenizer`] makes each side
//! one [`TokenStream`], and [`TextSamples`] cuts samples out of it. [`Text::build`] goes the whole way.
//! An [`Order`] says which samples a step takes, of whatever [`Dataset`], at any time the same.
//! [`token_trigram`] and [`byte_trigram`] are what a trained model has to beat.
//!
//! ```
//! use rappel_data::{DataConfig, Dataset, Drawing, Order, Text};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("poem.txt");
//! std::fs::write(&path, "Ah, distinctly I remember\n".repeat(100)).unwrap();
//! let section = toml::toml! { sequence_length = 32 };
//! let mut section = section;
//! section.insert("files".into(), vec![path.display().to_string()].into());
//!
//! let config = DataConfig::from_toml("data", &section)?;
//! let samples = Text::build(&config, 42)?.training()?;
//! let order = Order::new(samples.len(), 8.into(), Drawing::default())?;
//! let batch = samples.batch(&order.part(5, 0, 1));
//! assert_eq!((batch.batch, batch.time), (8, 32));
//! # Ok::<(), rappel_data::DataError>(())
//! ```

#[cfg(feature = "text")]
mod baseline;
#[cfg(feature = "text")]
mod cache;
#[cfg(feature = "text")]
mod cargo_workspace;
#[cfg(feature = "text")]
mod chat;
#[cfg(feature = "text")]
mod config;
#[cfg(feature = "tables")]
mod contain;
#[cfg(feature = "text")]
mod corpus;
#[cfg(feature = "text")]
mod counts;
mod dataset;
mod error;
#[cfg(feature = "images")]
mod image;
#[cfg(feature = "tables")]
mod interactions;
#[cfg(feature = "text")]
mod labelled_texts;
#[cfg(feature = "text")]
mod masked_texts;
mod mix;
mod modular_arithmetic;
mod order;
mod permutation;
mod place;
#[cfg(feature = "text")]
mod preference;
#[cfg(feature = "text")]
mod records;
#[cfg(feature = "text")]
mod sft;
#[cfg(feature = "text")]
pub mod sources;
#[cfg(feature = "text")]
mod stamp;
#[cfg(feature = "text")]
mod stream;
#[cfg(feature = "tables")]
mod table;
#[cfg(feature = "text")]
mod text;
#[cfg(feature = "text")]
mod text_file;
#[cfg(feature = "text")]
mod text_groups;
#[cfg(feature = "text")]
mod text_samples;
#[cfg(feature = "text")]
mod tokenizer;
#[cfg(feature = "text")]
mod trigram;
#[cfg(feature = "tables")]
mod vectors;
#[cfg(feature = "text")]
mod walk;

#[cfg(feature = "text")]
pub use baseline::{Surprise, byte_trigram, token_trigram};
#[cfg(feature = "text")]
pub use cache::{CachedText, TokenCache};
#[cfg(feature = "text")]
pub use chat::{
    ChatTemplate, ChatValue, Content, Conversation, Message, RenderOptions, Rendered, ToolCall,
};
#[cfg(feature = "text")]
pub use config::{DATA, DataConfig, DataSection, TextOptions, TokenizerChoice};
#[cfg(feature = "text")]
pub use corpus::{Corpus, Document};
pub use dataset::{Dataset, HeldOut};
pub use error::DataError;
#[cfg(feature = "images")]
pub use image::{
    Augmentation, AutoAugment, Image, ImageBatch, ImageConfig, ImageProcessing, ImageSet,
    Normalization, ReadImages, Resampling,
};
#[cfg(feature = "tables")]
pub use interactions::{
    ApartOptions, AskedUser, Distribution, Field, FieldKind, Histories, Ids, InteractionOptions,
    Interactions, Known, NegativeSampler, OnDuplicate, Parts, RatedBatch, RatedFile, RatedRows,
    RatingConfig, RatingFields, RecommendationBatch, RecommendationConfig, RecommendationData,
    Slots, Split, UNKNOWN, read_users,
};
#[cfg(feature = "text")]
pub use labelled_texts::{
    Known as KnownLabels, LabelledBatch, LabelledText, LabelledTexts, LabelledTextsConfig,
    labels_of, read_labelled_texts,
};
#[cfg(feature = "text")]
pub use masked_texts::{MaskedBatch, MaskedTexts, Masking};
pub use modular_arithmetic::{ModularArithmetic, ModularArithmeticOptions, Operation, Pairs};
pub use order::{BatchSize, Drawing, Order};
pub use permutation::Permutation;
pub use place::{OnBadRow, Place};
#[cfg(feature = "text")]
pub use preference::{
    Answers, PreferenceBatch, PreferenceConfig, PreferenceFormat, PreferenceSamples, Preferences,
    Truncation,
};
#[cfg(feature = "text")]
pub use sft::{
    PackingStrategy, RowFiles, RowsConfig, Sft, SftBatch, SftConfig, SftFormat, SftModel, SftRow,
    SftSamples, StoppingStrategy,
};
#[cfg(feature = "text")]
pub use sources::{SOURCES, Source};
#[cfg(feature = "text")]
pub use stream::{TokenStream, Tokens};
#[cfg(feature = "tables")]
pub use table::{
    Column, Encoded, Encoding, Feature, Format, MISSING_VALUES, MOST_BUCKETS, Missing,
};
#[cfg(feature = "tables")]
pub use table::{Decimal, Preprocessing, ReadAs, Reading, Table, TableConfig, Target, TargetKind};
#[cfg(feature = "tables")]
pub use table::{TableBatch, TableRows, Value, Wanted, write_csv, write_table};
#[cfg(feature = "text")]
pub use text::Text;
#[cfg(feature = "text")]
pub use text_file::{read_documents, read_texts};
#[cfg(feature = "text")]
pub use text_groups::{
    ReadTextGroups, TextGroupBatch, TextGroups, TextGroupsConfig, TextGroupsFormat, TextReader,
};
#[cfg(feature = "text")]
pub use text_samples::{Batch, TextSamples};
#[cfg(feature = "text")]
pub use tokenizer::{ChatTokens, END_OF_DOCUMENT, GgufTokenizer, StreamDecoder, Tokenizer};
#[cfg(feature = "text")]
pub use trigram::Trigram;
#[cfg(feature = "tables")]
pub use vectors::{write_npy, write_parquet};
