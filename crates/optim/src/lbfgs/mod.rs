//! The machinery of [`Lbfgs`](crate::Lbfgs): memory, line search, and the iterations of a step.

mod line_search;
mod memory;
mod state;

use std::sync::Arc;

use rappel_tensor::Float;

use self::line_search::{Limits, Point, strong_wolfe};
use self::memory::Memory;
use crate::context::StepContext;
use crate::kernels::vector::{Vector, dot, l1, largest, update, zip};
use crate::kernels::{Halt, Landscape, SearchState, Searching};
use crate::rules::lbfgs::{Lbfgs, LineSearch};

/// L-BFGS over parameters whose steps are computed as `A`.
#[derive(Debug)]
pub(crate) struct Descent<A> {
    options: Lbfgs,
    memory: Memory<A>,
}

impl<A: Float> Descent<A> {
    /// For `n` parameters, with nothing remembered.
    pub fn new(options: Lbfgs, n: usize) -> Self {
        Self { options, memory: Memory::new(n) }
    }
}

/// Where an iteration stands.
struct Place<A> {
    x: Vector<A>,
    loss: f64,
    grad: Arc<Vector<A>>,
}

impl<A: Float> Searching<A> for Descent<A> {
    fn needs_loss(&self) -> bool {
        self.options.line_search_fn == LineSearch::StrongWolfe
    }

    fn step(&mut self, t: &StepContext, land: &mut dyn Landscape<A>) -> Result<(), Halt> {
        let options = &self.options;
        let mut memory = self.memory.clone();
        let (lr, most) = (t.lr(&options.lr), options.evaluations());
        let (loss, grad) = land.evaluate()?;
        let mut place = Place { x: land.read()?, loss, grad: Arc::new(grad) };
        let (mut evaluations, mut iterations) = (1, 0);
        let mut flat = largest(&place.grad) <= options.tolerance_grad;
        while !flat && iterations < options.max_iter {
            iterations += 1;
            memory.turn(&place.grad, options.history_size, options.curvature_tolerance);
            memory.prev_loss = place.loss;
            let first = memory.n_iter == 1;
            memory.t = if first { l1(&place.grad).recip().min(1.0) * lr } else { lr };
            let slope = dot(&place.grad, &memory.d);
            if slope > -options.tolerance_change {
                break;
            }
            let last = iterations == options.max_iter;
            let line = Line { options, slope, trials: most.saturating_sub(evaluations), last };
            evaluations += line.go(&mut memory, &mut place, land)?;
            flat = largest(&place.grad) <= options.tolerance_grad;
            let moved = largest(&memory.d) * memory.t.abs();
            if evaluations >= most
                || moved <= options.tolerance_change
                || (place.loss - memory.prev_loss).abs() < options.tolerance_change
            {
                break;
            }
        }
        memory.func_evals += evaluations as u64;
        self.memory = memory;
        Ok(())
    }

    fn save(&self) -> SearchState<A> {
        self.memory.save()
    }

    fn load(&mut self, state: SearchState<A>) {
        self.memory = Memory::load(state);
    }
}

/// One iteration's way along its direction.
struct Line<'a> {
    options: &'a Lbfgs,
    slope: f64,
    /// Evaluations that the step has left.
    trials: usize,
    /// Whether no iteration follows.
    last: bool,
}

impl Line<'_> {
    /// Goes to the next place; returns how often the loss was evaluated.
    fn go<A: Float>(
        &self,
        memory: &mut Memory<A>,
        place: &mut Place<A>,
        land: &mut dyn Landscape<A>,
    ) -> Result<usize, Halt> {
        if self.options.line_search_fn == LineSearch::StrongWolfe {
            return self.search(memory, place, land);
        }
        let t = memory.t;
        update(&mut place.x, &memory.d, |x, d| x + t * d);
        land.go(&place.x)?;
        if self.last {
            // Nobody would look: the next step begins with an evaluation.
            return Ok(0);
        }
        let (loss, grad) = land.evaluate()?;
        (place.loss, place.grad) = (loss, Arc::new(grad));
        Ok(1)
    }

    fn search<A: Float>(
        &self,
        memory: &mut Memory<A>,
        place: &mut Place<A>,
        land: &mut dyn Landscape<A>,
    ) -> Result<usize, Halt> {
        let d = memory.d.clone();
        let at = |x: &[A], t: f64| zip(x, &d, |x, d| x + t * d);
        let x = &place.x;
        let mut trial = |t: f64| {
            land.go(&at(x, t))?;
            let (loss, grad) = match land.evaluate() {
                // As high as can be, so that the search turns back.
                Err(Halt::NotFinite(_)) => (f64::INFINITY, Vector::zeros(0)),
                found => found?,
            };
            let slope = if loss.is_finite() { dot(&grad, &d) } else { f64::NAN };
            let loss = if slope.is_nan() { f64::INFINITY } else { loss };
            Ok(Point { t, loss, slope, grad: Arc::new(grad) })
        };
        let start = Point { t: 0.0, loss: place.loss, slope: self.slope, grad: place.grad.clone() };
        let width = self.options.line_search_tolerance;
        let limits = Limits { trials: self.trials, width, largest: largest(&d) };
        let (found, evaluations) = strong_wolfe(&start, memory.t, limits, &mut trial)?;
        let x = at(&place.x, found.t);
        land.go(&x)?;
        memory.t = found.t;
        *place = Place { x, loss: found.loss, grad: found.grad };
        Ok(evaluations)
    }
}
