//! Least squares for the vector of each user by those of its items, and of each item by those of its users.

use rappel_tensor::{Kernel, Params, Simd, dispatch};
use rayon::prelude::*;

/// A recommender that does not descend: it solves for the vectors of users, then for those of items, and so on.
pub trait Alternating {
    /// Solves once for all users and once for all items. The loss that is left, over the confidence in all pairs.
    fn sweep(&self, params: &mut Params, taken: &TakenItems) -> f64;
}

/// Who took what, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenItems {
    /// The items of each user.
    pub by_user: TakenBy,
    /// The users of each item.
    pub by_item: TakenBy,
}

/// For each of some rows the columns that it took, each once, in their order, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenBy {
    ends: Vec<usize>,
    columns: Vec<u32>,
    counts: Vec<f32>,
}

impl TakenItems {
    /// Of pairs of user and item, which may come again.
    ///
    /// # Panics
    /// Where there are not so many users or items.
    pub fn new([users, items]: [usize; 2], pairs: &[(u32, u32)]) -> Self {
        let swapped: Vec<(u32, u32)> = pairs.iter().map(|(user, item)| (*item, *user)).collect();
        Self { by_user: TakenBy::new(users, pairs), by_item: TakenBy::new(items, &swapped) }
    }
}

impl TakenBy {
    fn new(rows: usize, pairs: &[(u32, u32)]) -> Self {
        let mut pairs = pairs.to_vec();
        pairs.sort_unstable();
        let (mut ends, mut columns, mut counts) = (vec![0; rows], Vec::new(), Vec::new());
        for again in pairs.chunk_by(|a, b| a == b) {
            let (row, column) = again[0];
            columns.push(column);
            counts.push(again.len() as f32);
            ends[row as usize] = columns.len();
        }
        let mut last = 0;
        for end in &mut ends {
            last = last.max(*end);
            *end = last;
        }
        Self { ends, columns, counts }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The confidence in all pairs beyond the 1 of each that nobody took, where one more time adds `alpha`.
    pub fn confidence(&self, alpha: f32) -> f64 {
        self.counts.iter().map(|count| f64::from(alpha * count) - 1.0).sum()
    }

    fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        let range = begin..self.ends[row];
        (&self.columns[range.clone()], &self.counts[range])
    }
}

/// How the equations of a row are solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Solver {
    /// So many steps of conjugate gradients from the vector that is there.
    Gradients(usize),
    /// By Cholesky's decomposition.
    Exact,
}

/// For each row `x`: `(Y'Y + regularization + sum (c - 1) y y') x = sum c y`, where `y` are the vectors of what it took and
/// `c = alpha count` the confidence in each.
#[derive(Clone, Copy)]
pub(crate) struct Equations<'a> {
    /// `Y'Y + regularization`, `[width, width]`.
    pub gram: &'a [f32],
    /// All vectors `Y`, `[others, width]`.
    pub others: &'a [f32],
    pub width: usize,
    pub taken: &'a TakenBy,
    pub alpha: f32,
    pub regularization: f32,
    pub solver: Solver,
}

impl Equations<'_> {
    /// Replaces all vectors `[rows, width]` by solutions; one that took nothing is zero. What is left of the loss, with the
    /// regularization of these vectors.
    pub fn solve(&self, vectors: &mut [f32]) -> f64 {
        let space = match self.solver {
            Solver::Gradients(_) => 3 * self.width,
            Solver::Exact => self.width * self.width + self.width,
        };
        let rows = vectors.par_chunks_mut(self.width).enumerate();
        let losses: Vec<f64> = rows
            .map_init(
                || vec![0.0; space],
                |scratch, (row, x)| {
                    let (columns, counts) = self.taken.row(row);
                    dispatch(Row { of: self, columns, counts, x, scratch })
                },
            )
            .collect();
        losses.into_iter().sum()
    }
}

