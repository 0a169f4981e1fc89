//! Rules behind one door: what an optimizer needs of them, whatever their kind.

use half::bf16;
use rappel_tensor::{DType, Element, Key, Runs, Shape, StateArena, StateKind, Tensor, Trained};

use crate::group::Member;
use crate::search::Engine;
use crate::{Now, Schedule};

/// What is done to a gradient before the rule sees it: `scale * g`, then clamped to
/// `-limit..=limit`.
#[derive(Debug, Clone, Copy)]
pub struct Prepare {
    /// The factor: clipping by norm, averaging over tokens, the sign of `maximize`.
    pub scale: f64,
    /// The largest magnitude.
    pub limit: Option<f64>,
}

impl Prepare {
    /// A gradient as it is.
    pub const NOTHING: Self = Self { scale: 1.0, limit: None };

    /// The same, the other way where the step goes up.
    pub(crate) fn turned(self, maximize: bool) -> Self {
        Self { scale: if maximize { -self.scale } else { self.scale }, ..self }
    }

    /// What becomes of a gradient.
    pub(crate) fn gradient<T: Element>(self, g: T) -> T {
        let g = g.to_f64() * self.scale;
        T::from_f64(self.limit.map_or(g, |limit| g.clamp(-limit, limit)))
    }
}

/// Arenas of one type of parameter.
pub struct Views<'a, P: Trained> {
    /// Parameters.
    pub params: &'a mut [P],
    /// Their gradients, at the same positions.
    pub grads: &'a [P::Acc],
    /// Their state, a slot each, at positions that the runs give.
    pub state: &'a mut [StateArena],
}

/// Arenas of any type of parameter.
pub enum Memory<'a> {
    /// Single precision.
    F32(Views<'a, f32>),
    /// Double precision.
    F64(Views<'a, f64>),
    /// bfloat16, with gradients in single precision.
    Bf16(Views<'a, bf16>),
}

/// Runs `$body` with `$views` bound to the arenas, whatever their type.
#[macro_export]
#[doc(hidden)]
macro_rules! with_views {
    ($memory:expr, $views:ident => $body:expr) => {
        match $memory {
            $crate::Memory::F32($views) => $body,
            $crate::Memory::F64($views) => $body,
            $crate::Memory::Bf16($views) => $body,
        }
    };
}

/// One step of one rule: what it works on.
pub struct Job<'a> {
    /// Which step. Its count and numbers are those of the picked members.
    pub now: Now,
    /// What is done to gradients first.
    pub prepare: Prepare,
    /// With a key, what is stored in less precision rounds to either neighbour at random.
    pub rounding: Option<Key>,
    /// Parameters, gradients, state.
    pub memory: Memory<'a>,
    /// The elements of the picked members, neighbours in one run.
    pub runs: &'a Runs,
    /// Parameters of the rule.
    pub members: &'a mut [Member],
    /// Which of them are updated.
    pub picked: &'a [usize],
}

/// A slot of state, as large as the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its name, as in PyTorch's `state_dict`.
    pub name: &'static str,
    /// Whether it may hold numbers below zero.
    pub signed: bool,
    /// Whether it keeps full precision whatever state is stored as: it holds parameters, not
    /// averages of gradients, and small differences add up in it.
    pub exact: bool,
}

/// Takes steps: a rule whatever its kind, its options filled in.
pub trait Stepper: Send + Sync {
    /// The slots of state that are as large as the parameter.
    fn slots(&self) -> Vec<Slot>;

    /// The state of other shapes, of a parameter of `shape`: names and shapes.
    fn tensors(&self, _shape: Shape) -> Vec<(&'static str, Shape)> {
        Vec::new()
    }

    /// The numbers that each parameter keeps beside its state: names and first values.
    fn numbers(&self) -> &'static [(&'static str, f64)] {
        &[]
    }

    /// Whether all parameters share the numbers, so that they must be of one type and have all had
    /// the same updates.
    fn shares_numbers(&self) -> bool {
        false
    }

    /// Why a parameter cannot be updated by itself, as soon as its gradient is whole, to the same bits
    /// as together with the others, if it cannot.
    fn needs_all(&self) -> Option<&'static str> {
        None
    }

    /// Why a parameter of `shape` cannot be trained by the rule, if it cannot.
    fn refuses(&self, _shape: Shape) -> Option<String> {
        None
    }

    /// The learning rate, before the run's schedule.
    fn lr(&self) -> &Schedule;

    /// Whether steps go up the gradient.
    fn maximize(&self) -> bool;

    /// What decoupled weight decay leaves of a parameter at a step.
    fn keep(&self, _now: &Now) -> f64 {
        1.0
    }

    /// What takes the steps of a rule that evaluates the loss several times in each, over all
    /// parameters as one vector of `n` numbers, in a type that steps are computed in. Such a rule
    /// keeps its state there, and is never asked for a [`step`](Stepper::step).
    fn search(&self, _dtype: DType, _n: usize) -> Option<Engine> {
        None
    }

    /// Updates parameters and state of the picked members, and no others.
    fn step(&self, job: Job<'_>);

    /// Bytes of state for each number of a parameter of `shape` stored as `dtype`, the state in full
    /// precision.
    fn state_bytes(&self, shape: Shape, dtype: DType) -> f64 {
        let tensors =
            self.tensors(shape).into_iter().map(|(_, shape)| shape.count()).sum::<usize>();
        let numbers = self.slots().len() as f64 + tensors as f64 / shape.count().max(1) as f64;
        numbers * dtype.accumulator().size() as f64
    }

    /// The number that is 1 while parameters are an average, where the rule trains one point and
    /// hands out another.
    fn mode(&self) -> Option<usize> {
        None
    }

    /// Moves the parameters of the picked members, which have had updates, from the point that is
    /// trained to the average, or back. The job has no gradients.
    fn turn(&self, _job: Job<'_>, _to: Mode) {}

    /// Bytes that a step moves for each parameter stored as `dtype` with state of `state_bytes`: reads
    /// of parameter, gradient and state, writes of parameter and state.
    fn bytes_moved(&self, dtype: DType, state_bytes: f64) -> f64 {
        (2 * dtype.size() + dtype.accumulator().size()) as f64 + 2.0 * state_bytes
    }
}

/// What parameters are, for rules that train one point and hand out another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The point that is trained.
    Train,
    /// The average, to evaluate and to keep.
    Eval,
}

/// The precision of optimizer state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateDtype {
    /// That of the gradients: double precision for double-precision parameters, else single.
    #[default]
    Full,
    /// bfloat16.
    Bf16,
    /// Codes of eight bits in blocks of 256, for parameters of at least this many elements; the
    /// state of smaller ones is in single precision.
    Block8 {
        /// The least number of elements.
        from: usize,
    },
}

/// Elements from which `8bit` stores codes, unless told otherwise: as bitsandbytes.
pub const MIN_8BIT_SIZE: usize = 4096;

impl StateDtype {
    /// How a slot of a parameter of `dtype` with `len` elements is stored.
    pub fn kind(self, dtype: DType, len: usize, slot: Slot) -> StateKind {
        match self {
            Self::Bf16 => StateKind::Number(DType::BF16),
            Self::Block8 { from } if len >= from => StateKind::Block8 { signed: slot.signed },
            Self::Full | Self::Block8 { .. } => StateKind::Number(dtype.accumulator()),
        }
    }
}

/// `values` as a tensor of `shape` in the type that steps are computed in.
pub(crate) fn load<P: Trained>(values: &[P], shape: Shape) -> Tensor {
    Tensor::from_slice(values, shape).to_dtype(P::Acc::DTYPE)
}
