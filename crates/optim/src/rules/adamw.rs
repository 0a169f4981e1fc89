//! Adam with decoupled weight decay.

use super::adam::Adam;
use crate::rule::{Algorithm, Kind, Range, RuleEntry, Schedule, Stepper, entry, scheduled};

pub(crate) const ENTRY: RuleEntry = entry::<AdamW>(
    "adamw",
    "p <- (1 - lr weight_decay) p, then Adam's step",
    "torch.optim.AdamW; Loshchilov and Hutter, https://arxiv.org/abs/1711.05101",
);

crate::options! {
    /// [`Adam`] with decoupled weight decay, as `torch.optim.AdamW`: `p <- (1 - lr weight_decay) p`,
    /// then Adam's step.
    ///
    /// ```
    /// use rappel_optim::AdamW;
    /// let adamw = AdamW { lr: 3e-4.into(), betas: [0.9.into(), 0.95.into()], ..Default::default() };
    /// assert!(adamw.weight_decay.is(0.01));
    /// ```
    ///
    /// From [Loshchilov and Hutter, 2017](https://arxiv.org/abs/1711.05101), with PyTorch's product
    /// of learning rate and decay.
    pub struct AdamW {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// the share of a parameter that a step takes away, times lr
        weight_decay: Schedule = "0.01", scheduled(Range::from(0.0));
        /// divide by the largest average of squares so far
        amsgrad: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

impl Algorithm for AdamW {
    fn stepper(&self) -> Box<dyn Stepper> {
        let Self { lr, betas, eps, weight_decay, amsgrad, maximize } = self.clone();
        let decoupled_weight_decay = true;
        Adam { lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay }.stepper()
    }
}
