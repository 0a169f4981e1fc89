//! Models from an image to a logit for each class: a file each, named as Hugging Face's `model_type` where it has one.
//!
//! Adding one is a file with its `ENTRY` and a line in [`IMAGE_MODELS`].

mod cnn;
mod convnext;
mod mlp;
mod resnet;
mod vit;

use std::fmt;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Registry, no_more};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, Tensor};
use serde_json::{Map, Value};

use crate::dtype::DTypeName;

/// A model of images that tells a logit for each class.
pub trait ImageModel: fmt::Debug + Send + Sync {
    /// Logits `[batch, classes]` of images `[batch, channels, height, width]`.
    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor;

    /// Whether it has dropout layers, whatever their probability.
    fn has_dropout(&self) -> bool {
        false
    }

    /// Whether it has residual blocks, which noise may act on.
    fn has_residuals(&self) -> bool {
        false
    }
}

/// What a model of images reads and tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// 1 for grey images, 3 for colours.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// How many classes there are.
    pub classes: usize,
}

/// A model of images whose options are checked.
pub trait ImageModelConfig: fmt::Debug + Send + Sync {
    /// The class of transformers that reads its files, where there is one.
    fn class(&self) -> Option<&'static str>;

    /// What cannot be with such images: the key, and why.
    fn fault(&self, images: ImageShape) -> Option<(&'static str, String)>;

    /// Registers its parameters.
    fn build(&self, params: &mut Params, images: ImageShape) -> Box<dyn ImageModel>;

    /// About how many numbers a forward and backward pass of an image keeps.
    fn numbers(&self, images: ImageShape) -> usize;

    /// Its options as config.json holds them.
    fn to_json(&self) -> Map<String, Value>;
}

/// Checks resolved options.
pub type ConfigureImageModel = fn(&Options) -> Result<Box<dyn ImageModelConfig>, ConfigError>;

/// Every model of images.
///
/// ```
/// use rappel_model::{IMAGE_MODELS, ImageShape};
/// use rappel_nn::Forward;
/// use rappel_tensor::{DType, Params, Tensor};
/// let given = toml::from_str("name = 'cnn'\nchannels = [8, 16]").unwrap();
/// let (entry, options) = IMAGE_MODELS.resolve("model", &given)?;
/// let images = ImageShape { channels: 1, size: [28, 28], classes: 10 };
/// let model = (entry.build)(&options)?.build(&mut Params::new(0), images);
/// let x = Tensor::ones([5, 1, 28, 28], DType::F32);
/// assert_eq!(*model.forward(&x, &Forward::evaluation()).shape(), [5, 10]);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub static IMAGE_MODELS: Registry<ConfigureImageModel> = Registry {
    kind: "image model",
    common: Common::FIELDS,
    entries: &[cnn::ENTRY, convnext::ENTRY, mlp::ENTRY, resnet::ENTRY, vit::ENTRY],
    more: no_more,
};

type ImageEntry = Entry<ConfigureImageModel>;

/// What every model of images takes, beside its own options.
#[derive(Debug, Clone, Copy, Options)]
struct Common {
    /// type of parameters and activations
    #[option(default = DType::F32, with = DTypeName<true>, aka("torch_dtype", "precision"))]
    dtype: DType,
}

/// The type that resolved options of a model of images name.
///
/// # Errors
/// What the option finds wrong beyond its kind.
pub fn image_model_dtype(options: &Options) -> Result<DType, ConfigError> {
    Ok(Common::from_options(options)?.dtype)
}

/// Reads a config from resolved options.
fn configure<C: OptionSet + ImageModelConfig + 'static>(
    options: &Options,
) -> Result<Box<dyn ImageModelConfig>, ConfigError> {
    Ok(Box::new(C::from_options(options)?))
}

/// How a stack of convolutions changes images, and how many numbers it makes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    size: [usize; 2],
    numbers: usize,
}

impl Sizes {
    fn new(images: ImageShape) -> Self {
        let [height, width] = images.size;
        Self { size: images.size, numbers: images.channels * height * width }
    }

    /// A layer of so many channels that makes images smaller by `stride`, and keeps `copies` of its result.
    fn layer(&mut self, channels: usize, stride: usize, copies: usize) {
        self.size = self.size.map(|size| size.div_ceil(stride));
        let count = channels.saturating_mul(self.size[0]).saturating_mul(self.size[1]);
        self.numbers = self.numbers.saturating_add(count.saturating_mul(copies));
    }
}

/// What is wrong with sizes that a list gives for its stages.
fn sizes_fault(
    key: &'static str,
    sizes: &[usize],
    depths: &[usize],
) -> Option<(&'static str, String)> {
    if sizes.is_empty() {
        return Some((key, "is an empty list; give the channels of each stage".to_owned()));
    }
    (sizes.len() != depths.len()).then(|| {
        let reason = format!("{} sizes for {} depths; give as many", sizes.len(), depths.len());
        (key, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&IMAGE_MODELS);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/image_models");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &IMAGE_MODELS.names());
    }
}
