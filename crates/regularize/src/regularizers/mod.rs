//! Regularizers: a file each. Adding one is its file with an `ENTRY`, its `mod` line, and its line in
//! [`REGULARIZERS`].

mod attention_dropout;
mod channel_dropout;
mod confidence_penalty;
mod dropout;
pub(crate) mod elastic_net;
mod gradient_noise;
pub(crate) mod group_lasso;
pub(crate) mod l1;
pub(crate) mod l2;
mod label_smoothing;
pub(crate) mod max_norm;
mod mixup;
mod neftune;
pub(crate) mod orthogonal;
mod r_drop;
mod spectral_norm;
mod stochastic_depth;
mod weight_norm;
mod z_loss;

use rappel_config::{ConfigError, More, Options, Range, Registry};
use rappel_schedule::{Horizon, Schedule};
use rappel_tensor::Form;

use crate::{Constraint, LossTerms, Noise, Penalty};

/// Everything that a config's `regularize` can name.
pub static REGULARIZERS: Registry<Technique> = Registry {
    kind: "regularizer",
    common: &[],
    entries: &[
        attention_dropout::ENTRY,
        channel_dropout::ENTRY,
        confidence_penalty::ENTRY,
        dropout::ENTRY,
        elastic_net::ENTRY,
        gradient_noise::ENTRY,
        group_lasso::ENTRY,
        l1::ENTRY,
        l2::ENTRY,
        label_smoothing::ENTRY,
        max_norm::ENTRY,
        mixup::ENTRY,
        neftune::ENTRY,
        orthogonal::ENTRY,
        r_drop::ENTRY,
        spectral_norm::ENTRY,
        stochastic_depth::ENTRY,
        weight_norm::ENTRY,
        z_loss::ENTRY,
    ],
    more: |entry| More { about: entry.build.about, ..More::default() },
};

type Entry = rappel_config::Entry<Technique>;

/// How an entry of [`REGULARIZERS`] is built, and its equation.
#[derive(Debug, Clone, Copy)]
pub struct Technique {
    /// What it computes, in Markdown.
    pub about: &'static str,
    /// What it changes.
    pub acts_on: ActsOn,
    /// Reads checked options for a run of this length.
    pub build: fn(&Options, Horizon) -> Result<Regularizer, ConfigError>,
}

/// What a regularizer changes. What lies within a forward pass or a loss has to be there for it to
/// act on, which only the objective and the model can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActsOn {
    /// The parameters, or the loss by a penalty on them: every model has them.
    Weights,
    /// The gradients: every model has them.
    Gradients,
    /// The embeddings, or other inputs, that the first layer hands on.
    Embeddings,
    /// Each dropout layer.
    DropoutLayers,
    /// The weights of attention.
    AttentionWeights,
    /// The branches that blocks add to what goes past them.
    Residuals,
    /// The samples of a batch, which are mixed with each other, and their targets.
    Samples,
    /// The targets of a cross-entropy.
    Targets,
    /// The logits of a cross-entropy.
    Logits,
}

impl ActsOn {
    /// Whether it lies within a forward pass or a loss, where it may be missing.
    pub fn within_a_pass(self) -> bool {
        !matches!(self, Self::Weights | Self::Gradients)
    }
}

/// What a regularizer does, by where it acts.
#[derive(Debug)]
pub enum Regularizer {
    /// Adds `lambda` times a penalty to the loss; or, `proximal`, takes a proximal step after each
    /// update.
    Penalty {
        /// The measure.
        penalty: Box<dyn Penalty>,
        /// Its factor.
        lambda: Schedule,
        /// Whether the penalty acts after the update instead of in the loss.
        proximal: bool,
    },
    /// Brings weights back into a set after each update.
    Constraint {
        /// The set.
        constraint: Box<dyn Constraint>,
        /// Its size.
        value: Schedule,
    },
    /// Computes weights from other parameters.
    Form(Form),
    /// Adds normal noise to gradients.
    GradientNoise {
        /// The noise's variance.
        variance: Schedule,
    },
    /// Changes a cross-entropy.
    Loss {
        /// How much.
        value: Schedule,
        /// Where that belongs.
        set: fn(&mut LossTerms, f64),
    },
    /// Is random in the forward pass.
    Noise {
        /// How much.
        value: Schedule,
        /// Where that belongs.
        set: fn(&mut Noise, f64),
    },
    /// Mixes samples, in the forward pass and in the loss.
    Mixup {
        /// Both parameters of the weight's Beta distribution.
        alpha: Schedule,
    },
}

/// What can be the probability of being dropped.
const PROBABILITY: Range = Range::from(0.0).below(1.0);

/// Which parameters are meant.
#[derive(Debug, Options)]
pub(crate) struct Patterns {
    /// globs over whole parameter names, such as *.weight; unset: all of two dimensions and more, so
    /// neither biases nor norms
    pub params: Option<Vec<String>>,
}

/// A penalty, or its proximal step.
fn penalty(penalty: impl Penalty + 'static, lambda: Schedule, proximal: bool) -> Regularizer {
    Regularizer::Penalty { penalty: Box::new(penalty), lambda, proximal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&REGULARIZERS);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/regularizers");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &REGULARIZERS.names());
    }
}
