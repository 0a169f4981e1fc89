//! What L-BFGS remembers, and the direction that follows from it.

use std::collections::VecDeque;
use std::sync::Arc;

use rappel_tensor::Float;

use crate::kernels::vector::{Vector, dot, update, zip};

/// State between iterations. Vectors are shared, so that a copy costs little: a step that fails leaves
/// the state as it was.
#[derive(Debug, Clone)]
pub(super) struct Memory<A> {
    /// Iterations so far.
    pub n_iter: u64,
    /// Evaluations of the loss so far.
    pub func_evals: u64,
    /// How far the last iteration went along its direction.
    pub t: f64,
    /// The scale of the inverse curvature that the recursion begins with.
    pub h_diag: f64,
    /// The loss before the last iteration.
    pub prev_loss: f64,
    /// The direction of the last iteration.
    pub d: Arc<Vector<A>>,
    /// The gradient before it.
    pub prev_flat_grad: Arc<Vector<A>>,
    /// Pairs of steps, oldest first.
    pub pairs: VecDeque<Pair<A>>,
}

/// What one iteration taught of the curvature.
#[derive(Debug, Clone)]
pub(super) struct Pair<A> {
    /// How the gradient changed: PyTorch's `old_dirs`.
    pub y: Arc<Vector<A>>,
    /// How the parameters changed: PyTorch's `old_stps`.
    pub s: Arc<Vector<A>>,
    /// `1 / (y . s)`.
    pub ro: f64,
}

impl<A: Float> Memory<A> {
    /// Before the first iteration, for `n` parameters.
    pub fn new(n: usize) -> Self {
        let zeros = || Arc::new(Vector::zeros(n));
        Self {
            n_iter: 0,
            func_evals: 0,
            t: 0.0,
            h_diag: 1.0,
            prev_loss: 0.0,
            d: zeros(),
            prev_flat_grad: zeros(),
            pairs: VecDeque::new(),
        }
    }

    /// Begins an iteration at a place with gradient `grad`: learns from the way there, and finds the
    /// direction to continue in.
    pub fn turn(&mut self, grad: &Arc<Vector<A>>, history_size: usize, least_curvature: f64) {
        self.n_iter += 1;
        if self.n_iter == 1 {
            self.h_diag = 1.0;
            self.pairs.clear();
            self.d = Arc::new(zip(grad, grad, |g, _| -g));
        } else {
            self.learn(grad, history_size, least_curvature);
            self.d = Arc::new(self.direction(grad));
        }
        self.prev_flat_grad = grad.clone();
    }

    /// Remembers the last iteration, where the loss was convex along it.
    fn learn(&mut self, grad: &[A], history_size: usize, least_curvature: f64) {
        let y: Vector<A> = zip(grad, &self.prev_flat_grad, |g, before| g - before);
        let t = self.t;
        let s: Vector<A> = zip(&self.d, &self.d, |d, _| d * t);
        let ys = dot(&y, &s);
        if ys > least_curvature {
            while self.pairs.len() >= history_size {
                self.pairs.pop_front();
            }
            self.h_diag = ys / dot(&y, &y);
            self.pairs.push_back(Pair { y: Arc::new(y), s: Arc::new(s), ro: ys.recip() });
        }
    }

    /// `-H g`, with the inverse curvature `H` that the pairs describe: the two-loop recursion.
    fn direction(&self, grad: &[A]) -> Vector<A> {
        let mut q: Vector<A> = zip(grad, grad, |g, _| -g);
        let mut alphas = Vec::with_capacity(self.pairs.len());
        for Pair { y, s, ro } in self.pairs.iter().rev() {
            let alpha = dot(s, &q) * ro;
            update(&mut q, y, |q, y| q - alpha * y);
            alphas.push(alpha);
        }
        let h_diag = self.h_diag;
        let mut r: Vector<A> = zip(&q, &q, |q, _| q * h_diag);
        for (Pair { y, s, ro }, alpha) in self.pairs.iter().zip(alphas.iter().rev()) {
            let beta = dot(y, &r) * ro;
            update(&mut r, s, |r, s| r + (alpha - beta) * s);
        }
        r
    }
}
