//! AdaLOMO: Adafactor without momentum, meant to run as gradients come.

use super::adafactor::{Adafactor, AdafactorVariant, Epsilons};
use crate::rule::{Algorithm, Descends, Options, Range, RuleEntry, Schedule, Stepper, entry};

pub(crate) const ENTRY: RuleEntry = entry::<AdaLomo>(
    "adalomo",
    "p <- p - lr max(eps2, rms(p)) clip(g / sqrt(R C of g^2)), R and C means over columns and rows",
    "pytorch_optimizer.AdaLOMO 4.1.0; Lv et al., https://arxiv.org/abs/2310.10195",
);

/// AdaLOMO, as `pytorch_optimizer.AdaLOMO`: [`Adafactor`]'s step, as transformers has it, with
/// the learning rate given.
///
/// At update `t`, with `w = t^decay_rate`: `r <- lerp(r, mean of g^2 + eps1 along rows, w)`, `c`
/// alike along columns; vectors and scalars keep the squares themselves.
/// `u = g sqrt(mean(r) / (r c))`; with `a = lr max(eps2, rms(p))`,
/// `p <- (1 - a weight_decay) p - a u / max(1, rms(u) / clip_threshold)`.
///
/// That package's scale of the loss, clipping by norm and by value are not the rule's: here they
/// come before any rule. It computes in single precision whatever the parameters are; here it is
/// the precision of the step.
///
/// [`step_backward`](crate::Optimizer::step_backward) takes the step within the backward pass, as
/// the paper does.
///
/// ```
/// use rappel_optim::AdaLomo;
/// assert_eq!(AdaLomo::default().decay_rate, -0.8);
/// ```
///
/// From [Lv et al., 2023](https://arxiv.org/abs/2310.10195); pytorch_optimizer 4.1.0.
#[derive(Debug, Clone, Options, Descends)]
pub struct AdaLomo {
    /// learning rate, times the parameter's size
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// the share of a parameter that a step takes away, times lr and the parameter's size
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// the largest root mean square of a step, before the learning rate
    #[option(default = 1.0, range = Range::above(0.0))]
    pub clip_threshold: f64,
    /// the weight of the gradient in the averages at update t is t to this power
    #[option(default = -0.8, range = ..=0.0)]
    pub decay_rate: f64,
    /// added to squares of gradients
    #[option(default = 1e-30, range = 0.0..)]
    pub eps1: f64,
    /// the least size of a parameter
    #[option(default = 1e-3, range = 0.0..)]
    pub eps2: f64,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for AdaLomo {
    fn stepper(&self) -> Box<dyn Stepper> {
        let Self { lr, weight_decay, maximize, .. } = self.clone();
        Adafactor {
            lr,
            beta2_decay: self.decay_rate,
            eps: Epsilons(Some(self.eps1), self.eps2),
            d: self.clip_threshold,
            weight_decay,
            variant: AdafactorVariant::Transformers,
            maximize,
            ..Default::default()
        }
        .stepper()
    }
}
