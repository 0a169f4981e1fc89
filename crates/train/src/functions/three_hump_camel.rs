//! The camel with three humps.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "three_hump_camel",
    summary: "2 x^2 - 1.05 x^4 + x^6 / 6 + x y + y^2: three minima, the middle one the lowest",
    reference: "Jamil and Yang, A literature survey of benchmark functions for global optimisation problems, 2013",
    fields: &[],
    build: Function {
        formula,
        start: [-1.9, 1.8],
        view: [[-2.4, 2.4], [-2.0, 2.2]],
        minima: &[[0.0, 0.0]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    let squared = x.square();
    let hump = (&squared * (1.0 / 6.0) - 1.05) * &squared + 2.0;
    hump * squared + x * y + y.square()
}
