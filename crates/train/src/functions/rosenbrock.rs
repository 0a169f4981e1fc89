//! Rosenbrock's function.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "rosenbrock",
    summary: "(1 - x)^2 + 100 (y - x^2)^2: a curved valley whose floor falls slowly",
    reference: "Rosenbrock, An automatic method for finding the greatest or least value of a function, 1960",
    fields: &[],
    build: Function {
        formula,
        start: [-1.2, 1.0],
        view: [[-2.0, 2.0], [-1.0, 3.0]],
        minima: &[[1.0, 1.0]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    (x - 1.0).square() + (y - &x.square()).square() * 100.0
}
