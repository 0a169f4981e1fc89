//! Ackley's function.

use std::f64::consts::{E, TAU};

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "ackley",
    summary: "-20 exp(-0.2 sqrt((x^2 + y^2) / 2)) - exp((cos 2 pi x + cos 2 pi y) / 2) + e + 20: ripples in a funnel",
    reference: "Ackley, A connectionist machine for genetic hillclimbing, 1987",
    fields: &[],
    build: Function {
        formula,
        start: [2.6, 1.3],
        view: [[-3.5, 3.5], [-3.0, 3.0]],
        minima: &[[0.0, 0.0]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    let (near, waves) = ((x.square() + y.square()) * 0.5, (x * TAU).cos() + (y * TAU).cos());
    (near.sqrt() * -0.2).exp() * -20.0 - (waves * 0.5).exp() + (E + 20.0)
}
