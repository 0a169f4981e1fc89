//! Gradient descent does what theory says: on convex functions, and on one that is not.

use nalgebra::{DMatrix, DVector};
use rappel_optim::{Optimizer, OptimizerConfig, Schedule, Sgd};
use rappel_tensor::{DType, Init, Param, Params, Tensor};
use rappel_testkit::Random;

/// `f(w) = |A w - b|^2 / (2 m)` with `m` rows.
struct LeastSquares {
    a: Tensor,
    b: Tensor,
    /// The closed-form solution.
    solution: DVector<f64>,
    /// The Hessian's least and greatest eigenvalue, and the eigenvector of the least.
    mu: f64,
    l: f64,
    slow: DVector<f64>,
}

const ROWS: usize = 40;
const COLUMNS: usize = 6;

impl LeastSquares {
    /// Columns of sizes from 1 to `spread`, so that the condition is of the order of its square.
    fn new(spread: f64) -> Self {
        let mut random = Random::new(5);
        let mut rows = random.normals(ROWS * COLUMNS);
        for (i, value) in rows.iter_mut().enumerate() {
            *value *= spread.powf((i % COLUMNS) as f64 / (COLUMNS - 1) as f64);
        }
        let b = random.normals(ROWS);
        let (a_matrix, b_vector) =
            (DMatrix::from_row_slice(ROWS, COLUMNS, &rows), DVector::from_column_slice(&b));
        let hessian = a_matrix.transpose() * &a_matrix / ROWS as f64;
        let right = a_matrix.transpose() * &b_vector / ROWS as f64;
        let eigen = hessian.clone().symmetric_eigen();
        let least = eigen.eigenvalues.imin();
        Self {
            a: Tensor::from_slice(&rows, [ROWS, COLUMNS]),
            b: Tensor::from_slice(&b, [ROWS, 1]),
            solution: hessian.lu().solve(&right).unwrap(),
            mu: eigen.eigenvalues.min(),
            l: eigen.eigenvalues.max(),
            slow: eigen.eigenvectors.column(least).into_owned(),
        }
    }

    fn condition(&self) -> f64 {
        self.l / self.mu
    }

    /// Distances from the solution, at the start and after each step.
    fn descend(&self, start: &DVector<f64>, lr: f64, steps: u64) -> Vec<f64> {
        let (mut params, w) = point(start.as_slice(), [COLUMNS, 1]);
        let mut sgd = Optimizer::new(Sgd { lr: lr.into(), ..Default::default() }, &params).unwrap();
        let away =
            |w: &Param| (DVector::from_vec(w.tensor().to_vec::<f64>()) - &self.solution).norm();
        let mut distances = vec![away(&w)];
        for step in 0..steps {
            let off = self.a.matmul(&w.tensor()) - &self.b;
            let grads = (off.square().sum() * (0.5 / ROWS as f64)).backward();
            sgd.step(step, &mut params, &grads).unwrap();
            distances.push(away(&w));
        }
        distances
    }
}

/// A parameter with these values.
fn point<const N: usize>(values: &[f64], shape: [usize; N]) -> (Params, Param) {
    let mut params = Params::with_dtype(0, DType::F64);
    let w = params.scope("").add("w", shape, Init::ZEROS);
    params.update_one(w.index(), |open| open.values::<f64>().copy_from_slice(values)).unwrap();
    (params, w)
}

#[test]
fn batch_descent_reaches_the_closed_form_below_two_over_l_and_diverges_above() {
    let problem = LeastSquares::new(4.0);
    let (l, mu) = (problem.l, problem.mu);
    assert!((10.0..100.0).contains(&problem.condition()), "{}", problem.condition());
    let start = DVector::from_element(COLUMNS, 1.0);
    let size = problem.solution.norm();
    for lr in [0.5 / l, 1.0 / l, 2.0 / (l + mu), 1.9 / l, 1.99 / l] {
        // As many steps as the slowest direction needs.
        let rate = (1.0 - lr * mu).abs().max((1.0 - lr * l).abs());
        let steps = (1e-13_f64.ln() / rate.ln()).ceil() as u64;
        let distances = problem.descend(&start, lr, steps);
        let last = distances.last().unwrap();
        assert!(*last < 1e-10 * size, "lr {lr}, {steps} steps: {last} of {size}");
    }
    for (lr, steps) in [(2.01 / l, 2_000), (2.5 / l, 60)] {
        let distances = problem.descend(&start, lr, steps);
        let later = &distances[steps as usize / 2..];
        assert!(later.windows(2).all(|pair| pair[1] > pair[0]), "lr {lr}");
        assert!(later[later.len() - 1] > 1e3 * distances[0], "lr {lr}");
    }
}

