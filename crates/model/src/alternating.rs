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
        for first in (0..columns.len()).step_by(TOGETHER) {
            let Together { ys, confidences, used } = taken.together(first);
            let scores = dots(ys, x);
            for k in 0..TOGETHER {
                let (score, confidence) = (f64::from(scores[k]), f64::from(confidences[k]));
                let left = confidence * (1.0 - score) * (1.0 - score) - score * score;
                loss += f64::from(used[k]) * left;
            }
        }
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

/// Some of them, and the confidence in each; where there are fewer, one comes again, with 0 for 1 in `used`.
///
/// Plain loops over these, and no closures: what runs on wide registers must be inlined, and closures may not be.
struct Together<'a> {
    ys: [&'a [f32]; TOGETHER],
    confidences: [f32; TOGETHER],
    used: [f32; TOGETHER],
}

impl<'a> Vectors<'a> {
    #[inline(always)]
    fn together(&self, first: usize) -> Together<'a> {
        let width = self.of.width;
        let mut some =
            Together { ys: [&[]; TOGETHER], confidences: [0.0; TOGETHER], used: [0.0; TOGETHER] };
        for k in 0..TOGETHER {
            let at = (first + k).min(self.columns.len() - 1);
            let start = self.columns[at] as usize * width;
            some.ys[k] = &self.of.others[start..start + width];
            some.confidences[k] = self.of.alpha * self.counts[at];
            some.used[k] = if first + k == at { 1.0 } else { 0.0 };
        }
        some
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
    for first in (0..taken.columns.len()).step_by(TOGETHER) {
        let Together { ys, confidences, used } = taken.together(first);
        let scores = dots(ys, x);
        let mut factors = [0.0; TOGETHER];
        for k in 0..TOGETHER {
            factors[k] = used[k] * (confidences[k] - (confidences[k] - 1.0) * scores[k]);
        }
        add(residual, ys, factors);
    }
    direction.copy_from_slice(residual);
    let mut old = dot(residual, residual);
    if old < LEAST {
        return;
    }
    for _ in 0..steps {
        multiply(taken.of.gram, direction, product);
        for first in (0..taken.columns.len()).step_by(TOGETHER) {
            let Together { ys, confidences, used } = taken.together(first);
            let scores = dots(ys, direction);
            let mut factors = [0.0; TOGETHER];
            for k in 0..TOGETHER {
                factors[k] = used[k] * (confidences[k] - 1.0) * scores[k];
            }
            add(product, ys, factors);
        }
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
    for first in (0..taken.columns.len()).step_by(TOGETHER) {
        let Together { ys, confidences, used } = taken.together(first);
        let (mut once, mut more) = ([0.0; TOGETHER], [0.0; TOGETHER]);
        for k in 0..TOGETHER {
            once[k] = used[k] * confidences[k];
            more[k] = used[k] * (confidences[k] - 1.0);
        }
        add(right, ys, once);
        for row in 0..width {
            let (mut factors, mut parts) = ([0.0; TOGETHER], ys);
            for k in 0..TOGETHER {
                factors[k] = more[k] * ys[k][row];
                parts[k] = &ys[k][row..];
            }
            add(&mut matrix[row * width + row..(row + 1) * width], parts, factors);
        }
    }
    // A = U'U, a row of U after another, each taken out of all below it; U'z = b goes with it. No pivot is below the
    // regularization but by rounding.
    for row in 0..width {
        let (above, below) = matrix.split_at_mut((row + 1) * width);
        let here = &mut above[row * width + row..];
        let root = here[0].max(taken.of.regularization).sqrt();
        for value in here.iter_mut() {
            *value /= root;
        }
        here[0] = root;
        let (solved, rest) = right[row..].split_at_mut(1);
        solved[0] /= root;
        subtract(rest, &here[1..], solved[0]);
        for i in 0..width - row - 1 {
            let at = i * width + row + 1 + i;
            let to = &mut below[at..(i + 1) * width];
            subtract(to, &here[1 + i..], here[1 + i]);
        }
    }
    for row in (0..width).rev() {
        let here = &matrix[row * width + row..(row + 1) * width];
        x[row] = (right[row] - dot(&here[1..], &x[row + 1..])) / here[0];
    }
}

/// Takes a multiple away.
#[inline(always)]
fn subtract(to: &mut [f32], from: &[f32], factor: f32) {
    let n = to.len().min(from.len());
    let (to, from) = (&mut to[..n], &from[..n]);
    for i in 0..n {
        to[i] -= factor * from[i];
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
        let x = &x[at..at + LANES];
        for k in 0..TOGETHER {
            let y = &ys[k][at..at + LANES];
            for lane in 0..LANES {
                sums[k][lane] += x[lane] * y[lane];
            }
        }
    }
    let mut products = [0.0; TOGETHER];
    for k in 0..TOGETHER {
        let mut rest = 0.0;
        for i in whole..x.len() {
            rest += x[i] * ys[k][i];
        }
        products[k] = lane_sum(sums[k]) + rest;
    }
    products
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let n = a.len().min(b.len());
    let (a, b, whole) = (&a[..n], &b[..n], n - n % LANES);
    for at in (0..whole).step_by(LANES) {
        let (a, b) = (&a[at..at + LANES], &b[at..at + LANES]);
        for k in 0..LANES {
            sums[k] += a[k] * b[k];
        }
    }
    let mut rest = 0.0;
    for i in whole..n {
        rest += a[i] * b[i];
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
        let (rows, _) = matrix[first * width..].split_at(TOGETHER * width);
        let (ab, cd) = rows.split_at(2 * width);
        let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
        let factors = [x[first], x[first + 1], x[first + 2], x[first + 3]];
        add(out, [a, b, c, d], factors);
    }
    for i in whole..width {
        let row = &matrix[i * width..(i + 1) * width];
        for (out, row) in out.iter_mut().zip(row) {
            *out += row * x[i];
        }
    }
}
