//! Functions of two variables that optimizers are compared with: one file and two lines here each.

mod ackley;
mod beale;
mod booth;
mod himmelblau;
mod quadratic;
mod rastrigin;
mod rosenbrock;
mod saddle;
mod styblinski_tang;
mod three_hump_camel;

use rappel_config::{Registry, no_more};
use rappel_tensor::{DType, Tensor, no_grad};

/// A function of two variables, and the part of it that is worth a look.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// The values at `x` and `y`, two tensors of one shape.
    pub formula: fn(&Tensor, &Tensor) -> Tensor,
    /// Where descents begin.
    pub start: [f64; 2],
    /// From where to where a picture goes, in `x` and in `y`.
    pub view: [[f64; 2]; 2],
    /// Where the value is least: every such place, none where there is no least value.
    pub minima: &'static [[f64; 2]],
}

impl Function {
    /// The values at some points.
    ///
    /// ```
    /// let booth = rappel_train::FUNCTIONS.lookup("booth")?.build;
    /// assert_eq!(booth.values(&[[1.0, 3.0], [0.0, 0.0]]), [0.0, 74.0]);
    /// # Ok::<(), rappel_train::TrainError>(())
    /// ```
    pub fn values(&self, points: &[[f64; 2]]) -> Vec<f64> {
        let all = |i: usize| {
            let coordinates: Vec<f64> = points.iter().map(|point| point[i]).collect();
            Tensor::from_slice(&coordinates, [points.len()])
        };
        no_grad(|| (self.formula)(&all(0), &all(1)).to_dtype(DType::F64).to_vec())
    }

    /// The least value; none where there is none.
    pub fn least(&self) -> Option<f64> {
        self.values(self.minima).into_iter().reduce(f64::min)
    }

    /// Whether a point lies in the picture.
    pub fn shows(&self, point: [f64; 2]) -> bool {
        point.iter().zip(self.view).all(|(value, [from, to])| (from..=to).contains(value))
    }
}

/// Every function of `rappel surface`.
pub static FUNCTIONS: Registry<Function> = Registry {
    kind: "function",
    common: &[],
    entries: &[
        ackley::ENTRY,
        beale::ENTRY,
        booth::ENTRY,
        himmelblau::ENTRY,
        quadratic::ENTRY,
        rastrigin::ENTRY,
        rosenbrock::ENTRY,
        saddle::ENTRY,
        styblinski_tang::ENTRY,
        three_hump_camel::ENTRY,
    ],
    more: no_more::<Function>,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rappel_tensor::{Init, Params};

    use super::*;

    #[test]
    fn folder_and_registry_agree() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/functions");
        rappel_testkit::assert_folder_matches(&folder, &FUNCTIONS.names());
        rappel_testkit::assert_sound(&FUNCTIONS);
    }

    #[test]
    fn values_are_the_published_ones() {
        let near_minimum = -78.332_331_407_542_82;
        for (name, point, value) in [
            ("ackley", [0.0, 0.0], 0.0),
            ("ackley", [1.0, 1.0], 3.625_384_938_440_363),
            ("beale", [3.0, 0.5], 0.0),
            ("beale", [0.0, 0.0], 14.203_125),
            ("booth", [1.0, 3.0], 0.0),
            ("booth", [0.0, 0.0], 74.0),
            ("himmelblau", [3.0, 2.0], 0.0),
            ("himmelblau", [0.0, 0.0], 170.0),
            ("quadratic", [2.0, 1.0], 27.0),
            ("rastrigin", [0.0, 0.0], 0.0),
            ("rastrigin", [0.5, 0.0], 20.25),
            ("rosenbrock", [1.0, 1.0], 0.0),
            ("rosenbrock", [-1.2, 1.0], 24.2),
            ("saddle", [3.0, 2.0], 5.0),
            ("styblinski_tang", [-2.903_534_027_771_177, -2.903_534_027_771_177], near_minimum),
            ("styblinski_tang", [1.0, 0.0], -5.0),
            ("three_hump_camel", [0.0, 0.0], 0.0),
            ("three_hump_camel", [1.0, 1.0], 2.0 - 1.05 + 1.0 / 6.0 + 2.0),
        ] {
            let found = FUNCTIONS.lookup(name).unwrap().build.values(&[point])[0];
            assert!((found - value).abs() < 1e-12 * value.abs().max(1.0), "{name}: {found}");
        }
    }

    #[test]
    fn minima_have_no_slope_and_nothing_shown_lies_lower() {
        for entry in FUNCTIONS.entries {
            let (name, function) = (entry.name, entry.build);
            assert!(function.shows(function.start), "{name}");
            let Some(least) = function.least() else { continue };
            for minimum in function.minima {
                assert!(function.shows(*minimum), "{name}");
                assert!((function.values(&[*minimum])[0] - least).abs() < 1e-12, "{name}");
                // Ackley's function has a cusp there.
                if name != "ackley" {
                    let slope = slope(&function, *minimum);
                    assert!(slope.iter().all(|s| s.abs() < 1e-9), "{name}: {slope:?}");
                }
            }
            let [[left, right], [bottom, top]] = function.view;
            for i in 0..=100 {
                let y = bottom + (top - bottom) * f64::from(i) / 100.0;
                let x = |i: i32| left + (right - left) * f64::from(i) / 100.0;
                let row: Vec<[f64; 2]> = (0..=100).map(|i| [x(i), y]).collect();
                assert!(function.values(&row).iter().all(|v| *v >= least - 1e-12), "{name}");
            }
        }
    }

    fn slope(function: &Function, at: [f64; 2]) -> Vec<f64> {
        let mut params = Params::with_dtype(0, DType::F64);
        let [x, y] = ["x", "y"].map(|name| params.scope("").add(name, [1], Init::ZEROS));
        for (param, value) in [(&x, at[0]), (&y, at[1])] {
            params.update_one(param.index(), |open| open.values::<f64>()[0] = value).unwrap();
        }
        let grads = (function.formula)(&x.tensor(), &y.tensor()).sum().backward();
        [x, y].iter().map(|param| grads.param(param).unwrap().item()).collect()
    }
}
