//! A trained classifier of images, in memory and in a folder.

use std::path::Path;
use std::sync::Arc;

use rappel_data::{HeldOut, Image, ImageBatch, ImageProcessing, ImageSet};
use rappel_files::create;
use rappel_model::{ImageModelFiles, PretrainedImageModel};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, Tensor, concat, no_grad};
use serde_json::{Map, Value};

use super::table::{classification, likeliest, metrics_of, values};
use super::{EvaluateOptions, ModelKind, PredictOptions, Predictions, Scores, TrainedModel, sound};
use crate::metrics::{less, more, nats};
use crate::{Metric, Model, TrainError};

/// Recognised by its config.json.
pub(super) const KIND: ModelKind = ModelKind {
    name: "image",
    is_in: |folder| ImageModelFiles::is_in(folder),
    load: |folder| Ok(Box::new(ImageClassifier::load(folder)?)),
};

const PROCESSING: &str = "preprocessor_config.json";

/// What becomes of images of so many channels before the model of a folder reads them, where the folder says so.
///
/// # Errors
/// A file that cannot be read, or is wrong.
pub(super) fn processing(
    folder: &Path,
    channels: usize,
) -> Result<Option<ImageProcessing>, TrainError> {
    let path = folder.join(PROCESSING);
    if path.exists() { read_processing(&path, channels).map(Some) } else { Ok(None) }
}

fn read_processing(path: &Path, channels: usize) -> Result<ImageProcessing, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    let json: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|error| TrainError::File { path: path.to_owned(), reason: error.to_string() })?;
    Ok(ImageProcessing::from_json(&json, channels, path)?)
}

/// Images of one forward pass without gradients.
const IMAGES: usize = 128;
/// Classes of which each is told.
const MOST_TOLD: usize = 100;
/// Of how many likeliest classes one may be right.
const LIKELIEST: usize = 5;

/// Of more classes than that: those of all classes, and the share of images whose class is among the five likeliest.
const MANY: &[Metric] = &[
    nats("loss"),
    more("accuracy"),
    less("log_loss"),
    more("f1_macro"),
    more("auc"),
    more("accuracy_top5"),
];

/// A model of images with what becomes of images before it reads them: what a run of the task
/// `image_classification` leaves in a folder, which transformers reads where it has such a model.
#[derive(Debug)]
pub struct ImageClassifier {
    /// The model.
    pub pretrained: PretrainedImageModel,
    /// What becomes of images.
    pub processing: ImageProcessing,
}

