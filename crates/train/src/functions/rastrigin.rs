//! Rastrigin's function.

use std::f64::consts::TAU;

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "rastrigin",
    summary: "20 + x^2 - 10 cos 2 pi x + y^2 - 10 cos 2 pi y: a minimum at about every pair of integers",
    reference: "Rastrigin, Systems of extremal control, 1974",
    fields: &[],
    build: Function {
        formula,
        start: [2.3, 1.7],
        view: [[-3.2, 3.2], [-2.6, 2.6]],
        minima: &[[0.0, 0.0]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    let term = |x: &Tensor| x.square() - (x * TAU).cos() * 10.0;
    term(x) + term(y) + 20.0
}
