//! Adam with decoupled weight decay.

use super::adam::Adam;
use crate::rule::{Algorithm, BETA, Descends, Options, RuleEntry, Schedule, Stepper, entry};

pub(crate) const ENTRY: RuleEntry = entry::<AdamW>(
    "adamw",
    "p <- (1 - lr weight_decay) p, then Adam's step",
    "torch.optim.AdamW; Loshchilov and Hutter, https://arxiv.org/abs/1711.05101",
);

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
#[derive(Debug, Clone, Options, Descends)]
pub struct AdamW {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.01, range = 0.0..)]
    pub weight_decay: Schedule,
    /// divide by the largest average of squares so far
    #[option(default = false)]
    pub amsgrad: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for AdamW {
    fn stepper(&self) -> Box<dyn Stepper> {
        let Self { lr, betas, eps, weight_decay, amsgrad, maximize } = self.clone();
        let decoupled_weight_decay = true;
        Adam { lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay }.stepper()
    }
}
