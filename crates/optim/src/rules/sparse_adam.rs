//! Adam for embeddings.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, entry, lazy_rows,
};

pub(crate) const ENTRY: RuleEntry = entry::<SparseAdam>(
    "sparse_adam",
    "adam on the rows that have a gradient: p <- p - lr sqrt(1 - beta2^t) m^ / (sqrt(v) + eps)",
    "torch.optim.SparseAdam; Kingma and Ba, https://arxiv.org/abs/1412.6980",
);

/// Adam on the rows that have a gradient, as `torch.optim.SparseAdam`: for embeddings, of which a
/// batch names few rows.
///
/// A row, what the first dimension counts, whose gradient is all zero stays as it is, parameter
/// and state, and is not read. In the others, at update `t` of the parameter:
/// `m <- m + (1 - beta1) (g - m)`, `v <- v + (1 - beta2) (g^2 - v)`,
/// `p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)`.
///
/// `t` counts all updates, whichever rows they touched. `eps` stands beside the root before its
/// bias is corrected, not after as in [`Adam`](crate::Adam), and must not be 0: a row holds zeros,
/// too.
///
/// ```
/// use rappel_optim::{AdamW, OptimizerConfig, SparseAdam};
/// let config = OptimizerConfig::new(AdamW::default()).group(["*wte.weight"], SparseAdam::default());
/// ```
///
/// PyTorch goes by which rows a sparse gradient lists, so a listed row of zeros moves there and
/// stays here. Both agree on the gradient of an embedding, unless it vanishes by chance. A `lr` of
/// 0, which PyTorch refuses, leaves the parameters alone.
#[derive(Debug, Clone, Options, Descends)]
pub struct SparseAdam {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = Range::above(0.0))]
    pub eps: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for SparseAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        lazy_rows::<2, _>(self)
    }
}

impl Rule<2> for SparseAdam {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let [beta1, beta2] = t.values(&self.betas);
        let corrections = t.bias_correction(beta2).sqrt() / t.bias_correction(beta1);
        let [weight1, weight2] = [1.0 - beta1, 1.0 - beta2].map(R::of);
        let [step_size, eps] = [t.lr(&self.lr) * corrections, t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, g, [m, v]| {
            // PyTorch adds the differences whatever the weights: no two-sided `lerp` here.
            let m = (g - m) * weight1 + m;
            let v = (g * g - v) * weight2 + v;
            (p - step_size * (m / (v.sqrt() + eps)), [m, v])
        }
    }
}
