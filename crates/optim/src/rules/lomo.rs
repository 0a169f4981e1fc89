//! LOMO: plain descent, meant to run as gradients come.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, OptionSet, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "lomo",
    summary: "p <- p - lr g, without state",
    reference: "pytorch_optimizer.LOMO 4.1.0; Lv et al., https://arxiv.org/abs/2306.09782",
    fields: <Lomo as OptionSet>::FIELDS,
    build: Plan::build::<Lomo>,
};

crate::options! {
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
    pub struct Lomo {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
    }
}

impl Algorithm for Lomo {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<0, _>(self)
    }
}

impl Rule<0> for Lomo {
    const STATE: [&'static str; 0] = [];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        Scalars { lr: now.lr(&self.lr) }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, []: [R; 0]) -> (R, [R; 0]) {
        (p - h.lr * g, [])
    }
}
