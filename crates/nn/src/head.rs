//! The last layer of a language model.

use rappel_tensor::{CrossEntropy, Tensor, Weight, WeightLayout};

/// The matrix that makes logits of states, and what limits them.
#[derive(Debug, Clone)]
pub struct Head {
    /// `[vocab, width]`.
    pub weight: Weight,
    /// Logits are `softcap tanh(logit / softcap)`.
    pub softcap: Option<f64>,
}

impl Head {
    /// A head whose logits are `hidden weight^T`.
    pub fn new(weight: impl Into<Weight>) -> Self {
        Self { weight: weight.into(), softcap: None }
    }

    /// Logits `[.., vocab]` of `[.., width]`.
    #[track_caller]
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = self.weight.linear(hidden, None, WeightLayout::OutIn);
        self.softcap.map_or_else(|| logits.clone(), |softcap| logits.softcap(softcap))
    }

    /// The cross-entropy of those logits, which are never in memory whole: see
    /// [`linear_cross_entropy`](rappel_tensor::linear_cross_entropy).
    #[track_caller]
    pub fn cross_entropy(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
        options: &CrossEntropy,
    ) -> Tensor {
        let options = CrossEntropy { softcap: self.softcap.or(options.softcap), ..*options };
        self.weight.cross_entropy(hidden, targets, &options)
    }

    /// `ln p(target)` by those logits, `[..]`, 0 where a target is -100: see
    /// [`linear_log_probs`](rappel_tensor::linear_log_probs).
    #[track_caller]
    pub fn log_probs(&self, hidden: &Tensor, targets: &Tensor) -> Tensor {
        self.weight.log_probs(hidden, targets, self.softcap)
    }
}
