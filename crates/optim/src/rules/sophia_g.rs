//! Sophia-G.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "sophia_g",
    summary: "p <- p - lr clip(m / (rho bs h), 1), h an average of squared gradients, now and then",
    reference: "Liuhong99/Sophia at 195a786, SophiaG; Liu et al., \
                https://arxiv.org/abs/2305.14342",
    fields: <SophiaG as crate::OptionSet>::FIELDS,
    build: Plan::build::<SophiaG>,
};

crate::options! {
    /// Sophia-G, as its authors' code (Liuhong99/Sophia, `sophia.py` at 195a786), its curvature taken
    /// from the step's own gradient.
    ///
    /// At the first update and every `update_period` after it, `h <- beta2 h + (1 - beta2) g^2`.
    /// Then `p <- (1 - lr weight_decay) p`, `m <- beta1 m + (1 - beta1) g`,
    /// `p <- p - lr sign(m) min(|m| / (rho bs h + 1e-15), 1)`.
    ///
    /// `bs h` stands for the diagonal of the Gauss-Newton matrix. In the paper the gradient squared
    /// there is a second one, of the loss on labels that are drawn from the model's own predictions
    /// (Gauss-Newton-Bartlett), and `bs` the number of predictions that it is a mean over. Here it is
    /// the gradient of the step, of true labels: what the authors' `update_hessian` computes when it
    /// is called on the same gradient, and the empirical Fisher matrix. It costs no second backward
    /// pass, and is near the paper's only once the model predicts well. Clipping by norm shrinks it.
    ///
    /// The authors' loop takes the curvature after each tenth step, and so steps by signs alone
    /// before the tenth; this takes it before the first.
    ///
    /// ```
    /// use rappel_optim::SophiaG;
    /// // Batches of 480 texts of 1024 tokens.
    /// let sophia = SophiaG { bs: (480.0 * 1024.0).into(), ..Default::default() };
    /// assert!(sophia.update_period == 10 && sophia.rho.is(0.04));
    /// ```
    ///
    /// From [Liu et al., 2023](https://arxiv.org/abs/2305.14342), algorithm 3, with the placement of
    /// `rho` and `bs` of the authors' code.
    pub struct SophiaG {
        /// learning rate
        lr: Schedule = "1e-4", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and curvature, each in [0, 1)
        betas: [Schedule; 2] = "[0.965, 0.99]", Kind::Raw;
        /// the larger, the fewer elements step by their sign alone
        rho: Schedule = "0.04", scheduled(Range::from(0.0));
        /// the share of a parameter that a step takes away, times lr
        weight_decay: Schedule = "0.1", scheduled(Range::from(0.0));
        /// predictions that a gradient is the mean over
        bs: Schedule = "5120", scheduled(Range::above(0.0));
        /// updates from one look at the curvature to the next
        update_period: u64 = "10", Kind::int_from(1);
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
        /// Decay rate of the average of gradients.
        beta1,
        /// Weight of the gradient in it.
        one_minus_beta1,
        /// Decay rate of the curvature; 1 where it is not looked at.
        beta2,
        /// Weight of the square in it; 0 where it is not looked at.
        one_minus_beta2,
        /// Factor of the curvature.
        steepness,
    }
}

/// What keeps the divisor from 0.
const LEAST: f64 = 1e-15;

impl Algorithm for SophiaG {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rule<2> for SophiaG {
    const STATE: [&'static str; 2] = ["exp_avg", "hessian"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn keep(&self, now: &Now) -> f64 {
        1.0 - now.lr(&self.lr) * now.value(&self.weight_decay)
    }

    fn scalars(&self, now: &Now) -> Scalars {
        let [beta1, beta2] = [0, 1].map(|i| now.value(&self.betas[i]));
        let looks = (now.count - 1).is_multiple_of(self.update_period);
        let beta2 = if looks { beta2 } else { 1.0 };
        Scalars {
            keep: Rule::keep(self, now),
            lr: now.lr(&self.lr),
            beta1,
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
            steepness: now.value(&self.rho) * now.value(&self.bs),
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, curvature]: [R; 2]) -> (R, [R; 2]) {
        let curvature = curvature * h.beta2 + h.one_minus_beta2 * g * g;
        let m = m * h.beta1 + g * h.one_minus_beta1;
        let one = R::of(1.0);
        let ratio = m.abs() / (h.steepness * curvature + R::of(LEAST));
        let ratio = R::select(one.lt(ratio), one, ratio);
        (p * h.keep - h.lr * (m.sign() * ratio), [m, curvature])
    }
}
