//! Adam for embeddings.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, lazy_rows};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "sparse_adam",
    summary: "adam on the rows that have a gradient: p <- p - lr sqrt(1 - beta2^t) m^ / (sqrt(v) + eps)",
    reference: "torch.optim.SparseAdam; Kingma and Ba, https://arxiv.org/abs/1412.6980",
    fields: <SparseAdam as crate::OptionSet>::FIELDS,
    build: Plan::build::<SparseAdam>,
};

crate::options! {
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
    /// use rappel_optim::{AdamW, Recipe, SparseAdam};
    /// let recipe = Recipe::new(AdamW::default()).group(["*wte.weight"], SparseAdam::default());
    /// ```
    ///
    /// PyTorch goes by which rows a sparse gradient lists, so a listed row of zeros moves there and
    /// stays here. Both agree on the gradient of an embedding, unless it vanishes by chance. A `lr` of
    /// 0, which PyTorch refuses, leaves the parameters alone.
    pub struct SparseAdam {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::above(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Weight of the gradient in its average.
        one_minus_beta1,
        /// Weight of the square in its average.
        one_minus_beta2,
        /// Learning rate with both bias corrections.
        step_size,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for SparseAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        lazy_rows::<2, _>(self)
    }
}

impl Rule<2> for SparseAdam {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        let [beta1, beta2] = [now.value(&self.betas[0]), now.value(&self.betas[1])];
        let corrections = now.bias_correction(beta2).sqrt() / now.bias_correction(beta1);
        Scalars {
            one_minus_beta1: 1.0 - beta1,
            one_minus_beta2: 1.0 - beta2,
            step_size: now.lr(&self.lr) * corrections,
            eps: now.value(&self.eps),
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        // PyTorch adds the differences whatever the weights: no two-sided `lerp` here.
        let m = (g - m) * h.one_minus_beta1 + m;
        let v = (g * g - v) * h.one_minus_beta2 + v;
        (p - h.step_size * (m / (v.sqrt() + h.eps)), [m, v])
    }
}
