//! The optimizer: what it is made of, and a step over all parameters.

use std::fmt;
use std::sync::Arc;

use rappel_schedule::Schedule;
use rappel_tensor::{ArenaLayout, Grads, Key, Param, Params};

use super::averaging::WeightAverage;
use super::clip;
use super::group::{Group, Part, assign};
use super::search::Search;
use super::step::GroupStep;
use crate::config::{AfterStep, OptimizerConfig};
use crate::error::OptimError;
use crate::kernels::GradTransform;
use crate::wrappers::GradientNoise;
use rappel_config::InvalidOption;

/// Takes the steps of a run: a rule for every trainable parameter, and its state.
///
/// ```
/// use rappel_optim::{Optimizer, Sgd};
/// use rappel_tensor::{DType, Init, Params, Tensor};
/// let mut params = Params::new(0);
/// let w = params.scope("").add("w", [2], Init::ONES);
/// let mut sgd = Optimizer::new(Sgd { lr: 0.5.into(), ..Default::default() }, &params)?;
/// let loss = w.tensor().square().sum();
/// let report = sgd.step(0, &mut params, &loss.backward())?;
/// assert_eq!(report.grad_norm, Some(8.0_f64.sqrt()));
/// assert_eq!(w.tensor().to_vec::<f32>(), [0.0, 0.0]);
/// # Ok::<(), rappel_optim::OptimError>(())
/// ```
pub struct Optimizer {
    pub(crate) layout: Arc<ArenaLayout>,
    pub(crate) groups: Vec<Group>,
    /// Takes the steps of a rule that evaluates the loss itself.
    pub(super) search: Option<Search>,
    /// Goes along beside the parameters.
    pub(crate) average: Option<WeightAverage>,
    after_step: Option<AfterStep>,
    pub(crate) max_grad_norm: Option<Schedule>,
    pub(crate) norm_type: f64,
    pub(crate) clip_value: Option<f64>,
    pub(crate) allow_missing: bool,
    pub(crate) check_finite: bool,
    pub(crate) seed: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The norm of all gradients as one vector, before clipping; `None` where nobody asked:
    /// nothing was clipped, and gradients were taken unchecked.
    pub grad_norm: Option<f64>,
    /// What clipping multiplied the gradients by; 1 where it did nothing.
    pub clip_coef: f64,
    /// The learning rate of the parameters that no group took.
    pub lr: f64,
    /// The loss where the step began; `None` where the step was given gradients alone.
    pub loss: Option<f64>,
}

/// What is known of gradients before they are used.
#[derive(Clone, Copy)]
pub(crate) struct Gradients {
    pub transform: GradTransform,
    pub grad_norm: Option<f64>,
    pub clip_coef: f64,
    pub loss: Option<f64>,
    /// Whether every parameter has one.
    pub complete: bool,
}

impl Optimizer {
    /// An optimizer for the trainable parameters of `params`, its state at zero. Fixes the set.
    ///
    /// # Errors
    /// An option out of range, a pattern that gets no parameter, nothing to train.
    pub fn new(config: impl Into<OptimizerConfig>, params: &Params) -> Result<Self, OptimError> {
        let mut config = config.into();
        if let Some(variance) = config.gradient_noise.take() {
            let noise = GradientNoise { variance, seed: config.seed };
            let groups = config.groups.iter_mut().map(|(_, group)| group);
            for group in groups.chain([&mut config.default]) {
                group.wrappers.gradient_noise = Some(noise.clone());
            }
        }
        config.check()?;
        let layout = params.layout();
        let groups = assign(&layout, config.default, config.groups, &config.schedule)?;
        if config.average.is_some() && groups.iter().any(|group| group.stepper.mode().is_some()) {
            let reason = "the rule hands out an average of its own; leave this one out";
            return Err(InvalidOption::new("average", reason).into());
        }
        Ok(Self {
            average: config.average.map(|average| WeightAverage::new(average, layout.clone())),
            search: Search::new(&layout, &groups)?,
            groups,
            layout,
            after_step: config.after_step,
            max_grad_norm: config.max_grad_norm,
            norm_type: config.norm_type,
            clip_value: config.clip_value,
            allow_missing: config.allow_missing,
            check_finite: config.check_finite,
            seed: config.seed,
        })
    }

