//! One forward pass, as an objective sees it.

use rappel_nn::Forward;
use rappel_regularize::{LossTerms, Regularization};
use rappel_tensor::Key;

/// How one forward pass and its loss are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Whether and how layers draw random numbers.
    pub forward: Forward,
    /// What regularizes a cross-entropy.
    pub terms: LossTerms,
}

impl Pass {
    /// What micro-batch `part` of `step` draws its random numbers from.
    pub(crate) fn key(seed: u64, step: u64, part: usize) -> Key {
        Key::new(seed).with_name("forward").with(step).with(part as u64)
    }

    /// The pass of micro-batch `part` of `step`, in a run with this seed and these regularizers.
    pub fn training(seed: u64, step: u64, part: usize, regularization: &Regularization) -> Self {
        let key = Self::key(seed, step, part);
        let forward = Forward::training(key).with_noise(regularization.noise(step, key));
        Self { forward, terms: regularization.loss_terms(step) }
    }

    /// A pass that measures: nothing is random, nothing regularizes.
    pub fn evaluation() -> Self {
        Self { forward: Forward::evaluation(), terms: LossTerms::default() }
    }
}
