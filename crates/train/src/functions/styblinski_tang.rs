//! Styblinski's and Tang's function.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "styblinski_tang",
    summary: "(x^4 - 16 x^2 + 5 x + y^4 - 16 y^2 + 5 y) / 2: four minima, one the lowest",
    reference: "Styblinski and Tang, Experiments in nonconvex optimization: stochastic approximation with function smoothing and simulated annealing, 1990",
    fields: &[],
    build: Function {
        formula,
        start: [0.6, 0.9],
        view: [[-4.5, 4.5], [-4.2, 4.2]],
        minima: &[[-2.903_534_027_771_177, -2.903_534_027_771_177]],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    let term = |x: &Tensor| x.square().square() - x.square() * 16.0 + x * 5.0;
    (term(x) + term(y)) * 0.5
}
