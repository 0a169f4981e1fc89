//! NIST's nonlinear regression problems by L-BFGS, beside SciPy's L-BFGS-B.

use rappel_optim::{Lbfgs, LineSearch, OptimError, Optimizer};
use rappel_tensor::{DType, Init, Params, Tensor};
use rappel_testkit::strd::Problem;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A fit's outcome.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Fit {
    pub digits: f64,
    pub evaluations: usize,
}

impl Fit {
    pub fn solved(&self) -> bool {
        self.digits >= 4.0
    }
}

/// What SciPy reached, in three ways: its defaults, with tolerances of 0, and so with 100 corrections.
#[derive(Deserialize)]
pub struct Scipy {
    pub scipy: String,
    pub solved: BTreeMap<String, usize>,
    pub results: BTreeMap<String, BTreeMap<String, Fit>>,
}

impl Scipy {
    pub fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/strd/scipy.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}

/// L-BFGS as it comes, with a line search.
pub fn as_pytorch() -> Lbfgs {
    Lbfgs { line_search_fn: LineSearch::StrongWolfe, ..Default::default() }
}

/// L-BFGS that continues until it finds no lower point: the parameters of a fit may be of any size, so
/// that no absolute tolerance suits all.
pub fn to_the_end() -> Lbfgs {
    Lbfgs {
        tolerance_grad: 0.0,
        tolerance_change: 0.0,
        curvature_tolerance: 0.0,
        line_search_tolerance: 0.0,
        ..as_pytorch()
    }
}

/// Steps at most, of 20 iterations each.
const STEPS: u64 = 500;

/// Fits a problem from one of its starts, until a step moves no parameter.
pub fn fit(problem: &Problem, start: usize, lbfgs: Lbfgs) -> Fit {
    let mut params = Params::with_dtype(0, DType::F64);
    let start = &problem.starts[start];
    let b = params.scope("").add("b", [start.len()], Init::ZEROS);
    params.set(&b, &Tensor::from_slice(start, start.len())).unwrap();
    let mut optimizer = Optimizer::new(lbfgs, &params).unwrap();
    let mut evaluations = 0;
    for step in 0..STEPS {
        let before = b.tensor().to_vec::<f64>();
        let stepped = optimizer.step_closure(step, &mut params, |_| {
            evaluations += 1;
            let (squares, gradient) = problem.sum_of_squares(&b.tensor().to_vec::<f64>());
            let slope = Tensor::from_slice(&gradient, gradient.len());
            Ok::<_, OptimError>((squares, (b.tensor() * slope).sum().backward()))
        });
        if stepped.is_err() || b.tensor().to_vec::<f64>() == before {
            break;
        }
    }
    Fit { digits: problem.digits(&b.tensor().to_vec::<f64>()), evaluations }
}
