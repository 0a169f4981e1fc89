//! `AdamW` with update clipping.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Schedule, Stepper, TwoPass, lerp, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "stable_adamw",
    summary: "AdamW, lr over max(1, rms(g / sqrt(v))) per tensor",
    reference: "pytorch_optimizer 4.1.0, StableAdamW; Wortsman et al., \
                https://arxiv.org/abs/2304.13013",
    fields: <StableAdamW as crate::OptionSet>::FIELDS,
    build: Plan::build::<StableAdamW>,
};

crate::options! {
    /// `AdamW` whose rate falls, for each tensor, where its gradients outgrow their average: update
    /// clipping in place of gradient clipping; as `StableAdamW` of `pytorch_optimizer` 4.1.0.
    ///
    /// With `b^ = beta (1 - beta^(t - 1)) / (1 - beta^t)` for each beta, which corrects the bias
    /// within the averages: `m <- b1^ m + (1 - b1^) g`, `v <- b2^ v + (1 - b2^) g^2`,
    /// `r = max(1, sqrt(mean(g^2 / max(v, eps^2))))` over the tensor,
    /// `p <- (1 - lr weight_decay / r) p` (or, without `weight_decouple`,
    /// `g <- g + weight_decay p` first), `p <- p - lr / r m / (sqrt(v) + eps)`.
    ///
    /// The package's Kahan summation for half precision is not part of it: stochastic rounding
    /// serves the same end.
    ///
    /// ```
    /// use rappel_optim::StableAdamW;
    /// let rule = StableAdamW { lr: 1e-3.into(), ..Default::default() };
    /// assert!(rule.betas[1].is(0.99) && rule.weight_decay.is(0.01));
    /// ```
    ///
    /// From [Wortsman et al., 2023](https://arxiv.org/abs/2304.13013), algorithm 2.
    pub struct StableAdamW {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.99]", Kind::Raw;
        /// the share of a parameter that a step takes away, times the tensor's rate
        weight_decay: Schedule = "0.01", scheduled(Range::from(0.0));
        /// shrink the parameter instead of adding to the gradient
        weight_decouple: bool = "true", Kind::Bool;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of the averages.
    pub struct Averages {
        /// Coupled weight decay.
        weight_decay,
        /// Weight of the gradient in its average.
        weight1,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in its average.
        weight2,
        /// The least square to divide by.
        least,
    }
}

crate::scalars! {
    /// The numbers of the step.
    pub struct Length {
        /// What is left of a parameter after decoupled weight decay.
        keep,
        /// The tensor's rate.
        lr,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for StableAdamW {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<2, 1, _>(self)
    }
}

/// The decay rate that makes of a running average one of what it has seen alone.
fn debiased(now: &Now, beta: f64) -> f64 {
    let before = 1.0 - beta.powf(now.count as f64 - 1.0);
    beta * before / now.bias_correction(beta)
}

impl TwoPass<2, 1> for StableAdamW {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    const SHARED: bool = false;
    type First = Averages;
    type Second = Length;

    fn first(&self, now: &Now) -> Averages {
        let [beta1, beta2] = [0, 1].map(|i| debiased(now, now.value(&self.betas[i])));
        let eps = now.value(&self.eps);
        Averages {
            weight_decay: if self.weight_decouple { 0.0 } else { now.value(&self.weight_decay) },
            weight1: 1.0 - beta1,
            beta2,
            weight2: 1.0 - beta2,
            least: eps * eps,
        }
    }

    #[inline(always)]
    fn gather<R: Real>(&self, h: &Averages<R>, p: R, g: R, [m, v]: [R; 2]) -> ([R; 2], [R; 1]) {
        let g = p.mul_add(h.weight_decay, g);
        let m = lerp(m, g, h.weight1);
        let v = v * h.beta2 + h.weight2 * g * g;
        let share = g * g / R::select(v.lt(h.least), h.least, v);
        ([m, v], [share])
    }

    fn second(&self, now: &mut Now, [shares]: [f64; 1], count: usize) -> Length {
        let rms = (shares / count as f64).sqrt().max(1.0);
        let lr = now.lr(&self.lr) / rms;
        let decay = if self.weight_decouple { now.value(&self.weight_decay) } else { 0.0 };
        Length { keep: 1.0 - decay * lr, lr, eps: now.value(&self.eps) }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Length<R>, p: R, _g: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        (p * h.keep - h.lr * m / (v.sqrt() + h.eps), [m, v])
    }
}
