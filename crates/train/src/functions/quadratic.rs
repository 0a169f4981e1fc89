//! A quadratic valley.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "quadratic",
    summary: "(x^2 + 50 y^2) / 2: a convex valley of condition 50",
    reference: "Nesterov, Introductory lectures on convex optimization, 2004, section 2.1",
    fields: &[],
    build: Function {
        formula,
        start: [-4.2, 1.1],
        view: [[-5.0, 5.0], [-2.0, 2.0]],
        minima: &[[0.0, 0.0]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    (x.square() + y.square() * 50.0) * 0.5
}
