//! What a forward pass must know beside its input.

use rappel_tensor::Key;

/// Whether a forward pass trains, and where its random numbers come from.
///
/// A pass is a pure function of its input, the parameters and this. Each layer derives its own key
/// by its name, so a block that is recomputed in the backward pass draws the same numbers again.
///
/// ```
/// use rappel_model::Forward;
/// use rappel_tensor::Key;
/// let step = Forward::training(Key::new(42).with_name("forward").with(7));
/// assert_eq!(step.layer("mlp").key, step.layer("mlp").key);
/// assert_ne!(step.layer("mlp").key, step.layer("attn").key);
/// assert!(!Forward::evaluation().train);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Names the random numbers of this pass; give each step of a run a key of its own.
    pub key: Key,
    /// Whether layers that only act in training, dropout above all, do so.
    pub train: bool,
}

impl Forward {
    /// A pass that trains, with the random numbers of `key`.
    pub fn training(key: Key) -> Self {
        Self { key, train: true }
    }

    /// A pass that draws nothing.
    pub fn evaluation() -> Self {
        Self { key: Key::new(0), train: false }
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
}
