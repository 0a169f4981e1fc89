//! Rules that evaluate the loss several times in a step, over all parameters as one vector.

use std::fmt;
use std::sync::Arc;

use super::vector::Vector;
use crate::context::StepContext;
use crate::error::OptimError;

/// Takes steps over one vector that holds all parameters.
pub trait Searching<A>: Send + Sync + fmt::Debug {
    /// Whether a step compares losses, so that gradients alone do not do.
    fn needs_loss(&self) -> bool;

    /// Takes a step.
    ///
    /// # Errors
    /// Those of `land`. Then the state is as it was.
    fn step(&mut self, t: &StepContext, land: &mut dyn Landscape<A>) -> Result<(), Halt>;

    /// The state.
    fn save(&self) -> SearchState<A>;

    /// Replaces the state by one of the same form.
    fn load(&mut self, state: SearchState<A>);
}

/// The loss over the vector of all parameters, and where they stand.
pub trait Landscape<A> {
    /// Where the parameters stand.
    fn read(&mut self) -> Result<Vector<A>, Halt>;

    /// Moves the parameters.
    fn go(&mut self, to: &[A]) -> Result<(), Halt>;

    /// The loss there, to make small, and its gradient, clipped already.
    fn evaluate(&mut self) -> Result<(f64, Vector<A>), Halt>;
}

/// Why a step was not taken.
#[derive(Debug)]
pub enum Halt {
    /// The objective could not be evaluated; its own error says why.
    Objective,
    /// Loss or gradient is not a number: a search may turn back.
    NotFinite(OptimError),
    /// Anything else.
    Error(OptimError),
}

impl<E: Into<OptimError>> From<E> for Halt {
    fn from(error: E) -> Self {
        match error.into() {
            error @ (OptimError::NonFiniteGradient { .. }
            | OptimError::NormOverflow { .. }
            | OptimError::NonFiniteLoss { .. }) => Self::NotFinite(error),
            error => Self::Error(error),
        }
    }
}

/// State of a search, by name.
#[derive(Debug)]
pub struct SearchState<A> {
    /// Single numbers.
    pub numbers: Vec<(&'static str, f64)>,
    /// A number for each entry of the history.
    pub lists: Vec<(&'static str, Vec<f64>)>,
    /// Vectors as long as all parameters.
    pub vectors: Vec<(&'static str, Arc<Vector<A>>)>,
    /// A vector for each entry of the history.
    pub histories: Vec<(&'static str, Vec<Arc<Vector<A>>>)>,
}

/// A search in the type that steps are computed in.
#[derive(Debug)]
pub enum Engine {
    /// Single precision.
    F32(Box<dyn Searching<f32>>),
    /// Double precision.
    F64(Box<dyn Searching<f64>>),
}
