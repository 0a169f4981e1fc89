//! What a walk goes over: parameters, their gradients and the optimizer's state.

use std::fmt;

use half::bf16;

use super::trained::Trained;
use super::wrap::Wrapping;
use super::{Run, StateArena, StateKind};
use crate::dtype::{DType, Element};
use crate::params::{Arenas, Grads, OpenParam};
use crate::random::Key;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Arenas of one type of parameter, with gradients at the same positions and slots of state at positions
/// that the runs give, and what stands around the rule that walks them.
pub struct Memory<'a> {
    pub(super) typed: Typed<'a>,
    pub(super) state: &'a mut [StateArena],
    pub(super) wrapping: Option<Wrapping<'a>>,
}

/// Parameters and gradients; these are empty in a walk without.
pub(super) enum Typed<'a> {
    F32(&'a mut [f32], &'a [f32]),
    F64(&'a mut [f64], &'a [f64]),
    Bf16(&'a mut [bf16], &'a [f32]),
}

/// Runs `$body` with the parameters and gradients of a [`Memory`], `$P` standing for their type.
macro_rules! with_typed {
    ($typed:expr, ($P:ident, $params:ident, $grads:ident) => $body:expr) => {
        match $typed {
            $crate::cpu::update::memory::Typed::F32($params, $grads) => {
                type $P = f32;
                $body
            }
            $crate::cpu::update::memory::Typed::F64($params, $grads) => {
                type $P = f64;
                $body
            }
            $crate::cpu::update::memory::Typed::Bf16($params, $grads) => {
                type $P = half::bf16;
                $body
            }
        }
    };
}
pub(super) use with_typed;

impl<'a> Memory<'a> {
    fn new(typed: Typed<'a>, state: &'a mut [StateArena]) -> Self {
        Self { typed, state, wrapping: None }
    }

    /// All parameters of type `dtype`.
    pub fn of_arenas(
        arenas: &'a mut Arenas<'_>,
        dtype: DType,
        grads: Option<&'a Grads>,
        state: &'a mut [StateArena],
    ) -> Self {
        let layout = arenas.layout();
        let typed = match dtype {
            DType::F32 => {
                Typed::F32(arenas.all(), grads.map_or(&[], |grads| grads.all(&layout, dtype)))
            }
            DType::F64 => {
                Typed::F64(arenas.all(), grads.map_or(&[], |grads| grads.all(&layout, dtype)))
            }
            _ => Typed::Bf16(arenas.all(), grads.map_or(&[], |grads| grads.all(&layout, dtype))),
        };
        Self::new(typed, state)
    }

    /// One parameter, which then lies at position 0.
    pub fn of_param(
        param: &'a mut OpenParam<'_>,
        grad: &'a Tensor,
        state: &'a mut [StateArena],
    ) -> Self {
        let typed = match param.dtype() {
            DType::F32 => Typed::F32(param.values(), grad.as_slice()),
            DType::F64 => Typed::F64(param.values(), grad.as_slice()),
            _ => Typed::Bf16(param.values(), grad.as_slice()),
        };
        Self::new(typed, state)
    }

    /// Rows of parameters side by side, and the gradients of these.
    ///
    /// # Panics
    /// Where there are not as many gradients as parameters.
    pub fn of_rows(
        params: &'a mut StateArena,
        grads: &'a Tensor,
        state: &'a mut [StateArena],
    ) -> Self {
        let typed = match params.kind() {
            StateKind::Number(DType::F64) => Typed::F64(params.as_slice_mut(), grads.as_slice()),
            StateKind::Number(DType::BF16) => Typed::Bf16(params.as_slice_mut(), grads.as_slice()),
            _ => Typed::F32(params.as_slice_mut(), grads.as_slice()),
        };
        Self::new(typed, state)
    }

