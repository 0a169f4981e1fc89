//! A saddle.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "saddle",
    summary: "x^2 - y^2: neither a minimum nor an end; where y = 0 the gradient leads into the saddle",
    reference: "Dauphin et al., Identifying and attacking the saddle point problem in high-dimensional non-convex optimization, 2014",
    fields: &[],
    build: Function {
        formula,
        start: [-1.7, 0.001],
        view: [[-2.2, 2.2], [-1.8, 1.8]],
        minima: &[],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    x.square() - y.square()
}
