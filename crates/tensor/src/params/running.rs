//! Numbers that forward passes move and nothing trains, such as the running statistics of batch
//! normalisation.

use std::sync::{Arc, Mutex, PoisonError};

use super::open::Arenas;
use super::{Init, Param, Params, Scope, write};
use crate::random::Key;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Numbers of a model that training moves without gradients: they lie among the parameters, so that
/// checkpoints and files hold them, and change after a step, by [`Params::refresh`].
///
/// ```
/// use rappel_tensor::{Init, Key, Params};
/// let mut params = Params::new(0);
/// let mean = params.scope("norm").running("mean", [1], Init::ZEROS);
/// // A forward pass that saw a mean of 8, and the same pass, computed again.
/// mean.moves(Key::new(1), 0.75, &[0.25 * 8.0]);
/// mean.moves(Key::new(1), 0.75, &[0.25 * 8.0]);
/// assert_eq!(mean.tensor().to_vec::<f32>(), [0.0]);
/// params.refresh()?;
/// assert_eq!(mean.tensor().to_vec::<f32>(), [2.0]);
/// # Ok::<(), rappel_tensor::ParamsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Running {
    param: Param,
    moves: Moves,
}

/// What passes since the last step move.
pub(super) type Moves = Arc<Mutex<Vec<Move>>>;

/// A move of one pass: `x` becomes `keep x + values`.
#[derive(Debug)]
pub(super) struct Move {
    pass: Key,
    keep: f64,
    values: Vec<f64>,
}

impl Running {
    /// The numbers as of the last step.
    pub fn tensor(&self) -> Tensor {
        self.param.tensor()
    }

    /// Makes each number `x` after the step `keep x + value`. Passes count in the order of their moves; of several with
    /// one key, which are one pass that is computed again, only the first does.
    ///
    /// # Panics
    /// Where there are not as many values as numbers.
    #[track_caller]
    pub fn moves(&self, pass: Key, keep: f64, values: &[f64]) {
        assert!(values.len() == self.param.shape().count(), "moves: {} values", values.len());
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        if moves.iter().all(|other| other.pass != pass) {
            moves.push(Move { pass, keep, values: values.to_vec() });
        }
    }
}

impl Scope<'_> {
    /// Registers numbers that forward passes move: in single precision at least.
    ///
    /// # Panics
    /// As [`Scope::add`].
    #[track_caller]
    pub fn running(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Running {
        let (param, params) = self.add_constant(name, shape.into(), init);
        let moves = Moves::default();
        write(&params.shared).running.push((param.index, moves.clone()));
        Running { param, moves }
    }
}

impl Params {
    /// Takes the moves that were made since the last call.
    pub(super) fn take_moves(&self) -> Vec<(usize, Vec<Move>)> {
        let state = super::read(&self.shared);
        let taken = state.running.iter().map(|(index, moves)| {
            (*index, std::mem::take(&mut *moves.lock().unwrap_or_else(PoisonError::into_inner)))
        });
        taken.filter(|(_, moves)| !moves.is_empty()).collect()
    }
}

/// Makes the moves of a parameter.
pub(super) fn make(arenas: &mut Arenas<'_>, index: usize, moves: &[Move]) {
    let old = arenas.built.view(index);
    let (shape, mut values) = (old.shape(), old.to_f64_vec());
    drop(old);
    for Move { keep, values: add, .. } in moves {
        for (value, add) in values.iter_mut().zip(add) {
            *value = keep * *value + add;
        }
    }
    arenas.put(index, &Tensor::from_slice(&values, shape));
}
