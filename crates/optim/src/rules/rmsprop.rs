//! Gradients over the root of their mean square.

use crate::rule::{
    Algorithm, Descends, Options, Range, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<RmsProp>(
    "rmsprop",
    "v <- lerp(g^2, v, alpha); b <- momentum b + g / (sqrt(v) + eps); p <- p - lr b",
    "torch.optim.RMSprop; Hinton, 2012, lecture 6e, \
                https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf; \
                centered: Graves, https://arxiv.org/abs/1308.0850",
);

/// From 0 to 1, both included: above, the average of squares falls below zero.
const ALPHA: Range = Range::from(0.0).to(1.0);

/// Gradients over the root of their mean square, as `torch.optim.RMSprop`.
///
/// With `g <- g + weight_decay p`: `v <- alpha v + (1 - alpha) g^2`, `r = sqrt(v) + eps`; with
/// `centered` also `a <- alpha a + (1 - alpha) g` and `r = sqrt(max(v - a^2, 0)) + eps`. Without
/// momentum `p <- p - lr g / r`, else `b <- momentum b + g / r` and `p <- p - lr b`.
///
/// The state is `square_avg`, then `momentum_buffer` and `grad_avg` where the options want them. A
/// momentum that is a curve keeps its buffer even where the curve is 0.
///
/// ```
/// use rappel_optim::RmsProp;
/// let rmsprop = RmsProp { momentum: 0.9.into(), centered: true, ..Default::default() };
/// assert!(rmsprop.alpha.is(0.99));
/// ```
///
/// Differs from PyTorch where rounding leaves the variance `v - a^2` of a steady gradient below
/// zero: its root is NaN there and 0 here. PyTorch also takes an `alpha` above 1, which soon gives
/// NaN; here that is an error. TensorFlow's rule has `eps` under the root and the learning rate in
/// the buffer.
///
/// From [Hinton's lecture 6e](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf);
/// centered, from [Graves, 2013](https://arxiv.org/abs/1308.0850).
#[derive(Debug, Clone, Options, Descends)]
pub struct RmsProp {
    /// learning rate
    #[option(default = 1e-2, range = 0.0..)]
    pub lr: Schedule,
    /// decay rate of the averages
    #[option(default = 0.99, range = ALPHA)]
    pub alpha: Schedule,
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// how much of the buffer a step keeps; 0 keeps no buffer
    #[option(default = 0.0, range = 0.0..)]
    pub momentum: Schedule,
    /// divide by the deviation from the mean gradient, not from 0
    #[option(default = false)]
    pub centered: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for RmsProp {
    fn stepper(&self) -> Box<dyn Stepper> {
        match (!self.momentum.is(0.0), self.centered) {
            (false, false) => elementwise::<1, _>(self),
            (true, true) => elementwise::<3, _>(self),
            _ => elementwise::<2, _>(self),
        }
    }
}

impl RmsProp {
    /// The gradient with decay, and the average of its squares.
    fn square<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, R) -> (R, R) {
        let (alpha, weight_decay) = (t.value(&self.alpha), R::of(t.value(&self.weight_decay)));
        let (alpha, one_minus_alpha) = (R::of(alpha), R::of(1.0 - alpha));
        #[inline(always)]
        move |p, g, v| {
            let g = p.mul_add(weight_decay, g);
            (g, (one_minus_alpha * g).mul_add(g, v * alpha))
        }
    }

    /// The average of gradients, and the root of their variance.
    fn centre<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, R) -> (R, R) {
        let one_minus_alpha = R::of(1.0 - t.value(&self.alpha));
        #[inline(always)]
        move |g, v, mean| {
            let mean = lerp(mean, g, one_minus_alpha);
            let variance = v - mean * mean;
            let below = variance.lt(R::of(0.0));
            (mean, R::select(below, R::of(0.0), variance).sqrt())
        }
    }

    fn numbers<R: Real>(&self, t: &StepContext) -> [R; 3] {
        [t.lr(&self.lr), t.value(&self.eps), t.value(&self.momentum)].map(R::of)
    }
}

impl Rule<1> for RmsProp {
    const STATE: [Slot; 1] = [Slot::positive("square_avg")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let (square, [lr, eps, _]) = (self.square(t), self.numbers::<R>(t));
        #[inline(always)]
        move |p, g, [v]| {
            let (g, v) = square(p, g, v);
            (p - lr * g / (v.sqrt() + eps), [v])
        }
    }
}

impl Rule<2> for RmsProp {
    const STATE: [Slot; 2] = [Slot::positive("square_avg"), Slot::signed("momentum_buffer")];

    fn state(&self) -> [Slot; 2] {
        let [square, momentum] = Self::STATE;
        [square, if self.centered { Slot::signed("grad_avg") } else { momentum }]
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let (square, centre) = (self.square(t), self.centre(t));
        let ([lr, eps, momentum], centered) = (self.numbers::<R>(t), self.centered);
        #[inline(always)]
        move |p, g, [v, other]| {
            let (g, v) = square(p, g, v);
            if centered {
                let (mean, root) = centre(g, v, other);
                return (p - lr * g / (root + eps), [v, mean]);
            }
            let b = other.mul_add(momentum, g / (v.sqrt() + eps));
            (p - lr * b, [v, b])
        }
    }
}

impl Rule<3> for RmsProp {
    const STATE: [Slot; 3] =
        [Slot::positive("square_avg"), Slot::signed("momentum_buffer"), Slot::signed("grad_avg")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> (R, [R; 3]) {
        let (square, centre) = (self.square(t), self.centre(t));
        let [lr, eps, momentum] = self.numbers::<R>(t);
        #[inline(always)]
        move |p, g, [v, b, mean]| {
            let (g, v) = square(p, g, v);
            let (mean, root) = centre(g, v, mean);
            let b = b.mul_add(momentum, g / (root + eps));
            (p - lr * b, [v, b, mean])
        }
    }
}
