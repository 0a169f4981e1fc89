//! Adan.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adan>(
    "adan",
    "m, d, v average g, g - g' and (g + beta2 (g - g'))^2; p <- p - lr (m^ + beta2 d^) / (sqrt(v^) + eps)",
    "timm 1.0.31, Adan (as sail-sg/Adan); Xie et al., https://arxiv.org/abs/2208.06677",
);

/// Adan, as its authors' code and `Adan` of `timm` 1.0.31.
///
/// With `g'` the gradient before (at the first update `g` itself):
/// `m <- beta1 m + (1 - beta1) g`, `d <- beta2 d + (1 - beta2) (g - g')`,
/// `v <- beta3 v + (1 - beta3) (g + beta2 (g - g'))^2`,
/// `p <- p - lr (m^ + beta2 d^) / (sqrt(v^) + eps)`, then `p <- p / (1 + lr weight_decay)`, or
/// with `no_prox` `p <- (1 - lr weight_decay) p` before. `^` divides by `1 - beta^t`.
///
/// The betas are what the old averages keep, as everywhere here; the paper's are 1 minus these.
/// The authors' `max_grad_norm` is the optimizer's own clipping:
/// see [`OptimizerConfig::max_grad_norm`](crate::OptimizerConfig::max_grad_norm).
///
/// ```
/// use rappel_optim::Adan;
/// let adan = Adan { lr: 1e-3.into(), weight_decay: 0.02.into(), ..Default::default() };
/// assert!(adan.betas[1].is(0.92) && !adan.no_prox);
/// ```
///
/// From [Xie et al., 2022](https://arxiv.org/abs/2208.06677), algorithm 1, with the bias
/// corrections of the authors' code.
#[derive(Debug, Clone, Options, Descends)]
pub struct Adan {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient, difference and square, each in [0, 1)
    #[option(default = [0.98, 0.92, 0.99], range = BETA)]
    pub betas: [Schedule; 3],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter before the step as AdamW, not after it
    #[option(default = false)]
    pub no_prox: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Adan {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<4, _>(self)
    }
}

impl Rule<4> for Adan {
    const STATE: [Slot; 4] = [
        Slot::signed("exp_avg"),
        Slot::positive("exp_avg_sq"),
        Slot::signed("exp_avg_diff"),
        Slot::signed("neg_pre_grad"),
    ];

    fn keep(&self, t: &StepContext) -> f64 {
        let decay = t.lr(&self.lr) * t.value(&self.weight_decay);
        if self.no_prox { 1.0 - decay } else { (1.0 + decay).recip() }
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 4]) -> (R, [R; 4]) {
        let ([beta1, beta2, beta3], lr, keep) =
            (t.values(&self.betas), t.lr(&self.lr), self.keep(t));
        let decay = if self.no_prox { [keep, 1.0] } else { [1.0, keep] };
        let [shrink_before, shrink_after] = decay.map(R::of);
        let [weight1, weight2, weight3] = [beta1, beta2, beta3].map(|beta| R::of(1.0 - beta));
        let step_size = R::of(lr / t.bias_correction(beta1));
        let step_size_diff = R::of(lr * beta2 / t.bias_correction(beta2));
        let unbias = R::of(t.bias_correction(beta3).sqrt().recip());
        let [beta2, beta3, eps] = [beta2, beta3, t.value(&self.eps)].map(R::of);
        let first = t.is_first();
        #[inline(always)]
        move |p, g, [m, v, d, before]| {
            let before = if first { -g } else { before };
            let difference = before + g;
            let m = lerp(m, g, weight1);
            let d = d * beta2 + difference * weight2;
            let ahead = difference * beta2 + g;
            let v = v * beta3 + weight3 * ahead * ahead;
            let divisor = v.sqrt() * unbias + eps;
            let p = p * shrink_before - step_size * m / divisor - step_size_diff * d / divisor;
            (p * shrink_after, [m, v, d, -g])
        }
    }
}
