//! The loop: batch, loss, backward, guards, step, events, checkpoint.

use std::time::Instant;

use rappel_optim::{Objective, StepReport};
use rappel_regularize::Regularization;
use rappel_telemetry::{Event, Sink};
use rappel_tensor::{Grads, Params, Tensor};

use crate::early_stopping::EarlyStopping;
use crate::noise::{Meter, Squares};
use crate::run::{best_step, wall_time};
use crate::tasks::Task;
use crate::{
    Ended, Note, Observer, Pass, Report, Run, Started, Step, TrainError, Validation, guards,
};

/// Newest losses that the mean at the end is taken over.
const RECENT: usize = 100;

/// The loss of one step's samples: the same each time that the step looks at it.
struct Batch<'a> {
    task: &'a mut dyn Task,
    regularization: &'a Regularization,
    step: u64,
    passes: &'a [Pass],
    /// What it came to where the step began.
    first: Option<Losses>,
    /// Whether the gradients' noise is to be measured there, and what came of it.
    measures: bool,
    squares: Option<Squares>,
}

impl Batch<'_> {
    /// What measures the noise of the gradients where the step begins, if anything does.
    fn meter(&self) -> Option<Meter> {
        let wanted = self.measures && self.first.is_none();
        let samples = || self.task.order().batch_size(self.step);
        wanted.then(|| Meter::new(self.task.params().layout(), samples()))
    }
}

/// The loss of a batch, and what is added to it.
#[derive(Clone, Copy)]
struct Losses {
    data: f64,
    penalty: Option<f64>,
}

impl Objective for Batch<'_> {
    type Error = TrainError;

    fn params_mut(&mut self) -> &mut Params {
        self.task.params_mut()
    }

    fn evaluate(&mut self) -> Result<(f64, Grads), TrainError> {
        let mut grads = Grads::default();
        let mut data = 0.0;
        let mut penalty = None;
        let mut meter = self.meter();
        // Its gradient is no sample's.
        let mut apart = None;
        for pass in self.passes {
            let Some(of_part) = self.task.loss(pass) else { continue };
            data += of_part.item();
            // Once a step, and in one graph with a loss: as where updates are within the pass.
            let once = penalty.is_none().then(|| self.regularization.penalty(self.step)).flatten();
            penalty = penalty.or(once.as_ref().map(Tensor::item));
            let Some(meter) = &mut meter else {
                with_penalty(of_part, once).backward_into(&mut grads);
                continue;
            };
            apart = apart.or(once);
            of_part.backward_into(&mut grads);
            let samples = self.task.order().part(self.step, pass.part, self.passes.len());
            meter.part(samples.len(), &grads);
        }
        self.squares = self.squares.take().or(meter.map(Meter::finish));
        if let Some(penalty) = apart {
            penalty.backward_into(&mut grads);
        }
        self.first.get_or_insert(Losses { data, penalty });
        Ok((data + penalty.unwrap_or(0.0), grads))
    }
}

fn with_penalty(loss: Tensor, penalty: Option<Tensor>) -> Tensor {
    match penalty {
        Some(penalty) => loss + penalty,
        None => loss,
    }
}

