//! The optimizer: a step over all parameters.

use std::sync::Arc;

use rappel_tensor::{ArenaLayout, Grads, Key, Param, Params};

use crate::averaging::WeightAverage;
use crate::clip;
use crate::group::{Group, Part, assign};
use crate::modifiers::GradientNoise;
use crate::recipe::AfterStep;
use crate::search::{Halt, Search, Source, check_alone};
use crate::step::Stride;
use crate::stepper::Prepare;
use crate::{InvalidOption, MAX_NUMBERS, Now, OptimError, Recipe, Schedule};

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
    pub(crate) search: Option<Search>,
    /// Goes along beside the parameters.
    pub(crate) average: Option<WeightAverage>,
    after_step: Option<AfterStep>,
    lr_factor: Schedule,
    lr_scale: f64,
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
    pub prepare: Prepare,
    pub grad_norm: Option<f64>,
    pub clip_coef: f64,
    pub loss: Option<f64>,
    /// Whether every parameter has one.
    pub whole: bool,
}

impl Optimizer {
    /// An optimizer for the trainable parameters of `params`, its state at zero. Fixes the set.
    ///
    /// # Errors
    /// An option out of range, a pattern that gets no parameter, nothing to train.
    pub fn new(recipe: impl Into<Recipe>, params: &Params) -> Result<Self, OptimError> {
        let mut recipe = recipe.into();
        if let Some(variance) = recipe.gradient_noise.take() {
            let noise = GradientNoise { variance, seed: recipe.seed };
            let groups = recipe.groups.iter_mut().map(|(_, plan)| plan);
            for plan in groups.chain([&mut recipe.default]) {
                plan.modifiers.gradient_noise = Some(noise.clone());
            }
        }
        if let Some(invalid) = recipe.invalid {
            return Err(invalid.into());
        }
        check_alone(&recipe)?;
        let layout = params.layout();
        let groups = assign(&layout, recipe.default, recipe.groups)?;
        if recipe.average.is_some() && groups.iter().any(|group| group.stepper.mode().is_some()) {
            let reason = "the rule hands out an average of its own; leave this one out";
            return Err(InvalidOption::new("average", reason).into());
        }
        Ok(Self {
            average: recipe.average.map(|average| WeightAverage::new(average, layout.clone())),
            search: Search::new(&layout, &groups)?,
            groups,
            layout,
            after_step: recipe.after_step,
            lr_factor: recipe.lr_factor,
            lr_scale: 1.0,
            max_grad_norm: recipe.max_grad_norm,
            norm_type: recipe.norm_type,
            clip_value: recipe.clip_value,
            allow_missing: recipe.allow_missing,
            check_finite: recipe.check_finite,
            seed: recipe.seed,
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
            let source = Source::Constant { params: &mut *params, grads };
            let report = self.search(step, source, scale).map_err(|halt| match halt {
                Halt::NotFinite(error) | Halt::Error(error) => error,
                Halt::Objective => unreachable!("there is none"),
            })?;
            self.end_step(step, params)?;
            return Ok(report);
        }
        if self.groups.iter().any(|group| group.modifiers.sam.is_some()) {
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
        let Gradients { prepare, grad_norm, clip_coef, whole, .. } =
            self.gradients(step, grads, scale)?;
        let lr_factor = self.lr_factor(step);
        let rounding = self.rounding(step);
        params.update(|arenas| {
            let now = Now { step, count: 0, lr_factor, numbers: [0.0; MAX_NUMBERS] };
            for (i, group) in self.groups.iter_mut().enumerate() {
                let key = rounding.with(i as u64);
                group.step(Stride { now, prepare, key, whole }, arenas, grads);
            }
        })?;
        self.end_step(step, params)?;
        Ok(StepReport { grad_norm, clip_coef, lr: self.lr(step), loss: None })
    }

    /// What comes after the update of `step`, however it was taken: what the recipe adds, then the
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
        let prepare = Prepare { scale: scale * clip_coef, limit: self.clip_value };
        Ok(Gradients { prepare, grad_norm, clip_coef, loss: None, whole: missing.is_empty() })
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

    /// Multiplies all learning rates from the next step on: for what follows the course of a run
    /// instead of the step. It is no state, so who set it sets it again after loading.
    pub fn set_lr_scale(&mut self, scale: f64) {
        self.lr_scale = scale;
    }

    /// Multiplies the learning rate of each group by what `factor` makes of the rate that it begins
    /// with, as [`set_lr_scale`](Optimizer::set_lr_scale) does with all.
    pub fn follow(&mut self, factor: &dyn Fn(f64) -> f64) {
        for group in &mut self.groups {
            group.lr_scale = factor(group.stepper.lr().at(0));
        }
    }

    /// What multiplies the learning rate of every group.
    pub(crate) fn lr_factor(&self, step: u64) -> f64 {
        self.lr_factor.at(step) * self.lr_scale
    }

    /// The learning rate at `step` of the parameters that no group took.
    pub fn lr(&self, step: u64) -> f64 {
        self.lr_in(&self.groups[0], step)
    }

    /// The learning rate at `step` of the parameter at position `index` of its set; 0 where that is
    /// not trained.
    pub fn lr_of(&self, step: u64, index: usize) -> f64 {
        let trains = |group: &&Group| {
            group.parts.iter().flat_map(|part| &part.members).any(|member| member.index == index)
        };
        self.groups.iter().find(trains).map_or(0.0, |group| self.lr_in(group, step))
    }

    fn lr_in(&self, group: &Group, step: u64) -> f64 {
        let lr_factor = self.lr_factor(step);
        let now = Now { step, count: 0, lr_factor, numbers: [0.0; MAX_NUMBERS] };
        group.own(now).lr(group.stepper.lr())
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
