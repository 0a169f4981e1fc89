//! Language models with a head that gives a text one number, as transformers' `*ForSequenceClassification` have it.

use std::path::Path;

use rappel_nn::{Linear, Output, Values};
use rappel_tensor::{DType, Init, Params, Tensor};
use serde_json::{Map, Value, json};

use super::load::{fill, further};
use super::save::write;
use super::weights::{Folder, Weights};
use super::{FilesError, ModelFiles};
use crate::{Documents, LanguageModel, ModelConfig};

/// The module of the head.
pub const SCORE: &str = "score";
/// Its parameter.
const WEIGHT: &str = "score.weight";
/// The head of language, which these models do without.
const LANGUAGE: &str = "lm_head.weight";
/// The option by which a model has no parameters of its own for that.
const TIED: &str = "tie_word_embeddings";
/// How classes of language models end, and what stands there for those that score.
const CLASSES: [&str; 2] = ["ForCausalLM", "LMHeadModel"];
const SCORES: &str = "ForSequenceClassification";
/// The deviation of a head that begins anew, as transformers' default has it.
const STD: f64 = 0.02;

/// A language model that scores texts by its states of their last tokens.
#[derive(Debug)]
pub struct Scorer {
    /// The model without a head of language.
    pub model: Box<dyn LanguageModel>,
    /// All parameters.
    pub params: Params,
    /// The tokens that end a text.
    pub eos_token_id: Vec<u32>,
    score: Linear,
    /// Keys of its config.json that say nothing of what it computes.
    extra: Map<String, Value>,
    /// Whether the model would share its embedding with a head of language.
    tied: Value,
}

impl ModelFiles {
    /// Whether the files are of a model that scores texts.
    pub fn scores(&self) -> bool {
        let class = self.json.get("architectures").and_then(|classes| classes.get(0));
        class.and_then(Value::as_str).is_some_and(|class| class.ends_with(SCORES))
    }

    /// The config of the model without a head of language, with parameters of `dtype`.
    ///
    /// # Errors
    /// As [`Pretrained::load`](super::Pretrained::load).
    pub fn scorer_config(&self, dtype: DType) -> Result<Box<dyn ModelConfig>, FilesError> {
        let files = Self { json: self.json.clone(), ..Self::open(&self.path)? };
        let has = self.entry.fields.iter().any(|field| field.name == TIED);
        (if has { files.with(TIED, true) } else { files }).config(dtype)
    }

    /// The model with a head that scores, in `params`, which is empty: the head of the files, where they have one, or a new
    /// one. See [`load`](Self::load) for `convert` and `frozen`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_scorer(
        mut self,
        mut params: Params,
        config: &dyn ModelConfig,
        convert: bool,
        frozen: &dyn Fn(&str) -> bool,
    ) -> Result<Scorer, FilesError> {
        self.storage.prepare(&mut params, &self, config, frozen);
        let model = config.build_with(&mut params, Values::Placeholders);
        let vocab = config.vocab_size();
        let entries = params.entries().into_iter().map(|entry| entry.shape);
        let mut shapes = entries.chain(params.quantized().into_iter().map(|(_, shape)| shape));
        let embedding = shapes.find(|shape| shape.rank() == 2 && shape[0] == vocab);
        let width = embedding.map_or(1, |shape| shape[1]);
        let init = Init::Normal { std: STD };
        let score = Linear::from_init(&mut params.scope(SCORE), width, 1, init, false);
        params.freeze(frozen)?;
        if let Weights::Folder(folder) = &mut self.weights {
            let canonical = self.entry.build.canonical;
            *folder = Folder::open(&self.path, &|name| match name {
                LANGUAGE => None,
                WEIGHT => Some(WEIGHT.to_owned()),
                other => canonical(other),
            })?;
        }
        let convert = convert || self.gguf().is_some();
        let has_score = match &self.weights {
            Weights::Folder(folder) => folder.has(WEIGHT),
            Weights::Gguf(_) => false,
        };
        let adapters = params.adapters();
        let wanted = params
            .entries()
            .into_iter()
            .filter(|entry| !adapters.contains(&entry.name) && (has_score || entry.name != WEIGHT));
        let mut wanted: Vec<_> = wanted.map(|entry| (entry.name, entry.shape)).collect();
        wanted.extend(params.quantized());
        let storage = self.storage;
        let places = self.weights.places(&wanted, &self.entry.build, &config.to_json())?;
        storage.fill(&mut params, &places, config.dtype())?;
        fill(&mut params, &places, convert)?;
        params.complete()?;
        let eos_token_id = self.eos_token_id();
        let tied = self.json.get(TIED).cloned().unwrap_or(Value::Null);
        let extra = further(self.json);
        Ok(Scorer { model, params, eos_token_id, score, extra, tied })
    }
}

impl Scorer {
    /// Reads a model that was saved.
    ///
    /// # Errors
    /// As [`Pretrained::load`](super::Pretrained::load); a model without such a head.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FilesError> {
        let files = ModelFiles::open(path)?;
        let dtype = files.dtype()?;
        let config = files.scorer_config(dtype)?;
        let params = Params::with_dtype(0, dtype);
        files.load_scorer(params, config.as_ref(), false, &|_| false)
    }

    /// The scores `[texts]` of texts that end at these places of `ids` `[1, tokens]`, and the model's own loss.
    #[track_caller]
    pub fn scores(
        &self,
        ids: &Tensor,
        documents: &Documents,
        ends: &Tensor,
        forward: &rappel_nn::Forward,
    ) -> (Tensor, Option<Tensor>) {
        let Output { hidden, auxiliary } = self.model.output(ids, Some(documents), forward);
        let last = hidden.squeeze(0).index_select(0, ends);
        (self.score.forward_in(&last, forward).squeeze(1), auxiliary)
    }

    /// Writes config.json and model.safetensors into `dir`, which it makes, so that transformers'
    /// `AutoModelForSequenceClassification` reads them.
    ///
    /// # Errors
    /// [`FilesError::Write`], a full disk among others.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), FilesError> {
        let mut config = self.model.config().to_json();
        let class = config.get("architectures").and_then(|classes| classes.get(0)?.as_str());
        let class = class.unwrap_or_default().to_owned();
        let name = CLASSES.iter().find_map(|end| class.strip_suffix(end)).unwrap_or(&class);
        config.extend(self.extra.clone());
        if config.contains_key(TIED) && !self.tied.is_null() {
            config.insert(TIED.to_owned(), self.tied.clone());
        }
        let eos = self.eos_token_id.first().copied();
        let pad = config.get("pad_token_id").cloned().filter(|pad| !pad.is_null());
        config.extend([
            ("architectures".to_owned(), json!([format!("{name}{SCORES}")])),
            ("eos_token_id".to_owned(), json!(eos)),
            // Where texts end is told by what pads them.
            ("pad_token_id".to_owned(), pad.unwrap_or(json!(eos))),
            ("id2label".to_owned(), json!({ "0": "LABEL_0" })),
            ("label2id".to_owned(), json!({ "LABEL_0": 0 })),
        ]);
        write(dir.as_ref(), config, &self.params, self.model.config().dtype())
    }
}
