//! Sophia-G.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<SophiaG>(
    "sophia_g",
    "p <- p - lr clip(m / (rho bs h), 1), h an average of squared gradients, now and then",
    "Liuhong99/Sophia at 195a786, SophiaG; Liu et al., \
                https://arxiv.org/abs/2305.14342",
);

/// Sophia-G, as its authors' code (Liuhong99/Sophia, `sophia.py` at 195a786), its curvature taken
/// from the step's own gradient.
///
/// At the first update and every `update_period` after it, `h <- beta2 h + (1 - beta2) g^2`.
/// Then `p <- (1 - lr weight_decay) p`, `m <- beta1 m + (1 - beta1) g`,
/// `p <- p - lr sign(m) min(|m| / (rho bs h + 1e-15), 1)`.
///
/// `bs h` stands for the diagonal of the Gauss-Newton matrix. In the paper the gradient squared
/// there is a second one, of the loss on labels that are drawn from the model's own predictions
/// (Gauss-Newton-Bartlett), and `bs` the number of predictions that it is a mean over. Here it is
/// the gradient of the step, of true labels: what the authors' `update_hessian` computes when it
/// is called on the same gradient, and the empirical Fisher matrix. It costs no second backward
/// pass, and is near the paper's only once the model predicts well. Clipping by norm shrinks it.
///
/// The authors' loop takes the curvature after each tenth step, and so steps by signs alone
/// before the tenth; this takes it before the first.
///
/// ```
/// use rappel_optim::SophiaG;
/// // Batches of 480 texts of 1024 tokens.
/// let sophia = SophiaG { bs: (480.0 * 1024.0).into(), ..Default::default() };
/// assert!(sophia.update_period == 10 && sophia.rho.is(0.04));
/// ```
///
/// From [Liu et al., 2023](https://arxiv.org/abs/2305.14342), algorithm 3, with the placement of
/// `rho` and `bs` of the authors' code.
#[derive(Debug, Clone, Options, Descends)]
pub struct SophiaG {
    /// learning rate
    #[option(default = 1e-4, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and curvature, each in [0, 1)
    #[option(default = [0.965, 0.99], range = BETA)]
    pub betas: [Schedule; 2],
    /// the larger, the fewer elements step by their sign alone
    #[option(default = 0.04, range = 0.0..)]
    pub rho: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.1, range = 0.0..)]
    pub weight_decay: Schedule,
    /// predictions that a gradient is the mean over
    #[option(default = 5120.0, range = Range::above(0.0))]
    pub bs: Schedule,
    /// updates from one look at the curvature to the next
    #[option(default = 10, range = 1..)]
    pub update_period: u64,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// What keeps the divisor from 0.
const LEAST: f64 = 1e-15;

impl Algorithm for SophiaG {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rule<2> for SophiaG {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("hessian")];

    fn keep(&self, t: &StepContext) -> f64 {
        1.0 - t.lr(&self.lr) * t.value(&self.weight_decay)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let [beta1, beta2] = t.values(&self.betas);
        let looks = (t.count - 1).is_multiple_of(self.update_period);
        let beta2 = if looks { beta2 } else { 1.0 };
        let [keep, lr] = [self.keep(t), t.lr(&self.lr)].map(R::of);
        let [weight1, weight2] = [1.0 - beta1, 1.0 - beta2].map(R::of);
        let steepness = t.value(&self.rho) * t.value(&self.bs);
        let [beta1, beta2, steepness] = [beta1, beta2, steepness].map(R::of);
        #[inline(always)]
        move |p, g, [m, curvature]| {
            let curvature = curvature * beta2 + weight2 * g * g;
            let m = m * beta1 + g * weight1;
            let one = R::of(1.0);
            let ratio = m.abs() / (steepness * curvature + R::of(LEAST));
            let ratio = R::select(one.lt(ratio), one, ratio);
            (p * keep - lr * (m.sign() * ratio), [m, curvature])
        }
    }
}
