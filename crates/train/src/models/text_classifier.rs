//! An encoder with its tokenizer that predicts labels of texts, or numbers.

use std::path::Path;
use std::sync::Arc;

use rappel_data::{
    KnownLabels, LabelledBatch, LabelledText, LabelledTexts, Tokenizer, read_labelled_texts,
};
use rappel_files::replace;
use rappel_model::{EncoderFiles, EncoderTask, EncoderTexts, Labels, PretrainedEncoder, Problem};
use rappel_nn::Forward;
use rappel_tensor::{Params, Tensor, concat, no_grad};
use serde_json::{Map, Value};

use super::adapter::{self, Adapter};
use super::embedder::max_length;
use super::kept::KeptFile;
use super::table::likeliest;
use super::text::tokenizer;
use super::text_labels::{measure, metrics_of_labels, told};
use super::text_parts::TextParts;
use super::{
    EvaluateOptions, ModelKind, PredictOptions, Predictions, Scores, TrainedModel, model_folder,
    sound,
};
use crate::{Frozen, Metric, Model, TrainError};

/// Recognised by the class that its config.json names, or by the file of labels beside an adapter.
pub(super) const KIND: ModelKind = ModelKind {
    name: "text_classifier",
    is_in: |path| {
        let task = EncoderFiles::open(path).ok().and_then(|files| files.task().ok());
        matches!(task, Some(EncoderTask::SequenceClassification(_)))
            || adapter::is_in(path) && path.join(LABELS).exists()
    },
    load: |folder| Ok(Box::new(TextClassifier::load(folder)?)),
};

/// What config.json says of labels, beside an adapter, which has no config.json.
const LABELS: &str = "labels.json";

/// Texts of one forward pass without gradients.
const TEXTS: usize = 32;

/// An encoder of texts with a head for labels, and its tokenizer: what a run of the task `sequence_classification` leaves in a
/// folder, and transformers' models of that kind.
#[derive(Debug)]
pub struct TextClassifier {
    inner: PretrainedEncoder,
    parts: TextParts,
    labels: Labels,
    max_length: usize,
}

impl TextClassifier {
    /// A model with its tokenizer and with the files that it comes with in `folder`; texts have at most `most` tokens.
    ///
    /// # Errors
    /// A parameter that is not finite.
    pub(crate) fn new(
        inner: PretrainedEncoder,
        tokenizer: Tokenizer,
        folder: &Path,
        most: Option<usize>,
    ) -> Result<Self, TrainError> {
        sound::check_finite(folder, &inner.params)?;
        let labels = inner.model.task().labels().cloned();
        let labels = labels.unwrap_or_else(Labels::number);
        let positions = inner.model.config().max_positions();
        let max_length = most.unwrap_or_else(|| max_length(None, Some(&tokenizer), positions));
        let parts = TextParts::new(tokenizer, KeptFile::all(folder)?);
        Ok(Self { inner, parts, labels, max_length })
    }

    /// The same model, of which `adapter` is trained and saved, where there is one, and of which what is not trained stays
    /// as files with this hash have it.
    pub(super) fn trained(self, adapter: Option<Adapter>, sha256: &str) -> Self {
        let has_adapter = adapter.is_some();
        // A head that begins anew is in no file, so what is frozen of a whole model is saved with it.
        let frozen = Frozen::of(&self.inner.params, sha256).filter(|_| has_adapter);
        Self { parts: TextParts { adapter, frozen, ..self.parts }, ..self }
    }

    /// Reads a folder with config.json, model.safetensors and tokenizer.json, or with an adapter and labels.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        if adapter::is_in(folder) {
            return Self::load_adapter(folder);
        }
        let inner = PretrainedEncoder::load(folder, None)?;
        let tokenizer = tokenizer(folder, inner.model.config().vocab_size(), None)?;
        Self::new(inner, tokenizer, folder, None)
    }

    fn load_adapter(folder: &Path) -> Result<Self, TrainError> {
        let Adapter { base, options, .. } = Adapter::read(folder)?;
        let path = folder.join(LABELS);
        let wrong = |reason: String| TrainError::File { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let json: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("not a JSON object: {error}")))?;
        let labels = Labels::from_json(&json).map_err(wrong)?;
        let base = model_folder(&base, &mut ())?;
        let files = EncoderFiles::open(&base)?;
        let stored = files.dtype()?;
        let mut params = Params::with_dtype(0, stored);
        adapter::adapt_as_in(folder, &options, &mut params)?;
        let (config, task) = (files.config(stored)?, EncoderTask::SequenceClassification(labels));
        let mut inner = files.load(params, config, task, false, &|name| !options.trains(name))?;
        adapter::fill(&mut inner.params, &base, folder, &options)?;
        let tokenizer = tokenizer(folder, inner.model.config().vocab_size(), None)?;
        Self::new(inner, tokenizer, &base, None)
    }

    /// Its labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What labels of texts are for it.
    fn known(&self) -> KnownLabels<'_> {
        known(&self.labels)
    }

    /// The encoder with its head.
    pub(crate) fn inner(&self) -> &PretrainedEncoder {
        &self.inner
    }

    /// Logits `[texts, labels]`.
    pub(crate) fn logits(&self, batch: &LabelledBatch, forward: &Forward) -> Tensor {
        self.inner.model.logits(&EncoderTexts::new(&batch.texts), forward)
    }

    /// Logits of all texts of some batches, without gradients.
    pub(crate) fn outputs(&self, batches: impl Iterator<Item = LabelledBatch>) -> Tensor {
        let of = |batch| self.logits(&batch, &Forward::evaluation());
        let outputs: Vec<Tensor> = no_grad(|| batches.map(of).collect());
        concat(&outputs.iter().collect::<Vec<_>>(), 0)
    }

    /// What logits say: probabilities of the labels, or numbers.
    pub(crate) fn told(&self, outputs: &Tensor) -> Vec<f64> {
        told(self.labels.problem, outputs)
    }

    /// The metrics, the loss first.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        metrics_of_labels(self.labels.problem, self.labels.names.len())
    }

    /// The values of the metrics but the loss.
    pub(crate) fn score(&self, outputs: &Tensor, labels: &[f64]) -> Vec<f64> {
        measure(self.labels.problem, &self.told(outputs), labels, self.labels.names.len())
    }

    /// What is predicted of texts without labels, in groups of like lengths.
    fn predictions(&self, texts: &[LabelledText]) -> Result<Vec<f64>, TrainError> {
        let mut read = Vec::new();
        for LabelledText { place, text, .. } in texts {
            let (ids, _) =
                self.parts.tokenizer.encode_within(text.as_bytes(), self.max_length, place)?;
            if ids.is_empty() {
                return Err(TrainError::EmptyText { text: place.clone() });
            }
            read.push(ids);
        }
        let mut order: Vec<usize> = (0..read.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(read[i].len()));
        let width = self.labels.names.len();
        let mut told = vec![0.0; texts.len() * width];
        for group in order.chunks(TEXTS) {
            let texts = group.iter().map(|&i| read[i].clone()).collect();
            let batch = LabelledBatch { texts, labels: Vec::new() };
            let found = self.told(&self.outputs(std::iter::once(batch)));
            for (row, &i) in found.chunks_exact(width).zip(group) {
                told[i * width..][..width].copy_from_slice(row);
            }
        }
        Ok(told)
    }
}

