//! Rates that fall with the sum of squares.

use crate::rule::{
    Algorithm, Kind, Range, Real, Rule, RuleEntry, Schedule, Slot, StepContext, Stepper,
    elementwise, entry, scheduled,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adagrad>(
    "adagrad",
    "s <- s + g^2; p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)",
    "torch.optim.Adagrad; Duchi et al., 2011, https://jmlr.org/papers/v12/duchi11a.html",
);

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

impl Algorithm for Adagrad {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl Rule<1> for Adagrad {
    const STATE: [Slot; 1] = [Slot::positive("sum")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let start = if t.is_first() { t.value(&self.initial_accumulator_value) } else { 0.0 };
        let lr = t.lr(&self.lr) / (1.0 + (t.count - 1) as f64 * t.value(&self.lr_decay));
        let numbers = [lr, t.value(&self.weight_decay), start, t.value(&self.eps)];
        let [lr, weight_decay, start, eps] = numbers.map(R::of);
        #[inline(always)]
        move |p, g, [sum]| {
            let g = p.mul_add(weight_decay, g);
            let sum = g.mul_add(g, sum + start);
            (p - lr * g / (sum.sqrt() + eps), [sum])
        }
    }
}
