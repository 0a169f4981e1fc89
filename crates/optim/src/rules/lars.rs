//! LARS.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, InvalidOption, Now, Plan, Schedule, Stepper, TwoPass, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "lars",
    summary: "g <- r (g + weight_decay p), r = trust_coeff |p| / (|g| + weight_decay |p|) per tensor; SGD",
    reference: "timm 1.0.31, Lars; You et al., https://arxiv.org/abs/1708.03888",
    fields: <Lars as crate::OptionSet>::FIELDS,
    build: Plan::build::<Lars>,
};

crate::options! {
    /// LARS: stochastic gradient descent with a rate for each tensor; as `Lars` of `timm` 1.0.31.
    ///
    /// `r = trust_coeff |p| / (|g| + weight_decay |p| + eps)`, of each tensor's norms, and 1 where
    /// `|p|` or `|g|` is 0; `g <- r (g + weight_decay p)`. Then as [`Sgd`](crate::Sgd): without
    /// momentum `p <- p - lr g`, else `b <- momentum b + (1 - dampening) g` (the first time
    /// `b <- g`), `p <- p - lr b`, or with `nesterov` `p <- p - lr (g + momentum b)`. `trust_clip`
    /// bounds `r / lr` by 1 in `r`'s place: LARC. Without weight decay `r` is 1 and this is plain
    /// SGD, unless `always_adapt`.
    ///
    /// The paper multiplies the buffer's gradient by the learning rate, too; here, as in PyTorch,
    /// the rate stands outside of the buffer.
    ///
    /// ```
    /// use rappel_optim::Lars;
    /// let lars = Lars { momentum: 0.9.into(), weight_decay: 1e-4.into(), ..Default::default() };
    /// assert!(lars.trust_coeff.is(0.001));
    /// ```
    ///
    /// From [You et al., 2017](https://arxiv.org/abs/1708.03888), algorithm 1.
    pub struct Lars {
        /// learning rate
        lr: Schedule = "1.0", scheduled(Range::from(0.0));
        /// how much of the buffer a step keeps; 0 keeps no buffer
        momentum: Schedule = "0.0", scheduled(Range::from(0.0));
        /// how much of the gradient stays out of the buffer
        dampening: Schedule = "0.0", scheduled(Range::FINITE);
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// look ahead along the buffer; wants a momentum and no dampening
        nesterov: bool = "false", Kind::Bool;
        /// factor of the ratio of norms
        trust_coeff: Schedule = "0.001", scheduled(Range::from(0.0));
        /// added to the ratio's divisor
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// divide the ratio by the learning rate and bound it by 1
        trust_clip: bool = "false", Kind::Bool;
        /// take the ratio of norms without weight decay, too
        always_adapt: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
        /// The tensor's own rate.
        ratio,
        /// Weight decay.
        weight_decay,
        /// Momentum.
        momentum,
        /// Weight of the gradient in the buffer.
        gradient,
    }
}

impl Algorithm for Lars {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.momentum.is(0.0) { two_pass::<0, 2, _>(self) } else { two_pass::<1, 2, _>(self) }
    }

    fn check(&self) -> Result<(), InvalidOption> {
        if self.nesterov && (self.momentum.is(0.0) || !self.dampening.is(0.0)) {
            let reason = "wants a momentum above 0 and no dampening; set these or leave it out";
            return Err(InvalidOption::new("nesterov", reason));
        }
        Ok(())
    }
}

impl Lars {
    fn numbers(&self, now: &Now, p: f64, g: f64) -> Scalars {
        let (lr, weight_decay) = (now.lr(&self.lr), now.value(&self.weight_decay));
        let mut ratio = 1.0;
        if weight_decay != 0.0 || self.always_adapt {
            if p > 0.0 && g > 0.0 {
                let divisor = g + p * weight_decay + now.value(&self.eps);
                ratio = now.value(&self.trust_coeff) * p / divisor;
            }
            if self.trust_clip {
                // At a rate of 0 the quotient is infinite, or nothing moves either way.
                ratio = (ratio / lr).min(1.0);
            }
        }
        let dampening = if now.count == 1 { 0.0 } else { now.value(&self.dampening) };
        let (momentum, gradient) = (now.value(&self.momentum), 1.0 - dampening);
        Scalars { lr, ratio, weight_decay, momentum, gradient }
    }
}

impl TwoPass<0, 2> for Lars {
    const STATE: [&'static str; 0] = [];
    const SHARED: bool = false;
    type First = ();
    type Second = Scalars;

    fn first(&self, _: &Now) {}

    #[inline(always)]
    fn gather<R: Real>(&self, (): &(), p: R, g: R, []: [R; 0]) -> ([R; 0], [R; 2]) {
        ([], [p * p, g * g])
    }

    fn second(&self, now: &mut Now, [p, g]: [f64; 2], _: usize) -> Scalars {
        self.numbers(now, p.sqrt(), g.sqrt())
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, []: [R; 0]) -> (R, [R; 0]) {
        let g = p.mul_add(h.weight_decay, g) * h.ratio;
        (p - h.lr * g, [])
    }
}

impl TwoPass<1, 2> for Lars {
    const STATE: [&'static str; 1] = ["momentum_buffer"];
    const SHARED: bool = false;
    type First = ();
    type Second = Scalars;

    fn first(&self, _: &Now) {}

    #[inline(always)]
    fn gather<R: Real>(&self, (): &(), p: R, g: R, state: [R; 1]) -> ([R; 1], [R; 2]) {
        (state, [p * p, g * g])
    }

    fn second(&self, now: &mut Now, [p, g]: [f64; 2], _: usize) -> Scalars {
        self.numbers(now, p.sqrt(), g.sqrt())
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [b]: [R; 1]) -> (R, [R; 1]) {
        let g = p.mul_add(h.weight_decay, g) * h.ratio;
        let b = b * h.momentum + g * h.gradient;
        let g = if self.nesterov { g + b * h.momentum } else { b };
        (p - h.lr * g, [b])
    }
}
