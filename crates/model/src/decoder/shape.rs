//! What a decoder is built from.

use rappel_config::InvalidOption;
use rappel_nn::{Activation, Rope};
use rappel_tensor::DType;

/// Everything in which decoders differ, checked and with defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct DecoderShape {
    pub vocab_size: usize,
    pub width: usize,
    /// Longest sequence, in tokens.
    pub positions: usize,
    pub layers: Vec<LayerShape>,
    pub attention: AttentionShape,
    pub mlp: MlpShape,
    pub experts: Option<ExpertsShape>,
    pub norms: Norms,
    pub rms_eps: f64,
    /// What the embeddings are multiplied by.
    pub embedding_scale: Option<f64>,
    /// The limit on logits.
    pub softcap: Option<f64>,
    pub tied: bool,
    /// Dropout of embeddings, and of what attention and the MLP add.
    pub dropouts: [f64; 2],
    /// Deviation of the initial weights.
    pub std: f64,
    pub gradient_checkpointing: bool,
    pub dtype: DType,
}

/// What differs from layer to layer.
#[derive(Debug, Clone)]
pub(crate) struct LayerShape {
    /// The angles of positions; `None` for a layer that knows nothing of them.
    pub rope: Option<Rope>,
    /// A query sees the last so many keys.
    pub window: Option<usize>,
    /// Whether its MLP is a mixture of experts.
    pub sparse: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct AttentionShape {
    pub heads: usize,
    pub kv_heads: usize,
    /// Channels of a head.
    pub dim: usize,
    /// The factor on scores.
    pub scale: f64,
    /// Whether queries, keys and values have biases, and the way out.
    pub biases: [bool; 2],
    pub qk_norm: QkNorm,
    /// The largest size of a number of queries, keys and values.
    pub clip: Option<f64>,
    /// The limit on scores.
    pub softcap: Option<f64>,
    pub dropout: f64,
    /// Whether queries, keys and values come from one matrix.
    pub fused: bool,
}

/// Which norm queries and keys have before their positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QkNorm {
    None,
    /// Over each head.
    Head,
    /// Over all heads together.
    Whole,
}

#[derive(Debug, Clone)]
pub(crate) struct MlpShape {
    pub inner: usize,
    pub activation: Activation,
    pub bias: bool,
    /// Whether the gate and what it multiplies come from one matrix.
    pub fused: bool,
}

/// A mixture of experts.
#[derive(Debug, Clone)]
pub(crate) struct ExpertsShape {
    pub count: usize,
    /// How many a token goes to.
    pub active: usize,
    pub inner: usize,
    /// Whether the weights of a token's experts are divided by their sum.
    pub normalised: bool,
    /// The factor on the loss that balances their load, where there is one.
    pub balance: Option<f64>,
    /// In training the router and the experts see numbers times up to `1 +- jitter`.
    pub jitter: f64,
    /// Where it is, under the name of the layer.
    pub name: &'static str,
    /// An expert's gate, what that multiplies, and the way back.
    pub parts: [&'static str; 3],
}

/// Where a layer's norms are, and of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// Before attention and before the MLP.
    Before,
    /// On what they add.
    After,
    /// Both, each with a weight to which 1 is added.
    AroundPlusOne,
}

/// More experts in all layers together are taken for a mistake.
const MOST_EXPERTS: usize = 1 << 17;

impl DecoderShape {
    /// The same with experts in the layers that `is_sparse` picks.
    ///
    /// # Errors
    /// More experts for a token than there are.
    pub fn with_experts(
        mut self,
        experts: ExpertsShape,
        is_sparse: impl Fn(usize) -> bool,
    ) -> Result<Self, InvalidOption> {
        let ExpertsShape { count, active, .. } = experts;
        if active > count {
            let reason = format!("{active} experts for each token, of {count} that there are");
            return Err(InvalidOption::new("num_experts_per_tok", reason));
        }
        let all = count.saturating_mul(self.layers.len());
        if all > MOST_EXPERTS {
            let reason = format!("{count} experts in each of {} layers", self.layers.len());
            let reason = reason + &format!(" make {all}, at most {MOST_EXPERTS} are supported");
            return Err(InvalidOption::new("num_hidden_layers", reason));
        }
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.sparse = is_sparse(i);
        }
        self.experts = Some(experts);
        Ok(self)
    }

    /// Weights that the products of one token read, and of attention's products for each token seen.
    pub fn flops_per_token(&self, time: usize) -> u64 {
        let width = self.width as u64;
        let AttentionShape { heads, kv_heads, dim, .. } = self.attention;
        let (queries, keys) = ((heads * dim) as u64, (kv_heads * dim) as u64);
        let projections = width * (2 * queries + 2 * keys);
        let layer = |layer: &LayerShape| {
            let mlp = match self.experts.as_ref().filter(|_| layer.sparse) {
                Some(ExpertsShape { count, active, inner, .. }) => {
                    width * (count + 3 * active * inner) as u64
                }
                None => 3 * width * self.mlp.inner as u64,
            };
            // Scores and their sum over values cost 2 operations each per number, and twice that backwards.
            let window = layer.window.unwrap_or(time).min(time) as u64;
            let seen = window * (2 * time as u64 + 1 - window);
            6 * (projections + mlp) + 6 * queries * seen / (time as u64).max(1)
        };
        let head = 6 * self.vocab_size as u64 * width;
        self.layers.iter().map(layer).sum::<u64>() + head
    }
}
