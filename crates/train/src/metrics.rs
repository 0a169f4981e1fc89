//! What validations measure.

use rappel_config::suggest;
use serde::{Deserialize, Serialize};

/// A figure of the validation data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, such as `accuracy`; it is logged as `validation/accuracy`.
    pub name: &'static str,
    /// What it is counted in; empty where it is a pure number.
    pub unit: &'static str,
    /// Whether more of it is better.
    pub greater_is_better: bool,
}

/// A metric of which less is better.
pub(crate) const fn less(name: &'static str) -> Metric {
    Metric { name, unit: "", greater_is_better: false }
}

/// A metric of which more is better.
pub(crate) const fn more(name: &'static str) -> Metric {
    Metric { name, unit: "", greater_is_better: true }
}

/// [`less`], counted in nats.
pub(crate) const fn nats(name: &'static str) -> Metric {
    Metric { unit: "nats", ..less(name) }
}

impl Metric {
    /// Whether `new` is better than `old` by more than `min_delta`. What is not finite is never
    /// better, and always worse than what is.
    pub fn improves(&self, new: f64, old: f64, min_delta: f64) -> bool {
        let gain = if self.greater_is_better { new - old } else { old - new };
        new.is_finite() && (!old.is_finite() || gain > min_delta)
    }
}

/// The place of the metric `name` among those that a task measures, or what is to be told.
pub(crate) fn place(name: &str, metrics: &[Metric]) -> Result<usize, String> {
    let names: Vec<_> = metrics.iter().map(|metric| metric.name).collect();
    names.iter().position(|known| *known == name).ok_or_else(|| {
        let near = suggest(name, names.iter().copied());
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!("the task measures no `{name}`{near} (known: {})", names.join(", "))
    })
}

/// What one validation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Optimizer steps taken before it.
    pub step: u64,
    /// The values of the task's metrics, in their order; the loss comes first.
    #[serde(with = "crate::json::numbers")]
    pub values: Vec<f64>,
}

impl Validation {
    /// The loss.
    pub fn loss(&self) -> f64 {
        self.values[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_better_depends_on_the_metric() {
        let loss = Metric { name: "loss", unit: "", greater_is_better: false };
        let accuracy = Metric { name: "accuracy", unit: "", greater_is_better: true };
        assert!(loss.improves(1.0, 1.5, 0.25) && !loss.improves(1.25, 1.5, 0.25));
        assert!(accuracy.improves(0.75, 0.5, 0.0) && !accuracy.improves(0.5, 0.5, 0.0));
        assert!(loss.improves(1.0, f64::NAN, 0.0) && !loss.improves(f64::NAN, 1.0, 0.0));
        assert!(!accuracy.improves(f64::INFINITY, 0.5, 0.0));
    }

    #[test]
    fn numbers_that_are_not_finite_come_back() {
        let found = Validation { step: 3, values: vec![f64::INFINITY, 0.1 + 0.2] };
        let json = serde_json::to_string(&found).unwrap();
        let back: Validation = serde_json::from_str(&json).unwrap();
        assert_eq!(back, found);
    }
}
