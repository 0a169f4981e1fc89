//! Which wrappers stand around a rule.

use std::sync::Arc;

use rappel_config::{Options, Range};
use rappel_schedule::Schedule;
use rappel_tensor::Key;

use super::own::{OwnWrapper, Wrapper};
use super::sam::Sam;
use crate::context::StepContext;

/// What is put around a rule; nothing by default.
#[derive(Debug, Clone, Options)]
pub struct Wrappers {
    /// added to the gradient, times sign(p)
    ///
    /// `g <- g + l1 sign(p)`: the subgradient of a penalty `l1 |p|`.
    #[option(default = 0.0, range = 0.0..)]
    pub l1: Schedule,
    /// added to the gradient, times p
    ///
    /// `g <- g + l2 p`: the gradient of a penalty `l2 / 2 p^2`, seen by the rule's averages.
    #[option(default = 0.0, range = 0.0..)]
    pub l2: Schedule,
    /// after the step parameters go towards 0 by lr times this, and stop there
    ///
    /// `p <- sign(p) max(|p| - lr l1_proximal, 0)`: exact zeros.
    #[option(default = 0.0, range = 0.0..)]
    pub l1_proximal: Schedule,
    /// before the step parameters lose this share, times lr
    ///
    /// `p <- (1 - lr decoupled_decay) p`.
    #[option(default = 0.0, range = 0.0..)]
    pub decoupled_decay: Schedule,
    /// subtract from each row of a gradient its mean
    ///
    /// A row is one of the first dimension (Yong et al., 2020, <https://arxiv.org/abs/2004.01461>).
    #[option(default = false)]
    pub gradient_centralization: bool,
    /// leave out the parts of an update that go up the gradient, scale the others
    ///
    /// `m = [u g > 0]`, `u <- u m / max(mean(m), 1e-3)`, the mean over the tensor
    /// (Liang et al., 2024, <https://arxiv.org/abs/2411.16085>, as in its authors' code; other
    /// packages divide by `(sum(m) + 1) / n`).
    #[option(default = false)]
    pub cautious: bool,
    /// { k = 5, alpha = 0.5 }: every k steps go back to slow weights, moved by alpha
    pub lookahead: Option<Lookahead>,
    /// { rho = 0.05, adaptive = false }: take gradients where the loss is worst within rho; twice the
    /// work
    ///
    /// Steps then evaluate the loss themselves
    /// ([`Optimizer::step_closure`](crate::Optimizer::step_closure)).
    pub sam: Option<Sam>,
    /// Adds noise to gradients; [`OptimizerConfig::gradient_noise`](crate::OptimizerConfig::gradient_noise) puts it
    /// around every rule.
    #[option(skip)]
    pub gradient_noise: Option<GradientNoise>,
    /// Those of the program itself; see [`ParamGroup::wrapper`](crate::ParamGroup::wrapper).
    #[option(skip)]
    pub own: Vec<Arc<dyn OwnWrapper>>,
}

/// Independent normal noise on each element of each gradient, after clipping
/// (Neelakantan et al., 2015, <https://arxiv.org/abs/1511.06807>).
#[derive(Debug, Clone)]
pub struct GradientNoise {
    /// Its variance.
    pub variance: Schedule,
    /// What it is drawn from, beside the step and the place.
    pub seed: u64,
}

impl GradientNoise {
    /// The deviation at a step, and what the noise of each parameter is drawn from.
    pub(super) fn at(&self, t: &StepContext) -> (f64, Key) {
        let key = Key::new(self.seed).with_name("gradient noise").with(t.step);
        (t.value(&self.variance).max(0.0).sqrt(), key)
    }
}

/// Weights that follow slowly (Zhang et al., 2019, <https://arxiv.org/abs/1907.08610>).
#[derive(Debug, Clone, Copy, PartialEq, Options)]
pub struct Lookahead {
    /// steps between pulls
    #[option(default = 5, range = 1..)]
    pub k: u64,
    /// how far the slow weights go
    #[option(default = 0.5, range = Range::above(0.0).to(1.0))]
    pub alpha: f64,
}

impl Wrappers {
    /// Whether the rule can work where parameters and gradients lie.
    pub(crate) fn leave_alone(&self) -> bool {
        let off = [&self.l1, &self.l2, &self.l1_proximal, &self.decoupled_decay];
        off.iter().all(|scalar| scalar.is(0.0))
            && !self.gradient_centralization
            && !self.cautious
            && self.gradient_noise.is_none()
            && self.own.is_empty()
    }

    /// The first of the wrappers that is on.
    pub(crate) fn first(&self) -> Option<&'static str> {
        [
            ("l1", !self.l1.is(0.0)),
            ("l2", !self.l2.is(0.0)),
            ("l1_proximal", !self.l1_proximal.is(0.0)),
            ("decoupled_decay", !self.decoupled_decay.is(0.0)),
            ("gradient_centralization", self.gradient_centralization),
            ("cautious", self.cautious),
            ("lookahead", self.lookahead.is_some()),
            ("sam", self.sam.is_some()),
            ("gradient_noise", self.gradient_noise.is_some()),
            ("wrapper", !self.own.is_empty()),
        ]
        .into_iter()
        .find_map(|(name, on)| on.then_some(name))
    }

    /// Adds a wrapper of one's own.
    pub(crate) fn push(&mut self, wrapper: impl Wrapper) {
        self.own.push(Arc::new(wrapper));
    }
}
