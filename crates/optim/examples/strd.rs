//! Prints `docs/strd.md`: NIST's nonlinear regression problems by L-BFGS.

#[path = "../tests/common/strd.rs"]
mod runs;

use rappel_testkit::strd::problems;
use runs::{Fit, Scipy, as_pytorch, fit, to_the_end};

fn main() {
    let scipy = Scipy::load();
    println!("{}", INTRODUCTION.trim());
    println!(
        "\n| problem | level | start | rappel | PyTorch's tolerances | SciPy | SciPy, defaults |"
    );
    println!("|---|---|---|---|---|---|---|");
    let cell = |fit: &Fit| format!("{:.1} ({})", fit.digits, fit.evaluations);
    let mut solved = [0; 4];
    for problem in problems() {
        for start in 0..2 {
            let known = &scipy.results[&format!("{}/{}", problem.name, start + 1)];
            let fits = [
                fit(&problem, start, to_the_end()),
                fit(&problem, start, as_pytorch()),
                known["tight, maxcor 100"],
                known["defaults"],
            ];
            for (solved, fit) in solved.iter_mut().zip(&fits) {
                *solved += usize::from(fit.solved());
            }
            let cells = fits.each_ref().map(cell).join(" | ");
            println!("| {} | {} | {} | {cells} |", problem.name, problem.difficulty, start + 1);
        }
    }
    let [ours, pytorch, theirs, defaults] = solved;
    println!("| **solved, of 54** | | | **{ours}** | {pytorch} | {theirs} | {defaults} |");
    println!(
        "\nSciPy {}; with its 10 corrections in place of 100 it solves {}.",
        scipy.scipy, scipy.solved["tight"]
    );
}

const INTRODUCTION: &str = "
# L-BFGS on NIST's nonlinear regression problems

The 27 problems of NIST's [Statistical Reference Datasets](https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml)
from both starts, as sums of squares in double precision with exact gradients. Each cell: digits to
which all parameters agree with the certified ones (11 are certified), and evaluations of the sum.
Solved means 4 digits.

`rappel`: `lbfgs` with `line_search_fn = \"strong_wolfe\"` and all four tolerances 0, so that it continues until a
step finds no lower point; all else as it comes. `PyTorch's tolerances`: as it comes, with
`strong_wolfe`. `SciPy`: L-BFGS-B with `ftol = gtol = 0` and 100 corrections, as many as `history_size`;
then with its defaults (`testdata/generators/strd_scipy.py`).

Printed by `cargo run --release -p rappel-optim --example strd`.
";
