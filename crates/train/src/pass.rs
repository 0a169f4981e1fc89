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
    /// The pass of micro-batch `part` of `step`, in a run with this seed and these regularizers.
    pub fn training(seed: u64, step: u64, part: usize, regularization: &Regularization) -> Self {
        let key = Key::new(seed).with_name("forward").with(step).with(part as u64);
        let forward = Forward::training(key).with_noise(regularization.noise(step, key));
        Self { forward, terms: regularization.loss_terms(step) }
    }

    /// A pass that measures: nothing is random, nothing regularizes.
    pub fn evaluation() -> Self {
        Self { forward: Forward::evaluation(), terms: LossTerms::default() }
    }
}