    /// Updates every trainable parameter by its gradient, hyperparameters as of `step`, counted
    /// from 0.
    ///
    /// # Errors
    /// [`OptimError::MissingGradient`], [`OptimError::NonFiniteGradient`],
    /// [`ParamsError::InUse`](rappel_tensor::ParamsError::InUse) while a graph holds parameters,
    /// [`OptimError::OtherParams`], [`OptimError::Evaluating`]; [`OptimError::NeedsLoss`] where gradients alone do not do, so
    /// that it must be [`step_closure`](Optimizer::step_closure). Then parameters and state are
    /// unchanged.
    pub fn step(
        &mut self,
        step: u64,
        params: &mut Params,
        grads: &Grads,
    ) -> Result<StepReport, OptimError> {
        self.step_scaled(step, params, grads, 1.0)
    }

    /// [`step`](Optimizer::step) with gradients multiplied by `scale` first, without a walk of its
    /// own: the mean of sums that were accumulated over several batches.
    ///
    /// # Errors
    /// As [`step`](Optimizer::step).
    pub fn step_scaled(
        &mut self,
        step: u64,
        params: &mut Params,
        grads: &Grads,
        scale: f64,
    ) -> Result<StepReport, OptimError> {
        if self.searches() {
            return self.search_constant(step, params, grads, scale);
        }
        if self.groups.iter().any(|group| group.wrappers.sam.is_some()) {
            let what = "a sharpness-aware step takes gradients at two places";
            return Err(OptimError::NeedsLoss { what });
        }
        self.update(step, params, grads, scale)
    }

    /// Updates every parameter by its gradient, once.
    pub(crate) fn update(
        &mut self,
        step: u64,
        params: &mut Params,
        grads: &Grads,
        scale: f64,
    ) -> Result<StepReport, OptimError> {
        if !Arc::ptr_eq(&self.layout, &params.layout()) {
            return Err(OptimError::OtherParams);
        }
        if self.evaluates() {
            return Err(OptimError::Evaluating);
        }
        let Gradients { transform, grad_norm, clip_coef, complete, .. } =
            self.gradients(step, grads, scale)?;
        let rounding = self.rounding(step);
        params.update(|arenas| {
            for (i, group) in self.groups.iter_mut().enumerate() {
                let key = rounding.with(i as u64);
                group.step(GroupStep { step, transform, key, complete }, arenas, grads);
            }
        })?;
        self.end_step(step, params)?;
        Ok(StepReport { grad_norm, clip_coef, lr: self.lr(step), loss: None })
    }

    /// What comes after the update of `step`, however it was taken: what the config adds, then the
    /// average takes the parameters in.
    pub(crate) fn end_step(&mut self, step: u64, params: &mut Params) -> Result<(), OptimError> {
        if let Some(after_step) = &self.after_step {
            let lr = |param: &Param| self.lr_of(step, param.index());
            after_step(step, params, &lr)?;
        }
        match &mut self.average {
            Some(average) => Ok(average.take(step + 1, params)?),
            None => Ok(()),
        }
    }

    /// Checks gradients, and says what is to be done to them first.
    pub(crate) fn gradients(
        &self,
        step: u64,
        grads: &Grads,
        scale: f64,
    ) -> Result<Gradients, OptimError> {
        let missing = grads.missing(&self.layout);
        if let (Some(name), false) = (missing.first(), self.allow_missing) {
            return Err(OptimError::MissingGradient {
                name: (*name).to_owned(),
                others: missing.len() - 1,
            });
        }
        let (grad_norm, clip_coef) = self.clip(step, grads, scale)?;
        let transform = GradTransform { scale: scale * clip_coef, limit: self.clip_value };
        let complete = missing.is_empty();
        Ok(Gradients { transform, grad_norm, clip_coef, loss: None, complete })
    }

