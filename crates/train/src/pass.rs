//! What the loop tells a task of one forward pass.

use rappel_model::Forward;
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
}

impl Pass {
    /// The pass of a run with this seed.
    pub fn new(seed: u64, step: u64, part: usize) -> Self {
        let key = Key::new(seed).with_name("forward").with(step).with(part as u64);
        Self { step, part, forward: Forward::training(key) }
    }
}
