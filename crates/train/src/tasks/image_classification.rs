//! Classes of images.

use std::sync::Arc;

use rappel_config::{ConfigError, Field, Kind, OptionSet};
use rappel_data::{
    Augmentation, BatchSize, Drawing, HeldOut, ImageConfig, ImageProcessing, ImageSet, Order,
    ReadImages,
};
use rappel_draw::Picture;
use rappel_model::{IMAGE_MODELS, ImageShape, PretrainedImageModel, image_model_dtype};
use rappel_tensor::Key;

use super::{Prepared, TaskEntry};
use crate::models::{ImageBase, ImageClassifier};
use crate::objectives::{ImageClass, contact_sheet};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "image_classification",
    summary: "a class from an image: accuracy, top 5, log-loss, F1, AUC",
    reference: "He et al., https://arxiv.org/abs/1512.03385",
    fields: &[
        Field::required("data", Kind::Table(ImageConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&IMAGE_MODELS), "what learns"),
    ],
    build: prepare,
};

/// Images of a validation's batch.
const VALIDATED: usize = 128;
/// Share that is set apart where nothing says how much.
const SHARE: f64 = 0.1;

/// The images of a config, and what is random about those to train on.
fn read(
    config: &Config,
    base: Option<&ImageBase>,
    observer: &mut dyn Observer,
) -> Result<(ReadImages, Augmentation), TrainError> {
    let section = config.section("data");
    let mut data = ImageConfig::from_options(section)?;
    let keeps_statistics = data.normalize.is_none();
    if let Some(base) = base {
        let ImageShape { channels, size, .. } = base.images();
        data.channels.get_or_insert(channels);
        data.image_size.get_or_insert(base.processing().map_or(size, |of| of.size)[0]);
    }
    if let Some((key, reason)) = data.augmentation.fault() {
        return Err(section.invalid(key, reason).into());
    }
    observer.stage("reading the images")?;
    let mut found = data.read()?;
    if let Some(of_base) = base.and_then(ImageBase::processing)
        && keeps_statistics
        && of_base.channels == found.processing.channels
    {
        let ImageProcessing { mean, std, .. } = of_base.clone();
        found.processing = ImageProcessing { mean, std, ..found.processing };
    }
    let apart = found.validation.is_some();
    let share = data.validation_fraction.unwrap_or(if apart { 0.0 } else { SHARE });
    let (training, drawn) = split(config, found.training, share)?;
    let drawn = drawn.map(|images| images.middles(found.processing.size));
    let validation = found.validation.or(drawn);
    Ok((ReadImages { training, validation, ..found }, data.augmentation))
}

/// The images of a config, to be looked at.
#[derive(Debug)]
pub struct ShownImages {
    /// Some of them as they are trained on.
    pub sheet: Picture,
    /// The classes, and how many images to train on each has.
    pub classes: Vec<(String, usize)>,
    /// How many images there are to validate on.
    pub held_out: usize,
    /// What there is to know of them.
    pub details: Vec<String>,
}

/// Reads the images of a config.
///
/// # Errors
/// A config of another task; what keeps the images from being trained on.
pub fn shown_images(
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<ShownImages, TrainError> {
    if config.run().task != ENTRY.name {
        return Err(ConfigError::invalid("task", format!("expected {}", ENTRY.name)).into());
    }
    let base = ImageBase::open(config.section("model"), observer)?;
    let (ReadImages { training, validation, classes, processing }, augmentation) =
        read(config, base.as_ref(), observer)?;
    let sheet = contact_sheet(&training, &classes, &processing, &augmentation, config.seed());
    let mut counts = vec![0; classes.len()];
    training.labels.iter().for_each(|label| counts[*label] += 1);
    Ok(ShownImages {
        sheet,
        classes: classes.into_iter().zip(counts).collect(),
        held_out: validation.map_or(0, |images| images.labels.len()),
        details: training.details,
    })
}

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let base = ImageBase::open(config.section("model"), observer)?;
    let config = &base.as_ref().map_or_else(|| Ok(config.clone()), |base| base.complete(config))?;
    let (ReadImages { training, validation, classes, processing }, augmentation) =
        read(config, base.as_ref(), observer)?;
    let held_out = validation.map(|images| HeldOut::new(images, VALIDATED));
    let held_out = match config.run().train.eval_batches {
        Some(most) => held_out.map(|held_out| held_out.at_most(most)),
        None => held_out,
    };
    let images =
        ImageShape { channels: processing.channels, size: processing.size, classes: classes.len() };
    let model = move |config: &Config| -> Result<ImageClassifier, TrainError> {
        let section = config.section("model");
        let entry = IMAGE_MODELS.lookup_at("model.name", section.name())?;
        let options = (entry.build)(section)?;
        if let Some((key, reason)) = options.fault(images) {
            return Err(section.invalid(key, reason).into());
        }
        let params = config.params(image_model_dtype(section)?)?;
        let pretrained = match &base {
            Some(base) => base.begin(params, images, classes.clone())?,
            None => PretrainedImageModel::new(entry.name, options, params, images, classes.clone()),
        };
        Ok(ImageClassifier { pretrained, processing: processing.clone() })
    };
    // What cannot be is an error before the run begins.
    model(config)?;
    let (training, objective) = (Arc::new(training), ImageClass::new(augmentation));
    Ok(Prepared::new(config.clone(), move |config| {
        Ok(Learner::new(model(config)?, training.clone(), objective.clone())
            .held_out(held_out.clone()))
    }))
}

/// The images to train on, and those drawn by the seed to validate on, each in their order.
fn split(
    config: &Config,
    images: ImageSet,
    share: f64,
) -> Result<(ImageSet, Option<ImageSet>), TrainError> {
    let count = images.labels.len();
    let held = (share * count as f64).round() as usize;
    if share == 0.0 {
        return Ok((images, None));
    }
    if held == count || held == 0 {
        let reason = format!(
            "{held} of {count} images; give more images, another share, or a data.validation_path"
        );
        return Err(ConfigError::invalid("data.validation_fraction", reason).into());
    }
    // The order in which an epoch of another seed would go through all images.
    let seed = u64::from(Key::new(config.seed()).with_name("split").bits(0));
    let drawing = Drawing { seed, ..Drawing::default() };
    let order = Order::new(count, BatchSize::Fixed(count), drawing)?;
    let mut drawn: Vec<usize> = order.samples(0).collect();
    let mut held = drawn.split_off(count - held);
    drawn.sort_unstable();
    held.sort_unstable();
    Ok((images.select(&drawn), Some(images.select(&held))))
}
