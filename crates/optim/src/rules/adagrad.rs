//! Rates that fall with the sum of squares.

use crate::rule::{
    Algorithm, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext, Stepper,
    elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adagrad>(
    "adagrad",
    "s <- s + g^2; p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)",
    "torch.optim.Adagrad; Duchi et al., 2011, https://jmlr.org/papers/v12/duchi11a.html",
);

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
#[derive(Debug, Clone, Options, Descends)]
pub struct Adagrad {
    /// learning rate
    #[option(default = 1e-2, range = 0.0..)]
    pub lr: Schedule,
    /// how fast the learning rate falls with the count of updates
    #[option(default = 0.0, range = 0.0..)]
    pub lr_decay: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// what the sum of squares begins at
    #[option(default = 0.0, range = 0.0..)]
    pub initial_accumulator_value: Schedule,
    /// added to the root
    #[option(default = 1e-10, range = 0.0..)]
    pub eps: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
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
