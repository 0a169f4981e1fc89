//! What an encoder is built from.

use rappel_config::InvalidOption;
use rappel_nn::{Activation, LayerNorm, Rope};
use rappel_tensor::{DType, Scope};

use crate::architectures::MOST_PARAMETERS;

/// Everything in which encoders differ, checked and with defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct EncoderShape {
    pub vocab_size: usize,
    pub width: usize,
    pub positions: Positions,
    /// How many kinds of segments a text may have; 0 for a model that knows none.
    pub types: usize,
    pub heads: usize,
    pub inner: usize,
    pub activation: Activation,
    /// Whether the MLP has a gate, which one matrix makes with what it multiplies.
    pub gated: bool,
    pub layers: Vec<LayerShape>,
    pub norms: Norms,
    /// Whether attention and the MLP have biases.
    pub biases: [bool; 2],
    pub dropouts: Dropouts,
    /// Deviation of the initial weights, and of those that lead back into the states.
    pub stds: [f64; 2],
    pub names: &'static Names,
    /// The heads by what they are for.
    pub for_masked: HeadShape,
    pub for_sequences: HeadShape,
    pub for_tokens: HeadShape,
    pub gradient_checkpointing: bool,
    pub dtype: DType,
}

/// How positions are encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Positions {
    /// A table of `rows`, of which that of the first token is number `first`.
    Learned { rows: usize, first: usize },
    /// In attention, as layers say, up to this many.
    Rotary { most: usize },
}

/// What differs from layer to layer.
#[derive(Debug, Clone)]
pub(crate) struct LayerShape {
    pub rope: Option<Rope>,
    /// A query sees keys fewer than so many places away.
    pub window: Option<usize>,
}

/// Layer norms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norms {
    pub eps: f64,
    pub bias: bool,
    /// Before attention and the MLP, and on the last states; but not before the first layer's attention, which reads the
    /// embeddings' norm. Otherwise after each has been added.
    pub before: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dropouts {
    pub embeddings: f64,
    /// Of attention's weights, and of what it adds.
    pub attention: [f64; 2],
    /// Inside the MLP, and of what it adds.
    pub mlp: [f64; 2],
}

/// The names of a model's parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// What they begin with in a model with a head.
    pub prefix: &'static str,
    pub tokens: &'static str,
    pub positions: &'static str,
    pub types: &'static str,
    pub norm: &'static str,
    /// Of a layer, before its number.
    pub layers: &'static str,
    /// The rest within a layer.
    pub projections: Projections,
    pub attention_out: &'static str,
    pub attention_norm: &'static str,
    /// Into the MLP, and out of it.
    pub mlp: [&'static str; 2],
    pub mlp_norm: &'static str,
    pub last_norm: Option<&'static str>,
    /// A layer on the first token's state that models without a head may have, too.
    pub pooler: Option<&'static str>,
    /// What the names of all heads begin with.
    pub heads: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Projections {
    /// Queries, keys and values.
    Apart([&'static str; 3]),
    Fused(&'static str),
}

/// A head: a dense layer and a norm, where it has them, and what makes logits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadShape {
    pub reads: Reads,
    /// Before the dense layer, and before what makes logits.
    pub dropouts: [f64; 2],
    pub dense: Option<Dense>,
    pub norm: Option<&'static str>,
    /// What makes logits; the matrix of a masked language model's is the token embedding.
    pub out: &'static str,
    /// The bias there.
    pub bias: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Dense {
    pub name: &'static str,
    pub bias: bool,
    pub activation: Activation,
}

/// The states that a head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Each,
    First,
    Mean,
}

impl HeadShape {
    /// A linear layer `classifier` on these states.
    pub const fn classifier(reads: Reads, dropout: f64) -> Self {
        Self {
            reads,
            dropouts: [0.0, dropout],
            dense: None,
            norm: None,
            out: "classifier",
            bias: Some("classifier.bias"),
        }
    }

    /// Whether a name is one of this head's.
    pub fn has(&self, name: &str) -> bool {
        let parts = [self.dense.map(|dense| dense.name), self.norm, Some(self.out), self.bias];
        parts.into_iter().flatten().any(|part| is_within(name, part))
    }
}

/// Whether a name is that of `part` or of something in it.
pub(crate) fn is_within(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl EncoderShape {
    /// The longest text, in tokens.
    pub fn max_positions(&self) -> usize {
        match self.positions {
            Positions::Learned { rows, first } => rows - first,
            Positions::Rotary { most } => most,
        }
    }

    /// The same, once its sizes are known to go together; options are called as in `names`: the width, the heads, the
    /// positions.
    ///
    /// # Errors
    /// Sizes that do not.
    pub fn checked(self, names: [&'static str; 3]) -> Result<Self, InvalidOption> {
        let Self { width, heads, .. } = self;
        let [width_name, heads_name, positions_name] = names;
        if !width.is_multiple_of(heads) {
            let reason = format!("{width} does not split evenly into {heads} heads");
            let reason = format!("{reason}; make it a multiple of {heads_name}");
            return Err(InvalidOption::new(width_name, reason));
        }
        if let Positions::Learned { rows, first } = self.positions
            && rows <= first
        {
            let reason = format!("positions begin at {first}, so {rows} leave none for a token");
            return Err(InvalidOption::new(positions_name, reason));
        }
        let inner = if self.gated { self.inner.saturating_mul(2) } else { self.inner };
        let rows = inner.max(self.vocab_size).max(width.saturating_mul(3));
        let largest = (rows as u128).saturating_mul(width as u128);
        if largest > MOST_PARAMETERS {
            let reason = format!(
                "these sizes make a matrix of {largest} parameters, at most {MOST_PARAMETERS} are supported; make \
                 them smaller"
            );
            return Err(InvalidOption::new(width_name, reason));
        }
        Ok(self)
    }

    /// A norm of the kind that the model has everywhere.
    pub fn norm(&self, scope: &mut Scope<'_>) -> LayerNorm {
        let Norms { eps, bias, .. } = self.norms;
        let new = if bias { LayerNorm::new } else { LayerNorm::without_bias };
        new(scope, self.width, eps)
    }

    /// Operations of one token's forward and backward pass in texts of `time` tokens: 6 for each weight of a layer's
    /// matrix products, and those of attention.
    pub fn flops_per_token(&self, time: usize) -> u64 {
        let width = self.width as u64;
        let inner = (if self.gated { 3 } else { 2 }) * self.inner as u64;
        let layer = |layer: &LayerShape| {
            let seen = layer.window.map_or(time, |window| (2 * window - 1).min(time)) as u64;
            6 * width * (4 * width + inner) + 12 * width * seen
        };
        self.layers.iter().map(layer).sum()
    }
}
