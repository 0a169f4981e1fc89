//! The coefficients of a linear model, in the units of its table.

use rappel_data::TargetKind;

use super::{TabularModel, values};

/// One output of a linear model: `intercept + sum of coefficient * input`.
#[derive(Debug, Clone, PartialEq)]
pub struct Equation {
    /// What it predicts: the target's column, or the class whose score it is.
    pub output: String,
    /// Its value where all inputs are 0.
    pub intercept: f64,
    /// A coefficient for each input, in the order of
    /// [`Preprocessing::inputs`](rappel_data::Preprocessing::inputs).
    pub coefficients: Vec<f64>,
}

impl TabularModel {
    /// The equations of a linear model in the units of its table's columns and, for numbers, of its
    /// target; none where the model is not linear.
    ///
    /// With inputs `(x_i - mean_i) / std_i` and a target `(y - mean) / std`, the model's weights `w_i`
    /// and bias `b` are the coefficients `std w_i / std_i` and the intercept
    /// `mean + std (b - sum of w_i mean_i / std_i)`. Categories and marks of missing values are inputs
    /// of 0 or 1. Two classes have one equation, the logit of the second; more classes have one each,
    /// of which only the differences matter.
    pub fn equations(&self) -> Option<Vec<Equation>> {
        let layer = self.predictor.linear()?;
        let scales = self.preprocessing.scales();
        let target = &self.preprocessing.target;
        let (names, mean, std) = match &target.of {
            TargetKind::Number { mean, std } => (std::slice::from_ref(&target.name), *mean, *std),
            TargetKind::Classes { classes } if classes.len() == 2 => (&classes[1..], 0.0, 1.0),
            TargetKind::Classes { classes } => (&classes[..], 0.0, 1.0),
        };
        let weights = values(&layer.weight().tensor());
        let biases = layer.bias().map(|bias| values(&bias.tensor()));
        let equation = |(output, name): (usize, &String)| {
            let weights = &weights[output * scales.len()..][..scales.len()];
            let bias = biases.as_ref().map_or(0.0, |biases| biases[output]);
            let shift: f64 = weights.iter().zip(&scales).map(|(w, (mean, s))| w * mean / s).sum();
            Equation {
                output: name.clone(),
                intercept: mean + std * (bias - shift),
                coefficients: weights.iter().zip(&scales).map(|(w, (_, s))| w * std / s).collect(),
            }
        };
        Some(names.iter().enumerate().map(equation).collect())
    }
}
