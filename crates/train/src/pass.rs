//! What the loop tells a task of one forward pass.

use rappel_nn::Forward;
use rappel_regularize::{LossTerms, Regularization};
use rappel_tensor::Key;

/// One forward pass that trains: part `part` of the batch of step `step`, and what regularizes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// The step, counted from 0.
    pub step: u64,
    /// Which part of the step's batch it is.
    pub part: usize,
    /// Whether and how layers draw random numbers.
    pub forward: Forward,
    /// What regularizes a cross-entropy.
    pub terms: LossTerms,
}

impl Pass {
    /// The pass of a run with this seed and these regularizers.
    pub fn new(seed: u64, step: u64, part: usize, regularization: &Regularization) -> Self {
        let key = Key::new(seed).with_name("forward").with(step).with(part as u64);
        let forward = Forward::training(key).with_noise(regularization.noise(step, key));
        Self { step, part, forward, terms: regularization.loss_terms(step) }
    }
}
