//! What to make an optimizer from: a rule, groups, clipping.

use std::fmt;

use rappel_config::{InvalidOption, Kind, OptionValue, Range};
use rappel_schedule::Schedule;
use rappel_tensor::{Param, Params, ParamsError};

use super::group::ParamGroup;
use crate::averaging::Averaging;
use crate::kernels::StateDtype;

/// See [`OptimizerConfig::after_step`].
pub(crate) type AfterStep =
    Box<dyn Fn(u64, &mut Params, &dyn Fn(&Param) -> f64) -> Result<(), ParamsError> + Send + Sync>;

/// What to make an [`Optimizer`](crate::Optimizer) from: a rule for all parameters, other rules or
/// options for groups of them, and what is done to gradients first.
///
/// ```
/// use rappel_optim::{AdamW, OptimizerConfig};
/// let adamw = AdamW { lr: 3e-4.into(), ..Default::default() };
/// let plain = AdamW { weight_decay: 0.0.into(), ..adamw.clone() };
/// let config = OptimizerConfig::new(adamw).group(["*.bias", "*ln_*"], plain).max_grad_norm(1.0);
/// ```
pub struct OptimizerConfig {
    /// For what no group's patterns match.
    pub(crate) default: ParamGroup,
    pub(crate) groups: Vec<(Vec<String>, ParamGroup)>,
    pub(crate) invalid: Option<InvalidOption>,
    pub(crate) average: Option<Box<dyn Averaging>>,
    pub(crate) after_step: Option<AfterStep>,
    pub(crate) schedule: Schedule,
    pub(crate) max_grad_norm: Option<Schedule>,
    pub(crate) norm_type: f64,
    pub(crate) clip_value: Option<f64>,
    pub(crate) allow_missing: bool,
    pub(crate) check_finite: bool,
    pub(crate) seed: u64,
    pub(crate) gradient_noise: Option<Schedule>,
}

impl<P: Into<ParamGroup>> From<P> for OptimizerConfig {
    fn from(group: P) -> Self {
        Self::new(group)
    }
}

impl OptimizerConfig {
    /// `group` for all parameters; nothing clipped.
    pub fn new(group: impl Into<ParamGroup>) -> Self {
        let mut default = group.into();
        Self {
            invalid: default.invalid.take(),
            default,
            groups: Vec::new(),
            average: None,
            after_step: None,
            schedule: Schedule::from(1.0),
            max_grad_norm: None,
            norm_type: 2.0,
            clip_value: None,
            allow_missing: false,
            check_finite: true,
            seed: 0,
            gradient_noise: None,
        }
    }

    /// `group` for the parameters whose name one of the glob `patterns` matches and that no earlier
    /// group took. A pattern must match the whole name; `*` also stands for dots.
    #[must_use]
    pub fn group<S: Into<String>>(
        mut self,
        patterns: impl IntoIterator<Item = S>,
        group: impl Into<ParamGroup>,
    ) -> Self {
        let mut group = group.into();
        self.invalid = self.invalid.or(group.invalid.take());
        self.groups.push((patterns.into_iter().map(Into::into).collect(), group));
        self
    }

    /// Adds independent normal noise of this variance to each element of each gradient, after
    /// clipping (Neelakantan et al., 2015, <https://arxiv.org/abs/1511.06807>).
    ///
    /// The noise is a pure function of the seed, the step, the parameter's place among all and the
    /// element's in it.
    #[must_use]
    pub fn gradient_noise(mut self, variance: impl Into<Schedule>) -> Self {
        self.gradient_noise = Some(variance.into());
        self
    }

    /// What random rounding and noise are drawn from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Keeps an average of the trainable parameters, which [`eval`](crate::Optimizer::eval) hands
    /// out.
    #[must_use]
    pub fn average(self, average: impl Averaging + 'static) -> Self {
        self.boxed_average(Box::new(average))
    }

    /// [`average`](OptimizerConfig::average) as an entry of [`AVERAGES`](crate::AVERAGES) builds it.
    #[must_use]
    pub fn boxed_average(mut self, average: Box<dyn Averaging>) -> Self {
        self.average = Some(average);
        self
    }

