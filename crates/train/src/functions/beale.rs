//! Beale's function.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "beale",
    summary: "(1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2: a plain with steep edges",
    reference: "Beale, On an iterative method for finding a local minimum of a function of more than one variable, 1958",
    fields: &[],
    build: Function {
        formula,
        start: [1.0, 1.5],
        view: [[-1.0, 4.5], [-2.0, 2.2]],
        minima: &[[3.0, 0.5]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    let term = |constant: f64, power: &Tensor| (x * (power - 1.0) + constant).square();
    let squared = y.square();
    term(1.5, y) + term(2.25, &squared) + term(2.625, &(&squared * y))
}
