//! The sign of the momentum.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<Signum>(
    "signum",
    "m <- momentum m + (1 - momentum) g; p <- p - lr sign(m)",
    "pytorch_optimizer 4.1.0, SignSGD; Bernstein et al., https://arxiv.org/abs/1802.04434",
);

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
#[derive(Debug, Clone, Options, Descends)]
pub struct Signum {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rate of the average of gradients; 0 keeps none
    #[option(default = 0.9, range = BETA)]
    pub momentum: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = true)]
    pub weight_decouple: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Signum {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.momentum.is(0.0) { elementwise::<0, _>(self) } else { elementwise::<1, _>(self) }
    }
}

impl Signum {
    fn left(&self, t: &StepContext) -> f64 {
        let decay = if self.weight_decouple { t.value(&self.weight_decay) } else { 0.0 };
        1.0 - t.lr(&self.lr) * decay
    }

    /// What is left of a parameter, coupled weight decay and learning rate.
    fn numbers<R: Real>(&self, t: &StepContext) -> [R; 3] {
        let coupled = if self.weight_decouple { 0.0 } else { t.value(&self.weight_decay) };
        [self.left(t), coupled, t.lr(&self.lr)].map(R::of)
    }
}

impl Rule<0> for Signum {
    const STATE: [Slot; 0] = [];

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 0]) -> (R, [R; 0]) {
        let [keep, weight_decay, lr] = self.numbers::<R>(t);
        #[inline(always)]
        move |p, g, []| {
            let g = p.mul_add(weight_decay, g);
            (p * keep - lr * g.sign(), [])
        }
    }
}

impl Rule<1> for Signum {
    const STATE: [Slot; 1] = [Slot::signed("momentum_buffer")];

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let [keep, weight_decay, lr] = self.numbers::<R>(t);
        let weight = R::of(1.0 - t.value(&self.momentum));
        #[inline(always)]
        move |p, g, [m]| {
            let g = p.mul_add(weight_decay, g);
            let m = lerp(m, g, weight);
            (p * keep - lr * m.sign(), [m])
        }
    }
}
