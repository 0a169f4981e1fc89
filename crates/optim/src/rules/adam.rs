//! Adam.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adam>(
    "adam",
    "m <- lerp(g, m, beta1); v <- lerp(g^2, v, beta2); p <- p - lr m^ / (sqrt(v^) + eps)",
    "torch.optim.Adam; Kingma and Ba, https://arxiv.org/abs/1412.6980; \
                amsgrad: Reddi et al., https://arxiv.org/abs/1904.09237",
);

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
#[derive(Debug, Clone, Options, Descends)]
pub struct Adam {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// divide by the largest average of squares so far
    #[option(default = false)]
    pub amsgrad: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
    /// shrink the parameter instead of adding to the gradient, as AdamW
    #[option(default = false)]
    pub decoupled_weight_decay: bool,
}

impl Algorithm for Adam {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.amsgrad { elementwise::<3, _>(self) } else { elementwise::<2, _>(self) }
    }
}

impl Adam {
    /// What decoupled weight decay leaves of a parameter.
    fn left(&self, t: &StepContext) -> f64 {
        let decay = if self.decoupled_weight_decay { t.value(&self.weight_decay) } else { 0.0 };
        1.0 - t.lr(&self.lr) * decay
    }

    /// The parameter before the step, and both averages.
    fn averages<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, R, R) -> (R, R, R) {
        let [beta1, beta2] = t.values(&self.betas);
        let coupled = if self.decoupled_weight_decay { 0.0 } else { t.value(&self.weight_decay) };
        let numbers = [self.left(t), coupled, 1.0 - beta1, beta2, 1.0 - beta2];
        let [keep, weight_decay, weight1, beta2, weight2] = numbers.map(R::of);
        #[inline(always)]
        move |p, g, m, v| {
            let g = p.mul_add(weight_decay, g);
            (p * keep, lerp(m, g, weight1), v * beta2 + weight2 * g * g)
        }
    }

    /// The step along the average `m`, with the square `v` under the root.
    fn direction<R: Real>(&self, t: &StepContext) -> impl Fn(R, R) -> R {
        let [beta1, beta2] = t.values(&self.betas);
        let step_size = R::of(t.lr(&self.lr) / t.bias_correction(beta1));
        let unbias = R::of(t.bias_correction(beta2).sqrt().recip());
        let eps = R::of(t.value(&self.eps));
        #[inline(always)]
        move |m, v| step_size * m / (v.sqrt() * unbias + eps)
    }
}

impl Rule<2> for Adam {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let (averages, direction) = (self.averages(t), self.direction(t));
        #[inline(always)]
        move |p, g, [m, v]| {
            let (p, m, v) = averages(p, g, m, v);
            (p - direction(m, v), [m, v])
        }
    }
}

impl Rule<3> for Adam {
    const STATE: [Slot; 3] =
        [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq"), Slot::positive("max_exp_avg_sq")];

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> (R, [R; 3]) {
        let (averages, direction) = (self.averages(t), self.direction(t));
        #[inline(always)]
        move |p, g, [m, v, most]| {
            let (p, m, v) = averages(p, g, m, v);
            let most = R::select(most.lt(v), v, most);
            (p - direction(m, most), [m, v, most])
        }
    }
}
