//! The sign of the momentum.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, BETA, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "signum",
    summary: "m <- momentum m + (1 - momentum) g; p <- p - lr sign(m)",
    reference: "pytorch_optimizer 4.1.0, SignSGD; Bernstein et al., https://arxiv.org/abs/1802.04434",
    fields: <Signum as crate::OptionSet>::FIELDS,
    build: Plan::build::<Signum>,
};

crate::options! {
    /// Signum, and without momentum signSGD, as `SignSGD` of `pytorch_optimizer` 4.1.0.
    ///
    /// `p <- (1 - lr weight_decay) p` (or, without `weight_decouple`, `g <- g + weight_decay p`),
    /// `m <- momentum m + (1 - momentum) g`, `p <- p - lr sign(m)`; a momentum of 0 keeps no
    /// average and takes the gradient's sign.
    ///
    /// ```
    /// use rappel_optim::Signum;
    /// let signum = Signum { lr: 1e-4.into(), ..Default::default() };
    /// assert!(signum.momentum.is(0.9) && signum.weight_decouple);
    /// ```
    ///
    /// From [Bernstein et al., 2018](https://arxiv.org/abs/1802.04434), algorithm 2. The paper's
    /// vote of several workers is not part of it.
    pub struct Signum {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rate of the average of gradients; 0 keeps none
        momentum: Schedule = "0.9", scheduled(BETA);
        /// the share of a parameter that a step takes away, times lr
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// shrink the parameter instead of adding to the gradient
        weight_decouple: bool = "true", Kind::Bool;
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
        /// Learning rate.
        lr,
        /// Weight of the gradient in its average.
        one_minus_momentum,
    }
}

impl Algorithm for Signum {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.momentum.is(0.0) { elementwise::<0, _>(self) } else { elementwise::<1, _>(self) }
    }
}

impl Signum {
    fn left(&self, now: &Now) -> f64 {
        let decay = if self.weight_decouple { now.value(&self.weight_decay) } else { 0.0 };
        1.0 - now.lr(&self.lr) * decay
    }

    fn numbers(&self, now: &Now) -> Scalars {
        Scalars {
            keep: self.left(now),
            weight_decay: if self.weight_decouple { 0.0 } else { now.value(&self.weight_decay) },
            lr: now.lr(&self.lr),
            one_minus_momentum: 1.0 - now.value(&self.momentum),
        }
    }
}

impl Rule<0> for Signum {
    const STATE: [&'static str; 0] = [];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, []: [R; 0]) -> (R, [R; 0]) {
        let g = p.mul_add(h.weight_decay, g);
        (p * h.keep - h.lr * g.sign(), [])
    }
}

impl Rule<1> for Signum {
    const STATE: [&'static str; 1] = ["momentum_buffer"];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m]: [R; 1]) -> (R, [R; 1]) {
        let g = p.mul_add(h.weight_decay, g);
        let m = lerp(m, g, h.one_minus_momentum);
        (p * h.keep - h.lr * m.sign(), [m])
    }
}
