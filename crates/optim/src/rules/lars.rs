//! LARS.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, Descends, InvalidOption, Options, Real, RuleEntry, Schedule, Slot, StepContext,
    Stepper, TwoPass, entry, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<Lars>(
    "lars",
    "g <- r (g + weight_decay p), r = trust_coeff |p| / (|g| + weight_decay |p|) per tensor; SGD",
    "timm 1.0.31, Lars; You et al., https://arxiv.org/abs/1708.03888",
);

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
#[derive(Debug, Clone, Options, Descends)]
#[options(check = Self::check)]
pub struct Lars {
    /// learning rate
    #[option(default = 1.0, range = 0.0..)]
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
    /// factor of the ratio of norms
    #[option(default = 0.001, range = 0.0..)]
    pub trust_coeff: Schedule,
    /// added to the ratio's divisor
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// divide the ratio by the learning rate and bound it by 1
    #[option(default = false)]
    pub trust_clip: bool,
    /// take the ratio of norms without weight decay, too
    #[option(default = false)]
    pub always_adapt: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Lars {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.momentum.is(0.0) { two_pass::<0, 2, _>(self) } else { two_pass::<1, 2, _>(self) }
    }
}

impl Lars {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.nesterov && (self.momentum.is(0.0) || !self.dampening.is(0.0)) {
            let reason = "needs a momentum above 0 and no dampening; set these or leave it out";
            return Err(InvalidOption::new("nesterov", reason));
        }
        Ok(())
    }
}

impl Lars {
    /// A tensor's own rate, from the norms of parameter and gradient.
    fn ratio(&self, t: &StepContext, p: f64, g: f64) -> f64 {
        let weight_decay = t.value(&self.weight_decay);
        let mut ratio = 1.0;
        if weight_decay != 0.0 || self.always_adapt {
            if p > 0.0 && g > 0.0 {
                let divisor = g + p * weight_decay + t.value(&self.eps);
                ratio = t.value(&self.trust_coeff) * p / divisor;
            }
            if self.trust_clip {
                // At a rate of 0 the quotient is infinite, or nothing moves either way.
                ratio = (ratio / t.lr(&self.lr)).min(1.0);
            }
        }
        ratio
    }

    /// The gradient with decay, at the tensor's own rate.
    fn scaled<R: Real>(&self, t: &StepContext, ratio: f64) -> impl Fn(R, R) -> R {
        let [weight_decay, ratio] = [t.value(&self.weight_decay), ratio].map(R::of);
        #[inline(always)]
        move |p, g| p.mul_add(weight_decay, g) * ratio
    }
}

impl TwoPass<0, 2> for Lars {
    const STATE: [Slot; 0] = [];
    const SHARED: bool = false;
    /// The tensor's own rate.
    type Found = f64;

    fn reduce<R: Real>(&self, _: &StepContext) -> impl Fn(R, R, [R; 0]) -> ([R; 0], [R; 2]) {
        #[inline(always)]
        |p, g, []| ([], [p * p, g * g])
    }

    fn find(&self, t: &mut StepContext, [p, g]: [f64; 2], _: Shape) -> f64 {
        self.ratio(t, p.sqrt(), g.sqrt())
    }

    fn step<R: Real>(&self, t: &StepContext, ratio: f64) -> impl Fn(R, R, [R; 0]) -> (R, [R; 0]) {
        let (lr, scaled) = (R::of(t.lr(&self.lr)), self.scaled(t, ratio));
        #[inline(always)]
        move |p, g, []| (p - lr * scaled(p, g), [])
    }
}

impl TwoPass<1, 2> for Lars {
    const STATE: [Slot; 1] = [Slot::signed("momentum_buffer")];
    const SHARED: bool = false;
    /// The tensor's own rate.
    type Found = f64;

    fn reduce<R: Real>(&self, _: &StepContext) -> impl Fn(R, R, [R; 1]) -> ([R; 1], [R; 2]) {
        #[inline(always)]
        |p, g, state| (state, [p * p, g * g])
    }

    fn find(&self, t: &mut StepContext, [p, g]: [f64; 2], _: Shape) -> f64 {
        self.ratio(t, p.sqrt(), g.sqrt())
    }

    fn step<R: Real>(&self, t: &StepContext, ratio: f64) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let (lr, scaled) = (R::of(t.lr(&self.lr)), self.scaled(t, ratio));
        let dampening = if t.is_first() { 0.0 } else { t.value(&self.dampening) };
        let [momentum, weight] = [t.value(&self.momentum), 1.0 - dampening].map(R::of);
        let nesterov = self.nesterov;
        #[inline(always)]
        move |p, g, [b]| {
            let g = scaled(p, g);
            let b = b * momentum + g * weight;
            let g = if nesterov { g + b * momentum } else { b };
            (p - lr * g, [b])
        }
    }
}
