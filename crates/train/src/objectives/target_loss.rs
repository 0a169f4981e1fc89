//! What a row's outputs cost.

use rappel_config::{
    Checked, ConfigError, Kind, OptionSet, OptionValue, Options, Place, Range, Words, suggest,
};
use rappel_data::{Target, TargetKind};
use rappel_tensor::Tensor;
use toml::{Table, Value};

use crate::models::logits;

/// What an error of a regression costs, as a config's section `loss` gives it.
#[derive(Debug, Clone, Options)]
pub(crate) struct RegressionLoss {
    /// the mean of r^2, of |r|, or of r^2 / 2 where |r| < delta and delta (|r| - delta / 2) elsewhere
    #[option(default = Cost::Mse, aka("kind", "type"))]
    name: Cost,
    /// of huber; in the units that the loss sees
    #[option(default = 1.0, range = Range::above(0.0))]
    delta: f64,
    /// the model predicts, and the loss sees, (y - mean) / deviation, both of the training rows; metrics
    /// and predictions are in the target's own units
    #[option(default = true, aka("normalize_target", "scale_target"))]
    pub standardize_target: bool,
}

/// The losses of a residual `r`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
enum Cost {
    Mse,
    Mae,
    Huber,
}

/// What a wrong class costs, as a config's section `loss` gives it.
#[derive(Debug, Clone, Options)]
pub(crate) struct ClassificationLoss {
    /// "balanced": rows / (classes * rows of the class), or a table of a weight for each class;
    /// unset: 1
    #[option(aka("weight", "class_weights"))]
    class_weight: Option<ClassWeight>,
}

#[derive(Debug, Clone, PartialEq)]
enum ClassWeight {
    Balanced,
    Given(Table),
}

impl OptionValue for ClassWeight {
    const KIND: Kind = Kind::Raw;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        match Value::read(value, place)? {
            Value::String(word) if word == "balanced" => Ok(Self::Balanced),
            Value::Table(given) => Ok(Self::Given(given)),
            other => Err(place.invalid(format!("expected \"balanced\" or a table, got {other}"))),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(match self {
            Self::Balanced => "balanced".into(),
            Self::Given(given) => given.clone().into(),
        })
    }
}

/// The loss of a batch: its sum over rows, divided by the sum of the rows' weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Loss {
    /// `(y - t)^2`
    Squared,
    /// `|y - t|`
    Absolute,
    /// See [`RegressionLoss`]; PyTorch's `HuberLoss`.
    Huber { delta: f64 },
    /// `-sum over c of w_c ((1 - s) [c = t] + s / classes) ln p_c`, PyTorch's `CrossEntropyLoss` with
    /// the weights `w` and the label smoothing `s`; a row weighs `w_t`.
    CrossEntropy { weights: Vec<f64> },
}

impl Loss {
    /// Reads the section for a target, whose training rows are `targets`.
    pub fn new(section: &Options, target: &Target, targets: &[f64]) -> Result<Self, ConfigError> {
        let TargetKind::Classes { classes } = &target.of else {
            let RegressionLoss { name, delta, .. } = RegressionLoss::from_options(section)?;
            return Ok(match name {
                Cost::Mse => Self::Squared,
                Cost::Mae => Self::Absolute,
                Cost::Huber => Self::Huber { delta },
            });
        };
        Ok(Self::CrossEntropy { weights: class_weights(section, classes, targets)? })
    }

    /// Whether all rows weigh the same.
    pub fn is_plain(&self) -> bool {
        match self {
            Self::CrossEntropy { weights } => weights.iter().all(|weight| *weight == 1.0),
            _ => true,
        }
    }

    /// Whether it is a cross-entropy.
    pub fn is_cross_entropy(&self) -> bool {
        matches!(self, Self::CrossEntropy { .. })
    }

    /// What rows weigh, together.
    pub fn weight(&self, targets: &[f64]) -> f64 {
        match self {
            Self::CrossEntropy { weights, .. } => {
                targets.iter().map(|class| weights[*class as usize]).sum()
            }
            _ => targets.len() as f64,
        }
    }

    /// The sum over rows of the outputs `[rows, outputs]` of a model; the share `label_smoothing` of a
    /// cross-entropy's targets is spread evenly.
    pub fn sum(&self, outputs: &Tensor, targets: &[f64], label_smoothing: f64) -> Tensor {
        let rows = targets.len();
        let Self::CrossEntropy { weights } = self else {
            let targets = Tensor::from_slice(targets, [rows, 1]).to_dtype(outputs.dtype());
            return self.of_residuals(&(outputs - &targets)).sum();
        };
        let classes = weights.len();
        let mut parts = vec![0.0; rows * classes];
        for (row, class) in parts.chunks_mut(classes).zip(targets) {
            for (part, weight) in row.iter_mut().zip(weights) {
                *part = weight * label_smoothing / classes as f64;
            }
            row[*class as usize] += weights[*class as usize] * (1.0 - label_smoothing);
        }
        let parts = Tensor::from_slice(&parts, [rows, classes]).to_dtype(outputs.dtype());
        -(logits(outputs).log_softmax(1) * parts).sum()
    }

    fn of_residuals(&self, residuals: &Tensor) -> Tensor {
        match self {
            Self::Absolute => residuals.abs(),
            Self::Huber { delta } => {
                let size = residuals.abs();
                let near = size.clamp(f64::NEG_INFINITY, *delta);
                &near * (&size - &near * 0.5)
            }
            _ => residuals.square(),
        }
    }
}

fn class_weights(
    section: &Options,
    classes: &[String],
    targets: &[f64],
) -> Result<Vec<f64>, ConfigError> {
    let invalid = |reason: String| Err(section.invalid("class_weight", reason));
    match ClassificationLoss::from_options(section)?.class_weight {
        None => Ok(vec![1.0; classes.len()]),
        Some(ClassWeight::Balanced) => {
            let mut counts = vec![0_usize; classes.len()];
            for class in targets {
                counts[*class as usize] += 1;
            }
            if let Some(none) = counts.iter().position(|count| *count == 0) {
                return invalid(format!("class `{}` has no training row", classes[none]));
            }
            let share = targets.len() as f64 / classes.len() as f64;
            Ok(counts.into_iter().map(|count| share / count as f64).collect())
        }
        Some(ClassWeight::Given(given)) => {
            let known = || classes.iter().map(String::as_str);
            if let Some(name) = given.keys().find(|name| !classes.contains(name)) {
                let near = suggest(name, known());
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return invalid(format!("no class is named `{name}`{near}"));
            }
            let weight = |class: &String| match given.get(class) {
                None => Ok(1.0),
                Some(Value::Float(weight)) if *weight > 0.0 && weight.is_finite() => Ok(*weight),
                Some(Value::Integer(weight)) if *weight > 0 => Ok(*weight as f64),
                Some(other) => {
                    let reason = format!("class `{class}`: {other} is not a number above 0");
                    Err(section.invalid("class_weight", reason))
                }
            };
            classes.iter().map(weight).collect()
        }
    }
}