    /// A slot of state in the place of parameters, without gradients.
    pub fn of_state(params: &'a mut StateArena, state: &'a mut [StateArena]) -> Self {
        let typed = match params.kind() {
            StateKind::Number(DType::F64) => Typed::F64(params.as_slice_mut(), &[]),
            _ => Typed::F32(params.as_slice_mut(), &[]),
        };
        Self::new(typed, state)
    }

    /// The same with `wrapping` around every formula.
    #[must_use]
    pub fn wrapped(self, wrapping: Option<Wrapping<'a>>) -> Self {
        Self { wrapping, ..self }
    }

    /// The same with some of the slots of state, for formulas that need no others.
    pub fn of_slots(&mut self, slots: std::ops::Range<usize>) -> Memory<'_> {
        let typed = match &mut self.typed {
            Typed::F32(params, grads) => Typed::F32(params, grads),
            Typed::F64(params, grads) => Typed::F64(params, grads),
            Typed::Bf16(params, grads) => Typed::Bf16(params, grads),
        };
        Memory { typed, state: &mut self.state[slots], wrapping: self.wrapping }
    }

    /// The type that steps are computed in.
    pub fn accumulator(&self) -> DType {
        match self.typed {
            Typed::F64(..) => DType::F64,
            Typed::F32(..) | Typed::Bf16(..) => DType::F32,
        }
    }

    /// The slots of state.
    pub fn state(&self) -> &[StateArena] {
        self.state
    }

    /// A parameter and its gradient as tensors of `shape`, as a formula sees them, in the type that steps are
    /// computed in. A master copy stands for its parameter.
    pub fn tensors(&self, run: Run, shape: Shape) -> (Tensor, Tensor) {
        let master = self.state.last().filter(|slot| slot.kind() == StateKind::Master);
        let range = run.param..run.param + run.len;
        with_typed!(&self.typed, (P, params, grads) => {
            let mut param = vec![<P as Trained>::Acc::from_f64(0.0); run.len];
            match master {
                Some(master) => {
                    let copies = &master.as_slice::<f32>()[run.state..run.state + run.len];
                    param.iter_mut().zip(copies).for_each(|(to, x)| *to = Element::from_f64((*x).into()));
                }
                None => P::load(&params[range.clone()], &mut param),
            }
            let mut grad = grads[range].to_vec();
            if let Some(wrapping) = self.wrapping {
                P::wrap(wrapping).before(run.param, &mut param, &mut grad);
            }
            (Tensor::from_slice(&param, shape), Tensor::from_slice(&grad, shape))
        })
    }

    /// Replaces a parameter by `value`; with `rounding`, what is stored in less precision rounds to either
    /// neighbour at random.
    pub fn put(&mut self, run: Run, value: &Tensor, rounding: Option<Key>) {
        super::walk::put(self, run, value, rounding);
    }

    /// Makes master copies of the parameters in these runs.
    pub fn begin_master(&mut self, runs: &[Run]) {
        let Typed::Bf16(params, _) = &self.typed else { return };
        for slot in self.state.iter_mut().filter(|slot| slot.kind() == StateKind::Master) {
            let copies = slot.as_slice_mut::<f32>();
            for Run { param, state, len } in runs {
                let to = &mut copies[*state..state + len];
                bf16::load(&params[*param..param + len], to);
            }
        }
    }

    /// The mean of each row of `width` numbers of a gradient, `seen` through a function.
    pub fn row_means(&self, run: Run, width: usize, seen: impl Fn(f64) -> f64) -> Vec<f64> {
        with_typed!(&self.typed, (P, _params, grads) => {
            let rows = grads[run.param..run.param + run.len].chunks(width);
            let mean = |row: &[<P as Trained>::Acc]| {
                row.iter().map(|g| seen(g.to_f64())).sum::<f64>() / row.len() as f64
            };
            rows.map(mean).collect()
        })
    }
}

impl fmt::Debug for Memory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("state", &self.state).finish_non_exhaustive()
    }
}
