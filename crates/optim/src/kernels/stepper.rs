//! The trait behind which an optimizer sees every rule, whatever its kind, and what a step is given.

use std::fmt;

use rappel_schedule::Schedule;
use rappel_tensor::{DType, Element, Key, Memory, Real, Run, Runs, Shape, StateKind, Tensor};

use super::search::Engine;
use crate::context::{MAX_NUMBERS, StepContext};

/// What is done to a gradient before the rule sees it: `scale * g`, then clamped to
/// `-limit..=limit`.
#[derive(Debug, Clone, Copy)]
pub struct GradTransform {
    /// The factor: clipping by norm, averaging over tokens, the sign of `maximize`.
    pub scale: f64,
    /// The largest magnitude.
    pub limit: Option<f64>,
}

impl GradTransform {
    /// A gradient as it is.
    pub const NOTHING: Self = Self { scale: 1.0, limit: None };

    /// The same, the other way where the step goes up.
    pub(crate) fn turned(self, maximize: bool) -> Self {
        Self { scale: if maximize { -self.scale } else { self.scale }, ..self }
    }

    /// What becomes of a number.
    pub(crate) fn of<T: Element>(self, g: T) -> T {
        let g = g.to_f64() * self.scale;
        T::from_f64(self.limit.map_or(g, |limit| g.clamp(-limit, limit)))
    }

    /// The function as a formula.
    pub(crate) fn formula<R: Real>(self) -> impl Fn(R) -> R {
        let (scale, limit) = (R::of(self.scale), self.limit.map(R::of));
        #[inline(always)]
        move |g| {
            let mut g = g * scale;
            if let Some(limit) = limit {
                // Comparisons, not `min` and `max`: a NaN stays one.
                g = R::select(limit.lt(g), limit, g);
                g = R::select(g.lt(-limit), -limit, g);
            }
            g
        }
    }
}

/// One parameter, and what its rule keeps beside the slots of state.
#[derive(Debug)]
pub struct Member {
    /// Its full name.
    pub name: String,
    /// The sizes of its dimensions.
    pub shape: Shape,
    /// Its position in the layout.
    pub index: usize,
    /// Its place in the arenas.
    pub run: Run,
    /// Whether nothing but padding lies between the member before and this one.
    pub(crate) follows: bool,
    /// How many updates it has had.
    pub count: u64,
    /// The numbers that the rule keeps beside the state.
    pub numbers: [f64; MAX_NUMBERS],
    /// The state of other shapes than the parameter's.
    pub tensors: Vec<Tensor>,
}

/// One step of one rule: what it works on.
pub struct StepArgs<'a> {
    /// Which step. Its count and numbers are those of the picked members.
    pub context: StepContext,
    /// What is done to gradients first.
    pub grads: GradTransform,
    /// With a key, what is stored in less precision rounds to either neighbour at random.
    pub rounding: Option<Key>,
    /// Parameters, gradients, state, and what stands around the rule.
    pub memory: Memory<'a>,
    /// The elements of the picked members, neighbours in one run.
    pub runs: &'a Runs,
    /// Parameters of the rule.
    pub members: &'a mut [Member],
    /// Which of them are updated.
    pub picked: &'a [usize],
}

impl fmt::Debug for StepArgs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepArgs")
            .field("context", &self.context)
            .field("grads", &self.grads)
            .field("picked", &self.picked)
            .finish_non_exhaustive()
    }
}

/// A slot of state, as large as the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its name, as in PyTorch's `state_dict`.
    pub name: &'static str,
    /// Whether it may hold numbers below zero: eight-bit codes are finer where it may not.
    pub signed: bool,
    /// Whether it keeps full precision whatever state is stored as: it holds parameters, not
    /// averages of gradients, and small differences add up in it.
    pub exact: bool,
}

impl Slot {
    /// A slot of numbers of either sign.
    pub const fn signed(name: &'static str) -> Self {
        Self { name, signed: true, exact: false }
    }

    /// A slot of numbers from zero.
    pub const fn positive(name: &'static str) -> Self {
        Self { name, signed: false, exact: false }
    }

    /// A slot that keeps full precision.
    pub const fn exact(name: &'static str) -> Self {
        Self { name, signed: true, exact: true }
    }
}

/// Takes steps: a rule whatever its kind, its options filled in.
pub trait Stepper: Send + Sync + fmt::Debug {
    /// The slots of state that are as large as the parameter.
    fn slots(&self) -> Vec<Slot>;

    /// Steps arrays of parameters, gradients and state, in this order, where the rule looks at one
    /// element at a time; gives its formula.
    #[cfg(test)]
    fn traced(
        &self,
        _t: StepContext,
        _grads: GradTransform,
        _arrays: &mut [Vec<f32>],
    ) -> Option<rappel_tensor::Program> {
        None
    }

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

    /// Why a parameter cannot be updated by itself, as soon as its gradient is complete, to the same bits
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
    fn keep(&self, _t: &StepContext) -> f64 {
        1.0
    }

    /// What takes the steps of a rule that evaluates the loss several times in each, over all
    /// parameters as one vector of `n` numbers, in a type that steps are computed in. Such a rule
    /// keeps its state there, and is never asked for a [`step`](Stepper::step).
    fn search(&self, _dtype: DType, _n: usize) -> Option<Engine> {
        None
    }

    /// Updates parameters and state of the picked members, and no others.
    fn step(&self, args: StepArgs<'_>);

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
    /// trained to the average, or back. The memory has no gradients.
    fn turn(&self, _args: StepArgs<'_>, _to: Mode) {}

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
const MIN_8BIT_SIZE: usize = 4096;

impl StateDtype {
    /// Eight-bit codes for parameters of at least 4096 elements.
    pub const BLOCK8: Self = Self::Block8 { from: MIN_8BIT_SIZE };

    /// How a slot of a parameter of `dtype` with `len` elements is stored.
    pub fn kind(self, dtype: DType, len: usize, slot: Slot) -> StateKind {
        match self {
            Self::Bf16 => StateKind::Number(DType::BF16),
            Self::Block8 { from } if len >= from => StateKind::Block8 { signed: slot.signed },
            Self::Full | Self::Block8 { .. } => StateKind::Number(dtype.accumulator()),
        }
    }
}