/// The equations of one row.
struct Row<'a, 'b> {
    of: &'a Equations<'a>,
    columns: &'a [u32],
    counts: &'a [f32],
    x: &'b mut [f32],
    scratch: &'b mut [f32],
}

impl Kernel for Row<'_, '_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let Self { of, columns, counts, x, scratch } = self;
        if columns.is_empty() {
            x.fill(0.0);
            return 0.0;
        }
        let taken = Vectors { of, columns, counts };
        match of.solver {
            Solver::Gradients(steps) => conjugate_gradients(&taken, x, scratch, steps),
            Solver::Exact => cholesky(&taken, x, scratch),
        }
        let product = &mut scratch[..of.width];
        multiply(of.gram, x, product);
        let mut loss = f64::from(dot(x, product));
        taken.each(|ys, confidences, count| {
            let scores = dots(ys, x);
            for k in 0..count {
                let (score, confidence) = (f64::from(scores[k]), f64::from(confidences[k]));
                loss += confidence * (1.0 - score) * (1.0 - score) - score * score;
            }
        });
        loss
    }
}

/// The vectors of what a row took.
struct Vectors<'a> {
    of: &'a Equations<'a>,
    columns: &'a [u32],
    counts: &'a [f32],
}

/// Vectors that are read together.
const TOGETHER: usize = 4;

impl Vectors<'_> {
    /// Calls `each` with some vectors, the confidence in each, and how many they are: what is beyond is a vector once more.
    #[inline(always)]
    fn each(&self, mut each: impl FnMut([&[f32]; TOGETHER], [f32; TOGETHER], usize)) {
        let width = self.of.width;
        let groups = self.columns.chunks(TOGETHER).zip(self.counts.chunks(TOGETHER));
        for (columns, counts) in groups {
            let at = |k: usize| k.min(columns.len() - 1);
            let ys = std::array::from_fn(|k| {
                let first = columns[at(k)] as usize * width;
                &self.of.others[first..first + width]
            });
            let confidences = std::array::from_fn(|k| self.of.alpha * counts[at(k)]);
            each(ys, confidences, columns.len());
        }
    }
}

/// Some steps towards the solution from `x`.
#[inline(always)]
fn conjugate_gradients(taken: &Vectors<'_>, x: &mut [f32], scratch: &mut [f32], steps: usize) {
    const LEAST: f32 = 1e-20;
    let width = x.len();
    let (residual, rest) = scratch.split_at_mut(width);
    let (direction, rest) = rest.split_at_mut(width);
    let product = &mut rest[..width];
    multiply(taken.of.gram, x, residual);
    for r in residual.iter_mut() {
        *r = -*r;
    }
    taken.each(|ys, confidences, count| {
        let scores = dots(ys, x);
        let factor = |k: usize| confidences[k] - (confidences[k] - 1.0) * scores[k];
        add(residual, ys, std::array::from_fn(|k| if k < count { factor(k) } else { 0.0 }));
    });
    direction.copy_from_slice(residual);
    let mut old = dot(residual, residual);
    if old < LEAST {
        return;
    }
    for _ in 0..steps {
        multiply(taken.of.gram, direction, product);
        taken.each(|ys, confidences, count| {
            let scores = dots(ys, direction);
            let factor = |k: usize| (confidences[k] - 1.0) * scores[k];
            add(product, ys, std::array::from_fn(|k| if k < count { factor(k) } else { 0.0 }));
        });
        let length = old / dot(direction, product);
        for i in 0..width {
            x[i] += length * direction[i];
            residual[i] -= length * product[i];
        }
        let new = dot(residual, residual);
        if new < LEAST {
            return;
        }
        for i in 0..width {
            direction[i] = residual[i] + new / old * direction[i];
        }
        old = new;
    }
}

