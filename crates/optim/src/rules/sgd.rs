//! Stochastic gradient descent.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, InvalidOption, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "sgd",
    summary: "b <- momentum b + (1 - dampening) g; p <- p - lr b",
    reference: "torch.optim.SGD; Sutskever et al., 2013, \
                https://proceedings.mlr.press/v28/sutskever13.html",
    fields: <Sgd as crate::OptionSet>::FIELDS,
    build: Plan::build::<Sgd>,
};

crate::options! {
    /// Stochastic gradient descent, as `torch.optim.SGD`.
    ///
    /// With `g <- g + weight_decay p`: `p <- p - lr g` without momentum, else
    /// `b <- momentum b + (1 - dampening) g` (the first time `b <- g`) and `p <- p - lr b`, or with
    /// `nesterov` `p <- p - lr (g + momentum b)`.
    ///
    /// A momentum that is a curve keeps its buffer even where the curve is 0.
    ///
    /// ```
    /// use rappel_optim::Sgd;
    /// let sgd = Sgd { lr: 0.01.into(), momentum: 0.9.into(), ..Default::default() };
    /// assert!(sgd.dampening.is(0.0) && !sgd.nesterov);
    /// ```
    ///
    /// From [Sutskever et al., 2013](https://proceedings.mlr.press/v28/sutskever13.html), with
    /// PyTorch's placement of the learning rate.
    pub struct Sgd {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// how much of the buffer a step keeps; 0 keeps no buffer
        momentum: Schedule = "0.0", scheduled(Range::from(0.0));
        /// how much of the gradient stays out of the buffer
        dampening: Schedule = "0.0", scheduled(Range::FINITE);
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// look ahead along the buffer; wants a momentum and no dampening
        nesterov: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
        /// Momentum.
        momentum,
        /// Weight of the gradient in the buffer.
        gradient,
        /// Weight decay.
        weight_decay,
    }
}

impl Algorithm for Sgd {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.momentum.is(0.0) { elementwise::<0, _>(self) } else { elementwise::<1, _>(self) }
    }

    fn check(&self) -> Result<(), InvalidOption> {
        if self.nesterov && (self.momentum.is(0.0) || !self.dampening.is(0.0)) {
            let reason = "wants a momentum above 0 and no dampening; set these or leave it out";
            return Err(InvalidOption::new("nesterov", reason));
        }
        Ok(())
    }
}

impl Sgd {
    fn numbers(&self, now: &Now) -> Scalars {
        let dampening = if now.count == 1 { 0.0 } else { now.value(&self.dampening) };
        Scalars {
            lr: now.lr(&self.lr),
            momentum: now.value(&self.momentum),
            gradient: 1.0 - dampening,
            weight_decay: now.value(&self.weight_decay),
        }
    }
}

impl Rule<0> for Sgd {
    const STATE: [&'static str; 0] = [];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, []: [R; 0]) -> (R, [R; 0]) {
        let g = p.mul_add(h.weight_decay, g);
        (p - h.lr * g, [])
    }
}

impl Rule<1> for Sgd {
    const STATE: [&'static str; 1] = ["momentum_buffer"];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [b]: [R; 1]) -> (R, [R; 1]) {
        let g = p.mul_add(h.weight_decay, g);
        let b = b * h.momentum + g * h.gradient;
        let g = if self.nesterov { g + b * h.momentum } else { b };
        (p - h.lr * g, [b])
    }
}
