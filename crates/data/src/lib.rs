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

mod baseline;
mod cache;
mod cargo_workspace;
mod chat;
mod config;
mod contain;
mod corpus;
mod counts;
mod dataset;
mod error;
mod image;
mod interactions;
mod labelled_texts;
mod mix;
mod modular_arithmetic;
mod order;
mod permutation;
mod place;
mod preference;
mod records;
mod sft;
pub mod sources;
mod stamp;
mod stream;
mod table;
mod text;
mod text_file;
mod text_samples;
mod tokenizer;
mod trigram;
mod vectors;
mod walk;

pub use baseline::{Surprise, byte_trigram, token_trigram};
pub use cache::{CachedText, TokenCache};
pub use chat::{
    ChatTemplate, ChatValue, Content, Conversation, Message, RenderOptions, Rendered, ToolCall,
};
pub use config::{DATA, DataConfig, DataSection, TextOptions, TokenizerChoice};
pub use corpus::{Corpus, Document};
pub use dataset::{Dataset, HeldOut};
pub use error::DataError;
pub use image::{
    Augmentation, AutoAugment, Image, ImageBatch, ImageConfig, ImageProcessing, ImageSet,
    Normalization, ReadImages, Resampling,
};
pub use interactions::{
    ApartOptions, AskedUser, Distribution, Field, FieldKind, Histories, Ids, InteractionOptions,
    Interactions, Known, NegativeSampler, OnDuplicate, Parts, RatedBatch, RatedFile, RatedRows,
    RatingConfig, RatingFields, RecommendationBatch, RecommendationConfig, RecommendationData,
    Slots, Split, UNKNOWN, read_users,
};
pub use labelled_texts::{
    LabelledBatch, LabelledText, LabelledTexts, LabelledTextsConfig, labels_of, read_labelled_texts,
};
pub use modular_arithmetic::{ModularArithmetic, ModularArithmeticOptions, Operation, Pairs};
pub use order::{BatchSize, Drawing, Order};
pub use permutation::Permutation;
pub use place::{OnBadRow, Place};
pub use preference::{
    Answers, PreferenceBatch, PreferenceConfig, PreferenceFormat, PreferenceSamples, Preferences,
    Truncation,
};
pub use sft::{
    PackingStrategy, RowsConfig, Sft, SftBatch, SftConfig, SftFormat, SftModel, SftRow, SftSamples,
};
pub use sources::{SOURCES, Source};
pub use stream::{TokenStream, Tokens};
pub use table::{
    Column, Encoded, Encoding, Feature, Format, MISSING_VALUES, MOST_BUCKETS, Missing,
};
pub use table::{Decimal, Preprocessing, ReadAs, Reading, Table, TableConfig, Target, TargetKind};
pub use table::{TableBatch, TableRows, Value, Wanted, write_csv};
pub use text::Text;
pub use text_file::{read_documents, read_texts};
pub use text_samples::{Batch, TextSamples};
pub use tokenizer::{ChatTokens, END_OF_DOCUMENT, GgufTokenizer, StreamDecoder, Tokenizer};
pub use trigram::Trigram;
pub use vectors::{write_npy, write_parquet};