#[test]
fn the_rate_meets_the_bound_of_the_condition_number() {
    for spread in [1.5, 4.0, 10.0] {
        let problem = LeastSquares::new(spread);
        let (l, mu, kappa) = (problem.l, problem.mu, problem.condition());
        let bounds =
            [(1.0 / l, 1.0 - 1.0 / kappa), (2.0 / (l + mu), (kappa - 1.0) / (kappa + 1.0))];
        for (lr, bound) in bounds {
            let any = DVector::from_vec(Random::new(8).normals(COLUMNS));
            let worst = &problem.solution + &problem.slow;
            let held = |start: &DVector<f64>| {
                let distances = problem.descend(start, lr, 100);
                for (k, distance) in distances.iter().enumerate() {
                    let most = bound.powi(k as i32) * distances[0];
                    assert!(*distance <= most * (1.0 + 1e-9) + 1e-13, "{kappa}, step {k}");
                }
                distances
            };
            held(&any);
            // From the slowest direction the bound is what happens.
            for pair in held(&worst).windows(2).take(20) {
                let rate = pair[1] / pair[0];
                assert!((rate - bound).abs() < 1e-8, "{kappa}: {rate}, bound {bound}");
            }
        }
    }
}

/// `f(w) = mean_i (w - x_i) H (w - x_i) / 2` with `H` diagonal and samples `x_i`: the gradient at a
/// sample is that at all, plus noise that does not depend on `w`.
struct Samples {
    samples: Vec<[f64; 2]>,
    mean: [f64; 2],
    variance: [f64; 2],
}

const CURVATURE: [f64; 2] = [1.0, 4.0];

impl Samples {
    fn new() -> Self {
        let mut random = Random::new(2);
        let samples: Vec<[f64; 2]> =
            (0..100).map(|_| [random.normal() + 3.0, 2.0 * random.normal() - 1.0]).collect();
        let mean = [0, 1].map(|i| samples.iter().map(|x| x[i]).sum::<f64>() / 100.0);
        let square = |i: usize| samples.iter().map(|x| (x[i] - mean[i]).powi(2)).sum::<f64>();
        Self { mean, variance: [square(0) / 100.0, square(1) / 100.0], samples }
    }

    /// Stochastic descent, samples drawn with replacement; calls `seen` with each step's point.
    fn descend(
        &self,
        lr: impl Into<Schedule>,
        steps: u64,
        seed: u64,
        mut seen: impl FnMut(u64, [f64; 2]),
    ) {
        let (mut params, w) = point(&[0.0, 0.0], [2]);
        let config = OptimizerConfig::new(Sgd { lr: lr.into(), ..Default::default() });
        let mut sgd = Optimizer::new(config, &params).unwrap();
        let curvature = Tensor::from_slice(&CURVATURE, [2]);
        let mut random = Random::new(seed);
        for step in 0..steps {
            let sample = self.samples[(random.uniform() * 100.0) as usize];
            let off = w.tensor() - Tensor::from_slice(&sample, [2]);
            let grads = ((off.square() * &curvature).sum() * 0.5).backward();
            sgd.step(step, &mut params, &grads).unwrap();
            let stands = w.tensor().to_vec::<f64>();
            seen(step, [stands[0], stands[1]]);
        }
    }
}