impl ImageClassifier {
    /// Reads a folder with config.json, model.safetensors and preprocessor_config.json.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let pretrained = PretrainedImageModel::load(folder, None)?;
        sound::check_finite(folder, &pretrained.params)?;
        let processing = read_processing(&folder.join(PROCESSING), pretrained.images.channels)?;
        Ok(Self { pretrained, processing })
    }

    /// The type that it computes in.
    pub fn dtype(&self) -> DType {
        self.pretrained.params.entries().first().map_or(DType::F32, |entry| entry.dtype)
    }

    /// The names of its classes.
    pub fn classes(&self) -> &[String] {
        &self.pretrained.labels
    }

    /// Logits `[images, classes]` of `[images, channels, height, width]`.
    pub(crate) fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        self.pretrained.model.forward(x, forward)
    }

    /// Images as the model reads them, none of them random.
    pub(crate) fn tensor(&self, images: &[(usize, Arc<Image>)]) -> Tensor {
        self.processing.tensor(images.iter().map(|(_, image)| image), self.dtype())
    }

    /// Bytes that an image takes in a forward and backward pass, at most about.
    pub(crate) fn activation_bytes(&self) -> usize {
        let numbers = self.pretrained.config.numbers(self.pretrained.images);
        numbers.saturating_mul(2).saturating_mul(self.dtype().size())
    }

    /// Logits of all images of some batches, without gradients.
    pub(crate) fn outputs(&self, batches: impl Iterator<Item = ImageBatch>) -> Tensor {
        let of = |batch: ImageBatch| {
            let (x, forward) = (self.tensor(&batch.images), Forward::evaluation());
            let logits = self.forward(&x, &forward);
            if !self.processing.test_flip {
                return logits;
            }
            let columns: Vec<i64> = (0..x.size(3) as i64).rev().collect();
            let mirrored = x.index_select(3, &Tensor::from_slice(&columns, [columns.len()]));
            (logits + self.forward(&mirrored, &forward)) / 2.0
        };
        let outputs: Vec<Tensor> = no_grad(|| batches.map(of).collect());
        concat(&outputs.iter().collect::<Vec<_>>(), 0)
    }

    /// Probabilities `[images, classes]` of logits.
    pub(crate) fn probabilities(logits: &Tensor) -> Vec<f64> {
        values(&no_grad(|| logits.to_dtype(DType::F64).softmax(1)))
    }

    /// The metrics but the loss: those of classes of tables, and with more than five classes the five likeliest.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        match self.classes().len() {
            few @ ..=LIKELIEST => metrics_of(few),
            _ => MANY,
        }
    }

    /// Their values for probabilities.
    pub(crate) fn score(&self, probabilities: &[f64], labels: &[usize]) -> Vec<f64> {
        let classes = self.classes().len();
        let targets: Vec<f64> = labels.iter().map(|label| *label as f64).collect();
        let mut values = classification(probabilities, &targets, classes);
        if classes > LIKELIEST {
            let among = |(row, label): &(&[f64], &usize)| {
                row.iter().filter(|other| **other > row[**label]).count() < LIKELIEST
            };
            let rows = probabilities.chunks(classes).zip(labels);
            values.push(rows.filter(among).count() as f64 / labels.len() as f64);
        }
        values
    }

    /// How many images of each class are recognised, in words.
    fn of_classes(&self, probabilities: &[f64], labels: &[usize]) -> Vec<String> {
        let classes = self.classes();
        let told: Vec<usize> = probabilities.chunks(classes.len()).map(likeliest).collect();
        let line = |class: usize| {
            let here = labels.iter().zip(&told).filter(|(label, _)| **label == class);
            let (count, right) = here.fold((0, 0), |(count, right), (label, told)| {
                (count + 1, right + usize::from(label == told))
            });
            format!("class {}: {right} of {count} right", classes[class])
        };
        (0..classes.len().min(MOST_TOLD)).map(line).collect()
    }

    fn held_out(images: ImageSet) -> HeldOut<ImageSet> {
        HeldOut::new(images, IMAGES)
    }
}

impl Model for ImageClassifier {
    fn params(&self) -> &Params {
        &self.pretrained.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.pretrained.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.pretrained.save(folder)?;
        let text = format!("{:#}\n", Value::Object(self.processing.to_json()));
        Ok(create(&folder.join(PROCESSING), |out| out.write_all(text.as_bytes()))?)
    }
}

impl TrainedModel for ImageClassifier {
    fn kind(&self) -> &'static str {
        "a model of images"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if *options != EvaluateOptions::default() {
            let advice = "leave out --window, --stride, --text-field and --label-field".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let images = self.processing.read_labelled(file, self.classes())?;
        let labels = images.labels.clone();
        let held_out = Self::held_out(images);
        let probabilities = Self::probabilities(&self.outputs(held_out.batches()));
        let values = self.score(&probabilities, &labels);
        let values = self.metrics()[1..].iter().copied().zip(values).collect();
        let notes = self.of_classes(&probabilities, &labels);
        Ok(Scores { values, unit: "images", count: labels.len(), notes })
    }

    fn predict_on(&self, file: &Path, options: &PredictOptions) -> Result<Predictions, TrainError> {
        if *options != PredictOptions::default() {
            let advice =
                "images have no columns; leave out --id, --text-field and --top-k".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let (images, names) = self.processing.read(file)?;
        let labels = vec![0; images.len()];
        let held_out = Self::held_out(ImageSet { images, labels, details: Vec::new() });
        let probabilities = Self::probabilities(&self.outputs(held_out.batches()));
        let row = |(name, row): (String, &[f64])| {
            let class = self.classes()[likeliest(row)].clone();
            [name, class].into_iter().chain(row.iter().map(f64::to_string)).collect()
        };
        let of_class = |class: &String| format!("probability of {class}");
        let columns = ["image".to_owned(), "prediction".to_owned()].into_iter();
        let columns = columns.chain(self.classes().iter().map(of_class)).collect();
        let rows = probabilities.chunks(self.classes().len());
        let rows = names.into_iter().zip(rows).map(row).collect();
        Ok(Predictions { columns, rows, notes: Vec::new() })
    }
}
