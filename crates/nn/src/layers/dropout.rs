//! Dropout.

use rappel_regularize::Noise;
use rappel_tensor::{Tensor, dropout};

use crate::forward::Forward;

/// In training, each element is zeroed with probability `p` and the others grow by `1 / (1 - p)`;
/// else nothing happens. PyTorch's `torch.nn.Dropout` (Srivastava et al., JMLR 15, 2014).
///
/// The mask is a pure function of the pass's key, not PyTorch's mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f64,
    of_attention: bool,
}

impl Dropout {
    /// A layer that drops with probability `p`.
    ///
    /// # Panics
    /// Where `p` is not in `[0, 1)`.
    #[track_caller]
    pub fn new(p: f64) -> Self {
        assert!((0.0..1.0).contains(&p), "Dropout: p is {p}, not in [0, 1)");
        Self { p, of_attention: false }
    }

    /// A layer that drops weights of attention with probability `p`.
    ///
    /// # Panics
    /// Where `p` is not in `[0, 1)`.
    #[track_caller]
    pub fn of_attention(p: f64) -> Self {
        Self { of_attention: true, ..Self::new(p) }
    }

    /// The probability and the key where the pass drops anything. What regularizers say takes the
    /// place of the layer's own probability.
    pub fn active(&self, forward: &Forward) -> Option<(f64, rappel_tensor::Key)> {
        let Noise { dropout, attention_dropout, .. } = forward.noise;
        let given = if self.of_attention { attention_dropout } else { dropout };
        let p = given.unwrap_or(self.p);
        (forward.train && p > 0.0).then_some((p, forward.key))
    }

    /// `x`, or `x` with elements dropped; the mask belongs to the key of `forward`.
    #[track_caller]
    pub fn forward(&self, x: Tensor, forward: &Forward) -> Tensor {
        match self.active(forward) {
            Some((p, key)) => dropout(&x, p, key),
            None => x,
        }
    }
}