#[test]
fn stochastic_descent_stays_in_the_noise_ball_of_its_step() {
    let samples = Samples::new();
    for lr in [0.2, 0.05] {
        let steps = 60_000;
        let mut squares = [0.0; 2];
        samples.descend(lr, steps, 7, |step, w| {
            if step >= 1_000 {
                for i in 0..2 {
                    squares[i] += (w[i] - samples.mean[i]).powi(2);
                }
            }
        });
        for i in 0..2 {
            // w <- w - lr h (w - mean) + lr h noise has this variance where it does not change.
            let predicted = lr * CURVATURE[i] * samples.variance[i] / (2.0 - lr * CURVATURE[i]);
            let found = squares[i] / (steps - 1_000) as f64;
            assert!((found / predicted - 1.0).abs() < 0.1, "lr {lr}: {found}, {predicted}");
        }
    }
}

#[test]
fn stochastic_descent_converges_with_steps_of_one_over_t() {
    let samples = Samples::new();
    let error = |lr: &dyn Fn() -> Schedule, at: u64| {
        let seeds = 0..30_u64;
        let one = |seed| {
            let mut last = [0.0; 2];
            samples.descend(lr(), at, 100 + seed, |_, w| last = w);
            (0..2).map(|i| (last[i] - samples.mean[i]).powi(2)).sum::<f64>()
        };
        seeds.map(one).sum::<f64>() / 30.0
    };
    // In the flat direction the step is 1 / t over the curvature: the mean of the samples so far.
    let falling = || Schedule::from_fn(None, |step| 1.0 / (step + 4) as f64);
    let (early, late) = (error(&falling, 250), error(&falling, 4_000));
    // A sixteenth, but for chance.
    assert!((8.0..32.0).contains(&(early / late)), "{early} {late}");
    let constant = || Schedule::from(0.1);
    let (early, late) = (error(&constant, 250), error(&constant, 4_000));
    assert!((0.4..2.5).contains(&(early / late)), "{early} {late}");
    // With steps of exactly 1 / t it is the mean.
    let mut sum = 0.0;
    let mut random = Random::new(3);
    let exact = Schedule::from_fn(None, |step| 1.0 / (step + 1) as f64);
    samples.descend(exact, 2_000, 3, |step, w| {
        sum += samples.samples[random.below(100)][0];
        let mean = sum / (step + 1) as f64;
        assert!((w[0] - mean).abs() < 1e-10, "step {step}: {} {mean}", w[0]);
    });
}

#[test]
fn where_it_is_not_convex_the_start_decides() {
    // Himmelblau's function, and a bowl.
    let himmelblau = |x: &Tensor, y: &Tensor| {
        ((x.square() + y - 11.0).square() + (x + &y.square() - 7.0).square()).sum()
    };
    let bowl = |x: &Tensor, y: &Tensor| ((x - 1.0).square() + (x + y).square()).sum();
    let end = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor, start: [f64; 2]| -> [f64; 2] {
        let (mut params, w) = point(&start, [2]);
        let mut sgd =
            Optimizer::new(Sgd { lr: 0.01.into(), ..Default::default() }, &params).unwrap();
        for step in 0..4_000 {
            let [x, y] = [0, 1].map(|i| w.tensor().narrow(0, i, 1));
            let grads = f(&x, &y).backward();
            drop((x, y));
            sgd.step(step, &mut params, &grads).unwrap();
        }
        let stands = w.tensor().to_vec::<f64>();
        [stands[0], stands[1]]
    };
    let starts = [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]];
    let minima = [
        [3.0, 2.0],
        [-2.805_118_086_952_745, 3.131_312_518_250_573],
        [-3.779_310_253_377_747, -3.283_185_991_286_17],
        [3.584_428_340_330_492, -1.848_126_526_964_404],
    ];
    for (start, minimum) in starts.into_iter().zip(minima) {
        for (found, wanted) in end(&himmelblau, start).iter().zip(minimum) {
            assert!((found - wanted).abs() < 1e-9, "from {start:?}: {found}");
        }
        for (found, wanted) in end(&bowl, start).iter().zip([1.0, -1.0]) {
            assert!((found - wanted).abs() < 1e-9, "from {start:?}: {found}");
        }
    }
}
