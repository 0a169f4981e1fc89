//! `AdEMAMix`.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "ademamix",
    summary: "p <- p - lr ((m1^ + alpha m2) / (sqrt(v^) + eps) + weight_decay p), m2 a slow average",
    reference: "apple/ml-ademamix at e732715; Pagliardini et al., https://arxiv.org/abs/2409.03137",
    fields: <AdEmaMix as crate::OptionSet>::FIELDS,
    build: Plan::build::<AdEmaMix>,
};

crate::options! {
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
    pub struct AdEmaMix {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the fast average, of squares, and of the slow average, each in [0, 1)
        betas: [Schedule; 3] = "[0.9, 0.999, 0.9999]", Kind::Raw;
        /// weight of the slow average
        alpha: Schedule = "2.0", scheduled(Range::from(0.0));
        /// updates over which the third beta grows from the first; 0: it is there at once
        beta3_warmup: u64 = "0", Kind::int_from(0);
        /// updates over which alpha grows from 0; 0: it is there at once
        alpha_warmup: u64 = "0", Kind::int_from(0);
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// the share of a parameter that a step takes away, times lr
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
        /// Weight decay.
        weight_decay,
        /// Decay rate of the fast average.
        beta1,
        /// Weight of the gradient in it.
        one_minus_beta1,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in it.
        one_minus_beta2,
        /// Decay rate of the slow average.
        beta3,
        /// Weight of the gradient in it.
        one_minus_beta3,
        /// Weight of the slow average.
        alpha,
        /// 1 over the first bias correction.
        unbias1,
        /// 1 over the root of the second.
        unbias2,
        /// What keeps the divisor from 0.
        eps,
    }
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
    fn numbers(&self, now: &Now) -> Scalars {
        let [beta1, beta2, beta3] = [0, 1, 2].map(|i| now.value(&self.betas[i]));
        let beta3 = warming(now.count, beta1, beta3, self.beta3_warmup);
        let mut alpha = now.value(&self.alpha);
        if now.count < self.alpha_warmup {
            alpha *= now.count as f64 / self.alpha_warmup as f64;
        }
        Scalars {
            lr: now.lr(&self.lr),
            weight_decay: now.value(&self.weight_decay),
            beta1,
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
            beta3,
            one_minus_beta3: 1.0 - beta3,
            alpha,
            unbias1: now.bias_correction(beta1).recip(),
            unbias2: now.bias_correction(beta2).sqrt().recip(),
            eps: now.value(&self.eps),
        }
    }

    fn left(&self, now: &Now) -> f64 {
        1.0 - now.lr(&self.lr) * now.value(&self.weight_decay)
    }
}

/// The parameter and the two averages that every variant keeps, from the fast average.
#[inline(always)]
fn step<R: Real>(h: &Scalars<R>, p: R, g: R, fast: R, [slow, v]: [R; 2]) -> (R, [R; 2]) {
    let slow = slow * h.beta3 + g * h.one_minus_beta3;
    let v = v * h.beta2 + h.one_minus_beta2 * g * g;
    let update = (fast * h.unbias1 + h.alpha * slow) / (v.sqrt() * h.unbias2 + h.eps);
    (p - h.lr * p.mul_add(h.weight_decay, update), [slow, v])
}

impl Rule<2> for AdEmaMix {
    const STATE: [&'static str; 2] = ["exp_avg_slow", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, state: [R; 2]) -> (R, [R; 2]) {
        step(h, p, g, g, state)
    }
}

impl Rule<3> for AdEmaMix {
    const STATE: [&'static str; 3] = ["exp_avg_fast", "exp_avg_slow", "exp_avg_sq"];
    const SIGNED: [bool; 3] = [true, true, false];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [fast, slow, v]: [R; 3]) -> (R, [R; 3]) {
        let fast = fast * h.beta1 + g * h.one_minus_beta1;
        let (p, [slow, v]) = step(h, p, g, fast, [slow, v]);
        (p, [fast, slow, v])
    }
}
