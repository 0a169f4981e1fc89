//! ADOPT.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "adopt",
    summary: "m <- lerp(clip(g / max(sqrt(v), eps)), m, beta1); p <- p - lr m; only then v <- lerp(g^2, v, beta2)",
    reference: "timm 1.0.31, Adopt (after iShohei220/adopt); Taniguchi et al., \
                https://arxiv.org/abs/2411.02853",
    fields: <Adopt as crate::OptionSet>::FIELDS,
    build: Plan::build::<Adopt>,
};

crate::options! {
    /// ADOPT: Adam that divides by the squares of earlier gradients alone, and so converges with
    /// any beta2; as `Adopt` of `timm` 1.0.31, with the authors' exponent.
    ///
    /// The first update sets `v <- g^2` and moves nothing. After it, with `t` counted from 1 at the
    /// second: `n = clamp(g / max(sqrt(v), eps), -t^clip_exp, t^clip_exp)`,
    /// `m <- beta1 m + (1 - beta1) n`, `p <- p - lr m`, `v <- beta2 v + (1 - beta2) g^2`. Weight
    /// decay is added to the gradient first, or, `decoupled`, `p <- (1 - lr weight_decay) p`.
    ///
    /// The exponent is 1/4 in the paper and in the authors' code, 0.333 by default in `timm`;
    /// `clip_exp = inf` clips nothing. `pytorch_optimizer` counts `t` from 2.
    ///
    /// ```
    /// use rappel_optim::Adopt;
    /// let adopt = Adopt { decoupled: true, weight_decay: 0.1.into(), ..Default::default() };
    /// assert!(adopt.clip_exp.is(0.25));
    /// ```
    ///
    /// From [Taniguchi et al., 2024](https://arxiv.org/abs/2411.02853), algorithm 2 with the
    /// clipping of its later version.
    pub struct Adopt {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of normed gradient and square, each in [0, 1)
        betas: [Schedule; 2] = "[0.9, 0.9999]", Kind::Raw;
        /// the least divisor
        eps: Schedule = "1e-6", scheduled(Range::from(0.0));
        /// a normed gradient is at most the count of updates to this power; inf: no bound
        clip_exp: Schedule = "0.25", scheduled(Range::from(0.0).or_infinite());
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// shrink the parameter instead of adding to the gradient
        decoupled: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// What is left of a parameter after decoupled weight decay.
        keep,
        /// Coupled weight decay.
        weight_decay,
        /// Learning rate; 0 at the first update.
        lr,
        /// The least divisor.
        eps,
        /// The largest normed gradient; 0 at the first update.
        clip,
        /// Weight of the normed gradient in its average.
        one_minus_beta1,
        /// Decay rate of the average of squares; 0 at the first update.
        beta2,
        /// Weight of the square in its average.
        one_minus_beta2,
    }
}

impl Algorithm for Adopt {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Adopt {
    fn clip(&self, now: &Now) -> f64 {
        let exponent = now.value(&self.clip_exp);
        match now.count {
            1 => 0.0,
            _ if exponent.is_infinite() => f64::INFINITY,
            count => ((count - 1) as f64).powf(exponent),
        }
    }
}

impl Rule<2> for Adopt {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        let decays = self.decoupled && now.count > 1;
        let decay = if decays { now.value(&self.weight_decay) } else { 0.0 };
        1.0 - now.lr(&self.lr) * decay
    }

    fn scalars(&self, now: &Now) -> Scalars {
        let [beta1, beta2] = [now.value(&self.betas[0]), now.value(&self.betas[1])];
        let first = now.count == 1;
        let beta2 = if first { 0.0 } else { beta2 };
        Scalars {
            keep: Rule::keep(self, now),
            weight_decay: if self.decoupled { 0.0 } else { now.value(&self.weight_decay) },
            lr: if first { 0.0 } else { now.lr(&self.lr) },
            eps: now.value(&self.eps),
            clip: self.clip(now),
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        let g = p.mul_add(h.weight_decay, g);
        let root = v.sqrt();
        let normed = g / R::select(root.lt(h.eps), h.eps, root);
        // Comparisons, not `min` and `max`: a NaN stays one.
        let normed = R::select(h.clip.lt(normed), h.clip, normed);
        let normed = R::select(normed.lt(-h.clip), -h.clip, normed);
        let m = lerp(m, normed, h.one_minus_beta1);
        (p * h.keep - h.lr * m, [m, v * h.beta2 + h.one_minus_beta2 * g * g])
    }
}
