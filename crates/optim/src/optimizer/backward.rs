//! Steps within the backward pass: each parameter is updated as soon as its gradient is whole.

use std::sync::Arc;

use rappel_tensor::{DType, Key, Params, Tensor};

use super::core::{Optimizer, StepReport};
use super::group::{Group, Part};
use super::step::GroupStep;
use crate::error::OptimError;
use crate::kernels::GradTransform;

impl Optimizer {
    /// A step that needs no memory for all gradients: the backward pass from `loss` hands out each
    /// gradient as soon as it is whole, the parameter is updated, and the gradient freed. Parameters
    /// and state are then those after [`step`](Optimizer::step), bit for bit.
    ///
    /// A parameter is updated once nothing views it any more, in the graph or elsewhere; until
    /// then its gradient waits. No operation ever reads a value of the next step. The loss is taken
    /// by value, so that its graph is gone at the end.
    ///
    /// ```
    /// use rappel_optim::{Lomo, Optimizer};
    /// use rappel_tensor::{DType, Init, Params, Tensor};
    /// let mut params = Params::new(0);
    /// let w = params.scope("").add("w", [2], Init::ONES);
    /// let mut lomo = Optimizer::new(Lomo { lr: 0.5.into(), ..Default::default() }, &params)?;
    /// let loss = w.tensor().square().sum();
    /// let report = lomo.step_backward(0, &mut params, loss)?;
    /// assert_eq!((report.loss, report.grad_norm), (Some(2.0), Some(8.0_f64.sqrt())));
    /// assert_eq!(w.tensor().to_vec::<f32>(), [0.0, 0.0]);
    /// # Ok::<(), rappel_optim::OptimError>(())
    /// ```
    ///
    /// From [Lv et al., 2023](https://arxiv.org/abs/2306.09782).
    ///
    /// # Errors
    /// Before anything is changed: [`OptimError::NeedsAllGradients`] with clipping by the norm, rules
    /// that add up numbers over tensors, sharpness-aware steps and searches, bfloat16 parameters that
    /// are rounded at random, and wrappers around their master copies;
    /// [`OptimError::NonFiniteLoss`]; [`OptimError::MissingGradient`] where the loss was not computed
    /// from a parameter; [`OptimError::OtherParams`]; [`OptimError::Evaluating`].
    ///
    /// [`OptimError::Unfinished`], with some parameters changed, where a gradient is not finite, none
    /// comes, or a tensor that is alive after the pass was made from a parameter.
    ///
    /// # Panics
    /// As [`backward`](Tensor::backward).
    pub fn step_backward(
        &mut self,
        step: u64,
        params: &mut Params,
        loss: Tensor,
    ) -> Result<StepReport, OptimError> {
        let layout = self.layout.clone();
        if !Arc::ptr_eq(&layout, &params.layout()) {
            return Err(OptimError::OtherParams);
        }
        if self.evaluates() {
            return Err(OptimError::Evaluating);
        }
        if let Some(what) = self.needs_all() {
            return Err(OptimError::NeedsAllGradients { what });
        }
        let value = loss.item();
        self.check_loss(step, value)?;
        self.check_reads(&loss)?;
        let mut pass = Pass::new(self, step, params);
        loss.backward_each_of(&layout, &mut |index, grad| pass.take(index, grad));
        drop(loss);
        let report = pass.finish()?;
        self.end_step(step, params)?;
        Ok(StepReport { loss: Some(value), ..report })
    }

    /// Why [`step_backward`](Optimizer::step_backward) would be refused, for steps need all gradients
    /// at once, if they do.
    pub fn needs_all(&self) -> Option<&'static str> {
        if self.max_grad_norm.is_some() {
            return Some("clipping needs the norm of all gradients");
        }
        if self.searches() {
            return Some("its rule evaluates the loss several times");
        }
        let of = |group: &Group| {
            let bf16 = group.parts.iter().any(|part| part.dtype == DType::BF16);
            if group.parts.is_empty() {
                None
            } else if group.parts.iter().any(|part| part.by_rows) {
                Some("gradients of tables are kept by rows until all are whole")
            } else if group.wrappers.sam.is_some() {
                Some("a sharpness-aware step takes gradients at two places")
            } else if group.stochastic_rounding && bf16 {
                Some("bfloat16 parameters are rounded at random by their place among all")
            } else if !group.wrappers.leave_alone() && group.parts.iter().any(Part::has_master) {
                Some("wrappers work on all master copies together")
            } else {
                group.stepper.needs_all()
            }
        };
        self.groups.iter().find_map(of)
    }

    /// The loss depends on every parameter that must have a gradient.
    fn check_reads(&self, loss: &Tensor) -> Result<(), OptimError> {
        let entries = self.layout.entries().iter().zip(loss.reads(&self.layout));
        let mut missing = entries.filter(|(entry, read)| entry.trainable && !read);
        match missing.next() {
            Some((entry, _)) if !self.allow_missing => {
                let (name, others) = (entry.name.clone(), missing.count());
                Err(OptimError::MissingGradient { name, others })
            }
            _ => Ok(()),
        }
    }
}