    /// The norm, where somebody wants it, and the factor that clips it.
    fn clip(&self, step: u64, grads: &Grads, scale: f64) -> Result<(Option<f64>, f64), OptimError> {
        if self.max_grad_norm.is_none() && !self.check_finite {
            return Ok((None, 1.0));
        }
        let norm = clip::norm(grads, &self.layout, self.norm_type) * scale.abs();
        if !norm.is_finite() && self.check_finite {
            return Err(clip::explain(grads, &self.layout, step));
        }
        let max = self.max_grad_norm.as_ref().map(|max| max.at(step));
        let coef = max.map_or(1.0, |max| clip::coefficient(norm, max));
        Ok((Some(norm), coef))
    }

    /// What random rounding at `step` is drawn from.
    pub(crate) fn rounding(&self, step: u64) -> Key {
        Key::new(self.seed).with_name("stochastic rounding").with(step)
    }

    /// Multiplies the schedule of every group from the next step on by what `factor` makes of the learning
    /// rate that its rule begins with: for what follows the course of a run instead of the step. It is no
    /// state, so who set it sets it again after loading.
    pub fn scale_schedule(&mut self, factor: &dyn Fn(f64) -> f64) {
        for group in &mut self.groups {
            group.scale = factor(group.stepper.lr().at(0));
        }
    }

    /// The learning rate at `step` of the parameters that no group took.
    pub fn lr(&self, step: u64) -> f64 {
        self.groups[0].lr(step)
    }

    /// The learning rate at `step` of the parameter at position `index` of its set; 0 where that is
    /// not trained.
    pub fn lr_of(&self, step: u64, index: usize) -> f64 {
        let trains = |group: &&Group| {
            group.parts.iter().flat_map(|part| &part.members).any(|member| member.index == index)
        };
        self.groups.iter().find(trains).map_or(0.0, |group| group.lr(step))
    }

    /// Why nobody else may change parameters between steps, if that is so: the optimizer remembers
    /// where they were.
    pub fn remembers_parameters(&self) -> Option<&'static str> {
        let mut parts = self.groups.iter().flat_map(|group| &group.parts);
        if self.searches() {
            Some("its rule compares the gradients of steps by where they were taken")
        } else if self.groups.iter().any(|group| group.stepper.mode().is_some()) {
            Some("its rule averages the points that it trains")
        } else if parts.any(Part::has_master) {
            Some("master copies take the parameters' place at the next step")
        } else {
            None
        }
    }

    /// The names of the parameters of each group: first those that no pattern took, then those of
    /// the groups in order.
    pub fn group_names(&self) -> Vec<Vec<&str>> {
        let name = |index: usize| self.layout.entries()[index].name.as_str();
        let names = |group: &Group| {
            let mut indices: Vec<usize> =
                group.parts.iter().flat_map(|part| part.members.iter().map(|m| m.index)).collect();
            indices.sort_unstable();
            indices.into_iter().map(name).collect()
        };
        self.groups.iter().map(names).collect()
    }

    /// Bytes of state.
    pub fn state_bytes(&self) -> usize {
        let parts: usize = self.groups.iter().flat_map(|g| &g.parts).map(Part::state_bytes).sum();
        let average = self.average.as_ref().map_or(0, WeightAverage::bytes);
        parts + self.search.as_ref().map_or(0, Search::state_bytes) + average
    }

    /// Bytes that a step, or each iteration of a search, moves between memory and processor, at the
    /// least.
    pub fn bytes_moved(&self) -> usize {
        if let Some(search) = &self.search {
            return search.bytes_moved(&*self.groups[0].stepper);
        }
        let parts = self.groups.iter().flat_map(|g| g.parts.iter().map(|part| (&*g.stepper, part)));
        let average = self.average.as_ref().map_or(0, WeightAverage::bytes_moved);
        parts.map(|(stepper, part)| part.bytes_moved(stepper)).sum::<usize>() + average
    }
}

impl fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.groups.iter().map(|group| &group.stepper);
        f.debug_struct("Optimizer")
            .field("rules", &rules.collect::<Vec<_>>())
            .field("state_bytes", &self.state_bytes())
            .finish_non_exhaustive()
    }
}
