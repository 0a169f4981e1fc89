//! The class of an image.

use rappel_data::{Augmentation, Dataset, HeldOut, ImageBatch, ImageSet};
use rappel_draw::png;
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_regularize::{ActsOn, Mixup};
use rappel_telemetry::Event;
use rappel_tensor::{CrossEntropy, Tensor, cross_entropy, no_grad};

use super::contact_sheet::{augment_key, contact_sheet};
use super::target_pictures::show_classes;
use super::{Objective, Show};
use crate::models::ImageClassifier;
use crate::{Baseline, Metric, Observer, Pass, TrainError};

/// The cross-entropy of a model's logits for images, which are augmented while it trains.
#[derive(Debug, Clone)]
pub struct ImageClass {
    augmentation: Augmentation,
}

impl ImageClass {
    /// With these random images.
    pub fn new(augmentation: Augmentation) -> Self {
        Self { augmentation }
    }

    /// The images of a batch: random ones where the pass trains.
    fn images(&self, model: &ImageClassifier, batch: &ImageBatch, forward: &Forward) -> Tensor {
        if !forward.train {
            return model.tensor(&batch.images);
        }
        let key = augment_key(forward.key);
        self.augmentation.tensor(&model.processing, &batch.images, model.dtype(), key)
    }

    /// Where a pass trains and areas are given to others: whose, and what share of an image's own is left.
    fn cutmix(&self, x: &Tensor, forward: &Forward) -> Option<(Tensor, Tensor, f64)> {
        if self.augmentation.cutmix == 0.0 || !forward.train {
            return None;
        }
        let key = forward.key.with_name("cutmix");
        // Of both, a coin chooses one.
        if forward.noise.mixup.is_some() && key.with_name("switch").below(2) == 0 {
            return None;
        }
        let draw = Mixup { alpha: self.augmentation.cutmix, key };
        let (partners, [height, width]) = (draw.partners(x.size(0)), [x.size(2), x.size(3)]);
        let side = (1.0 - draw.weight()).sqrt();
        // A rectangle around a place of the image, as far as it is in it.
        let span = |size: usize, name: &str| {
            let middle = key.with_name(name).below(size as u64) as i64;
            let half = (size as f64 * side / 2.0).round() as i64;
            let inside = |at: i64| at.clamp(0, size as i64) as usize;
            inside(middle - half)..inside(middle + half)
        };
        let (rows, columns) = (span(height, "row"), span(width, "column"));
        let share = 1.0 - (rows.len() * columns.len()) as f64 / (height * width) as f64;
        let mut mask = vec![0_u8; height * width];
        for row in rows {
            mask[row * width + columns.start..row * width + columns.end].fill(1);
        }
        let mask = Tensor::from_slice(&mask, [1, 1, height, width]);
        let mixed = rappel_tensor::select(&mask, &x.index_select(0, &partners), x);
        Some((mixed, partners, share))
    }
}

impl Objective for ImageClass {
    type Data = ImageSet;
    type Model = ImageClassifier;

    fn loss(
        &self,
        model: &ImageClassifier,
        batch: &ImageBatch,
        weight: f64,
        pass: &Pass,
    ) -> Tensor {
        let Pass { forward, terms } = pass;
        let x = self.images(model, batch, forward);
        let labels = Tensor::from_slice(&batch.labels, [batch.labels.len()]);
        let Some((mixed, partners, share)) = self.cutmix(&x, forward) else {
            // What mixes samples does so once, whatever the number of passes.
            let x = forward.embeddings(x);
            let logits = |forward: &Forward| model.forward(&x, forward);
            return regularized_cross_entropy(logits, None, &labels, Some(weight), terms, forward);
        };
        let mut noise = forward.noise;
        noise.mixup = None;
        let forward = forward.with_noise(noise);
        let logits = model.forward(&mixed, &forward);
        let of = |labels: &Tensor| {
            let same = |_: &Forward| logits.clone();
            regularized_cross_entropy(same, None, labels, Some(weight), terms, &forward)
        };
        of(&labels) * share + of(&labels.index_select(0, &partners)) * (1.0 - share)
    }

    fn activation_bytes(
        &self,
        model: &ImageClassifier,
        _: &ImageSet,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        model.activation_bytes().saturating_mul(samples).saturating_mul(if r_drop { 2 } else { 1 })
    }

    fn metrics(&self, model: &ImageClassifier) -> &'static [Metric] {
        model.metrics()
    }

    fn evaluate(&self, model: &ImageClassifier, held_out: &HeldOut<ImageSet>) -> Vec<f64> {
        let logits = model.outputs(held_out.batches());
        let labels = &held_out.data().labels[held_out.samples()];
        let targets: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
        let targets = Tensor::from_slice(&targets, [targets.len()]);
        let loss = no_grad(|| cross_entropy(&logits, &targets, &CrossEntropy::default()).item());
        [vec![loss], model.score(&ImageClassifier::probabilities(&logits), labels)].concat()
    }

    fn show(
        &self,
        model: &ImageClassifier,
        held_out: &HeldOut<ImageSet>,
        show: &mut Show,
    ) -> Result<(), TrainError> {
        let probabilities = ImageClassifier::probabilities(&model.outputs(held_out.batches()));
        let labels = held_out.data().labels[held_out.samples()].iter();
        let targets: Vec<f64> = labels.map(|label| *label as f64).collect();
        show_classes(model.classes(), &probabilities, &targets, show)
    }

    fn show_training(
        &self,
        model: &ImageClassifier,
        data: &ImageSet,
        seed: u64,
        show: &mut Show,
    ) -> Result<(), TrainError> {
        let (classes, processing) = (model.classes(), &model.processing);
        let picture = contact_sheet(data, classes, processing, &self.augmentation, seed);
        let size = [picture.width, picture.height];
        show(&Event::Image { name: "train/images", size, png: &png(&picture) })
    }

    fn honours(&self, model: &ImageClassifier, on: ActsOn) -> Result<(), &'static str> {
        let parts = &model.pretrained.model;
        match on {
            ActsOn::DropoutLayers if !parts.has_dropout() => {
                Err("the model has no dropout layer; leave it out")
            }
            ActsOn::Residuals if !parts.has_residuals() => Err(
                "the model has no residual blocks; take `resnet`, `convnext` or `vit`, or leave it out",
            ),
            ActsOn::AttentionWeights if model.pretrained.name != "vit" => {
                Err("the model has no attention; take `vit`, or leave it out")
            }
            ActsOn::Logits if self.augmentation.cutmix > 0.0 => {
                Err("does not go with data.cutmix; leave one of them out")
            }
            _ => Ok(()),
        }
    }

    fn activations(
        &self,
        model: &ImageClassifier,
        batch: &ImageBatch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        let x = self.images(model, batch, forward);
        Some(("logits", model.forward(&x, forward)))
    }

    /// The frequencies of the classes, whatever the image.
    fn baseline(
        &self,
        model: &ImageClassifier,
        data: &ImageSet,
        held_out: &HeldOut<ImageSet>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        let mut counts = vec![0_usize; model.classes().len()];
        data.labels.iter().for_each(|label| counts[*label] += 1);
        let labels = &held_out.data().labels[held_out.samples()];
        let surprise =
            |label: &usize| -(counts[*label] as f64 / data.len() as f64).max(f64::EPSILON).ln();
        let loss = labels.iter().map(surprise).sum::<f64>() / labels.len() as f64;
        Ok(Some(Baseline::of_loss("frequencies", loss)))
    }
}