/// The solution.
#[inline(always)]
fn cholesky(taken: &Vectors<'_>, x: &mut [f32], scratch: &mut [f32]) {
    let width = x.len();
    let (matrix, right) = scratch.split_at_mut(width * width);
    let right = &mut right[..width];
    matrix.copy_from_slice(taken.of.gram);
    right.fill(0.0);
    taken.each(|ys, confidences, count| {
        let of = |k: usize, value: f32| if k < count { value } else { 0.0 };
        add(right, ys, std::array::from_fn(|k| of(k, confidences[k])));
        for row in 0..width {
            let factors = std::array::from_fn(|k| of(k, (confidences[k] - 1.0) * ys[k][row]));
            let to = &mut matrix[row * width..=row * width + row];
            add(to, ys.map(|y| &y[..=row]), factors);
        }
    });
    // Row by row: L[i][j] = (A[i][j] - L[i][..j] . L[j][..j]) / L[j][j]. No pivot is below the regularization but by rounding.
    for i in 0..width {
        let (above, here) = matrix.split_at_mut(i * width);
        let here = &mut here[..=i];
        for j in 0..i {
            let other = &above[j * width..=j * width + j];
            here[j] = (here[j] - dot(&here[..j], &other[..j])) / other[j];
        }
        let pivot = here[i] - dot(&here[..i], &here[..i]);
        here[i] = pivot.max(taken.of.regularization).sqrt();
        right[i] = (right[i] - dot(&here[..i], &right[..i])) / here[i];
    }
    for i in (0..width).rev() {
        let row = &matrix[i * width..=i * width + i];
        let solved = right[i] / row[i];
        x[i] = solved;
        for j in 0..i {
            right[j] -= row[j] * solved;
        }
    }
}

/// Numbers whose sums are kept apart, in as many lanes on any processor.
const LANES: usize = 16;

/// Four products with one vector.
#[inline(always)]
fn dots(ys: [&[f32]; TOGETHER], x: &[f32]) -> [f32; TOGETHER] {
    let mut sums = [[0.0; LANES]; TOGETHER];
    let whole = x.len() - x.len() % LANES;
    for at in (0..whole).step_by(LANES) {
        let x: &[f32; LANES] = x[at..at + LANES].try_into().expect("so many");
        for (sums, y) in sums.iter_mut().zip(ys) {
            let y: &[f32; LANES] = y[at..at + LANES].try_into().expect("so many");
            for k in 0..LANES {
                sums[k] += x[k] * y[k];
            }
        }
    }
    std::array::from_fn(|k| {
        let rest: f32 = x[whole..].iter().zip(&ys[k][whole..]).map(|(x, y)| x * y).sum();
        lane_sum(sums[k]) + rest
    })
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for k in 0..LANES {
            sums[k] += a[k] * b[k];
        }
    }
    lane_sum(sums) + rest
}

#[inline(always)]
fn lane_sum(mut sums: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for k in 0..half {
            sums[k] += sums[k + half];
        }
    }
    sums[0]
}

/// Adds multiples of four vectors.
#[inline(always)]
fn add(to: &mut [f32], [a, b, c, d]: [&[f32]; TOGETHER], factors: [f32; TOGETHER]) {
    let n = to.len();
    let (a, b, c, d) = (&a[..n], &b[..n], &c[..n], &d[..n]);
    for i in 0..n {
        to[i] += (factors[0] * a[i] + factors[1] * b[i]) + (factors[2] * c[i] + factors[3] * d[i]);
    }
}

/// The product of a symmetric matrix with a vector.
#[inline(always)]
fn multiply(matrix: &[f32], x: &[f32], out: &mut [f32]) {
    let width = x.len();
    out.fill(0.0);
    let whole = width - width % TOGETHER;
    for first in (0..whole).step_by(TOGETHER) {
        let row = |k: usize| &matrix[(first + k) * width..(first + k + 1) * width];
        add(out, [row(0), row(1), row(2), row(3)], std::array::from_fn(|k| x[first + k]));
    }
    for i in whole..width {
        let row = &matrix[i * width..(i + 1) * width];
        for (out, row) in out.iter_mut().zip(row) {
            *out += row * x[i];
        }
    }
}
