//! Which wrappers stand around a rule.

use std::sync::Arc;

use rappel_registry::{ConfigError, Field, Kind, Options, Range};
use rappel_schedule::{Horizon, Schedule, scheduled};
use rappel_tensor::Key;

use super::own::{OwnWrapper, Wrapper};
use super::sam::Sam;
use crate::context::StepContext;
use crate::options::OptionValue;

/// What is put around a rule; nothing by default.
#[derive(Debug, Clone)]
pub struct Wrappers {
    /// `g <- g + l1 sign(p)`: the subgradient of a penalty `l1 |p|`.
    pub l1: Schedule,
    /// `g <- g + l2 p`: the gradient of a penalty `l2 / 2 p^2`, seen by the rule's averages.
    pub l2: Schedule,
    /// After the step, `p <- sign(p) max(|p| - lr l1_proximal, 0)`: exact zeros.
    pub l1_proximal: Schedule,
    /// Before the step, `p <- (1 - lr decoupled_decay) p`.
    pub decoupled_decay: Schedule,
    /// Subtracts from each row of a gradient (its first dimension) the row's mean
    /// (Yong et al., 2020, <https://arxiv.org/abs/2004.01461>).
    pub gradient_centralization: bool,
    /// Leaves out the parts of an update `u` that go up the gradient, and scales the others:
    /// `m = [u g > 0]`, `u <- u m / max(mean(m), 1e-3)`, the mean over the tensor
    /// (Liang et al., 2024, <https://arxiv.org/abs/2411.16085>, as in its authors' code; other
    /// packages divide by `(sum(m) + 1) / n`).
    pub cautious: bool,
    /// Every `k` steps, `slow <- slow + alpha (p - slow)`, `p <- slow`.
    pub lookahead: Option<Lookahead>,
    /// Takes gradients where the loss is worst close by; then steps evaluate the loss themselves
    /// ([`Optimizer::step_closure`](crate::Optimizer::step_closure)).
    pub sam: Option<Sam>,
    /// Adds noise to gradients; [`OptimizerConfig::gradient_noise`](crate::OptimizerConfig::gradient_noise) puts it
    /// around every rule.
    pub gradient_noise: Option<GradientNoise>,
    /// Those of the program itself; see [`ParamGroup::wrapper`](crate::ParamGroup::wrapper).
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lookahead {
    /// Steps between pulls.
    pub k: u64,
    /// How far the slow weights go each time, in `(0, 1]`.
    pub alpha: f64,
}

impl Default for Lookahead {
    fn default() -> Self {
        Self { k: 5, alpha: 0.5 }
    }
}

impl Default for Wrappers {
    fn default() -> Self {
        let zero = Schedule::from(0.0);
        Self {
            l1: zero.clone(),
            l2: zero.clone(),
            l1_proximal: zero.clone(),
            decoupled_decay: zero,
            gradient_centralization: false,
            cautious: false,
            lookahead: None,
            sam: None,
            gradient_noise: None,
            own: Vec::new(),
        }
    }
}

const LOOKAHEAD: &[Field] = &[
    Field::new("k", Kind::int_from(1), "5", "steps between pulls"),
    Field::new(
        "alpha",
        Kind::Float(Range::above(0.0).to(1.0)),
        "0.5",
        "how far the slow weights go",
    ),
];

/// The wrappers as options of every optimizer.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("l1", scheduled(Range::from(0.0)), "0.0", "added to the gradient, times sign(p)"),
    Field::new("l2", scheduled(Range::from(0.0)), "0.0", "added to the gradient, times p"),
    Field::new(
        "l1_proximal",
        scheduled(Range::from(0.0)),
        "0.0",
        "after the step parameters go towards 0 by lr times this, and stop there",
    ),
    Field::new(
        "decoupled_decay",
        scheduled(Range::from(0.0)),
        "0.0",
        "before the step parameters lose this share, times lr",
    ),
    Field::new(
        "gradient_centralization",
        Kind::Bool,
        "false",
        "subtract from each row of a gradient its mean",
    ),
    Field::new(
        "cautious",
        Kind::Bool,
        "false",
        "leave out the parts of an update that go up the gradient, scale the others",
    ),
    Field::optional(
        "lookahead",
        Kind::Table(LOOKAHEAD),
        "{ k = 5, alpha = 0.5 }: every k steps go back to slow weights, moved by alpha",
    ),
    Field::optional(
        "sam",
        Kind::Table(Sam::FIELDS),
        "{ rho = 0.05, adaptive = false }: take gradients where the loss is worst within rho; twice the \
         work",
    ),
];

impl Wrappers {
    /// Reads checked [`FIELDS`].
    pub(crate) fn from_options(options: &Options, horizon: Horizon) -> Result<Self, ConfigError> {
        let scalar = |key| Schedule::read(options, key, horizon);
        let lookahead =
            options.declares("lookahead").then(|| options.opt_table("lookahead")).flatten();
        let sam = options.declares("sam").then(|| options.opt_table("sam")).flatten();
        Ok(Self {
            l1: scalar("l1")?,
            l2: scalar("l2")?,
            l1_proximal: scalar("l1_proximal")?,
            decoupled_decay: scalar("decoupled_decay")?,
            gradient_centralization: options.bool("gradient_centralization"),
            cautious: options.bool("cautious"),
            lookahead: lookahead
                .map(|table| Lookahead { k: table.u64("k"), alpha: table.f64("alpha") }),
            sam: sam.map(|table| Sam::from_options(table, horizon)).transpose()?,
            gradient_noise: None,
            own: Vec::new(),
        })
    }

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
