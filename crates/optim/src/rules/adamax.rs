//! Adam with the largest gradient in place of the average of squares.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adamax>(
    "adamax",
    "m <- lerp(g, m, beta1); u <- max(beta2 u, |g| + eps); p <- p - lr m^ / u",
    "torch.optim.Adamax; Kingma and Ba, https://arxiv.org/abs/1412.6980",
);

/// Adam with the infinity norm, as `torch.optim.Adamax`.
///
/// At update `t`: `g <- g + weight_decay p`, `m <- beta1 m + (1 - beta1) g`,
/// `u <- max(beta2 u, |g| + eps)`, `p <- p - lr / (1 - beta1^t) m / u`.
///
/// ```
/// use rappel_optim::Adamax;
/// let adamax = Adamax { lr: 1e-3.into(), ..Default::default() };
/// assert!(adamax.eps.is(1e-8));
/// ```
///
/// From [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980), algorithm 2, which has no `eps`: a
/// gradient that was always 0 is then 0 / 0, as it is here where `eps` is 0.
#[derive(Debug, Clone, Options, Descends)]
pub struct Adamax {
    /// learning rate
    #[option(default = 2e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the average of gradients and of the norm, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the gradient's magnitude
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Adamax {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rule<2> for Adamax {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_inf")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let [beta1, beta2] = t.values(&self.betas);
        let step_size = t.lr(&self.lr) / t.bias_correction(beta1);
        let numbers =
            [t.value(&self.weight_decay), 1.0 - beta1, beta2, step_size, t.value(&self.eps)];
        let [weight_decay, weight1, beta2, step_size, eps] = numbers.map(R::of);
        #[inline(always)]
        move |p, g, [m, u]| {
            let g = p.mul_add(weight_decay, g);
            let m = lerp(m, g, weight1);
            let (faded, seen) = (u * beta2, g.abs() + eps);
            // Not `max`: a NaN stays one.
            let u = R::select(seen.lt(faded), faded, seen);
            (p - step_size * m / u, [m, u])
        }
    }
}