impl Run {
    /// Takes the steps that are left, then writes the model; or saves a checkpoint and returns when
    /// the observer asks to stop.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] and [`TrainError::NoGradient`] before they can spoil a parameter;
    /// what the system refuses. Earlier checkpoints stay.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Ended, TrainError> {
        observer.started(&self.started());
        while !self.is_over() {
            if observer.should_stop() {
                self.save(observer)?;
                let (step, dir) = (self.state.step, self.dir.path().to_owned());
                return Ok(Ended::Stopped { step, dir });
            }
            let step = self.descend()?;
            self.tell(&step)?;
            observer.step(&step);
            self.validate_if_due(observer)?;
            self.save_if_due(observer)?;
        }
        self.save(observer)?;
        self.finish(observer).map(Ended::Finished)
    }

    /// One optimizer step with a learning rate of `lr`, and its loss; none where that diverged.
    pub(crate) fn step_at(
        &mut self,
        lr: f64,
        steps: u64,
        observer: &mut dyn Observer,
    ) -> Result<Option<f64>, TrainError> {
        self.optimizer.set_lr_scale(1.0);
        self.optimizer.set_lr_scale(lr / self.optimizer.lr(self.state.step));
        match self.descend() {
            Ok(step) => {
                observer.step(&Step { steps, ..step });
                Ok(Some(step.loss).filter(|loss| loss.is_finite()))
            }
            Err(TrainError::NonFinite { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The loss on the validation data, if there is any.
    pub(crate) fn validation_loss(&mut self) -> Result<Option<f64>, TrainError> {
        Ok(self.validate()?.map(|values| values[0]))
    }

    /// One optimizer step.
    fn descend(&mut self) -> Result<Step, TrainError> {
        let (since, step) = (Instant::now(), self.state.step);
        let passes: Vec<Pass> = self.passes(step).collect();
        let (report, Losses { data: loss, penalty }) = self
            .update(step, &passes)
            .map_err(|error| guards::explain(step + 1, error, self.task.as_ref(), &passes))?;
        self.state.step += 1;
        self.remember(loss);
        Ok(Step {
            step: self.state.step,
            steps: self.steps,
            loss,
            penalty,
            lr: report.lr,
            grad_norm: report.grad_norm.unwrap_or(f64::NAN),
            tokens_per_second: self.task.tokens(step) as f64 / since.elapsed().as_secs_f64(),
        })
    }

    /// The optimizer's part of a step: the backward pass, and the update after it or within it.
    fn update(&mut self, step: u64, passes: &[Pass]) -> Result<(StepReport, Losses), TrainError> {
        let within = self.config.section("train").bool("update_in_backward");
        if let Some(loss) = within.then(|| self.task.loss(&passes[0])).flatten() {
            let penalty = self.regularization.penalty(step);
            let found = Losses { data: loss.item(), penalty: penalty.as_ref().map(Tensor::item) };
            let loss = with_penalty(loss, penalty);
            let report = self.optimizer.step_backward(step, self.task.params_mut(), loss)?;
            return Ok((report, found));
        }
        let mut batch = Batch {
            task: self.task.as_mut(),
            regularization: &self.regularization,
            step,
            passes,
            first: None,
            measures: self.config.section("train").bool("noise_scale"),
            squares: None,
        };
        let report = self.optimizer.descend(step, &mut batch)?;
        if let Some(squares) = &batch.squares {
            self.state.noise.take(squares);
        }
        Ok((report, batch.first.expect("the step evaluated it")))
    }

    /// The forward passes of a step.
    fn passes(&self, step: u64) -> impl Iterator<Item = Pass> {
        let parts = self.config.section("train").usize("gradient_accumulation_steps");
        let seed = self.config.seed();
        (0..parts).map(move |part| Pass::new(seed, step, part, &self.regularization))
    }

    fn log_every(&self) -> usize {
        self.config.section("train").usize("log_every")
    }

    fn remember(&mut self, loss: f64) {
        let most = RECENT.max(self.log_every());
        let losses = &mut self.state.losses;
        losses.push_back(loss);
        losses.drain(..losses.len().saturating_sub(most));
    }

    /// The mean of the newest losses, `count` at most.
    fn recent_loss(&self, count: usize) -> f64 {
        let losses = self.state.losses.iter().rev().take(count);
        losses.sum::<f64>() / self.state.losses.len().min(count) as f64
    }

    fn tell(&mut self, step: &Step) -> Result<(), TrainError> {
        let every = self.log_every();
        if !self.due(every as u64) {
            return Ok(());
        }
        let mut values = vec![
            ("train/loss", self.recent_loss(every)),
            ("train/lr", step.lr),
            ("train/grad_norm", step.grad_norm),
            ("train/tokens_per_second", step.tokens_per_second),
        ];
        values.extend(step.penalty.map(|penalty| ("train/penalty", penalty)));
        values.extend(self.state.noise.samples().map(|samples| ("train/noise_scale", samples)));
        if self.config.has_ramp() {
            let samples = self.task.order().batch_size(step.step - 1);
            values.push(("train/batch_size", samples as f64));
        }
        self.log(&values)
    }

    fn log(&mut self, values: &[(&str, f64)]) -> Result<(), TrainError> {
        let step = self.state.step;
        Ok(self.sinks.log(&Event::Scalars { step, wall_time: wall_time(), values })?)
    }

    /// Whether what happens every so many steps happens now: at the end always, 0: only there.
    fn due(&self, every: u64) -> bool {
        let step = self.state.step;
        step == self.steps || (every > 0 && step.is_multiple_of(every))
    }

    fn validate_if_due(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if !self.due(self.config.section("train").u64("eval_every")) {
            return Ok(());
        }
        let Some(values) = self.validate()? else { return Ok(()) };
        let metrics = self.task.metrics();
        let names: Vec<_> = metrics.iter().map(|of| format!("validation/{}", of.name)).collect();
        self.log(
            &names.iter().map(String::as_str).zip(values.iter().copied()).collect::<Vec<_>>(),
        )?;
        let found = Validation { step: self.state.step, values };
        observer.evaluated(&found, metrics);
        self.state.history.push(found);
        self.follow();
        Ok(())
    }

    /// What the task measures; none without validation data.
    fn validate(&mut self) -> Result<Option<Vec<f64>>, TrainError> {
        // What is kept in the end is what is measured, where a rule hands out an average.
        self.optimizer.eval(self.task.params_mut())?;
        let values = self.task.validate();
        self.optimizer.train(self.task.params_mut())?;
        Ok(values)
    }

    fn save_if_due(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let best = best_step(self.early_stopping.as_ref(), &self.state);
        self.checkpoints.spare = best;
        let is_best = best == Some(self.state.step);
        if is_best || self.due(self.config.section("checkpoint").u64("every")) {
            self.save(observer)?;
        }
        Ok(())
    }

    /// Whether all steps are taken, or validation says that no more are worth it.
    fn is_over(&self) -> bool {
        let stops = |stopping: &EarlyStopping| stopping.stops(&self.state.history);
        self.state.step >= self.steps || self.early_stopping.as_ref().is_some_and(stops)
    }

    /// Makes the model that of the best validation, where that is asked for. Returns its step.
    fn restore_best(&mut self) -> Result<Option<u64>, TrainError> {
        let best = best_step(self.early_stopping.as_ref(), &self.state);
        if let Some(step) = best.filter(|step| *step != self.state.step) {
            let whole = self.checkpoints.of(step)?;
            self.task.params_mut().load(&whole.params()?)?;
            self.optimizer.load_state(&whole.optimizer()?)?;
        }
        Ok(best)
    }

    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.saved == self.state.step {
            return Ok(());
        }
        // Events before a checkpoint do not come again, so they go to the disk first.
        self.sinks.flush()?;
        let (params, optimizer) = (self.task.params().tensors(), self.optimizer.state_tensors());
        let path = self.checkpoints.save(&self.state, params, optimizer).map_err(|source| {
            let (step, dir) = (self.state.step, self.dir.path().to_owned());
            TrainError::Save { step, dir, source: Box::new(source) }
        })?;
        self.saved = self.state.step;
        observer.saved(self.saved, &path);
        Ok(())
    }

    fn note_early_end(&self, observer: &mut dyn Observer) {
        let step = self.state.step;
        if let (Some(stopping), true) = (&self.early_stopping, step < self.steps) {
            let best = stopping.best(&self.state.history).map_or(step, |best| best.step);
            observer.note(Note::StoppedEarly { step, metric: stopping.metric.name, best });
        }
    }

    fn started(&self) -> Started {
        Started {
            dir: self.dir.path().to_owned(),
            step: self.state.step,
            steps: self.steps,
            parameters: self.task.params().trainable_count(),
            data: self.task.describe(),
        }
    }

    fn finish(&mut self, observer: &mut dyn Observer) -> Result<Report, TrainError> {
        self.sinks.flush()?;
        self.note_early_end(observer);
        let best_step = self.restore_best()?;
        self.optimizer.eval(self.task.params_mut())?;
        let model = self.dir.publish_model(|folder| self.task.save(folder))?;
        observer.stage("fitting the baseline");
        let baseline = self.task.baseline()?;
        observer.stage("generating a sample");
        let metrics = self.task.metrics();
        let of = |found: &Validation| best_step.is_none_or(|step| found.step == step);
        let found = self.state.history.iter().rev().find(|found| of(found));
        let values = found.map_or(vec![], |found| found.values.clone());
        Ok(Report {
            dir: self.dir.path().to_owned(),
            model,
            steps: self.state.step,
            best_step,
            train_loss: self.recent_loss(RECENT),
            validation: metrics.iter().copied().zip(values).collect(),
            baseline,
            sample: self.task.sample()?,
        })
    }
}
