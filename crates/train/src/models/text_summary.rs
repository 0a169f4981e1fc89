//! What a language model's folder holds, in figures.

use std::path::Path;

use rappel_data::Tokenizer;
use rappel_model::ModelFiles;
use rappel_tensor::{DType, Params, Shape};
use serde_json::Value;

use super::Loading;
use super::text::{model, tokenizer_if_any};
use crate::TrainError;
use crate::memory::{TrainingMemory, by_optimizer};

/// A language model in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageSummary {
    /// Hugging Face's `model_type`.
    pub architecture: String,
    /// The type of its parameters.
    pub dtype: DType,
    /// How many numbers its parameters are.
    pub parameters: usize,
    /// Its parameters, those of all layers together.
    pub tensors: Vec<TensorGroup>,
    /// How many different tokens it knows.
    pub vocab_size: usize,
    /// The longest sequence, in tokens.
    pub max_positions: usize,
    /// The kind of its tokenizer, such as `byte` or `BPE`, and how many tokens it has; none where the
    /// folder has no tokenizer.
    pub tokenizer: Option<(String, usize)>,
    /// How messages become a text, in Jinja's language, where the model says so.
    pub chat_template: Option<String>,
    /// Bytes that generation of the longest sequence takes: parameters, keys and values.
    pub inference_bytes: usize,
    /// What training all of it takes with each optimizer, the least first.
    pub training: Vec<TrainingMemory>,
}

/// Parameters that are the same but for the number of their layer.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorGroup {
    /// Their name, with `*` for numbers.
    pub name: String,
    /// The shape of each.
    pub shape: Shape,
    /// How the model's files store their numbers, in the files' own words.
    pub stored: String,
    /// How many there are.
    pub count: usize,
}

impl LanguageSummary {
    /// Reads a folder with config.json, model.safetensors and, where there is one, tokenizer.json.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together; a parameter that is not finite.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let files = ModelFiles::open(folder)?;
        let read = model(folder, Loading::default())?;
        let tokenizer = tokenizer_if_any(folder, read.model.config().vocab_size())?;
        let tensors = groups(&read.params, |name| files.stored_as(name).unwrap_or_default());
        let config = read.model.config();
        let (numbers, dtype) = (read.params.count(), config.dtype());
        let cache = read.model.new_cache(1, config.max_positions()).bytes();
        Ok(Self {
            chat_template: tokenizer
                .as_ref()
                .and_then(|tokenizer| tokenizer.chat_template_source().map(str::to_owned)),
            inference_bytes: numbers * dtype.size() + cache,
            training: by_optimizer(&read.params)?,
            architecture: config.model_type().to_owned(),
            dtype: config.dtype(),
            parameters: tensors.iter().map(|group| group.count * group.shape.count()).sum(),
            tensors,
            vocab_size: config.vocab_size(),
            max_positions: config.max_positions(),
            tokenizer: tokenizer.as_ref().map(kind_of),
        })
    }
}

/// The kind of a tokenizer and how many tokens it has.
pub(super) fn kind_of(tokenizer: &Tokenizer) -> (String, usize) {
    let json: Value = serde_json::from_str(tokenizer.json()).unwrap_or_default();
    let kind = json["model"]["type"].as_str().unwrap_or("unnamed kind");
    let kind = if tokenizer.takes_any_bytes() { "byte" } else { kind };
    (kind.to_owned(), tokenizer.vocab_size())
}

/// Parameters by what they are called but for numbers; `stored_as` is how the files store a parameter.
pub(super) fn groups(params: &Params, stored_as: impl Fn(&str) -> String) -> Vec<TensorGroup> {
    let mut groups: Vec<TensorGroup> = Vec::new();
    for (name, tensor) in params.tensors() {
        let stored = stored_as(&name);
        let numbered = |part| if str::parse::<usize>(part).is_ok() { "*" } else { part };
        let name = name.split('.').map(numbered).collect::<Vec<_>>().join(".");
        let shape = tensor.shape();
        let same = |group: &&mut TensorGroup| {
            group.name == name && group.shape == shape && group.stored == stored
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.count += 1,
            None => groups.push(TensorGroup { name, shape, stored, count: 1 }),
        }
    }
    groups
}
