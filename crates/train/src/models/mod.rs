//! Trained models: what a folder holds, and what can be done with it, whatever the modality.
//!
//! Adding a kind is a file with its [`TrainedModel`] and a line in [`KINDS`]; the commands that load a
//! model follow from it.

mod adapter;
mod base;
mod convert;
mod correlation;
mod embedder;
mod encoder;
mod encoder_base;
mod encoder_summary;
mod generation;
mod generation_config;
mod gguf;
mod image;
mod image_base;
mod inputs;
mod kept;
mod masked;
mod quantization;
mod rater;
mod recommender;
mod reward;
mod section;
mod sentence_metrics;
mod sound;
mod table;
mod text;
mod text_classifier;
mod text_labels;
mod text_parts;
mod text_summary;

use std::path::{Path, PathBuf};

use rappel_hub::{Hub, Progress, Reference};
use rappel_telemetry::{Event, Moment};

use crate::{Metric, Observer, TrainError};

pub use adapter::{InitLora, LoraOptions, Merged, Targets, merge};
pub(crate) use base::{Base, hash_of_model};
pub use convert::{Converted, convert};
pub use embedder::{Embedder, EmbedderOptions, Embeddings};
pub(crate) use encoder_base::{ClassifierModelOptions, EmbedderModelOptions, EncoderBase};
pub use encoder_summary::EncoderSummary;
pub use generation::{GeneratedText, Output, Prompt, Speed, TextOptions};
pub use generation_config::GenerationConfig;
pub use image::ImageClassifier;
pub(crate) use image_base::ImageBase;
pub(crate) use inputs::inputs;
pub use masked::MaskedLanguageModel;
pub use quantization::{Loading, QuantType, QuantizationOptions};
pub use rater::RaterModel;
pub(crate) use rater::gauc_doubt;
pub(crate) use recommender::beside_zero;
pub use recommender::{Candidates, Catalogue, EvaluationOptions, RecommenderModel};
pub use reward::RewardModel;
pub(crate) use section::{ENCODER_MODELS, MODELS};
pub(crate) use sentence_metrics::{measure as measure_sentences, sentence_metrics};
pub use table::{Equation, Importance, Importances, Permuting, Predictions, TabularModel};
#[cfg(test)]
pub(crate) use table::{classification, regression, values};
pub(crate) use table::{likeliest, logits};
pub use text::{Evaluation, Pretrained};
pub use text_classifier::TextClassifier;
pub(crate) use text_classifier::known as known_labels;
pub use text_summary::{LanguageSummary, TensorGroup};

/// A model in a folder.
pub trait TrainedModel {
    /// What it is, with its article: `a language model`.
    fn kind(&self) -> &'static str;

    /// Its metrics on the data of a file.
    ///
    /// # Errors
    /// A file that it cannot read; options that it does not have.
    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError>;

    /// What it predicts for each row of a table or each record with a text, or which items for each user of a file.
    ///
    /// # Errors
    /// A column that is missing, cells that cannot be read; a model that predicts nothing of rows.
    fn predict_on(
        &self,
        _file: &Path,
        _options: &PredictOptions,
    ) -> Result<Predictions, TrainError> {
        Err(self
            .cannot("predict the rows of a table", "a model of tables or a classifier of texts"))
    }

    /// The model as one that writes text.
    ///
    /// # Errors
    /// A model that writes none.
    fn into_language_model(self: Box<Self>) -> Result<Pretrained, TrainError> {
        Err(self.cannot("generate text", "a language model"))
    }

    /// The error of a model that is asked for something that only others can do.
    fn cannot(&self, what: &'static str, can: &'static str) -> TrainError {
        TrainError::Kind { is: self.kind(), advice: format!("it cannot {what}; give {can}") }
    }
}

/// How a model is evaluated; what it has no use for must not be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Tokens of a window of text. Unset: the model's positions.
    pub window: Option<usize>,
    /// Tokens from one window to the next. Unset: half a window.
    pub stride: Option<usize>,
    /// The field of a JSON record, or the column, that holds its text. Unset: `text`.
    pub text_field: Option<String>,
    /// The one that holds the label of a text. Unset: `label`.
    pub label_field: Option<String>,
}

/// How a model predicts; what it has no use for must not be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PredictOptions {
    /// Columns of the file that come before the predictions.
    pub ids: Vec<String>,
    /// The column that holds the text, of a model that reads texts. Unset: `text`.
    pub text_field: Option<String>,
    /// How many items a recommender gives each user. Unset: 10.
    pub top_k: Option<usize>,
}

