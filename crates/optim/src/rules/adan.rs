//! Adan.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "adan",
    summary: "m, d, v average g, g - g' and (g + beta2 (g - g'))^2; p <- p - lr (m^ + beta2 d^) / (sqrt(v^) + eps)",
    reference: "timm 1.0.31, Adan (as sail-sg/Adan); Xie et al., https://arxiv.org/abs/2208.06677",
    fields: <Adan as crate::OptionSet>::FIELDS,
    build: Plan::build::<Adan>,
};

crate::options! {
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
    /// see [`Recipe::max_grad_norm`](crate::Recipe::max_grad_norm).
    ///
    /// ```
    /// use rappel_optim::Adan;
    /// let adan = Adan { lr: 1e-3.into(), weight_decay: 0.02.into(), ..Default::default() };
    /// assert!(adan.betas[1].is(0.92) && !adan.no_prox);
    /// ```
    ///
    /// From [Xie et al., 2022](https://arxiv.org/abs/2208.06677), algorithm 1, with the bias
    /// corrections of the authors' code.
    pub struct Adan {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient, difference and square, each in [0, 1)
        betas: [Schedule; 3] = "[0.98, 0.92, 0.99]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// the share of a parameter that a step takes away, times lr
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// shrink the parameter before the step as AdamW, not after it
        no_prox: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// 1 at the first update, else 0.
        first,
        /// What decay before the step leaves of a parameter.
        before,
        /// What decay after the step leaves of it.
        after,
        /// Weight of the gradient in its average.
        one_minus_beta1,
        /// Decay rate of the average of differences.
        beta2,
        /// Weight of the difference in its average.
        one_minus_beta2,
        /// Decay rate of the average of squares.
        beta3,
        /// Weight of the square in its average.
        one_minus_beta3,
        /// Learning rate over the first bias correction.
        step_size,
        /// That of the differences.
        step_size_diff,
        /// 1 over the root of the third bias correction.
        unbias,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for Adan {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<4, _>(self)
    }
}

impl Rule<4> for Adan {
    const STATE: [&'static str; 4] = ["exp_avg", "exp_avg_sq", "exp_avg_diff", "neg_pre_grad"];
    const SIGNED: [bool; 4] = [true, false, true, true];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        let decay = now.lr(&self.lr) * now.value(&self.weight_decay);
        if self.no_prox { 1.0 - decay } else { (1.0 + decay).recip() }
    }

    fn scalars(&self, now: &Now) -> Scalars {
        let lr = now.lr(&self.lr);
        let [beta1, beta2, beta3] = [0, 1, 2].map(|i| now.value(&self.betas[i]));
        let keep = Rule::keep(self, now);
        let (before, after) = if self.no_prox { (keep, 1.0) } else { (1.0, keep) };
        Scalars {
            first: if now.count == 1 { 1.0 } else { 0.0 },
            before,
            after,
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
            beta3,
            one_minus_beta3: 1.0 - beta3,
            step_size: lr / now.bias_correction(beta1),
            step_size_diff: lr * beta2 / now.bias_correction(beta2),
            unbias: now.bias_correction(beta3).sqrt().recip(),
            eps: now.value(&self.eps),
        }
    }

    #[inline(always)]
    fn update<R: Real>(
        &self,
        h: &Scalars<R>,
        p: R,
        g: R,
        [m, v, d, before]: [R; 4],
    ) -> (R, [R; 4]) {
        let before = R::select(R::of(0.5).lt(h.first), -g, before);
        let difference = before + g;
        let m = lerp(m, g, h.one_minus_beta1);
        let d = d * h.beta2 + difference * h.one_minus_beta2;
        let ahead = difference * h.beta2 + g;
        let v = v * h.beta3 + h.one_minus_beta3 * ahead * ahead;
        let divisor = v.sqrt() * h.unbias + h.eps;
        let p = p * h.before - h.step_size * m / divisor - h.step_size_diff * d / divisor;
        (p * h.after, [m, v, d, -g])
    }
}
