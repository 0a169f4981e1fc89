//! Adam with D-Adaptation.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, RuleEntry, Schedule, Slot, StepContext,
    Stepper, TwoPass, entry, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<DAdaptAdam>(
    "dadapt_adam",
    "Adam with lr d, where d grows to what its steps so far say is the distance to go",
    "dadaptation 3.2, DAdaptAdam; Defazio and Mishchenko, \
                https://arxiv.org/abs/2301.07733",
);

/// Adam with D-Adaptation, which finds its learning rate; as `DAdaptAdam` of `dadaptation` 3.2.
/// Leave `lr` at 1; a schedule multiplies it.
///
/// With `d` begun at `d0`, `e = d lr` (times `sqrt(1 - beta2^t) / (1 - beta1^t)` with
/// `use_bias_correction`), `b = sqrt(beta2)`, and sums over all parameters of the rule:
/// `r <- b r + (1 - b) e sum(g s / (sqrt(v) + eps))`, then `m <- beta1 m + (1 - beta1) e g`,
/// `v <- beta2 v + (1 - beta2) g^2`, `s <- b s + (1 - b) e g`,
/// `d <- max(d, min(r / ((1 - b) sum(|s|)), growth_rate d))`,
/// `p <- p - m / (sqrt(v) + eps)`. Weight decay is added to the gradient, or with `decouple`
/// `p <- (1 - e weight_decay) p`.
///
/// A step whose learning rate is 0, or before any gradient that is not, changes nothing.
/// Parameters of several groups have a `d` for each group, where the package shares it, scaled
/// by its `layer_scale`.
///
/// ```
/// use rappel_optim::DAdaptAdam;
/// let rule = DAdaptAdam { decouple: true, weight_decay: 0.1.into(), ..Default::default() };
/// assert!(rule.lr.is(1.0) && rule.d0.is(1e-6));
/// ```
///
/// From [Defazio and Mishchenko, 2023](https://arxiv.org/abs/2301.07733), algorithm 5.
#[derive(Debug, Clone, Options, Descends)]
pub struct DAdaptAdam {
    /// factor of the rate that is found
    #[option(default = 1.0, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = Range::above(0.0))]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = false)]
    pub decouple: bool,
    /// correct the averages for having begun at zero
    #[option(default = false)]
    pub use_bias_correction: bool,
    /// what `d` begins at
    #[option(default = 1e-6, range = Range::above(0.0))]
    pub d0: Schedule,
    /// `d` grows by no more than this factor in a step; inf: by any
    #[option(default = f64::INFINITY.into(), range = Range::above(0.0).or_infinite())]
    pub growth_rate: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for DAdaptAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<3, 2, _>(self)
    }
}

impl DAdaptAdam {
    /// `d` and the rate.
    fn rate(&self, t: &StepContext) -> (f64, f64) {
        // The number is 0 until it begins.
        let d = if t.numbers[0] == 0.0 { t.value(&self.d0) } else { t.numbers[0] };
        let correction = if self.use_bias_correction {
            let [beta1, beta2] = t.values(&self.betas);
            t.bias_correction(beta2).sqrt() / t.bias_correction(beta1)
        } else {
            1.0
        };
        (d, d * t.lr(&self.lr) * correction)
    }
}

/// What is left of a parameter after decoupled weight decay, and whether the step is taken.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    keep: f64,
    taken: bool,
}

impl TwoPass<3, 2> for DAdaptAdam {
    const STATE: [Slot; 3] =
        [Slot::signed("s"), Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];
    const NUMBERS: &'static [(&'static str, f64)] = &[("d", 0.0), ("numerator_weighted", 0.0)];
    const SHARED: bool = true;
    type Found = Found;

    fn keep(&self, t: &StepContext) -> f64 {
        let decay = if self.decouple { t.value(&self.weight_decay) } else { 0.0 };
        1.0 - decay * self.rate(t).1
    }

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> ([R; 3], [R; 2]) {
        let coupled = if self.decouple { 0.0 } else { t.value(&self.weight_decay) };
        let ([beta1, beta2], rate) = (t.values(&self.betas), self.rate(t).1);
        // At a rate of 0 everything stays.
        let (betas, weights) = if t.lr(&self.lr) == 0.0 {
            ([1.0; 3], [0.0; 3])
        } else {
            let beta3 = beta2.sqrt();
            let weights = [rate * (1.0 - beta1), 1.0 - beta2, rate * (1.0 - beta3)];
            ([beta1, beta2, beta3], weights)
        };
        let [weight_decay, eps] = [coupled, t.value(&self.eps)].map(R::of);
        let ([beta1, beta2, beta3], [w1, w2, w3]) = (betas.map(R::of), weights.map(R::of));
        #[inline(always)]
        move |p, g, [s, m, v]| {
            let g = p.mul_add(weight_decay, g);
            let ahead = g * (s / (v.sqrt() + eps));
            let s = s * beta3 + g * w3;
            ([s, m * beta1 + g * w1, v * beta2 + w2 * g * g], [ahead, s.abs()])
        }
    }

    fn find(&self, t: &mut StepContext, [ahead, size]: [f64; 2], _: Shape) -> Found {
        let (d, rate) = self.rate(t);
        t.numbers[0] = d;
        if t.lr(&self.lr) == 0.0 || size == 0.0 {
            return Found { keep: 1.0, taken: false };
        }
        let keep = self.keep(t);
        let beta3 = t.value(&self.betas[1]).sqrt();
        let numerator = beta3 * t.numbers[1] + (1.0 - beta3) * (rate * ahead);
        let found = numerator / ((1.0 - beta3) * size);
        let d = d.max(found.min(d * t.value(&self.growth_rate)));
        t.numbers[..2].copy_from_slice(&[d, numerator]);
        Found { keep, taken: true }
    }

    fn step<R: Real>(
        &self,
        t: &StepContext,
        Found { keep, taken }: Found,
    ) -> impl Fn(R, R, [R; 3]) -> (R, [R; 3]) {
        let numbers = [keep, if taken { 1.0 } else { 0.0 }, t.value(&self.eps)];
        let [keep, taken, eps] = numbers.map(R::of);
        #[inline(always)]
        move |p, _, [s, m, v]| (p * keep - taken * m / (v.sqrt() + eps), [s, m, v])
    }
}
