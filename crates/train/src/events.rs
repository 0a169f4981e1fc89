//! The events of a run as it goes.

use std::collections::VecDeque;

use rappel_config::toml::{Table, Value};
use rappel_telemetry::{Detail, Event, HParam, Moment, Sink, Started, Step};

use crate::checkpoint::Figure;
use crate::histograms::Named;
use crate::{Metric, Observer, Report, Run, TrainError};

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

    /// Keeps the task's figures of the newest step.
    pub(crate) fn remember_figures(&mut self, told: Vec<(&'static str, f64)>) {
        let most = RECENT.max(self.log_every());
        for (name, value) in told {
            let figures = &mut self.state.figures;
            let place = figures.iter().position(|figure| figure.name == name);
            let place = place.unwrap_or_else(|| {
                figures.push(Figure { name: name.to_owned(), values: VecDeque::new() });
                figures.len() - 1
            });
            let values = &mut figures[place].values;
            values.push_back(value);
            values.drain(..values.len().saturating_sub(most));
        }
    }

    /// The mean of the newest losses, `count` at most.
    pub(crate) fn recent_loss(&self, count: usize) -> f64 {
        let losses = self.state.losses.iter().rev().take(count);
        losses.sum::<f64>() / self.state.losses.len().min(count) as f64
    }

    /// Whether anyone has use for such events at a step; see [`Sink::wants`].
    pub(crate) fn wants(
        &self,
        observer: &dyn Observer,
        detail: Detail,
        since: u64,
        step: u64,
    ) -> bool {
        let is_last = step >= self.steps;
        self.sinks.wants(detail, since, step, is_last)
            || observer.wants(detail, since, step, is_last)
    }

    /// The events of a step that was taken: the step, its histograms, and its scalars where these are due.
    pub(crate) fn record(
        &mut self,
        step: &Step,
        histograms: &Named,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        if !histograms.is_empty() {
            self.emit(observer, &Event::Histograms(histograms))?;
        }
        if self.due(self.config.run().train.log_every) {
            self.record_scalars(step, observer)?;
        }
        self.emit(observer, &Event::Step(*step))
    }

    fn record_scalars(
        &mut self,
        step: &Step,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let speed = format!("train/{}_per_second", step.unit);
        let mut values = vec![
            ("train/loss", self.recent_loss(self.log_every())),
            ("train/lr", step.lr),
            ("train/grad_norm", step.grad_norm),
            (speed.as_str(), step.units_per_second),
        ];
        values.extend(step.penalty.map(|penalty| ("train/penalty", penalty)));
        values.extend(self.state.noise.samples().map(|samples| ("train/noise_scale", samples)));
        if self.config.has_ramp() {
            let samples = self.order.batch_size(self.state.step - 1);
            values.push(("train/batch_size", samples as f64));
        }
        let figures: Vec<(String, f64)> = self
            .state
            .figures
            .iter()
            .map(|figure| {
                let newest = figure.values.iter().rev().take(self.log_every());
                let count = newest.len() as f64;
                (format!("train/{}", figure.name), newest.sum::<f64>() / count)
            })
            .collect();
        values.extend(figures.iter().map(|(name, value)| (name.as_str(), *value)));
        self.state.events += 1;
        self.emit(observer, &Event::Scalars(&values))
    }

    /// The events before the first step: what the run is, its options and its config.
    pub(crate) fn announce(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let dir = self.dir.path().to_owned();
        let (data, metrics) = (self.task.describe(), self.task.metrics());
        let metrics: Vec<_> = metrics.iter().map(|metric| metric.name).collect();
        let started = Started {
            dir: &dir,
            steps: self.steps,
            parameters: self.task.params().trainable_count(),
            data: &data,
            bf16_kernel: self.precision.kernel,
            metrics: if self.task.validates() { &metrics } else { &[] },
        };
        self.emit(observer, &Event::Started(started))?;
        let mut options = vec![("train.steps".to_owned(), HParam::Number(self.steps as f64))];
        flatten("", &self.config.decisive(), &mut options);
        self.emit(observer, &Event::HParams(&options))?;
        let markdown = format!("```toml\n{}\n```", self.config.to_toml().trim_end());
        self.emit(observer, &Event::Text { name: "config", markdown: &markdown })?;
        self.picture_schedule(observer)?;
        self.picture_training(observer)
    }

    /// The events of the end: the metrics of the model that the run keeps, and what it made.
    pub(crate) fn conclude(
        &mut self,
        report: &Report,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        if let Some(sample) = &report.sample {
            // As code, so that nothing in it is taken for Markdown.
            let lines: Vec<_> = sample.lines().map(|line| format!("    {line}")).collect();
            let markdown = lines.join("\n");
            self.emit(observer, &Event::Text { name: "sample", markdown: &markdown })?;
        }
        let mut metrics = vec![("train_loss".to_owned(), report.train_loss)];
        let validation =
            |(metric, value): &(Metric, f64)| (format!("validation_{}", metric.name), *value);
        metrics.extend(report.validation.iter().map(validation));
        let test = |(metric, value): &(Metric, f64)| (format!("test_{}", metric.name), *value);
        metrics.extend(report.test.iter().map(test));
        let metrics: Vec<_> = metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.emit(observer, &Event::Ended(&metrics))?;
        Ok(self.sinks.flush()?)
    }

    /// An event of the newest step goes to the run's sinks, and to whoever watches it.
    pub(crate) fn emit(
        &mut self,
        observer: &mut dyn Observer,
        event: &Event,
    ) -> Result<(), TrainError> {
        let at = Moment::now(self.state.step);
        self.sinks.log(at, event)?;
        Ok(observer.log(at, event)?)
    }
}

/// The values of a table by dotted keys; a list is the text that TOML writes.
fn flatten(prefix: &str, table: &Table, all: &mut Vec<(String, HParam)>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let value = match value {
            Value::Table(table) => {
                flatten(&format!("{name}."), table, all);
                continue;
            }
            Value::Integer(number) => HParam::Number(*number as f64),
            Value::Float(number) => HParam::Number(*number),
            Value::Boolean(is) => HParam::Bool(*is),
            Value::String(text) => HParam::Text(text.clone()),
            other => HParam::Text(other.to_string()),
        };
        all.push((name, value));
    }
}
