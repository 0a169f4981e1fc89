//! Optimizers on functions of two variables.

use rappel_config::Family;
use rappel_optim::{OPTIMIZERS, OptimError, Optimizer, OptimizerConfig};
use rappel_schedule::{Horizon, constant};
use rappel_tensor::{DType, Init, Params};
use toml::{Table, Value};

use crate::{Config, Function, TrainError};

/// Where an optimizer went.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// The learning rate, where the optimizer has one.
    pub lr: Option<f64>,
    /// The start, and where it stood after each step.
    pub points: Vec<[f64; 2]>,
    /// The values there.
    pub values: Vec<f64>,
    /// Whether it was ended by a value or a slope that is not finite.
    pub diverged: bool,
}

/// A descent of a function: from where, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Surface {
    /// What is descended.
    pub function: Function,
    /// From where.
    pub start: [f64; 2],
    /// For how many steps.
    pub steps: u64,
}

/// Learning rates that are tried are `10^(k / PER_DECADE)` for these `k`.
const TRIED: std::ops::RangeInclusive<i32> = -50..=20;
const PER_DECADE: f64 = 10.0;

/// How near to the least value counts as there.
const THERE: f64 = 1e-12;

impl Surface {
    /// The path of an optimizer, which is given as in a config: `name`, or `name:key=value:key=value`.
    ///
    /// Where neither `lr` nor the optimizer's options give a learning rate, it is tuned: of 71 rates from
    /// 1e-5 to 100, evenly spaced in the logarithm, that with the least value at the end, among those
    /// whose path stays in the function's picture if there are any. Of several that reach the least value
    /// there is, the one that was there first.
    ///
    /// The function is computed in double precision, on a parameter of two elements.
    ///
    /// ```
    /// use rappel_train::{FUNCTIONS, Surface};
    /// let function = FUNCTIONS.lookup("quadratic")?.build;
    /// let surface = Surface { function, start: [3.0, 0.0], steps: 2 };
    /// let path = surface.path("sgd", Some(0.5))?;
    /// assert_eq!(path.points, [[3.0, 0.0], [1.5, 0.0], [0.75, 0.0]]);
    /// # Ok::<(), rappel_train::TrainError>(())
    /// ```
    ///
    /// # Errors
    /// An unknown optimizer or option; an optimizer that refuses vectors; one that diverges with every
    /// rate.
    pub fn path(&self, optimizer: &str, lr: Option<f64>) -> Result<Path, TrainError> {
        let mut given = section(optimizer)?;
        let name = given.get("name").and_then(Value::as_str).unwrap_or_default();
        let has_rate = OPTIMIZERS.lookup(name)?.fields.iter().any(|field| field.name == "lr");
        if let Some(lr) = lr {
            given.insert("lr".to_owned(), lr.into());
        }
        if !has_rate || given.contains_key("lr") {
            return self.descend(&given);
        }
        let rates = TRIED.map(|k| 10_f64.powf(f64::from(k) / PER_DECADE));
        let mut best: Option<(Rank, Path)> = None;
        for lr in rates {
            given.insert("lr".to_owned(), lr.into());
            let path = self.descend(&given)?;
            let rank = self.rank(&path);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, path));
            }
        }
        let (_, path) = best.expect("some rate was tried");
        if path.diverged {
            let options = OPTIMIZERS.resolve_options("optimizer", &given)?;
            let reason = "every learning rate that was tried diverges; give one, or another start";
            return Err(options.invalid("lr", reason).into());
        }
        Ok(path)
    }

    fn rank(&self, path: &Path) -> Rank {
        let inside = path.points.iter().all(|point| self.function.shows(*point));
        let there = self.function.least().map_or(f64::NEG_INFINITY, |least| least + THERE);
        let reached = path.values.last().map_or(f64::INFINITY, |value| value.max(there));
        let first = path.values.iter().position(|value| *value <= there);
        (path.diverged, !inside, reached, first.unwrap_or(usize::MAX))
    }

    fn descend(&self, given: &Table) -> Result<Path, TrainError> {
        let options = OPTIMIZERS.resolve_options("optimizer", given)?;
        let horizon = Horizon { steps: self.steps };
        let recipe = OptimizerConfig::from_section(&options, horizon, constant(1.0))?;
        let mut params = Params::with_dtype(0, DType::F64);
        let point = params.scope("").add("point", [2], Init::ZEROS);
        params.update_one(point.index(), |open| {
            open.values::<f64>().copy_from_slice(&self.start);
        })?;
        let mut optimizer = Optimizer::new(recipe, &params)?;
        let mut path = Path {
            lr: options.declares("lr").then(|| optimizer.lr(0)),
            points: vec![self.start],
            values: self.function.values(&[self.start]),
            diverged: false,
        };
        for step in 0..self.steps {
            let stepped = optimizer.step_closure(step, &mut params, |_| {
                let [x, y] = [0, 1].map(|i| point.tensor().narrow(0, i, 1));
                let value = (self.function.formula)(&x, &y).sum();
                Ok::<_, OptimError>((value.item(), value.backward()))
            });
            match stepped {
                Ok(_) => {}
                Err(error) if is_divergence(&error) => {
                    path.diverged = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            // Where a rule hands out an average, that is where it stands.
            optimizer.eval(&mut params)?;
            let stands: Vec<f64> = point.tensor().to_vec();
            optimizer.train(&mut params)?;
            let value = self.function.values(&[[stands[0], stands[1]]])[0];
            if !value.is_finite() {
                path.diverged = true;
                break;
            }
            path.points.push([stands[0], stands[1]]);
            path.values.push(value);
        }
        Ok(path)
    }
}

/// What is better comes first: not diverged, inside the picture, lower, sooner there.
type Rank = (bool, bool, f64, usize);

fn is_divergence(error: &OptimError) -> bool {
    matches!(
        error,
        OptimError::NonFiniteLoss { .. }
            | OptimError::NonFiniteGradient { .. }
            | OptimError::NormOverflow { .. }
    )
}

/// A section `optimizer` of `name:key=value`.
fn section(optimizer: &str) -> Result<Table, TrainError> {
    let mut parts = optimizer.split(':');
    let name = parts.next().unwrap_or_default().trim();
    let settings: Vec<&str> = parts.collect();
    let mut table = Config::table("", &settings, &mut ())?;
    table.insert("name".to_owned(), name.into());
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FUNCTIONS;

    fn surface(name: &str, steps: u64) -> Surface {
        let function = FUNCTIONS.lookup(name).unwrap().build;
        Surface { function, start: function.start, steps }
    }

    #[test]
    fn every_optimizer_descends_or_says_why_not() {
        let booth = surface("booth", 30);
        let begin = booth.function.values(&[booth.start])[0];
        let mut refused = Vec::new();
        for entry in OPTIMIZERS.entries {
            match booth.path(entry.name, None) {
                Ok(path) => {
                    assert_eq!((path.points.len(), path.diverged), (31, false), "{}", entry.name);
                    assert!(path.values[30] < begin, "{}: {:?}", entry.name, path.values);
                }
                Err(error) => {
                    assert!(error.to_string().contains("point"), "{}: {error}", entry.name);
                    refused.push(entry.name);
                }
            }
        }
        assert!(refused.contains(&"muon") && refused.len() < 5, "{refused:?}");
    }

    #[test]
    fn tuned_rates_are_the_best_of_those_tried() {
        let quadratic = surface("quadratic", 60);
        let tuned = quadratic.path("sgd", None).unwrap();
        // 2 / (L + mu) is the best, 2 / L the limit.
        let lr = tuned.lr.unwrap();
        assert!((0.02..0.04).contains(&lr), "{lr}");
        for lr in [lr / 1.2, lr * 1.3] {
            let other = quadratic.path("sgd", Some(lr)).unwrap();
            assert!(other.diverged || other.values.last() >= tuned.values.last());
        }
        assert_eq!(quadratic.path("sgd:lr=0.01", None).unwrap().lr, Some(0.01));
        let far = quadratic.path("sgd", Some(1e3)).unwrap();
        assert!(far.diverged && far.values.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn wrong_names_and_options_are_told() {
        let booth = surface("booth", 3);
        let told = |optimizer| booth.path(optimizer, None).unwrap_err().to_string();
        assert!(told("adamv").contains("no optimizer is named `adamv`; did you mean `adam"));
        assert!(told("sgd:moment=1").contains("`optimizer.moment`: unknown; did you mean"));
        assert!(told("sgd:nesterov").contains("expected key=value"));
    }
}
