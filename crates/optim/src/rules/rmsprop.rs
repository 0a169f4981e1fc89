//! Gradients over the root of their mean square.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "rmsprop",
    summary: "v <- lerp(g^2, v, alpha); b <- momentum b + g / (sqrt(v) + eps); p <- p - lr b",
    reference: "torch.optim.RMSprop; Hinton, 2012, lecture 6e, \
                https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf; \
                centered: Graves, https://arxiv.org/abs/1308.0850",
    fields: <RmsProp as crate::OptionSet>::FIELDS,
    build: Plan::build::<RmsProp>,
};

/// From 0 to 1, both included: above, the average of squares falls below zero.
const ALPHA: Range = Range::from(0.0).to(1.0);

crate::options! {
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
    pub struct RmsProp {
        /// learning rate
        lr: Schedule = "1e-2", scheduled(Range::from(0.0));
        /// decay rate of the averages
        alpha: Schedule = "0.99", scheduled(ALPHA);
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// how much of the buffer a step keeps; 0 keeps no buffer
        momentum: Schedule = "0.0", scheduled(Range::from(0.0));
        /// divide by the deviation from the mean gradient, not from 0
        centered: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
        /// Decay rate of the averages.
        alpha,
        /// Weight of what is new in them.
        one_minus_alpha,
        /// What keeps the divisor from 0.
        eps,
        /// Weight decay.
        weight_decay,
        /// Momentum.
        momentum,
    }
}

impl Algorithm for RmsProp {
    fn stepper(&self) -> Box<dyn Stepper> {
        match (self.has_momentum(), self.centered) {
            (false, false) => elementwise::<1, _>(self),
            (true, true) => elementwise::<3, _>(self),
            _ => elementwise::<2, _>(self),
        }
    }
}

impl RmsProp {
    fn has_momentum(&self) -> bool {
        !self.momentum.is(0.0)
    }

    fn numbers(&self, now: &Now) -> Scalars {
        let alpha = now.value(&self.alpha);
        Scalars {
            lr: now.lr(&self.lr),
            alpha,
            one_minus_alpha: 1.0 - alpha,
            eps: now.value(&self.eps),
            weight_decay: now.value(&self.weight_decay),
            momentum: now.value(&self.momentum),
        }
    }
}

/// The gradient with decay, and the average of its squares.
#[inline(always)]
fn square<R: Real>(h: &Scalars<R>, p: R, g: R, v: R) -> (R, R) {
    let g = p.mul_add(h.weight_decay, g);
    (g, (h.one_minus_alpha * g).mul_add(g, v * h.alpha))
}

/// The average of gradients, and the root of their variance.
#[inline(always)]
fn centre<R: Real>(h: &Scalars<R>, g: R, v: R, mean: R) -> (R, R) {
    let mean = lerp(mean, g, h.one_minus_alpha);
    let variance = v - mean * mean;
    let below = variance.lt(R::of(0.0));
    (mean, R::select(below, R::of(0.0), variance).sqrt())
}

impl Rule<1> for RmsProp {
    const STATE: [&'static str; 1] = ["square_avg"];
    const SIGNED: [bool; 1] = [false];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [v]: [R; 1]) -> (R, [R; 1]) {
        let (g, v) = square(h, p, g, v);
        (p - h.lr * g / (v.sqrt() + h.eps), [v])
    }
}

impl Rule<2> for RmsProp {
    const STATE: [&'static str; 2] = ["square_avg", "momentum_buffer"];
    const SIGNED: [bool; 2] = [false, true];
    type Scalars = Scalars;

    fn names(&self) -> [&'static str; 2] {
        if self.centered { ["square_avg", "grad_avg"] } else { Self::STATE }
    }

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [v, other]: [R; 2]) -> (R, [R; 2]) {
        let (g, v) = square(h, p, g, v);
        if self.centered {
            let (mean, root) = centre(h, g, v, other);
            return (p - h.lr * g / (root + h.eps), [v, mean]);
        }
        let b = other.mul_add(h.momentum, g / (v.sqrt() + h.eps));
        (p - h.lr * b, [v, b])
    }
}

impl Rule<3> for RmsProp {
    const STATE: [&'static str; 3] = ["square_avg", "momentum_buffer", "grad_avg"];
    const SIGNED: [bool; 3] = [false, true, true];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        self.numbers(now)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [v, b, mean]: [R; 3]) -> (R, [R; 3]) {
        let (g, v) = square(h, p, g, v);
        let (mean, root) = centre(h, g, v, mean);
        let b = b.mul_add(h.momentum, g / (root + h.eps));
        (p - h.lr * b, [v, b, mean])
    }
}
