//! Stochastic gradient descent.

use crate::rule::{
    Algorithm, Descends, InvalidOption, Options, Real, Rule, RuleEntry, Schedule, Slot,
    StepContext, Stepper, elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Sgd>(
    "sgd",
    "b <- momentum b + (1 - dampening) g; p <- p - lr b",
    "torch.optim.SGD; Sutskever et al., 2013, \
                https://proceedings.mlr.press/v28/sutskever13.html",
);

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
#[derive(Debug, Clone, Options, Descends)]
#[options(check = Self::check)]
pub struct Sgd {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// how much of the buffer a step keeps; 0 keeps no buffer
    #[option(default = 0.0, range = 0.0..)]
    pub momentum: Schedule,
    /// how much of the gradient stays out of the buffer
    #[option(default = 0.0)]
    pub dampening: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// look ahead along the buffer; needs a momentum and no dampening
    #[option(default = false)]
    pub nesterov: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Sgd {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.momentum.is(0.0) { elementwise::<0, _>(self) } else { elementwise::<1, _>(self) }
    }
}

impl Sgd {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.nesterov && (self.momentum.is(0.0) || !self.dampening.is(0.0)) {
            let reason = "needs a momentum above 0 and no dampening; set these or leave it out";
            return Err(InvalidOption::new("nesterov", reason));
        }
        Ok(())
    }
}

impl Rule<0> for Sgd {
    const STATE: [Slot; 0] = [];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 0]) -> (R, [R; 0]) {
        let [lr, weight_decay] = [t.lr(&self.lr), t.value(&self.weight_decay)].map(R::of);
        #[inline(always)]
        move |p, g, []| {
            let g = p.mul_add(weight_decay, g);
            (p - lr * g, [])
        }
    }
}

impl Rule<1> for Sgd {
    const STATE: [Slot; 1] = [Slot::signed("momentum_buffer")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let [lr, weight_decay] = [t.lr(&self.lr), t.value(&self.weight_decay)].map(R::of);
        let dampening = if t.is_first() { 0.0 } else { t.value(&self.dampening) };
        let [momentum, weight] = [t.value(&self.momentum), 1.0 - dampening].map(R::of);
        let nesterov = self.nesterov;
        #[inline(always)]
        move |p, g, [b]| {
            let g = p.mul_add(weight_decay, g);
            let b = b * momentum + g * weight;
            let g = if nesterov { g + b * momentum } else { b };
            (p - lr * g, [b])
        }
    }
}
