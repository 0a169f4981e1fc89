//! Options of sharpness-aware steps.

use rappel_config::Options;
use rappel_schedule::Schedule;

/// Sharpness-aware minimisation, for any rule: the step is taken with the gradient of `x + e`, where
/// the loss is about as bad as it gets within `rho` of `x`.
///
/// `e = rho g / |g|`, over all parameters as one vector. `adaptive`: the neighbourhood is measured in
/// shares of each parameter, `e = rho x^2 g / ||x| g|`, so that it does not depend on the scale of weights
/// (ASAM). 1e-12 is added to the norm. Clipping and the reported norm are of the second gradient. Groups
/// may differ in `rho` and `adaptive`; those without stay where they are, and out of the norm.
///
/// ```
/// use rappel_optim::{AdamW, ParamGroup, Sam, Wrappers};
/// let sam = Some(Sam { rho: 0.1.into(), adaptive: false });
/// let plan = ParamGroup::from(AdamW::default()).wrappers(Wrappers { sam, ..Default::default() });
/// ```
///
/// From [Foret et al., 2020](https://arxiv.org/abs/2010.01412), and, adaptive,
/// [Kwon et al., 2021](https://arxiv.org/abs/2102.11600), as `SAM` of pytorch_optimizer 4.1. Beyond it,
/// a rule with `maximize` looks for the least loss close by.
#[derive(Debug, Clone, Options)]
pub struct Sam {
    /// how far away gradients are taken
    #[option(default = 0.05, range = 0.0..)]
    pub rho: Schedule,
    /// distances are shares of each parameter: ASAM
    #[option(default = false)]
    pub adaptive: bool,
}
