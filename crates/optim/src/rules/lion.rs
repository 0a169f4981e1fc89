//! Lion.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Lion>(
    "lion",
    "p <- p - lr sign(beta1 m + (1 - beta1) g); m <- beta2 m + (1 - beta2) g",
    "lion-pytorch 0.2.5; Chen et al., https://arxiv.org/abs/2302.06675",
);

/// Lion, as its authors' code and the package `lion-pytorch` 0.2.5.
///
/// `p <- (1 - lr weight_decay) p`, `p <- p - lr sign(beta1 m + (1 - beta1) g)`, and only then
/// `m <- beta2 m + (1 - beta2) g`. Each element moves by `lr` whatever its gradient, so `lr`
/// is 3 to 10 times smaller, and `weight_decay` as much larger, than AdamW's.
///
/// ```
/// use rappel_optim::Lion;
/// let lion = Lion { lr: 3e-5.into(), weight_decay: 1.0.into(), ..Default::default() };
/// assert!(lion.betas[1].is(0.99));
/// ```
///
/// From [Chen et al., 2023](https://arxiv.org/abs/2302.06675), program 1.
#[derive(Debug, Clone, Options, Descends)]
pub struct Lion {
    /// learning rate
    #[option(default = 1e-4, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates within the sign and of the average, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.99], range = BETA)]
    pub betas: [Schedule; 2],
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Lion {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl Rule<1> for Lion {
    const STATE: [Slot; 1] = [Slot::signed("exp_avg")];

    fn keep(&self, t: &StepContext) -> f64 {
        1.0 - t.lr(&self.lr) * t.value(&self.weight_decay)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let [beta1, beta2] = t.values(&self.betas);
        let [keep, lr] = [self.keep(t), t.lr(&self.lr)].map(R::of);
        let [weight1, weight2] = [1.0 - beta1, 1.0 - beta2].map(R::of);
        let [beta1, beta2] = [beta1, beta2].map(R::of);
        #[inline(always)]
        move |p, g, [m]| {
            let direction = (m * beta1 + g * weight1).sign();
            (p * keep - lr * direction, [m * beta2 + g * weight2])
        }
    }
}
