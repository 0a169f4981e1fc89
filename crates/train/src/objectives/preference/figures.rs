//! What is recorded of a step's answers beside the loss.

use std::sync::{Mutex, PoisonError};

use rappel_tensor::Tensor;

/// Means over the answers that passes saw since they were last asked for.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Vec<(&'static str, f64, f64)>>);

impl Clone for Figures {
    /// Of another learner, which saw none.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Figures {
    /// Adds numbers to a figure, each of the same weight.
    pub fn add(&self, name: &'static str, values: &[f64]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sum, count) = (values.iter().sum::<f64>(), values.len() as f64);
        match all.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, sums, counts)) => (*sums, *counts) = (*sums + sum, *counts + count),
            None => all.push((name, sum, count)),
        }
    }

    /// What is recorded of rewards and log-probabilities of pairs.
    pub fn add_pairs(&self, rewards: [&[f64]; 2], log_probs: [&[f64]; 2]) {
        let [chosen, rejected] = rewards;
        let both = || chosen.iter().zip(rejected);
        let margins: Vec<f64> = both().map(|(chosen, rejected)| chosen - rejected).collect();
        let right: Vec<f64> =
            both().map(|(chosen, rejected)| f64::from(u8::from(chosen > rejected))).collect();
        self.add(CHOSEN, chosen);
        self.add(REJECTED, rejected);
        self.add(ACCURACIES, &right);
        self.add(MARGINS, &margins);
        self.add(LOGPS_CHOSEN, log_probs[0]);
        self.add(LOGPS_REJECTED, log_probs[1]);
    }

    /// The means, which begin anew; none of a figure that had no numbers.
    pub fn take(&self) -> Vec<(&'static str, f64)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *all).into_iter();
        taken.filter(|(.., count)| *count > 0.0).map(|(name, sum, n)| (name, sum / n)).collect()
    }
}

// TRL's names.
pub(super) const CHOSEN: &str = "rewards/chosen";
pub(super) const REJECTED: &str = "rewards/rejected";
pub(super) const ACCURACIES: &str = "rewards/accuracies";
pub(super) const MARGINS: &str = "rewards/margins";
pub(super) const LOGPS_CHOSEN: &str = "logps/chosen";
pub(super) const LOGPS_REJECTED: &str = "logps/rejected";

/// The two halves of numbers: of the chosen answers, and of the rejected ones.
pub(super) fn halves(values: &[f64]) -> [&[f64]; 2] {
    let (chosen, rejected) = values.split_at(values.len() / 2);
    [chosen, rejected]
}

/// The two halves of a tensor `[2 pairs]`.
pub(super) fn both(tensor: &Tensor) -> [Tensor; 2] {
    let pairs = tensor.size(0) / 2;
    [0, pairs].map(|start| tensor.narrow(0, start, pairs))
}
