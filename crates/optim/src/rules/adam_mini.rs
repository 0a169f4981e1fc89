//! Adam-mini: Adam with one average of squares for each block of a parameter.

use rappel_tensor::{Shape, Tensor};

use crate::kernels::matrix::{average, lerp};
use crate::rule::{
    Algorithm, BETA, Descends, Options, ParamTensors, RuleEntry, Schedule, StepContext, Stepper,
    TensorRule, Words, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<AdamMini>(
    "adam_mini",
    "m <- lerp(g, m, beta1); v <- lerp(mean of g^2 over a block, v, beta2); p <- p - lr m^ / (sqrt(v^) + eps)",
    "adam-mini 1.1.1; Zhang et al., https://arxiv.org/abs/2406.16793",
);

/// Adam-mini, as the authors' package: Adam, but the elements of a block share the mean of their
/// squares, so that almost half of the state goes.
///
/// `p <- (1 - lr weight_decay) p`; `m <- lerp(m, g, 1 - beta1)`;
/// `v <- beta2 v + (1 - beta2) mean(g^2)` over each block;
/// `p <- p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)`.
///
/// What a block is, `partition` says:
///
/// - `rows`: each row, over all other dimensions: embeddings and heads (a token), values,
///   projections and feed-forward weights (a neuron);
/// - `heads`: rows in `n_heads` equal parts: the weights of queries and keys;
/// - `tensor`: the parameter: norms;
/// - `element`: each element, which is Adam's: biases;
/// - `auto`: `rows` for matrices and beyond, else `tensor`.
///
/// The package decides by words in the names of parameters, and leaves out weight decay where
/// these are of norms and biases. Here groups say it: one for queries and keys with
/// `partition = "heads"`, one for biases with `partition = "element"`, `weight_decay = 0.0`.
///
/// ```
/// use rappel_optim::{AdamMini, Partition};
/// let heads = AdamMini { partition: Partition::Heads, n_heads: 12, ..Default::default() };
/// assert!(heads.eps.is(1e-8));
/// ```
///
/// From [Zhang et al., 2024](https://arxiv.org/abs/2406.16793); adam-mini 1.1.1.
#[derive(Debug, Clone, Options, Descends)]
pub struct AdamMini {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// what shares an average of squares
    #[option(default = Partition::Auto)]
    pub partition: Partition,
    /// heads that the rows of a parameter belong to, for partition = "heads"
    #[option(default = 1, range = 1..=1_u64 << 32)]
    pub n_heads: usize,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// What a block of [`AdamMini`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Partition {
    /// A row of a matrix, or a whole tensor of another rank.
    Auto,
    /// A row.
    Rows,
    /// The rows of a head.
    Heads,
    /// The tensor.
    Tensor,
    /// A number.
    Element,
}

impl Algorithm for AdamMini {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl AdamMini {
    /// How many blocks there are, one after the other in memory.
    fn blocks(&self, shape: Shape) -> usize {
        let rows = shape.first().copied().unwrap_or(1);
        match self.partition {
            Partition::Rows => rows,
            Partition::Heads => self.n_heads,
            Partition::Element => shape.count(),
            Partition::Auto if shape.rank() > 1 => rows,
            _ => 1,
        }
    }
}

impl TensorRule for AdamMini {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        let blocks = match self.blocks(shape) {
            _ if self.partition == Partition::Element => shape,
            1 => ().into(),
            blocks => [blocks, 1].into(),
        };
        vec![("m", shape), ("vmean", blocks)]
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        let rows = shape.first().copied().unwrap_or(1);
        (self.partition == Partition::Heads && rows % self.n_heads != 0).then(|| {
            format!(
                "the rows of shape {shape} do not make {} heads of equal size; set `n_heads`, or \
                 give it a group with another `partition`",
                self.n_heads
            )
        })
    }

    fn keep(&self, t: &StepContext) -> f64 {
        1.0 - t.lr(&self.lr) * t.value(&self.weight_decay)
    }

    fn update(&self, t: &StepContext, all: &mut [ParamTensors]) {
        let [beta1, beta2] = t.values(&self.betas);
        let step_size = t.lr(&self.lr) / t.bias_correction(beta1);
        let unbias = t.bias_correction(beta2).sqrt().recip();
        let (eps, keep) = (t.value(&self.eps), TensorRule::keep(self, t));
        for whole in all {
            let shape = whole.param.shape();
            let blocks = self.blocks(shape);
            let block = [blocks, shape.count() / blocks];
            let mean: Tensor = whole.grad.reshape(block).square().mean_axis(1);
            let kept = whole.state[1].shape();
            whole.state[1] = average(&whole.state[1], &mean.reshape(kept), beta2);
            whole.state[0] = lerp(&whole.state[0], &whole.grad, 1.0 - beta1);
            let root = whole.state[1].sqrt().reshape([blocks, 1]) * unbias + eps;
            let step = (whole.state[0].reshape(block) / root).reshape(shape);
            whole.param = &whole.param * keep - step * step_size;
        }
    }
}
