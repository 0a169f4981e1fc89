//! L-BFGS on NIST's nonlinear regression problems solves at least as many as SciPy's L-BFGS-B.

#[path = "common/strd.rs"]
mod runs;

use rappel_testkit::strd::problems;
use runs::{Scipy, fit, to_the_end};

#[test]
fn as_many_problems_are_solved_to_four_digits_as_by_scipy() {
    let scipy = Scipy::load();
    let mut solved = 0;
    for problem in problems() {
        for start in 0..2 {
            let fitted = fit(&problem, start, to_the_end());
            assert!(fitted.evaluations > 0, "{}", problem.name);
            solved += usize::from(fitted.solved());
        }
    }
    let best = scipy.solved.values().max().unwrap();
    assert_eq!(scipy.results.len(), 54);
    assert!(solved >= *best, "{solved} solved, {best} by SciPy {}", scipy.scipy);
}
