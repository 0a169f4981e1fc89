//! An encoder with its tokenizer that tells labels of texts.

use std::path::Path;

use rappel_data::{LabelledBatch, LabelledText, LabelledTexts, Tokenizer, read_labelled_texts};
use rappel_model::{EncoderFiles, EncoderTask, EncoderTexts, PretrainedEncoder, Problem};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, Tensor, concat, no_grad};

use super::embedder::max_length;
use super::kept::KeptFile;
use super::table::{classification, likeliest, metrics_of, values};
use super::text::tokenizer;
use super::{EvaluateOptions, ModelKind, PredictOptions, Predictions, Scores, TrainedModel, sound};
use crate::checkpoint::sha256;
use crate::{Metric, Model, TrainError};

/// Recognised by the class that its config.json names.
pub(super) const KIND: ModelKind = ModelKind {
    name: "text_classifier",
    is_in: |path| {
        let task = EncoderFiles::open(path).ok().and_then(|files| files.task().ok());
        matches!(task, Some(EncoderTask::SequenceClassification(labels))
            if labels.problem == Problem::SingleLabel)
    },
    load: |folder| Ok(Box::new(TextClassifier::load(folder)?)),
};

/// Texts of one forward pass without gradients.
const TEXTS: usize = 32;

/// An encoder of texts with a head for labels, of which one is right, and its tokenizer: what a run of the task
/// `sequence_classification` leaves in a folder, and transformers' models of that kind.
#[derive(Debug)]
pub struct TextClassifier {
    inner: PretrainedEncoder,
    tokenizer: Tokenizer,
    labels: Vec<String>,
    max_length: usize,
    /// Further files of the model that it began as.
    kept: Vec<KeptFile>,
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
        let labels = inner.model.task().labels().map(|labels| labels.names.clone());
        let positions = inner.model.config().max_positions();
        let max_length = most.unwrap_or_else(|| max_length(None, Some(&tokenizer), positions));
        let (labels, kept) = (labels.unwrap_or_default(), KeptFile::all(folder)?);
        Ok(Self { inner, tokenizer, labels, max_length, kept })
    }

    /// Reads a folder with config.json, model.safetensors and tokenizer.json.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let inner = PretrainedEncoder::load(folder, None)?;
        let tokenizer = tokenizer(folder, inner.model.config().vocab_size(), None)?;
        Self::new(inner, tokenizer, folder, None)
    }

    /// Its labels, by number.
    pub fn labels(&self) -> &[String] {
        &self.labels
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

    /// The probabilities `[texts, labels]` that logits say.
    pub(crate) fn probabilities(outputs: &Tensor) -> Vec<f64> {
        values(&no_grad(|| outputs.to_dtype(DType::F64).softmax(1)))
    }

    /// The metrics, the loss first.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        metrics_of(self.labels.len())
    }

    /// The values of the metrics but the loss.
    pub(crate) fn score(&self, outputs: &Tensor, labels: &[f64]) -> Vec<f64> {
        classification(&Self::probabilities(outputs), labels, self.labels.len())
    }

    /// Probabilities of texts without labels, in groups of like lengths.
    fn tell(&self, texts: &[LabelledText]) -> Result<Vec<f64>, TrainError> {
        let mut read = Vec::new();
        for LabelledText { place, text, .. } in texts {
            let (ids, _) = self.tokenizer.encode_within(text.as_bytes(), self.max_length, place)?;
            if ids.is_empty() {
                return Err(TrainError::EmptyText { text: place.clone() });
            }
            read.push(ids);
        }
        let mut order: Vec<usize> = (0..read.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(read[i].len()));
        let width = self.labels.len();
        let mut told = vec![0.0; texts.len() * width];
        for group in order.chunks(TEXTS) {
            let texts = group.iter().map(|&i| read[i].clone()).collect();
            let batch = LabelledBatch { texts, labels: Vec::new() };
            let found = Self::probabilities(&self.outputs(std::iter::once(batch)));
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
        self.inner.save(folder)?;
        self.tokenizer.save(folder)?;
        self.kept.iter().try_for_each(|file| file.write(folder))
    }

    fn fingerprint(&self) -> Option<String> {
        Some(format!("tokenizer {}", sha256(self.tokenizer.json())))
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
        let known = LabelledTexts::new(&texts, &self.tokenizer, self.max_length, &self.labels)?;
        let told = self.tell(&texts)?;
        let values = classification(&told, known.labels(), self.labels.len());
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
        let told = self.tell(&texts)?;
        let passed = ids.iter().map(|name| read_labelled_texts(file, name, None));
        let passed = passed.collect::<Result<Vec<_>, _>>()?;
        let row = |(row, told): (usize, &[f64])| {
            let cells = passed.iter().map(|column| column[row].text.clone());
            let label = [self.labels[likeliest(told)].clone()];
            cells.chain(label).chain(told.iter().map(f64::to_string)).collect()
        };
        let rows = told.chunks(self.labels.len()).enumerate().map(row).collect();
        let of_label = |label: &String| format!("probability of {label}");
        let columns = ids.iter().cloned().chain(["prediction".to_owned()]);
        let columns = columns.chain(self.labels.iter().map(of_label)).collect();
        Ok(Predictions { columns, rows, notes: Vec::new() })
    }
}