/// The metrics of a model on some data.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The metrics and their values.
    pub values: Vec<(Metric, f64)>,
    /// What the metrics are over, in the plural, such as `rows`.
    pub unit: &'static str,
    /// How many.
    pub count: usize,
    /// Anything done to the data beyond reading it, in words.
    pub notes: Vec<String>,
}

/// How a kind of model is recognised and read.
#[derive(Debug)]
pub struct ModelKind {
    /// Its name.
    pub name: &'static str,
    /// Whether a folder holds such a model.
    pub is_in: fn(&Path) -> bool,
    /// Reads the folder.
    pub load: fn(&Path) -> Result<Box<dyn TrainedModel>, TrainError>,
}

/// Every kind of model; the first one that recognises a folder reads it, and the last takes any, so that
/// its error says what is missing.
pub static KINDS: &[ModelKind] = &[
    table::KIND,
    recommender::KIND,
    rater::KIND,
    image::KIND,
    text_classifier::KIND,
    embedder::KIND,
    encoder::KIND,
    reward::KIND,
    text::KIND,
];

/// Reads the model of a folder, or of the run there.
///
/// # Errors
/// What is missing, torn or does not fit together.
pub fn load_model(path: &Path) -> Result<Box<dyn TrainedModel>, TrainError> {
    let folder = model_folder(path, &mut ())?;
    let kind = KINDS.iter().find(|kind| (kind.is_in)(&folder));
    (kind.unwrap_or(&text::KIND).load)(&folder)
}

/// Reads the language model of a folder, of the run there or of a GGUF file, its weights in the type and the form that `loading`
/// says: a type, or unset that of the files.
///
/// # Errors
/// As [`load_model`], and a model that is not a language model.
pub fn load_language_model(
    path: &Path,
    loading: impl Into<Loading>,
) -> Result<Pretrained, TrainError> {
    let loading = loading.into();
    let folder = model_folder(path, &mut ())?;
    if adapter::is_in(&folder) {
        return Pretrained::load_adapter(&folder, loading);
    }
    match KINDS.iter().find(|kind| (kind.is_in)(&folder)) {
        Some(kind) if kind.name != text::KIND.name => (kind.load)(&folder)?.into_language_model(),
        _ => Pretrained::load_as(&folder, loading),
    }
}

/// Reads a language model with the adapter of a folder, or of the run there, on it; its weights are in
/// the type and the form that `loading` says.
///
/// # Errors
/// As [`load_language_model`]; an adapter that is not whole or is of another model.
pub fn load_adapted(
    model: &Path,
    adapter: &Path,
    loading: impl Into<Loading>,
) -> Result<Pretrained, TrainError> {
    let [model, adapter] = [model, adapter].map(|path| model_folder(path, &mut ()));
    Pretrained::load_adapted(&model?, &adapter?, loading.into())
}

/// [`load_adapted`] with several adapters, whose changes are added up.
///
/// # Errors
/// As [`load_adapted`]; adapters that cannot be added up.
pub fn load_with_adapters(
    model: &Path,
    adapters: &[PathBuf],
    loading: impl Into<Loading>,
) -> Result<Pretrained, TrainError> {
    let folder = |path: &PathBuf| model_folder(path, &mut ());
    let folders = adapters.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
    Pretrained::load_several(&model_folder(model, &mut ())?, &folders, loading.into())
}

/// The folder of the model that `path` means: itself, or `model/` of the run there; the file, if it is one; where nothing
/// is there, and it can be one's name, a model of the Hugging Face Hub, which is downloaded into its cache while the
/// observer is told how much came.
///
/// # Errors
/// A run that has not written its model yet; a model that the hub does not give; those of the observer.
pub fn model_folder(path: &Path, observer: &mut dyn Observer) -> Result<PathBuf, TrainError> {
    if let Some(reference) = on_the_hub(path) {
        let name = path.to_string_lossy().into_owned();
        let mut told = Ok(());
        let found = Hub::from_env().model(&reference, &mut |Progress { file, bytes, total }| {
            if told.is_ok() {
                told = observer.log(Moment::now(0), &Event::Download { file, bytes, total });
            }
        });
        told?;
        return found.map_err(|source| TrainError::Hub { name, source: Box::new(source) });
    }
    let is_model = ["config.json", adapter::CONFIG].iter().any(|name| path.join(name).exists());
    if is_model || !path.join("config.toml").exists() {
        return Ok(path.to_owned());
    }
    let model = path.join("model");
    if model.exists() { Ok(model) } else { Err(TrainError::NoModel { run: path.to_owned() }) }
}

/// The model of the hub that a path names where neither it nor its first folder is there.
fn on_the_hub(path: &Path) -> Option<Reference> {
    let reference = Reference::parse(path.to_str()?)?;
    let first = path.components().next()?;
    (!path.exists() && !Path::new(&first).exists()).then_some(reference)
}
