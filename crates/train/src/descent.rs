//! The loop: batch, loss, backward, guards, step, events, checkpoint.

use std::time::Instant;

use rappel_optim::StepReport;
use rappel_telemetry::{Detail, Event, Sink, Step};
use rappel_tensor::Tensor;

use crate::checkpoint::State;
use crate::histograms::{self, Before};
use crate::step_loss::{Losses, MicroBatch, StepBatch, StepLoss, with_penalty};
use crate::{Ended, Newest, Observer, Pass, Run, TrainError, Validation, Verdict, guards};

impl Run {
    /// Takes the steps that are left, then writes the model; or saves a checkpoint and returns when
    /// the observer asks to stop.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] and [`TrainError::NoGradient`] before they can spoil a parameter;
    /// what the system refuses. Earlier checkpoints stay.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Ended, TrainError> {
        self.announce(observer)?;
        self.look_first(observer)?;
        while !self.is_over() {
            if observer.should_stop() {
                self.save(observer)?;
                let (step, dir) = (self.state.step, self.dir.path().to_owned());
                return Ok(Ended::Stopped { step, dir });
            }
            let next = self.state.step + 1;
            let draws = self.wants(observer, Detail::Histograms, next - 1, next);
            let (step, histograms) = self.descend(draws)?;
            self.record(&step, &histograms, observer)?;
            self.review(step.grad_norm, observer)?;
            self.validate_if_due(observer)?;
            self.save_if_due(observer)?;
        }
        self.save(observer)?;
        self.finish(observer).map(Ended::Finished)
    }

    /// Tells what looks wrong with the model before its first step.
    fn look_first(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.state.step > 0 {
            return Ok(());
        }
        let samples = self.batch(0).parts.swap_remove(0).samples;
        let doubt = self.precision.within(|| self.task.first_doubt(&samples));
        doubt.map_or(Ok(()), |doubt| self.emit(observer, &Event::Note(&doubt)))
    }

    /// Tells what looks wrong with the newest steps, and ends a run that can learn nothing.
    fn review(&mut self, grad_norm: f64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let State { step, losses, figures, .. } = &self.state;
        match self.task.review(&Newest::new(*step, losses, grad_norm, figures)) {
            Verdict::Fine => Ok(()),
            Verdict::Doubt(doubt) => self.emit(observer, &Event::Note(&doubt)),
            Verdict::Hopeless(reason) => Err(TrainError::Hopeless { step: *step, reason }),
        }
    }

    /// One optimizer step, and where it `draws` histograms of gradients, updates and weights. Where updates are
    /// within the backward pass, which saves the memory of whole gradients, there are only those of weights.
    pub(crate) fn descend(&mut self, draws: bool) -> Result<(Step, histograms::Named), TrainError> {
        let (since, step) = (Instant::now(), self.state.step);
        let keeps = draws && !self.config.run().train.update_in_backward;
        let before = keeps.then(|| Before::of(self.task.params()));
        let Taken { report, losses: Losses { data: loss, penalty }, gradients } =
            if let Some(loss) = self.task.solve() {
                Taken::solved(loss)
            } else {
                let batch = self.batch(step);
                self.update(&batch, keeps)
                    .map_err(|error| guards::explain(error, self.task.as_ref(), &batch))?
            };
        self.state.step += 1;
        self.remember(loss);
        let told = self.task.figures();
        self.remember_figures(told);
        let mut drawn = gradients;
        drawn.extend(before.into_iter().flat_map(|before| before.updates(self.task.params())));
        if draws {
            drawn.extend(histograms::weights(self.task.params()));
        }
        let units = self.task.units(&mut self.order.samples(step));
        let step = Step {
            steps: self.steps,
            loss,
            penalty,
            lr: report.lr,
            grad_norm: report.grad_norm.unwrap_or(f64::NAN),
            unit: self.task.unit(),
            units_per_second: units as f64 / since.elapsed().as_secs_f64(),
        };
        Ok((step, drawn))
    }

    /// The optimizer's part of a step: the backward pass, and the update after it or within it.
    fn update(&mut self, batch: &StepBatch, draws: bool) -> Result<Taken, TrainError> {
        let step = batch.step;
        if self.config.run().train.update_in_backward {
            let MicroBatch { samples, pass } = &batch.parts[0];
            let loss = self.precision.within(|| self.task.loss(samples, batch.weight, pass));
            let penalty = self.regularization.penalty(step);
            let losses = Losses { data: loss.item(), penalty: penalty.as_ref().map(Tensor::item) };
            let loss = with_penalty(loss, penalty);
            let report = self.optimizer.step_backward(step, self.task.params_mut(), loss)?;
            return Ok(Taken { report, losses, gradients: Vec::new() });
        }
        let mut loss = StepLoss {
            task: self.task.as_mut(),
            regularization: &self.regularization,
            precision: self.precision,
            batch,
            first: None,
            measures: self.config.run().train.noise_scale,
            squares: None,
            draws,
            gradients: Vec::new(),
        };
        let report = self.optimizer.descend(step, &mut loss)?;
        if let Some(squares) = &loss.squares {
            self.state.noise.take(squares);
        }
        let losses = loss.first.expect("the step evaluated it");
        Ok(Taken { report, losses, gradients: loss.gradients })
    }

    /// The samples of a step and their passes.
    fn batch(&self, step: u64) -> StepBatch {
        let parts = self.config.run().train.gradient_accumulation_steps;
        let pass = |part| Pass::training(self.config.seed(), step, part, &self.regularization);
        StepBatch::new(self.task.as_ref(), &self.order, step, parts, pass)
    }

    /// Whether what happens every so many steps happens now: at the end always, 0: only there.
    pub(crate) fn due(&self, every: u64) -> bool {
        let step = self.state.step;
        step == self.steps || (every > 0 && step.is_multiple_of(every))
    }

    fn validate_if_due(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if !self.due(self.config.run().train.eval_every) {
            return Ok(());
        }
        let Some(values) = self.validate()? else { return Ok(()) };
        let names = self.task.metrics().iter().map(|metric| metric.name);
        let named: Vec<_> = names.zip(values.iter().copied()).collect();
        self.state.events += 1;
        self.emit(observer, &Event::Validation(&named))?;
        let since = self.state.history.last().map_or(0, |found| found.step);
        self.state.history.push(Validation { step: self.state.step, values });
        self.follow();
        // At the end it is the model that the run keeps which is shown.
        if self.is_over() || !self.wants(observer, Detail::Pictures, since, self.state.step) {
            return Ok(());
        }
        self.evaluating(|run| run.show(observer))
    }

    /// What the task measures; none without validation data.
    pub(crate) fn validate(&mut self) -> Result<Option<Vec<f64>>, TrainError> {
        self.evaluating(|run| Ok(run.precision.within(|| run.task.validate())))
    }

    /// Measures what is kept in the end, where a rule hands out an average.
    fn evaluating<R>(
        &mut self,
        measure: impl FnOnce(&mut Self) -> Result<R, TrainError>,
    ) -> Result<R, TrainError> {
        self.optimizer.eval(self.task.params_mut())?;
        let measured = measure(self);
        self.optimizer.train(self.task.params_mut())?;
        measured
    }

    fn save_if_due(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let best = self.best_step();
        self.checkpoints.spare = best;
        let is_best = best == Some(self.state.step);
        if is_best || self.due(self.config.run().checkpoint.every) {
            self.save(observer)?;
        }
        Ok(())
    }

    pub(crate) fn save(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.saved == self.state.step {
            return Ok(());
        }
        // Events before a checkpoint do not come again, so they go to the disk first.
        self.sinks.flush()?;
        self.check_finite(guards::first_non_finite(self.task.params()))?;
        let frozen = self.task.frozen();
        let is_here = |name: &str| !frozen.as_ref().is_some_and(|of| of.names.contains(name));
        let params = self.task.params().tensors().into_iter();
        let params = params.filter(|(name, _)| is_here(name)).map(Into::into).collect();
        let optimizer = self.optimizer.streamed_state();
        self.check_finite(guards::first_non_finite_state(&optimizer))?;
        let path = self.checkpoints.save(&self.state, params, optimizer).map_err(|source| {
            let (step, dir) = (self.state.step, self.dir.path().to_owned());
            TrainError::Save { step, dir, source: Box::new(source) }
        })?;
        self.saved = self.state.step;
        self.emit(observer, &Event::Saved(&path))
    }

    /// What a step spoiled is neither saved nor called done: the error names the checkpoint that is left.
    pub(crate) fn check_finite(&self, spoiled: Option<String>) -> Result<(), TrainError> {
        let Some(tensor) = spoiled else { return Ok(()) };
        let kept = (self.saved > 0).then(|| self.checkpoints.at(self.saved));
        Err(TrainError::Spoiled { step: self.state.step, tensor, kept })
    }
}

/// A step of the optimizer, or of a task that takes its steps itself.
struct Taken {
    report: StepReport,
    losses: Losses,
    /// Histograms of the gradients, where they are drawn.
    gradients: histograms::Named,
}

impl Taken {
    fn solved(loss: f64) -> Self {
        let report = StepReport { grad_norm: None, clip_coef: 1.0, lr: 0.0, loss: Some(loss) };
        Self { report, losses: Losses { data: loss, penalty: None }, gradients: Vec::new() }
    }
}
