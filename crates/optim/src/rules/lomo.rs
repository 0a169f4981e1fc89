//! LOMO: plain descent, meant to run as gradients come.

use crate::rule::{
    Algorithm, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext, Stepper,
    elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Lomo>(
    "lomo",
    "p <- p - lr g, without state",
    "pytorch_optimizer.LOMO 4.1.0; Lv et al., https://arxiv.org/abs/2306.09782",
);

/// LOMO, as `pytorch_optimizer.LOMO`: `p <- p - lr g`, without any state.
///
/// That package's `clip_grad_value` and `clip_grad_norm` are the optimizer's own clipping here,
/// before any rule. It computes in single precision whatever the parameters are; here it is the
/// precision of the step.
///
/// [`step_backward`](crate::Optimizer::step_backward) takes the step within the backward pass, as
/// the paper does.
///
/// ```
/// use rappel_optim::Lomo;
/// assert!(Lomo::default().lr.is(1e-3));
/// ```
///
/// From [Lv et al., 2023](https://arxiv.org/abs/2306.09782); pytorch_optimizer 4.1.0.
#[derive(Debug, Clone, Options, Descends)]
pub struct Lomo {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Lomo {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<0, _>(self)
    }
}

impl Rule<0> for Lomo {
    const STATE: [Slot; 0] = [];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 0]) -> (R, [R; 0]) {
        let lr = R::of(t.lr(&self.lr));
        #[inline(always)]
        move |p, g, []| (p - lr * g, [])
    }
}
