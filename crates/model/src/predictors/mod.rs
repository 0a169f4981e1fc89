//! Models from a row of numbers to a row of numbers: a file each.
//!
//! Adding one is a file with its `ENTRY` and a line in [`PREDICTORS`].

mod linear;
mod mlp;

use std::fmt;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Registry, no_more};
use rappel_nn::{Features, Forward, Linear};
use rappel_tensor::{DType, Params, Tensor};

use crate::dtype::DTypeName;

/// A model of rows that predicts `[rows, outputs]`: values, or a logit for each class.
pub trait Predictor: fmt::Debug + Send + Sync {
    /// The outputs `[rows, outputs]` of rows of its inputs. The first layer is
    /// [`Linear::of_features`](rappel_nn::Linear::of_features), which applies the noise of `forward` to them.
    fn forward(&self, x: &Features, forward: &Forward) -> Tensor;

    /// Whether it has dropout layers, whatever their probability.
    fn has_dropout(&self) -> bool {
        false
    }

    /// The layer that is the whole model, where it is linear: its coefficients can be read.
    fn linear(&self) -> Option<&Linear> {
        None
    }
}

/// A predictor whose options are checked.
pub trait PredictorConfig: fmt::Debug + Send + Sync {
    /// What cannot be with so many inputs and outputs: the key, and why.
    fn fault(&self, inputs: usize, outputs: usize) -> Option<(&'static str, String)> {
        let _ = (inputs, outputs);
        None
    }

    /// Registers its parameters.
    fn build(&self, params: &mut Params, inputs: usize, outputs: usize) -> Box<dyn Predictor>;
}

/// What a section `model` comes to.
#[derive(Debug)]
pub struct Configured {
    /// What builds the model.
    pub predictor: Box<dyn PredictorConfig>,
    /// The type it computes in.
    pub dtype: DType,
}

type Configure = fn(&Options) -> Result<Box<dyn PredictorConfig>, ConfigError>;
type PredictorEntry = Entry<Configure>;

/// Every predictor.
///
/// ```
/// use rappel_model::{Configured, PREDICTORS};
/// use rappel_nn::Forward;
/// use rappel_tensor::{Params, Tensor};
/// let given = toml::from_str("name = 'mlp'\nhidden_sizes = [32]\ndtype = 'float64'").unwrap();
/// let (entry, options) = PREDICTORS.resolve("model", &given)?;
/// let Configured { predictor, dtype } = Configured::new(entry, &options)?;
/// let mut params = Params::with_dtype(0, dtype);
/// let model = predictor.build(&mut params, 10, 3);
/// let x = Tensor::ones([5, 10], dtype);
/// let y = model.forward(&x.into(), &Forward::evaluation());
/// assert_eq!(*y.shape(), [5, 3]);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub static PREDICTORS: Registry<Configure> = Registry {
    kind: "predictor",
    common: Common::FIELDS,
    entries: &[linear::ENTRY, mlp::ENTRY],
    more: no_more,
};

/// What every predictor takes, beside its own options.
#[derive(Debug, Clone, Copy, Options)]
struct Common {
    /// type of parameters and activations
    #[option(default = DType::F32, with = DTypeName<false>, aka("torch_dtype", "precision"))]
    dtype: DType,
}

impl Configured {
    /// Checks resolved options of an entry.
    ///
    /// # Errors
    /// What the options say of each other.
    pub fn new(entry: &PredictorEntry, options: &Options) -> Result<Self, ConfigError> {
        let Common { dtype } = Common::from_options(options)?;
        Ok(Self { predictor: (entry.build)(options)?, dtype })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&PREDICTORS);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/predictors");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &PREDICTORS.names());
    }
}
