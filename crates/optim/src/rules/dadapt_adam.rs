//! Adam with D-Adaptation.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Schedule, Stepper, TwoPass, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "dadapt_adam",
    summary: "Adam with lr d, where d grows to what its steps so far say is the distance to go",
    reference: "dadaptation 3.2, DAdaptAdam; Defazio and Mishchenko, \
                https://arxiv.org/abs/2301.07733",
    fields: <DAdaptAdam as crate::OptionSet>::FIELDS,
    build: Plan::build::<DAdaptAdam>,
};

crate::options! {
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
    pub struct DAdaptAdam {
        /// factor of the rate that is found
        lr: Schedule = "1.0", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::above(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// shrink the parameter instead of adding to the gradient
        decouple: bool = "false", Kind::Bool;
        /// correct the averages for having begun at zero
        use_bias_correction: bool = "false", Kind::Bool;
        /// what `d` begins at
        d0: Schedule = "1e-6", scheduled(Range::above(0.0));
        /// `d` grows by no more than this factor in a step; inf: by any
        growth_rate: Schedule = "inf", scheduled(Range::above(0.0).or_infinite());
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of the first walk.
    pub struct Gathering {
        /// Coupled weight decay.
        weight_decay,
        /// What keeps the divisor from 0.
        eps,
        /// Decay rate of the average of gradients.
        beta1,
        /// Weight of the gradient in it.
        weight1,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in it.
        weight2,
        /// Decay rate of the sums.
        beta3,
        /// Weight of the gradient in them.
        weight3,
    }
}

crate::scalars! {
    /// The numbers of the second walk.
    pub struct Moving {
        /// What is left of a parameter after decoupled weight decay.
        keep,
        /// 1 where the step is taken, else 0.
        taken,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for DAdaptAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<3, 2, _>(self)
    }
}

impl DAdaptAdam {
    /// `d` and the rate.
    fn rate(&self, now: &Now) -> (f64, f64) {
        // The number is 0 until it begins.
        let d = if now.numbers[0] == 0.0 { now.value(&self.d0) } else { now.numbers[0] };
        let correction = if self.use_bias_correction {
            let [beta1, beta2] = [0, 1].map(|i| now.value(&self.betas[i]));
            now.bias_correction(beta2).sqrt() / now.bias_correction(beta1)
        } else {
            1.0
        };
        (d, d * now.lr(&self.lr) * correction)
    }
}

impl TwoPass<3, 2> for DAdaptAdam {
    const STATE: [&'static str; 3] = ["s", "exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 3] = [true, true, false];
    const NUMBERS: &'static [(&'static str, f64)] = &[("d", 0.0), ("numerator_weighted", 0.0)];
    const SHARED: bool = true;
    type First = Gathering;
    type Second = Moving;

    fn keep(&self, now: &Now) -> f64 {
        let decay = if self.decouple { now.value(&self.weight_decay) } else { 0.0 };
        1.0 - decay * self.rate(now).1
    }

    fn first(&self, now: &Now) -> Gathering {
        let weight_decay = if self.decouple { 0.0 } else { now.value(&self.weight_decay) };
        let eps = now.value(&self.eps);
        if now.lr(&self.lr) == 0.0 {
            let (beta1, beta2, beta3) = (1.0, 1.0, 1.0);
            let (weight1, weight2, weight3) = (0.0, 0.0, 0.0);
            return Gathering { weight_decay, eps, beta1, weight1, beta2, weight2, beta3, weight3 };
        }
        let [beta1, beta2] = [0, 1].map(|i| now.value(&self.betas[i]));
        let (rate, beta3) = (self.rate(now).1, beta2.sqrt());
        Gathering {
            weight_decay,
            eps,
            beta1,
            weight1: rate * (1.0 - beta1),
            beta2,
            weight2: 1.0 - beta2,
            beta3,
            weight3: rate * (1.0 - beta3),
        }
    }

    #[inline(always)]
    fn gather<R: Real>(&self, h: &Gathering<R>, p: R, g: R, [s, m, v]: [R; 3]) -> ([R; 3], [R; 2]) {
        let g = p.mul_add(h.weight_decay, g);
        let ahead = g * (s / (v.sqrt() + h.eps));
        let s = s * h.beta3 + g * h.weight3;
        let state = [s, m * h.beta1 + g * h.weight1, v * h.beta2 + h.weight2 * g * g];
        (state, [ahead, s.abs()])
    }

    fn second(&self, now: &mut Now, [ahead, size]: [f64; 2], _: usize) -> Moving {
        let (d, rate) = self.rate(now);
        let eps = now.value(&self.eps);
        now.numbers[0] = d;
        if now.lr(&self.lr) == 0.0 || size == 0.0 {
            return Moving { keep: 1.0, taken: 0.0, eps };
        }
        let keep = TwoPass::keep(self, now);
        let beta3 = now.value(&self.betas[1]).sqrt();
        let numerator = beta3 * now.numbers[1] + (1.0 - beta3) * (rate * ahead);
        let found = numerator / ((1.0 - beta3) * size);
        let d = d.max(found.min(d * now.value(&self.growth_rate)));
        now.numbers[..2].copy_from_slice(&[d, numerator]);
        Moving { keep, taken: 1.0, eps }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Moving<R>, p: R, _g: R, state: [R; 3]) -> (R, [R; 3]) {
        let [_, m, v] = state;
        (p * h.keep - h.taken * m / (v.sqrt() + h.eps), state)
    }
}
