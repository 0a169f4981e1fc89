//! Himmelblau's function.

use rappel_config::Entry;
use rappel_tensor::Tensor;

use super::Function;

pub(super) const ENTRY: Entry<Function> = Entry {
    name: "himmelblau",
    summary: "(x^2 + y - 11)^2 + (x + y^2 - 7)^2: four minima, all of value 0",
    reference: "Himmelblau, Applied nonlinear programming, 1972",
    fields: &[],
    build: Function {
        formula,
        start: [-0.5, -0.7],
        view: [[-5.5, 5.5], [-5.0, 5.0]],
        minima: &[
            [3.0, 2.0],
            [-2.805_118_086_952_745, 3.131_312_518_250_573],
            [-3.779_310_253_377_747, -3.283_185_991_286_17],
            [3.584_428_340_330_492, -1.848_126_526_964_404],
        ],
    },
};

fn formula(x: &Tensor, y: &Tensor) -> Tensor {
    (x.square() + y - 11.0).square() + (x + &y.square() - 7.0).square()
}
