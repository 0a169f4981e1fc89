//! What sinks are told of a run as it goes.

use rappel_telemetry::{Event, Sink};

use crate::run::wall_time;
use crate::{Run, Step, TrainError};

/// Newest losses that the mean at the end is taken over.
pub(crate) const RECENT: usize = 100;

impl Run {
    fn log_every(&self) -> usize {
        self.config.run().train.log_every as usize
    }

    /// Keeps the loss of the newest step.
    pub(crate) fn remember(&mut self, loss: f64) {
        let most = RECENT.max(self.log_every());
        let losses = &mut self.state.losses;
        losses.push_back(loss);
        losses.drain(..losses.len().saturating_sub(most));
    }

    /// The mean of the newest losses, `count` at most.
    pub(crate) fn recent_loss(&self, count: usize) -> f64 {
        let losses = self.state.losses.iter().rev().take(count);
        losses.sum::<f64>() / self.state.losses.len().min(count) as f64
    }

    /// Logs what a step came to, where that is due.
    pub(crate) fn tell(&mut self, step: &Step) -> Result<(), TrainError> {
        let every = self.log_every();
        if !self.due(every as u64) {
            return Ok(());
        }
        let speed = format!("train/{}_per_second", step.unit);
        let mut values = vec![
            ("train/loss", self.recent_loss(every)),
            ("train/lr", step.lr),
            ("train/grad_norm", step.grad_norm),
            (speed.as_str(), step.units_per_second),
        ];
        values.extend(step.penalty.map(|penalty| ("train/penalty", penalty)));
        values.extend(self.state.noise.samples().map(|samples| ("train/noise_scale", samples)));
        if self.config.has_ramp() {
            let samples = self.order.batch_size(step.step - 1);
            values.push(("train/batch_size", samples as f64));
        }
        self.log(&values)
    }

    pub(crate) fn log(&mut self, values: &[(&str, f64)]) -> Result<(), TrainError> {
        let step = self.state.step;
        self.state.events += 1;
        Ok(self.sinks.log(&Event::Scalars { step, wall_time: wall_time(), values })?)
    }
}
