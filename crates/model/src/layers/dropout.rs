//! Dropout.

use rappel_tensor::{Tensor, dropout};

use crate::Forward;

/// In training, each element is zeroed with probability `p` and the others grow by `1 / (1 - p)`;
/// else nothing happens. PyTorch's `torch.nn.Dropout` (Srivastava et al., JMLR 15, 2014).
///
/// The mask is a pure function of the pass's key, not PyTorch's mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// A layer that drops with probability `p`.
    ///
    /// # Panics
    /// Where `p` is not in `[0, 1)`.
    #[track_caller]
    pub fn new(p: f64) -> Self {
        assert!((0.0..1.0).contains(&p), "Dropout: p is {p}, not in [0, 1)");
        Self { p }
    }

    /// The probability and the key where the pass drops anything.
    pub fn active(&self, forward: &Forward) -> Option<(f64, rappel_tensor::Key)> {
        (forward.train && self.p > 0.0).then_some((self.p, forward.key))
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
