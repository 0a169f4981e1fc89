//! Stopping when validation no longer gets better, and the best checkpoint.

use rappel_config::{ConfigError, Options};

use crate::metrics::place;
use crate::{Metric, Validation};

/// The section `early_stopping`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct EarlyStoppingOptions {
    /// what of a validation is watched
    #[option(default = "loss", aka("metric_for_best_model", "monitor"))]
    pub metric: String,
    /// validations in a row that may pass without a better one; 0: the run is never ended
    #[option(default = 3, aka("early_stopping_patience"))]
    pub patience: usize,
    /// by how much, at the least, a better validation is better
    #[option(default = 0.0, range = 0.0.., aka("early_stopping_threshold", "threshold"))]
    pub min_delta: f64,
    /// unset: as the metric is meant
    pub greater_is_better: Option<bool>,
    /// the model of the end is that of the best validation, whose checkpoint is kept
    #[option(default = true, aka("load_best_model_at_end", "restore_best_weights"))]
    pub restore_best: bool,
}

/// When a run ends before its last step, and which of its models it keeps: functions of the history
/// of its validations alone, so that a run that was resumed decides alike.
#[derive(Debug, Clone)]
pub(crate) struct EarlyStopping {
    /// What is watched, and its position among the task's metrics.
    pub metric: Metric,
    index: usize,
    patience: usize,
    min_delta: f64,
    /// Whether the model of the end is the best one.
    pub restore_best: bool,
}

impl EarlyStopping {
    /// What the section says, for a task that measures `metrics`.
    pub fn new(section: &EarlyStoppingOptions, metrics: &[Metric]) -> Result<Self, ConfigError> {
        let index = place(&section.metric, metrics)
            .map_err(|reason| ConfigError::invalid("early_stopping.metric", reason))?;
        let mut metric = metrics[index];
        metric.greater_is_better = section.greater_is_better.unwrap_or(metric.greater_is_better);
        Ok(Self {
            metric,
            index,
            patience: section.patience,
            min_delta: section.min_delta,
            restore_best: section.restore_best,
        })
    }

    /// The best of the validations: each is compared with the best one before it.
    pub fn best<'a>(&self, history: &'a [Validation]) -> Option<&'a Validation> {
        self.best_index(history).map(|index| &history[index])
    }

    /// Whether the run is to end after these validations.
    pub fn stops(&self, history: &[Validation]) -> bool {
        let since = |best: usize| history.len() - 1 - best;
        self.patience > 0 && self.best_index(history).is_some_and(|i| since(i) >= self.patience)
    }

    fn best_index(&self, history: &[Validation]) -> Option<usize> {
        let value = |index: usize| history[index].values[self.index];
        (0..history.len()).reduce(|best, next| {
            let better = self.metric.improves(value(next), value(best), self.min_delta);
            if better { next } else { best }
        })
    }
}

#[cfg(test)]
mod tests {
    use rappel_config::OptionSet;

    use super::*;

    const LOSS: Metric = Metric { name: "loss", unit: "", greater_is_better: false };
    const ACCURACY: Metric = Metric { name: "accuracy", unit: "", greater_is_better: true };

    fn of(section: &str) -> Result<EarlyStopping, ConfigError> {
        let given = toml::from_str(section).unwrap();
        let options = EarlyStoppingOptions::from_toml("early_stopping", &given).unwrap();
        EarlyStopping::new(&options, &[LOSS, ACCURACY])
    }

    fn history(losses: &[f64]) -> Vec<Validation> {
        let found = |(i, loss): (usize, &f64)| Validation {
            step: 10 * (i as u64 + 1),
            values: vec![*loss, -loss],
        };
        losses.iter().enumerate().map(found).collect()
    }

    /// The best step, and whether the run ends, after each validation.
    fn course(stopping: &EarlyStopping, losses: &[f64]) -> Vec<(u64, bool)> {
        let history = history(losses);
        let after = |n| {
            let so_far = &history[..n];
            (stopping.best(so_far).unwrap().step, stopping.stops(so_far))
        };
        (1..=losses.len()).map(after).collect()
    }

    #[test]
    fn it_stops_when_patience_is_at_its_end() {
        let stopping = of("patience = 2").unwrap();
        let expected =
            [(10, false), (20, false), (20, false), (40, false), (40, false), (40, true)];
        assert_eq!(course(&stopping, &[3.0, 2.0, 2.5, 1.5, 1.5, 9.0]), expected);
        assert!(stopping.best(&[]).is_none() && !stopping.stops(&[]));
        let never = of("patience = 0").unwrap();
        assert_eq!(course(&never, &[1.0, 2.0, 3.0]).last(), Some(&(10, false)));
    }

    #[test]
    fn a_small_gain_is_none_and_what_is_not_finite_is_no_gain() {
        let stopping = of("patience = 9\nmin_delta = 0.5").unwrap();
        assert_eq!(course(&stopping, &[3.0, 2.6, 2.4]), [(10, false), (10, false), (30, false)]);
        let nan = f64::NAN;
        assert_eq!(course(&stopping, &[nan, nan, 7.0, nan]).last(), Some(&(30, false)));
    }

    #[test]
    fn each_metric_has_its_direction_and_may_be_turned() {
        let best = |section: &str| course(&of(section).unwrap(), &[2.0, 1.0, 3.0])[2].0;
        assert_eq!(best(""), 20);
        assert_eq!(best("metric = 'accuracy'"), 20);
        assert_eq!(best("greater_is_better = true"), 30);
        let error = of("metric = 'acuracy'").unwrap_err().to_string();
        assert_eq!(
            error,
            "config key `early_stopping.metric`: the task measures no `acuracy`; did you mean \
             `accuracy`? (known: loss, accuracy)"
        );
    }
}
