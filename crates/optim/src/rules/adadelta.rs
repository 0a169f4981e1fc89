//! Steps as large as the steps before, for their gradients.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "adadelta",
    summary: "v <- lerp(g^2, v, rho); d = sqrt(u + eps) / sqrt(v + eps) g; u <- lerp(d^2, u, rho); p <- p - lr d",
    reference: "torch.optim.Adadelta; Zeiler, https://arxiv.org/abs/1212.5701",
    fields: <Adadelta as crate::OptionSet>::FIELDS,
    build: Plan::build::<Adadelta>,
};

/// From 0 to 1, both included, as PyTorch takes it.
const RHO: Range = Range::from(0.0).to(1.0);

crate::options! {
    /// Steps in the parameter's own unit, as `torch.optim.Adadelta`.
    ///
    /// With `g <- g + weight_decay p`: `v <- rho v + (1 - rho) g^2`,
    /// `d = sqrt(u + eps) / sqrt(v + eps) g`, `u <- rho u + (1 - rho) d^2`, `p <- p - lr d`. The average
    /// `v` of squared gradients is kept as `square_avg`, `u` of squared steps as `acc_delta`.
    ///
    /// ```
    /// use rappel_optim::Adadelta;
    /// let adadelta = Adadelta { rho: 0.95.into(), ..Default::default() };
    /// assert!(adadelta.lr.is(1.0));
    /// ```
    ///
    /// From [Zeiler, 2012](https://arxiv.org/abs/1212.5701), which has no learning rate: `lr` 1.
    pub struct Adadelta {
        /// learning rate
        lr: Schedule = "1.0", scheduled(Range::from(0.0));
        /// decay rate of both averages
        rho: Schedule = "0.9", scheduled(RHO);
        /// added under both roots; sets the size of the first steps
        eps: Schedule = "1e-6", scheduled(Range::from(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// Learning rate.
        lr,
        /// Decay rate of both averages.
        rho,
        /// Weight of what is new in them.
        one_minus_rho,
        /// What stands under both roots.
        eps,
        /// Weight decay.
        weight_decay,
    }
}

impl Algorithm for Adadelta {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rule<2> for Adadelta {
    const STATE: [&'static str; 2] = ["square_avg", "acc_delta"];
    const SIGNED: [bool; 2] = [false, false];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        let rho = now.value(&self.rho);
        Scalars {
            lr: now.lr(&self.lr),
            rho,
            one_minus_rho: 1.0 - rho,
            eps: now.value(&self.eps),
            weight_decay: now.value(&self.weight_decay),
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [v, u]: [R; 2]) -> (R, [R; 2]) {
        let g = p.mul_add(h.weight_decay, g);
        let v = (h.one_minus_rho * g).mul_add(g, v * h.rho);
        let d = (u + h.eps).sqrt() / (v + h.eps).sqrt() * g;
        let u = (h.one_minus_rho * d).mul_add(d, u * h.rho);
        (p - h.lr * d, [v, u])
    }
}
