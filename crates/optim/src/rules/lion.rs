//! Lion.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "lion",
    summary: "p <- p - lr sign(beta1 m + (1 - beta1) g); m <- beta2 m + (1 - beta2) g",
    reference: "lion-pytorch 0.2.5; Chen et al., https://arxiv.org/abs/2302.06675",
    fields: <Lion as crate::OptionSet>::FIELDS,
    build: Plan::build::<Lion>,
};

crate::options! {
    /// Lion, as its authors' code and the package `lion-pytorch` 0.2.5.
    ///
    /// `p <- (1 - lr weight_decay) p`, `p <- p - lr sign(beta1 m + (1 - beta1) g)`, and only then
    /// `m <- beta2 m + (1 - beta2) g`. Each element moves by `lr` whatever its gradient, so `lr`
    /// is 3 to 10 times smaller, and `weight_decay` as much larger, than AdamW's.
    ///
    /// ```
    /// use rappel_optim::Lion;
    /// let lion = Lion { lr: 3e-5.into(), weight_decay: 1.0.into(), ..Default::default() };
    /// assert!(lion.betas[1].is(0.99));
    /// ```
    ///
    /// From [Chen et al., 2023](https://arxiv.org/abs/2302.06675), program 1.
    pub struct Lion {
        /// learning rate
        lr: Schedule = "1e-4", scheduled(Range::from(0.0));
        /// decay rates within the sign and of the average, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.99]", Kind::Raw;
        /// the share of a parameter that a step takes away, times lr
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// What is left of a parameter after weight decay.
        keep,
        /// Learning rate.
        lr,
        /// Weight of the average within the sign.
        beta1,
        /// Weight of the gradient within the sign.
        one_minus_beta1,
        /// Decay rate of the average.
        beta2,
        /// Weight of the gradient in the average.
        one_minus_beta2,
    }
}

impl Algorithm for Lion {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl Rule<1> for Lion {
    const STATE: [&'static str; 1] = ["exp_avg"];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        1.0 - now.lr(&self.lr) * now.value(&self.weight_decay)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        let [beta1, beta2] = [now.value(&self.betas[0]), now.value(&self.betas[1])];
        Scalars {
            keep: Rule::keep(self, now),
            lr: now.lr(&self.lr),
            beta1,
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m]: [R; 1]) -> (R, [R; 1]) {
        let direction = (m * h.beta1 + g * h.one_minus_beta1).sign();
        (p * h.keep - h.lr * direction, [m * h.beta2 + g * h.one_minus_beta2])
    }
}
