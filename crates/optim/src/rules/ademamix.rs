//! `AdEMAMix`.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<AdEmaMix>(
    "ademamix",
    "p <- p - lr ((m1^ + alpha m2) / (sqrt(v^) + eps) + weight_decay p), m2 a slow average",
    "apple/ml-ademamix at e732715; Pagliardini et al., https://arxiv.org/abs/2409.03137",
);

/// `AdEMAMix`: `AdamW` with a second, slow average of gradients; as its authors' code
/// (apple/ml-ademamix, `pytorch/ademamix.py` at e732715).
///
/// `m1 <- beta1 m1 + (1 - beta1) g`, `m2 <- beta3 m2 + (1 - beta3) g`,
/// `v <- beta2 v + (1 - beta2) g^2`,
/// `p <- p - lr ((m1^ + alpha m2) / (sqrt(v^) + eps) + weight_decay p)`; `^` divides by
/// `1 - beta^t`, which `m2` does without. Over the first `alpha_warmup` updates `alpha` grows
/// from 0 in a line; over the first `beta3_warmup` the half-life of `m2` grows in a line from
/// that of `m1`. The paper sets both to the length of the run.
///
/// `betas[0] = 0` takes the gradient itself for `m1` and keeps no state for it.
///
/// `pytorch_optimizer` has another default of `alpha` (5, not 2) and one warm-up for both; the
/// authors' half-lives carry an epsilon of 1e-8, which is kept.
///
/// ```
/// use rappel_optim::AdEmaMix;
/// let steps = 10_000;
/// let rule = AdEmaMix { alpha_warmup: steps, beta3_warmup: steps, ..Default::default() };
/// assert!(rule.betas[2].is(0.9999));
/// ```
///
/// From [Pagliardini et al., 2024](https://arxiv.org/abs/2409.03137), algorithm 1.
#[derive(Debug, Clone, Options, Descends)]
pub struct AdEmaMix {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the fast average, of squares, and of the slow average, each in [0, 1)
    #[option(default = [0.9, 0.999, 0.9999], range = BETA)]
    pub betas: [Schedule; 3],
    /// weight of the slow average
    #[option(default = 2.0, range = 0.0..)]
    pub alpha: Schedule,
    /// updates over which the third beta grows from the first; 0: it is there at once
    #[option(default = 0)]
    pub beta3_warmup: u64,
    /// updates over which alpha grows from 0; 0: it is there at once
    #[option(default = 0)]
    pub alpha_warmup: u64,
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for AdEmaMix {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.betas[0].is(0.0) { elementwise::<2, _>(self) } else { elementwise::<3, _>(self) }
    }
}

/// Updates, less one, after which an average of decay `beta` has forgotten half.
fn half_life(beta: f64) -> f64 {
    0.5_f64.ln() / (beta + 1e-8).ln() - 1.0
}

/// The decay rate on the way from `start` to `end`, half-lives growing in a line.
fn warming(count: u64, start: f64, end: f64, warmup: u64) -> f64 {
    if count >= warmup {
        return end;
    }
    let done = count as f64 / warmup as f64;
    let life = (1.0 - done) * half_life(start) + done * half_life(end);
    0.5_f64.powf((life + 1.0).recip())
}

impl AdEmaMix {
    fn left(&self, t: &StepContext) -> f64 {
        1.0 - t.lr(&self.lr) * t.value(&self.weight_decay)
    }

    /// The parameter and the two averages that every variant keeps, from the fast average.
    fn slow<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, R, [R; 2]) -> (R, [R; 2]) {
        let [beta1, beta2, beta3] = t.values(&self.betas);
        let beta3 = warming(t.count, beta1, beta3, self.beta3_warmup);
        let mut alpha = t.value(&self.alpha);
        if t.count < self.alpha_warmup {
            alpha *= t.count as f64 / self.alpha_warmup as f64;
        }
        let [weight2, weight3] = [1.0 - beta2, 1.0 - beta3].map(R::of);
        let unbias1 = R::of(t.bias_correction(beta1).recip());
        let unbias2 = R::of(t.bias_correction(beta2).sqrt().recip());
        let numbers = [t.lr(&self.lr), t.value(&self.weight_decay), t.value(&self.eps)];
        let [lr, weight_decay, eps] = numbers.map(R::of);
        let [beta2, beta3, alpha] = [beta2, beta3, alpha].map(R::of);
        #[inline(always)]
        move |p, g, fast, [slow, v]| {
            let slow = slow * beta3 + g * weight3;
            let v = v * beta2 + weight2 * g * g;
            let update = (fast * unbias1 + alpha * slow) / (v.sqrt() * unbias2 + eps);
            (p - lr * p.mul_add(weight_decay, update), [slow, v])
        }
    }
}

impl Rule<2> for AdEmaMix {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg_slow"), Slot::positive("exp_avg_sq")];

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let slow = self.slow(t);
        #[inline(always)]
        move |p, g, state| slow(p, g, g, state)
    }
}

impl Rule<3> for AdEmaMix {
    const STATE: [Slot; 3] =
        [Slot::signed("exp_avg_fast"), Slot::signed("exp_avg_slow"), Slot::positive("exp_avg_sq")];

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> (R, [R; 3]) {
        let (slow, beta1) = (self.slow(t), t.value(&self.betas[0]));
        let (beta1, weight1) = (R::of(beta1), R::of(1.0 - beta1));
        #[inline(always)]
        move |p, g, [fast, m, v]| {
            let fast = fast * beta1 + g * weight1;
            let (p, [m, v]) = slow(p, g, fast, [m, v]);
            (p, [fast, m, v])
        }
    }
}
