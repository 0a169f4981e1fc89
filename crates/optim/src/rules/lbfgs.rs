//! L-BFGS.

use rappel_tensor::{DType, Shape};

use crate::lbfgs::Descent;
use crate::rule::{
    Algorithm, Descends, Engine, Options, RuleEntry, Schedule, Slot, StepArgs, Stepper, Words,
    entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Lbfgs>(
    "lbfgs",
    "p <- p - t H g, H of the last gradient changes; up to max_iter iterations a step; each \
              adds 2 vectors to the state, up to history_size",
    "torch.optim.LBFGS; Liu and Nocedal, On the limited memory BFGS method for large scale \
                optimization, 1989; line search: Nocedal and Wright, Numerical Optimization, 3.5",
);

/// L-BFGS, as `torch.optim.LBFGS`, over all parameters as one vector `x`.
///
/// A step evaluates the loss and its gradient `g`, then takes up to `max_iter` iterations:
///
/// 1. `y <- g - g_before`, `s <- t d`; where `y.s > curvature_tolerance` the pair is remembered, the
///    oldest forgotten beyond `history_size`, and `H0 <- y.s / y.y`.
/// 2. `d <- -H g`, where `H` is what the BFGS formula makes of `H0` with the pairs (the two-loop
///    recursion). At the first iteration of all, `d <- -g`.
/// 3. `t <- lr`; at the first of all, `t <- lr min(1, 1 / sum |g_i|)`. With `strong_wolfe`, `t` is
///    where a search that begins there finds
///    `f(x + t d) <= f(x) + 1e-4 t g.d` and `|g(x + t d).d| <= 0.9 |g.d|`.
/// 4. `x <- x + t d`, and loss and gradient are evaluated there.
///
/// A step ends early where `max |g_i| <= tolerance_grad`, `-g.d < tolerance_change`,
/// `max |t d_i| <= tolerance_change`, the loss changes by less than `tolerance_change`, or after
/// `max_eval` evaluations.
///
/// The loss is evaluated through [`step_closure`](crate::Optimizer::step_closure) or
/// [`descend`](crate::Optimizer::descend). [`step`](crate::Optimizer::step) with gradients alone
/// is PyTorch's step with a closure that always returns these gradients and one loss: one
/// update, after which the loss no longer changes. With `strong_wolfe` it is an error.
///
/// Clipping applies to the gradient of each evaluation, as in a closure that clips. It breaks
/// the tie between gradients and losses, so leave it off (`train.max_grad_norm = 0`) unless
/// gradients explode. There can be no groups, no SAM, and no state in less precision.
///
/// ```
/// use rappel_optim::{Lbfgs, LineSearch};
/// let lbfgs = Lbfgs { line_search_fn: LineSearch::StrongWolfe, ..Default::default() };
/// assert_eq!(lbfgs.evaluations(), 25);
/// ```
///
/// What differs from PyTorch: sums are taken in double precision and in an order that no number
/// of threads changes; parameters in bfloat16 have their steps computed in single precision. In
/// a line search, a point whose loss or gradient is not a number counts as infinitely high, and the
/// search turns back (PyTorch computes with it, and ends in NaN); it ends when no number lies between
/// its ends. `curvature_tolerance` and `line_search_tolerance` are constants in PyTorch, the
/// defaults here. Absolute as they are, they stop badly scaled problems early: 0 is then better.
///
/// From Liu and Nocedal, *On the limited memory BFGS method for large scale optimization*,
/// Mathematical Programming 45 (1989).
#[derive(Debug, Clone, Options, Descends)]
pub struct Lbfgs {
    /// how far the first try of an iteration goes along its direction
    #[option(default = 1.0, range = 0.0..)]
    pub lr: Schedule,
    /// iterations of a step at most
    #[option(default = 20, range = 1..)]
    pub max_iter: usize,
    /// evaluations of the loss in a step at most; unset: max_iter * 5 / 4
    #[option(range = 1..)]
    pub max_eval: Option<usize>,
    /// a step ends where no element of the gradient is larger
    #[option(default = 1e-7, range = 0.0..)]
    pub tolerance_grad: f64,
    /// a step ends where parameters or loss change less
    #[option(default = 1e-9, range = 0.0..)]
    pub tolerance_change: f64,
    /// how many gradient changes are remembered
    #[option(default = 100, range = 1..)]
    pub history_size: usize,
    /// how the length of an iteration's step is found; none: it is lr
    #[option(default = LineSearch::None)]
    pub line_search_fn: LineSearch,
    /// changes are remembered where gradient change times step is larger
    #[option(default = 1e-10, range = 0.0..)]
    pub curvature_tolerance: f64,
    /// a line search ends where the parameters between its ends differ by less
    #[option(default = 1e-9, range = 0.0..)]
    pub line_search_tolerance: f64,
    /// go up the loss, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// How [`Lbfgs`] finds the length of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Words)]
pub enum LineSearch {
    /// It is the learning rate.
    #[default]
    None,
    /// Points along the direction are tried until one meets the strong Wolfe conditions.
    StrongWolfe,
}

impl Lbfgs {
    /// Evaluations of the loss in a step at most.
    pub fn evaluations(&self) -> usize {
        self.max_eval.unwrap_or(self.max_iter * 5 / 4)
    }
}

impl Algorithm for Lbfgs {
    fn stepper(&self) -> Box<dyn Stepper> {
        Box::new(Searches(self.clone()))
    }
}

#[derive(Debug)]
struct Searches(Lbfgs);

impl Stepper for Searches {
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn lr(&self) -> &Schedule {
        &self.0.lr
    }

    fn maximize(&self) -> bool {
        self.0.maximize
    }

    fn search(&self, dtype: DType, n: usize) -> Option<Engine> {
        Some(match dtype {
            DType::F64 => Engine::F64(Box::new(Descent::new(self.0.clone(), n))),
            _ => Engine::F32(Box::new(Descent::new(self.0.clone(), n))),
        })
    }

    /// With a full history: `d`, `prev_flat_grad`, and each pair's two.
    fn state_bytes(&self, _: Shape, dtype: DType) -> f64 {
        ((2 + 2 * self.0.history_size) * dtype.accumulator().size()) as f64
    }

    /// Of one iteration, which reads the history and replaces `d` and `prev_flat_grad`.
    fn bytes_moved(&self, dtype: DType, state_bytes: f64) -> f64 {
        (2 * dtype.size() + 3 * dtype.accumulator().size()) as f64 + state_bytes
    }

    fn step(&self, _: StepArgs<'_>) {
        unreachable!("a rule that searches takes its steps through `search`");
    }
}
