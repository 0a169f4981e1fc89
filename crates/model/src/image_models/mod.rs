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

/// A model of images that gives a logit for each class.
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

/// What a model of images reads and predicts.
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

    /// What a value of a model of the first images becomes in one of the second, where it has another shape there; none where
    /// nothing can be made of it.
    fn adapted(&self, _name: &str, _value: &Tensor, _images: [ImageShape; 2]) -> Option<Tensor> {
        None
    }

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
#[derive(Debug, Clone, Options)]
struct Common {
    /// type of parameters and activations
    #[option(default = DType::F32, with = DTypeName<true>, aka("torch_dtype", "precision"))]
    dtype: DType,
    /// folder or run of a model of this name that training begins at, or its name on the Hugging Face Hub: all other options are
    /// that model's, and so are statistics and size of images unless data says others; other classes get a new head
    #[option(changeable, aka("pretrained_path", "init_from"))]
    pretrained: Option<String>,
    /// SHA-256 of the lines that sha256sum prints of its files; the run's own config.toml holds it
    sha256: Option<String>,
    /// parameters of it that stay as they are, by patterns: `vit.*` trains the head alone
    #[option(default = [], aka("frozen", "freeze_layers"))]
    freeze: Vec<String>,
}

/// A model that training begins at, as resolved options of a model of images name it.
#[derive(Debug, Clone)]
pub struct PretrainedImages {
    /// Where it is.
    pub path: String,
    /// The hash that its files must have.
    pub sha256: Option<String>,
    /// Patterns of parameters that stay as they are.
    pub freeze: Vec<String>,
    /// The type of the parameters.
    pub dtype: DType,
}

impl PretrainedImages {
    /// The names of these options, which are any model's.
    pub const KEYS: [&str; 4] = ["dtype", "pretrained", "sha256", "freeze"];

    /// The one that options name, if they do.
    ///
    /// # Errors
    /// What the options find wrong beyond their kinds; options without the model that they are of.
    pub fn from_options(options: &Options) -> Result<Option<Self>, ConfigError> {
        let Common { dtype, pretrained, sha256, freeze } = Common::from_options(options)?;
        let Some(path) = pretrained else {
            let lonely = [("freeze", !freeze.is_empty()), ("sha256", sha256.is_some())];
            return match lonely.iter().find(|(_, given)| *given) {
                Some((key, _)) => {
                    let reason = "is of a pretrained model; give model.pretrained, or leave it out";
                    Err(options.invalid(key, reason))
                }
                None => Ok(None),
            };
        };
        Ok(Some(Self { path, sha256, freeze, dtype }))
    }
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