/// A parameter's position among groups, parts and members.
type Place = (usize, usize, usize);

/// A backward pass with the step in it.
struct Pass<'a> {
    optimizer: &'a mut Optimizer,
    params: &'a mut Params,
    step: u64,
    rounding: Key,
    /// Where each parameter belongs; `None` for those that are not trained.
    places: Vec<Option<Place>>,
    /// Gradients of parameters that are still in use.
    waiting: Vec<(usize, Tensor)>,
    /// The sum of squares of each gradient that has come.
    squares: Vec<Option<f64>>,
    updated: usize,
    failed: Option<String>,
}

impl<'a> Pass<'a> {
    fn new(optimizer: &'a mut Optimizer, step: u64, params: &'a mut Params) -> Self {
        let count = optimizer.layout.entries().len();
        let mut places = vec![None; count];
        for (g, group) in optimizer.groups.iter().enumerate() {
            for (p, part) in group.parts.iter().enumerate() {
                for (k, member) in part.members.iter().enumerate() {
                    places[member.index] = Some((g, p, k));
                }
            }
        }
        Self {
            step,
            rounding: optimizer.rounding(step),
            optimizer,
            params,
            places,
            waiting: Vec::new(),
            squares: vec![None; count],
            updated: 0,
            failed: None,
        }
    }

    /// Takes the whole gradient of a parameter.
    fn take(&mut self, index: usize, grad: Tensor) {
        if self.failed.is_some() {
            return;
        }
        let squares = if self.optimizer.check_finite { grad.sum_of_squares() } else { 0.0 };
        if !squares.is_finite() {
            let name = &self.optimizer.layout.entries()[index].name;
            self.failed = Some(match grad.first_non_finite() {
                Some(at) => format!("the gradient of `{name}` is not finite at element {at}"),
                None => format!("the norm of the gradient of `{name}` overflows"),
            });
            return;
        }
        self.squares[index] = Some(squares);
        self.waiting.push((index, grad));
        self.settle();
    }

    /// Updates those parameters whose gradients have come and that nothing views any more.
    fn settle(&mut self) {
        for (index, grad) in std::mem::take(&mut self.waiting) {
            if self.update(index, &grad) {
                self.updated += 1;
            } else {
                self.waiting.push((index, grad));
            }
        }
    }

    /// Updates a parameter, unless it is in use.
    fn update(&mut self, index: usize, grad: &Tensor) -> bool {
        let (g, part, k) = self.places[index].expect("a parameter with a gradient is trained");
        let transform = GradTransform { scale: 1.0, limit: self.optimizer.clip_value };
        let group = &mut self.optimizer.groups[g];
        let key = self.rounding.with(g as u64);
        let step = GroupStep { step: self.step, transform, key, complete: false };
        self.params.update_one(index, |param| group.step_one(step, (part, k), param, grad)).is_ok()
    }

    /// After the pass, when the graph is gone.
    fn finish(mut self) -> Result<StepReport, OptimError> {
        if self.failed.is_none() {
            self.settle();
        }
        let (optimizer, step) = (self.optimizer, self.step);
        let entries = optimizer.layout.entries();
        let no_gradient = || {
            let mut came = entries.iter().zip(&self.squares);
            let (missing, _) = came.find(|(entry, came)| entry.trainable && came.is_none())?;
            (!optimizer.allow_missing).then(|| format!("`{}` got no gradient", missing.name))
        };
        let in_use = || {
            let (index, _) = self.waiting.first()?;
            let name = &entries[*index].name;
            Some(format!("a tensor that was made from `{name}` is still alive; drop it before"))
        };
        if let Some(why) = self.failed.or_else(in_use).or_else(no_gradient) {
            return Err(OptimError::Unfinished { why, updated: self.updated, step });
        }
        let wanted = optimizer.check_finite && optimizer.norm_type == 2.0;
        let norm = || self.squares.iter().flatten().sum::<f64>().sqrt();
        Ok(StepReport {
            grad_norm: wanted.then(norm),
            clip_coef: 1.0,
            lr: optimizer.lr(step),
            loss: None,
        })
    }
}
