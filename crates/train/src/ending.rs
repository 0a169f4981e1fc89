//! The end of a run: when it comes, which model is kept, what is reported.

use rappel_telemetry::{Detail, Event, Sink};

use crate::early_stopping::EarlyStopping;
use crate::events::RECENT;
use crate::{Observer, Report, Run, TrainError, Validation, guards};

impl Run {
    /// Whether all steps are taken, or validation says that no more are worth it.
    pub(crate) fn is_over(&self) -> bool {
        let stops = |stopping: &EarlyStopping| stopping.stops(&self.state.history);
        self.state.step >= self.steps || self.early_stopping.as_ref().is_some_and(stops)
    }

    /// The step whose model the run keeps in the end; none where that is the last one.
    pub(crate) fn best_step(&self) -> Option<u64> {
        let stopping = self.early_stopping.as_ref().filter(|stopping| stopping.restore_best)?;
        stopping.best(&self.state.history).map(|best| best.step)
    }

    /// Writes the model and gathers what the run came to.
    pub(crate) fn finish(&mut self, observer: &mut dyn Observer) -> Result<Report, TrainError> {
        self.sinks.flush()?;
        self.note_early_end(observer)?;
        let best_step = self.restore_best()?;
        self.optimizer.eval(self.task.params_mut())?;
        self.check_finite(guards::first_non_finite(self.task.params()))?;
        if self.wants(observer, Detail::Pictures, 0, self.steps) {
            self.show(observer)?;
        }
        let is_newer = self.state.step > self.opened_at;
        let model = self.dir.publish_model(is_newer, observer, |folder| self.task.save(folder))?;
        let baseline = self.task.baseline(observer)?;
        let metrics = self.task.metrics();
        let of = |found: &Validation| best_step.is_none_or(|step| found.step == step);
        let found = self.state.history.iter().rev().find(|found| of(found));
        let values = found.map_or(vec![], |found| found.values.clone());
        let report = Report {
            dir: self.dir.path().to_owned(),
            model,
            steps: self.state.step,
            best_step,
            train_loss: self.recent_loss(RECENT),
            validation: metrics.iter().copied().zip(values).collect(),
            test: self
                .task
                .test()
                .map_or(vec![], |values| metrics.iter().copied().zip(values).collect()),
            protocol: self.task.protocol(),
            baseline,
            sample: self.task.sample(observer)?,
        };
        self.conclude(&report, observer)?;
        Ok(report)
    }

    fn note_early_end(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let step = self.state.step;
        let Some(stopping) = self.early_stopping.as_ref().filter(|_| step < self.steps) else {
            return Ok(());
        };
        let best = stopping.best(&self.state.history).map_or(step, |best| best.step);
        let metric = stopping.metric.name;
        let text = format!(
            "stopped after step {step}: validation {metric} has not got better since step {best}"
        );
        self.emit(observer, &Event::Note(&text))
    }

    /// Makes the model that of the best validation, where that is asked for. Returns its step.
    fn restore_best(&mut self) -> Result<Option<u64>, TrainError> {
        let best = self.best_step();
        if let Some(step) = best.filter(|step| *step != self.state.step) {
            let best = self.checkpoints.of(step)?;
            let frozen = self.task.frozen();
            best.restore(self.task.params_mut(), &mut self.optimizer, frozen.as_deref())?;
        }
        Ok(best)
    }
}