    /// Calls `change` at the end of every step, before an average takes the parameters in: proximal
    /// steps, constraints. It gets the step, the parameters, and the learning rate of each at that
    /// step, 0 where it is not trained. Its error is the step's, whose update then stays.
    ///
    /// ```
    /// use rappel_optim::{Optimizer, OptimizerConfig, Sgd};
    /// use rappel_tensor::{Init, Params, no_grad};
    /// let mut params = Params::new(0);
    /// let w = params.scope("").add("w", [2], Init::ONES);
    /// let positive = OptimizerConfig::new(Sgd { lr: 2.0.into(), ..Default::default() }).after_step({
    ///     let w = w.clone();
    ///     move |_, params, _| {
    ///         let clamped = no_grad(|| w.tensor().relu());
    ///         params.set(&w, &clamped)
    ///     }
    /// });
    /// let mut sgd = Optimizer::new(positive, &params)?;
    /// let loss = w.tensor().square().sum();
    /// sgd.step(0, &mut params, &loss.backward())?;
    /// assert_eq!(w.tensor().to_vec::<f32>(), [0.0, 0.0]);
    /// # Ok::<(), rappel_optim::OptimError>(())
    /// ```
    #[must_use]
    pub fn after_step(
        mut self,
        change: impl Fn(u64, &mut Params, &dyn Fn(&Param) -> f64) -> Result<(), ParamsError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.after_step = Some(Box::new(change));
        self
    }

    /// The factor of every group's learning rate over the steps: a run's `[schedule]`.
    #[must_use]
    pub fn schedule(mut self, factor: impl Into<Schedule>) -> Self {
        self.schedule = factor.into();
        self
    }

    /// Scales all gradients by `min(1, max_norm / (norm + 1e-6))`, where `norm` is that of all of
    /// them as one vector: PyTorch's `clip_grad_norm_`.
    #[must_use]
    pub fn max_grad_norm(mut self, max_norm: impl Into<Schedule>) -> Self {
        let max_norm = max_norm.into();
        if let Err(reason) = max_norm.check(Kind::Float(Range::from(0.0).or_infinite())) {
            self.invalid.get_or_insert(InvalidOption::new("max_grad_norm", reason));
        }
        self.max_grad_norm = Some(max_norm);
        self
    }

    /// Which norm clipping measures and reports: 2 by default, 1, infinity or any above 0.
    #[must_use]
    pub fn norm_type(mut self, p: f64) -> Self {
        if !Range::above(0.0).or_infinite().contains(p) {
            let reason = format!("{p} is out of range; expected a number above 0, or infinity");
            self.invalid.get_or_insert(InvalidOption::new("norm_type", reason));
        }
        self.norm_type = p;
        self
    }

    /// Moves each element of each gradient into `-limit..=limit`, after the norm was clipped:
    /// PyTorch's `clip_grad_value_`.
    #[must_use]
    pub fn clip_value(mut self, limit: f64) -> Self {
        if !Range::from(0.0).or_infinite().contains(limit) {
            let reason = format!("{limit} is out of range; expected a number from 0");
            self.invalid.get_or_insert(InvalidOption::new("clip_value", reason));
        }
        self.clip_value = Some(limit);
        self
    }

    /// Leaves trainable parameters without a gradient as they are, state and decay included, as
    /// PyTorch does. By default they are an error.
    #[must_use]
    pub fn allow_missing(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    /// Takes gradients as they come: no look at them for NaN, which costs a read of all gradients
    /// where no norm is clipped. Then a NaN ends up in the parameters.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.check_finite = false;
        self
    }

    /// Whether steps evaluate the loss several times, over all parameters at once: L-BFGS.
    pub fn searches(&self) -> bool {
        self.default.searches()
    }

    /// The group of what no patterns take.
    pub fn default_group(&self) -> &ParamGroup {
        &self.default
    }

    /// Checks what does not depend on the parameters: the options, and that nothing stands beside a rule
    /// that searches over all parameters as one vector.
    pub(crate) fn check(&self) -> Result<(), InvalidOption> {
        if let Some(invalid) = &self.invalid {
            return Err(invalid.clone());
        }
        let mut groups = std::iter::once(&self.default).chain(self.groups.iter().map(|(_, g)| g));
        if !groups.any(ParamGroup::searches) {
            return Ok(());
        }
        let group = &self.default;
        let wrong = [
            ("groups", !self.groups.is_empty()),
            ("state_dtype", group.state_dtype != StateDtype::Full),
            ("stochastic_rounding", group.stochastic_rounding),
        ];
        let wrong = wrong.into_iter().find_map(|(option, wrong)| wrong.then_some(option));
        if let Some(option) = wrong.or(group.wrappers.first()) {
            let reason = "cannot be beside a rule that searches over all parameters as one vector; leave \
                          it out";
            return Err(InvalidOption::new(option, reason));
        }
        Ok(())
    }
}

impl fmt::Debug for OptimizerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimizerConfig")
            .field("default", &self.default)
            .field("groups", &self.groups)
            .field("schedule", &self.schedule)
            .field("max_grad_norm", &self.max_grad_norm)
            .finish_non_exhaustive()
    }
}
