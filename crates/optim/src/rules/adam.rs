//! Adam.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "adam",
    summary: "m <- lerp(g, m, beta1); v <- lerp(g^2, v, beta2); p <- p - lr m^ / (sqrt(v^) + eps)",
    reference: "torch.optim.Adam; Kingma and Ba, https://arxiv.org/abs/1412.6980; \
                amsgrad: Reddi et al., https://arxiv.org/abs/1904.09237",
    fields: <Adam as crate::OptionSet>::FIELDS,
    build: Plan::build::<Adam>,
};

crate::options! {
    /// Adam, as `torch.optim.Adam`.
    ///
    /// At update `t`: `g <- g + weight_decay p` (or, `decoupled_weight_decay`,
    /// `p <- (1 - lr weight_decay) p`), `m <- beta1 m + (1 - beta1) g`,
    /// `v <- beta2 v + (1 - beta2) g^2`,
    /// `p <- p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)`. With `amsgrad` the
    /// largest `v` so far stands under the root.
    ///
    /// Where a beta is a curve, `beta^t` takes its value at the step.
    ///
    /// From [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980), algorithm 1, with PyTorch's
    /// order of the corrections.
    pub struct Adam {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// divide by the largest average of squares so far
        amsgrad: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
        /// shrink the parameter instead of adding to the gradient, as AdamW
        decoupled_weight_decay: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// What is left of a parameter after decoupled weight decay.
        keep,
        /// Coupled weight decay.
        weight_decay,
        /// Weight of the gradient in its average.
        one_minus_beta1,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in its average.
        one_minus_beta2,
        /// Learning rate over the first bias correction.
        step_size,
        /// 1 over the root of the second bias correction.
        unbias,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for Adam {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.amsgrad { elementwise::<3, _>(self) } else { elementwise::<2, _>(self) }
    }
}

impl Adam {
    fn left(&self, now: &Now) -> f64 {
        let decay = if self.decoupled_weight_decay { now.value(&self.weight_decay) } else { 0.0 };
        1.0 - now.lr(&self.lr) * decay
    }

    fn numbers(&self, now: &Now) -> Scalars {
        let lr = now.lr(&self.lr);
        let [beta1, beta2] = [now.value(&self.betas[0]), now.value(&self.betas[1])];
        let coupled = if self.decoupled_weight_decay { 0.0 } else { now.value(&self.weight_decay) };
        Scalars {
            keep: self.left(now),
            weight_decay: coupled,
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
            step_size: lr / now.bias_correction(beta1),
            unbias: now.bias_correction(beta2).sqrt().recip(),
            eps: now.value(&self.eps),
        }
    }
}

/// The parameter before the step, and both averages.
#[inline(always)]
fn averages<R: Real>(h: &Scalars<R>, p: R, g: R, m: R, v: R) -> (R, R, R) {
    let g = p.mul_add(h.weight_decay, g);
    let m = lerp(m, g, h.one_minus_beta1);
    let v = v * h.beta2 + h.one_minus_beta2 * g * g;
    (p * h.keep, m, v)
}

impl Rule<2> for Adam {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        let (p, m, v) = averages(h, p, g, m, v);
        (p - h.step_size * m / (v.sqrt() * h.unbias + h.eps), [m, v])
    }
}

impl Rule<3> for Adam {
    const STATE: [&'static str; 3] = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
    const SIGNED: [bool; 3] = [true, false, false];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, v, most]: [R; 3]) -> (R, [R; 3]) {
        let (p, m, v) = averages(h, p, g, m, v);
        let most = R::select(most.lt(v), v, most);
        (p - h.step_size * m / (most.sqrt() * h.unbias + h.eps), [m, v, most])
    }
}
