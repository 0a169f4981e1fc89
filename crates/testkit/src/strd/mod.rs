//! The nonlinear regression problems of NIST's Statistical Reference Datasets.
//!
//! NIST/ITL StRD, <https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml>: data, two starts and
//! certified parameters of 27 problems in three levels of difficulty. The first start is far from the
//! solution, the second closer. The files lie in `testdata/strd`.

mod dual;
mod models;

use std::path::Path;

use dual::Dual;

/// One problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The data set's name.
    pub name: String,
    /// `Lower`, `Average` or `Higher`.
    pub difficulty: String,
    /// Both starts.
    pub starts: [Vec<f64>; 2],
    /// The certified parameters.
    pub certified: Vec<f64>,
    /// The certified sum of squares of residuals.
    pub squares: f64,
    /// The response; of Nelson its logarithm, as certified.
    pub y: Vec<f64>,
    /// The predictors, each with a value for each response.
    pub x: Vec<Vec<f64>>,
}

/// All 27, by name.
///
/// # Panics
/// Where a file is not as NIST wrote it.
pub fn problems() -> Vec<Problem> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/strd");
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "dat"));
    paths.sort_unstable();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().expect("a name").to_string_lossy();
        parse(&name, &text)
    };
    paths.iter().map(read).collect()
}

/// The line before the first row of data.
const HEADER: usize = 60;

fn parse(name: &str, text: &str) -> Problem {
    let lines: Vec<&str> = text.lines().collect();
    let (head, rows) = lines.split_at(HEADER);
    let numbers = |line: &str| -> Vec<f64> {
        line.split_whitespace()
            .map(|word| word.parse().unwrap_or_else(|e| panic!("{name}: `{word}`: {e}")))
            .collect()
    };
    let parameters: Vec<Vec<f64>> = head
        .iter()
        .filter_map(|line| line.trim().strip_prefix('b')?.split_once('='))
        .filter(|(number, _)| number.trim().parse::<usize>().is_ok())
        .map(|(_, values)| numbers(values))
        .collect();
    let column = |k: usize| parameters.iter().map(|row| row[k]).collect::<Vec<f64>>();
    let after = |start: &str| head.iter().find_map(|line| line.trim().strip_prefix(start));
    let level = head.iter().find_map(|line| line.trim().strip_suffix("Level of Difficulty"));
    let rows: Vec<Vec<f64>> =
        rows.iter().filter(|line| !line.trim().is_empty()).map(|line| numbers(line)).collect();
    let y = rows.iter().map(|row| if name == "Nelson" { row[0].ln() } else { row[0] });
    Problem {
        name: name.to_owned(),
        difficulty: level.expect("a level").trim().to_owned(),
        starts: [column(0), column(1)],
        certified: column(2),
        squares: numbers(after("Residual Sum of Squares:").expect("certified"))[0],
        y: y.collect(),
        x: (1..rows[0].len()).map(|k| rows.iter().map(|row| row[k]).collect()).collect(),
    }
}

impl Problem {
    /// The sum of squares of the residuals with parameters `b`, and its gradient.
    pub fn sum_of_squares(&self, b: &[f64]) -> (f64, Vec<f64>) {
        let parameters: Vec<Dual> =
            b.iter().enumerate().map(|(i, value)| Dual::parameter(*value, i)).collect();
        let sum = self.y.iter().enumerate().fold(Dual::constant(0.0), |sum, (row, y)| {
            let x: Vec<f64> = self.x.iter().map(|column| column[row]).collect();
            let predicted = models::predicted(&self.name, &parameters, &x);
            sum + (predicted - Dual::constant(*y)).square()
        });
        (sum.value, sum.slopes[..b.len()].to_vec())
    }

    /// Digits to which all of `b` agree with the certified parameters: the least
    /// `-log10(|b - c| / |c|)`, at most 11, as many as are certified; 0 where `b` is not a number.
    pub fn digits(&self, b: &[f64]) -> f64 {
        let of = |(b, c): (&f64, &f64)| -((b - c).abs() / c.abs()).log10();
        let least = b.iter().zip(&self.certified).map(of).fold(11.0, f64::min);
        if b.iter().all(|b| b.is_finite()) { least.max(0.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert_close;

    #[test]
    fn all_problems_are_read() {
        let problems = problems();
        let of = |level| problems.iter().filter(|p| p.difficulty == level).count();
        assert_eq!((of("Lower"), of("Average"), of("Higher")), (8, 11, 8));
        let nelson = problems.iter().find(|p| p.name == "Nelson").unwrap();
        assert_eq!((nelson.x.len(), nelson.y.len()), (2, 128));
        assert_eq!(nelson.y[0], 15_f64.ln());
        assert_eq!(nelson.starts, [vec![2.0, 0.0001, -0.01], vec![2.5, 5e-9, -0.05]]);
        let misra = problems.iter().find(|p| p.name == "Misra1a").unwrap();
        assert_eq!(misra.certified, [2.3894212918E+02, 5.5015643181E-04]);
        assert_eq!(misra.squares, 1.2455138894E-01);
    }

    #[test]
    fn the_certified_parameters_give_the_certified_sums_of_squares() {
        for problem in problems() {
            let (squares, gradient) = problem.sum_of_squares(&problem.certified);
            // Lanczos1 has no noise: what is left is the rounding of the data and the parameters.
            if problem.name != "Lanczos1" {
                assert_close(&[squares], &[problem.squares], 1e-8, &problem.name);
            }
            let (_, far) = problem.sum_of_squares(&problem.starts[1]);
            let largest = |g: &[f64]| g.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            assert!(largest(&gradient) < 1e-2 * largest(&far), "{}: {gradient:?}", problem.name);
        }
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        for problem in problems() {
            let b = &problem.starts[1];
            let (_, gradient) = problem.sum_of_squares(b);
            let differences: Vec<f64> = (0..b.len())
                .map(|i| {
                    let h = 1e-6 * b[i].abs();
                    let at = |shift: f64| {
                        let mut b = b.clone();
                        b[i] += shift;
                        problem.sum_of_squares(&b).0
                    };
                    (at(h) - at(-h)) / (2.0 * h)
                })
                .collect();
            assert_close(&gradient, &differences, 1e-3, &problem.name);
        }
    }

    #[test]
    fn digits_are_those_of_the_worst_parameter() {
        let mut problem = problems().remove(0);
        problem.certified = vec![2.0, -1.0];
        assert_eq!(problem.digits(&[2.0, -1.0]), 11.0);
        assert!((problem.digits(&[2.0, -1.001]) - 3.0).abs() < 1e-9);
        assert_eq!(problem.digits(&[f64::NAN, -1.0]), 0.0);
        assert_eq!(problem.digits(&[-9.0, -1.0]), 0.0);
    }
}
