//! Functions with known gradients and minimisers, for optimizers to descend.

/// A smooth function of `n` variables.
pub trait TestFunction {
    /// Its name, for messages.
    fn name(&self) -> &'static str;
    /// The customary starting point; its length is the number of variables.
    fn start(&self) -> Vec<f64>;
    /// Where the value is least.
    fn minimiser(&self) -> Vec<f64>;
    /// `f(x)`.
    fn value(&self, x: &[f64]) -> f64;
    /// The gradient of `f` at `x`.
    fn gradient(&self, x: &[f64]) -> Vec<f64>;
}

/// `f(x) = 1/2 * sum_i c_i * (x_i - m_i)^2`, with the curvatures `c_i` spaced evenly in the
/// logarithm from 1 to `condition` and the minimiser `m_i = (-1)^i / (i + 1)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quadratic {
    variables: usize,
    condition: f64,
}

impl Quadratic {
    /// `variables` is at least 2; `condition`, the largest curvature over the least, at least 1.
    #[track_caller]
    pub fn new(variables: usize, condition: f64) -> Quadratic {
        assert!(variables >= 2, "a quadratic needs 2 variables or more, got {variables}");
        assert!(condition >= 1.0, "condition must be at least 1, got {condition}");
        Quadratic { variables, condition }
    }

    /// Curvature and minimiser of each variable.
    fn terms(&self) -> impl Iterator<Item = (f64, f64)> {
        let last = (self.variables - 1) as f64;
        (0..self.variables).map(move |i| {
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            (self.condition.powf(i as f64 / last), sign / (i + 1) as f64)
        })
    }
}

impl TestFunction for Quadratic {
    fn name(&self) -> &'static str {
        "quadratic"
    }

    fn start(&self) -> Vec<f64> {
        vec![2.0; self.variables]
    }

    fn minimiser(&self) -> Vec<f64> {
        self.terms().map(|(_, minimiser)| minimiser).collect()
    }

    #[track_caller]
    fn value(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.variables, "variables of {}", self.name());
        x.iter().zip(self.terms()).map(|(x, (c, m))| 0.5 * c * (x - m).powi(2)).sum()
    }

    #[track_caller]
    fn gradient(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.variables, "variables of {}", self.name());
        x.iter().zip(self.terms()).map(|(x, (c, m))| c * (x - m)).collect()
    }
}

/// `f(x) = sum_i 100 * (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`, least at `(1, ..., 1)`: a curved valley
/// whose floor falls slowly.
///
/// H. H. Rosenbrock, *An automatic method for finding the greatest or least value of a function*,
/// The Computer Journal 3 (1960). The customary start alternates -1.2 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Rosenbrock {
    variables: usize,
}

impl Rosenbrock {
    /// `variables` is at least 2.
    #[track_caller]
    pub fn new(variables: usize) -> Rosenbrock {
        assert!(variables >= 2, "Rosenbrock's function needs 2 variables or more, got {variables}");
        Rosenbrock { variables }
    }
}

impl TestFunction for Rosenbrock {
    fn name(&self) -> &'static str {
        "rosenbrock"
    }

    fn start(&self) -> Vec<f64> {
        (0..self.variables).map(|i| if i % 2 == 0 { -1.2 } else { 1.0 }).collect()
    }

    fn minimiser(&self) -> Vec<f64> {
        vec![1.0; self.variables]
    }

    #[track_caller]
    fn value(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.variables, "variables of {}", self.name());
        x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
    }

    #[track_caller]
    fn gradient(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.variables, "variables of {}", self.name());
        let mut gradient = vec![0.0; x.len()];
        for (i, w) in x.windows(2).enumerate() {
            let off_valley = w[1] - w[0] * w[0];
            gradient[i] += -400.0 * w[0] * off_valley - 2.0 * (1.0 - w[0]);
            gradient[i + 1] += 200.0 * off_valley;
        }
        gradient
    }
}

/// The functions every optimizer is tried on.
pub fn all() -> Vec<Box<dyn TestFunction>> {
    vec![Box::new(Quadratic::new(6, 100.0)), Box::new(Rosenbrock::new(2))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Random, assert_close};

    fn functions() -> Vec<Box<dyn TestFunction>> {
        let mut functions = all();
        functions.push(Box::new(Rosenbrock::new(5)));
        functions.push(Box::new(Quadratic::new(2, 1.0)));
        functions
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let mut random = Random::new(1);
        for function in functions() {
            for _ in 0..20 {
                let x = random.normals(function.start().len());
                let differences: Vec<f64> = (0..x.len())
                    .map(|i| {
                        let at = |shift: f64| {
                            let mut x = x.clone();
                            x[i] += shift;
                            function.value(&x)
                        };
                        (at(1e-5) - at(-1e-5)) / 2e-5
                    })
                    .collect();
                assert_close(&function.gradient(&x), &differences, 1e-5, function.name());
            }
        }
    }

    #[test]
    fn minimisers_have_no_slope_and_no_lower_neighbour() {
        let mut random = Random::new(2);
        for function in functions() {
            let least = function.minimiser();
            assert!(function.gradient(&least).iter().all(|g| *g == 0.0), "{}", function.name());
            assert_eq!(function.value(&least), 0.0, "{}", function.name());
            for _ in 0..50 {
                let near: Vec<f64> = least.iter().map(|m| m + 0.1 * random.normal()).collect();
                assert!(function.value(&near) > 0.0, "{}", function.name());
            }
            assert!(function.value(&function.start()) > 1.0, "{}", function.name());
        }
    }

    #[test]
    fn rosenbrock_has_its_published_value_at_the_start() {
        let function = Rosenbrock::new(2);
        assert_close(&[function.value(&function.start())], &[24.2], 1e-15, "f(-1.2, 1)");
        assert_close(&function.gradient(&[-1.2, 1.0]), &[-215.6, -88.0], 1e-14, "slope");
    }

    #[test]
    fn the_quadratic_has_the_condition_asked_for() {
        let function = Quadratic::new(4, 1000.0);
        let at_minimiser = function.minimiser();
        let curvature = |i: usize| {
            let mut x = at_minimiser.clone();
            x[i] += 1.0;
            function.gradient(&x)[i]
        };
        assert_close(&[curvature(0), curvature(3)], &[1.0, 1000.0], 1e-12, "curvatures");
    }
}
