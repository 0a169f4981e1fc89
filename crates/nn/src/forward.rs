//! What a forward pass must know beside its input.

use rappel_regularize::Noise;
use rappel_tensor::{Key, Tensor, dropout};

/// Whether a forward pass trains, and where its random numbers come from.
///
/// A pass is a pure function of its input, the parameters and this. Each layer derives its own key
/// by its name, so a block that is recomputed in the backward pass draws the same numbers again.
///
/// ```
/// use rappel_nn::Forward;
/// use rappel_tensor::Key;
/// let step = Forward::training(Key::new(42).with_name("forward").with(7));
/// assert_eq!(step.layer("mlp").key, step.layer("mlp").key);
/// assert_ne!(step.layer("mlp").key, step.layer("attn").key);
/// assert!(!Forward::evaluation().train);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forward {
    /// Names the random numbers of this pass; give each step of a run a key of its own.
    pub key: Key,
    /// Whether layers that only act in training, dropout above all, do so.
    pub train: bool,
    /// What regularizers make random in a pass that trains.
    pub noise: Noise,
    /// How deep in its stack the pass is: block `l` of `L`, counted from 1, is at `l / L`.
    pub depth: f64,
    /// Whether adapters take part; without them a pass is that of the model that they adapt.
    pub adapters: bool,
}

impl Forward {
    /// A pass that trains, with the random numbers of `key`.
    pub fn training(key: Key) -> Self {
        Self { key, train: true, noise: Noise::default(), depth: 1.0, adapters: true }
    }

    /// A pass that draws nothing.
    pub fn evaluation() -> Self {
        Self { train: false, ..Self::training(Key::new(0)) }
    }

    /// The same pass of the model without its adapters.
    #[must_use]
    pub fn without_adapters(&self) -> Self {
        Self { adapters: false, ..*self }
    }

    /// The same pass inside the layer `name`.
    #[must_use]
    pub fn layer(&self, name: &str) -> Self {
        Self { key: self.key.with_name(name), ..*self }
    }

    /// The same pass inside layer number `index` of a stack.
    #[must_use]
    pub fn number(&self, index: usize) -> Self {
        Self { key: self.key.with(index as u64), ..*self }
    }

    /// The same pass inside block number `index` of a stack of `count`.
    #[must_use]
    pub fn block(&self, index: usize, count: usize) -> Self {
        Self { depth: (index + 1) as f64 / count as f64, ..self.number(index) }
    }

    /// Two passes with other random numbers: what R-Drop compares.
    #[must_use]
    pub fn twice(&self) -> [Self; 2] {
        [0, 1].map(|i| self.layer("r_drop").number(i))
    }

    /// The same pass with what regularizers make random.
    #[must_use]
    pub fn with_noise(&self, noise: Noise) -> Self {
        Self { noise, ..*self }
    }

    /// Embeddings `x` `[batch, time, width]`, or `[batch, width]`, as the model is to see them: with
    /// noise, mixed. For every architecture to call on what it looked up or was given.
    #[must_use]
    pub fn embeddings(&self, mut x: Tensor) -> Tensor {
        let Noise { neftune, mixup, .. } = self.noise;
        if self.train && neftune > 0.0 {
            let numbers = x.count() / x.size(0).max(1);
            let size = neftune / (numbers as f64).sqrt();
            let key = self.key.with_name("neftune");
            x = &x + &Tensor::rand(x.shape(), -size, size, x.dtype(), key);
        }
        match mixup.filter(|_| self.train) {
            Some(mixup) => mixup.mix(&x),
            None => x,
        }
    }

    /// `x + branch`, where channels of the branch or all of it may be dropped: `[batch, .., width]`.
    /// For every architecture to call where a residual block ends.
    #[track_caller]
    #[must_use]
    pub fn residual(&self, x: &Tensor, branch: Tensor) -> Tensor {
        let Noise { channel_dropout, stochastic_depth, whole_batch, .. } = self.noise;
        let masked = |branch: Tensor, [first, last]: [usize; 2], p: f64, name: &str| {
            if !self.train || p == 0.0 {
                return branch;
            }
            let mut sizes = branch.shape();
            sizes.fill(1);
            let rank = sizes.rank();
            (sizes[0], sizes[rank - 1]) = (first, last);
            let ones = Tensor::ones(sizes, branch.dtype());
            branch * dropout(&ones, p, self.key.with_name(name))
        };
        let (batch, width) = (branch.size(0), branch.size(branch.rank() - 1));
        let branch = masked(branch, [batch, width], channel_dropout, "channel_dropout");
        let rows = if whole_batch { 1 } else { batch };
        x + masked(branch, [rows, 1], stochastic_depth * self.depth, "stochastic_depth")
    }
}
