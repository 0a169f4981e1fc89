//! Adam with the largest gradient in place of the average of squares.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "adamax",
    summary: "m <- lerp(g, m, beta1); u <- max(beta2 u, |g| + eps); p <- p - lr m^ / u",
    reference: "torch.optim.Adamax; Kingma and Ba, https://arxiv.org/abs/1412.6980",
    fields: <Adamax as crate::OptionSet>::FIELDS,
    build: Plan::build::<Adamax>,
};

crate::options! {
    /// Adam with the infinity norm, as `torch.optim.Adamax`.
    ///
    /// At update `t`: `g <- g + weight_decay p`, `m <- beta1 m + (1 - beta1) g`,
    /// `u <- max(beta2 u, |g| + eps)`, `p <- p - lr / (1 - beta1^t) m / u`.
    ///
    /// ```
    /// use rappel_optim::Adamax;
    /// let adamax = Adamax { lr: 1e-3.into(), ..Default::default() };
    /// assert!(adamax.eps.is(1e-8));
    /// ```
    ///
    /// From [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980), algorithm 2, which has no `eps`: a
    /// gradient that was always 0 is then 0 / 0, as it is here where `eps` is 0.
    pub struct Adamax {
        /// learning rate
        lr: Schedule = "2e-3", scheduled(Range::from(0.0));
        /// decay rates of the average of gradients and of the norm, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the gradient's magnitude
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Weight decay.
        weight_decay,
        /// Weight of the gradient in its average.
        one_minus_beta1,
        /// Decay rate of the norm.
        beta2,
        /// Learning rate over the bias correction.
        step_size,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for Adamax {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rule<2> for Adamax {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_inf"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        let beta1 = now.value(&self.betas[0]);
        Scalars {
            weight_decay: now.value(&self.weight_decay),
            one_minus_beta1: 1.0 - beta1,
            beta2: now.value(&self.betas[1]),
            step_size: now.lr(&self.lr) / now.bias_correction(beta1),
            eps: now.value(&self.eps),
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, u]: [R; 2]) -> (R, [R; 2]) {
        let g = p.mul_add(h.weight_decay, g);
        let m = lerp(m, g, h.one_minus_beta1);
        let (faded, seen) = (u * h.beta2, g.abs() + h.eps);
        // Not `max`: a NaN stays one.
        let u = R::select(seen.lt(faded), faded, seen);
        (p - h.step_size * m / u, [m, u])
    }
}
