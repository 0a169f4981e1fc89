//! Booth's function.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "booth",
    summary: "(x + 2 y - 7)^2 + (2 x + y - 5)^2: a slanted bowl of condition 9",
    reference: "Jamil and Yang, A literature survey of benchmark functions for global optimisation problems, 2013",
    fields: &[],
    build: Function {
        formula,
        start: [-3.5, -2.0],
        view: [[-5.0, 7.0], [-4.0, 8.0]],
        minima: &[[1.0, 3.0]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    (x + &(y * 2.0) - 7.0).square() + (x * 2.0 + y - 5.0).square()
}
