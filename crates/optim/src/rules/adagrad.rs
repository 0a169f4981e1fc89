//! Rates that fall with the sum of squares.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "adagrad",
    summary: "s <- s + g^2; p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)",
    reference: "torch.optim.Adagrad; Duchi et al., 2011, https://jmlr.org/papers/v12/duchi11a.html",
    fields: <Adagrad as crate::OptionSet>::FIELDS,
    build: Plan::build::<Adagrad>,
};

crate::options! {
    /// Learning rates that fall with the sum of all squared gradients, as `torch.optim.Adagrad`.
    ///
    /// At update `t`: `g <- g + weight_decay p`, `s <- s + g^2`, where `s` begins at
    /// `initial_accumulator_value`, `p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)`.
    ///
    /// State is zero until the first update, which brings the initial value with it.
    ///
    /// ```
    /// use rappel_optim::Adagrad;
    /// let adagrad = Adagrad { initial_accumulator_value: 0.1.into(), ..Default::default() };
    /// assert!(adagrad.eps.is(1e-10));
    /// ```
    ///
    /// From [Duchi et al., 2011](https://jmlr.org/papers/v12/duchi11a.html), the diagonal form.
    pub struct Adagrad {
        /// learning rate
        lr: Schedule = "1e-2", scheduled(Range::from(0.0));
        /// how fast the learning rate falls with the count of updates
        lr_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// what the sum of squares begins at
        initial_accumulator_value: Schedule = "0.0", scheduled(Range::from(0.0));
        /// added to the root
        eps: Schedule = "1e-10", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
        /// Weight decay.
        weight_decay,
        /// What the sum begins at, at the first update; then 0.
        start,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for Adagrad {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl Rule<1> for Adagrad {
    const STATE: [&'static str; 1] = ["sum"];
    const SIGNED: [bool; 1] = [false];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        let fall = 1.0 + (now.count - 1) as f64 * now.value(&self.lr_decay);
        let start = if now.count == 1 { now.value(&self.initial_accumulator_value) } else { 0.0 };
        Scalars {
            lr: now.lr(&self.lr) / fall,
            weight_decay: now.value(&self.weight_decay),
            start,
            eps: now.value(&self.eps),
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [sum]: [R; 1]) -> (R, [R; 1]) {
        let g = p.mul_add(h.weight_decay, g);
        let sum = g.mul_add(g, sum + h.start);
        (p - h.lr * g / (sum.sqrt() + h.eps), [sum])
    }
}