impl Model for TextClassifier {
    fn params(&self) -> &Params {
        &self.inner.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.inner.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.parts.save(&self.inner.params, folder, || Ok(self.inner.save(folder)?))?;
        if self.parts.adapter.is_none() {
            return Ok(());
        }
        let text = format!("{:#}\n", Value::Object(self.labels.to_json()));
        Ok(replace(&folder.join(LABELS), |out| out.write_all(text.as_bytes()))?)
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.parts.frozen.clone()
    }

    fn lr_factors(&self) -> Vec<(String, f64)> {
        self.parts.lr_factors()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.parts.fingerprint())
    }
}

/// What the labels of files are to be for a model with these.
pub(crate) fn known(labels: &Labels) -> KnownLabels<'_> {
    match labels.problem {
        Problem::SingleLabel => KnownLabels::One(&labels.names),
        Problem::MultiLabel => KnownLabels::Any(&labels.names),
        Problem::Regression => KnownLabels::Number,
    }
}

impl TrainedModel for TextClassifier {
    fn kind(&self) -> &'static str {
        "a classifier of texts"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if options.window.is_some() || options.stride.is_some() {
            let advice = "leave out --window and --stride".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let field = options.text_field.as_deref().unwrap_or("text");
        let label = options.label_field.as_deref().unwrap_or("label");
        let texts = read_labelled_texts(file, field, Some(label))?;
        let known =
            LabelledTexts::new(&texts, &self.parts.tokenizer, self.max_length, self.known())?;
        let told = self.predictions(&texts)?;
        let labels = known.labels_of(texts.len());
        let Labels { names, problem } = &self.labels;
        let values = measure(*problem, &told, labels, names.len());
        let values = self.metrics()[1..].iter().copied().zip(values).collect();
        Ok(Scores { values, unit: "texts", count: texts.len(), notes: Vec::new() })
    }

    fn predict_on(&self, file: &Path, options: &PredictOptions) -> Result<Predictions, TrainError> {
        let PredictOptions { ids, text_field, top_k } = options;
        if top_k.is_some() {
            let advice = "leave out --top-k".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let texts = read_labelled_texts(file, text_field.as_deref().unwrap_or("text"), None)?;
        let told = self.predictions(&texts)?;
        let passed = ids.iter().map(|name| read_labelled_texts(file, name, None));
        let passed = passed.collect::<Result<Vec<_>, _>>()?;
        let Labels { names, problem } = &self.labels;
        let predicted = |told: &[f64]| match problem {
            Problem::SingleLabel => names[likeliest(told)].clone(),
            Problem::MultiLabel => {
                let labels = names.iter().zip(told).filter(|(_, told)| **told >= 0.5);
                labels.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
            }
            Problem::Regression => told[0].to_string(),
        };
        let row = |(row, told): (usize, &[f64])| {
            let cells = passed.iter().map(|column| column[row].text.clone());
            let numbers = told.iter().map(f64::to_string);
            // A number says itself.
            let numbers = numbers.skip(usize::from(*problem == Problem::Regression));
            cells.chain([predicted(told)]).chain(numbers).collect()
        };
        let rows = told.chunks(names.len()).enumerate().map(row).collect();
        let of_label = |label: &String| format!("probability of {label}");
        let columns = ids.iter().cloned().chain(["prediction".to_owned()]);
        let of_labels = names.iter().map(of_label).filter(|_| *problem != Problem::Regression);
        let columns = columns.chain(of_labels).collect();
        Ok(Predictions { columns, rows, notes: Vec::new() })
    }
}
