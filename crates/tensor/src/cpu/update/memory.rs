//! What a walk goes over: parameters, their gradients and the optimizer's state.

use std::fmt;
use std::sync::Arc;

use half::bf16;

use super::trained::Trained;
use super::wrap::Wrapping;
use super::{Run, StateArena, StateKind};
use crate::cuda::Gpu;
use crate::dtype::{DType, Element};
use crate::params::{ArenaLayout, Arenas, Grads, OpenParam};
use crate::random::Key;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Arenas of one type of parameter, with gradients at the same positions and slots of state at positions
/// that the runs give, and what stands around the rule that walks them.
pub struct Memory<'a> {
    pub(super) source: Source<'a>,
    pub(super) state: &'a mut [StateArena],
    pub(super) wrapping: Option<Wrapping<'a>>,
}

/// Where parameters and gradients are.
pub(super) enum Source<'a> {
    /// On the host.
    Host(Typed<'a>),
    /// In arenas that lie on a GPU.
    Abroad(Abroad<'a>),
}

/// Arenas of parameters of one type that lie on a GPU, and their gradients, wherever these are.
pub(super) struct Abroad<'a> {
    gpu: &'static Gpu,
    arenas: &'a mut (dyn OfType + 'a),
    dtype: DType,
    grads: Option<(&'a Grads, Arc<ArenaLayout>)>,
}

/// Arenas, whatever the lifetime of their guard.
pub(super) trait OfType {
    fn f32(&mut self) -> &mut [f32];
    fn f64(&mut self) -> &mut [f64];
    fn bf16(&mut self) -> &mut [bf16];
    fn on_gpu(&mut self, dtype: DType) -> u64;
}

impl OfType for Arenas<'_> {
    fn f32(&mut self) -> &mut [f32] {
        self.all()
    }
    fn f64(&mut self) -> &mut [f64] {
        self.all()
    }
    fn bf16(&mut self) -> &mut [bf16] {
        self.all()
    }
    fn on_gpu(&mut self, dtype: DType) -> u64 {
        self.address(dtype)
    }
}

impl Source<'_> {
    /// Parameters and gradients on the host: brought there for as long as the arenas are open.
    pub(super) fn typed(&mut self) -> Typed<'_> {
        match self {
            Self::Host(Typed::F32(params, grads)) => Typed::F32(params, grads),
            Self::Host(Typed::F64(params, grads)) => Typed::F64(params, grads),
            Self::Host(Typed::Bf16(params, grads)) => Typed::Bf16(params, grads),
            Self::Abroad(Abroad { arenas, dtype, grads, .. }) => {
                let grads = grads.as_ref();
                match dtype {
                    DType::F32 => Typed::F32(
                        arenas.f32(),
                        grads.map_or(&[], |(grads, of)| grads.all(of, *dtype)),
                    ),
                    DType::F64 => Typed::F64(
                        arenas.f64(),
                        grads.map_or(&[], |(grads, of)| grads.all(of, *dtype)),
                    ),
                    _ => Typed::Bf16(
                        arenas.bf16(),
                        grads.map_or(&[], |(grads, of)| grads.all(of, *dtype)),
                    ),
                }
            }
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Self::Host(Typed::F32(..)) => DType::F32,
            Self::Host(Typed::F64(..)) => DType::F64,
            Self::Host(Typed::Bf16(..)) => DType::BF16,
            Self::Abroad(abroad) => abroad.dtype,
        }
    }
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
        Self { source: Source::Host(typed), state, wrapping: None }
    }

    /// All parameters of type `dtype`.
    pub fn of_arenas(
        arenas: &'a mut Arenas<'_>,
        dtype: DType,
        grads: Option<&'a Grads>,
        state: &'a mut [StateArena],
    ) -> Self {
        let layout = arenas.layout();
        if let Some(gpu) = arenas.gpu(dtype) {
            let grads = grads.map(|grads| (grads, layout));
            let source = Source::Abroad(Abroad { gpu, arenas, dtype, grads });
            return Self { source, state, wrapping: None };
        }
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
        let source = match &mut self.source {
            Source::Abroad(Abroad { gpu, arenas, dtype, grads }) => Source::Abroad(Abroad {
                gpu,
                arenas: &mut **arenas,
                dtype: *dtype,
                grads: grads.clone(),
            }),
            host @ Source::Host(_) => Source::Host(host.typed()),
        };
        Memory { source, state: &mut self.state[slots], wrapping: self.wrapping }
    }

    /// The type that steps are computed in.
    pub fn accumulator(&self) -> DType {
        self.source.dtype().accumulator()
    }

    /// The GPU that the parameters lie on, if they lie on one.
    pub(crate) fn gpu(&self) -> Option<&'static Gpu> {
        match &self.source {
            Source::Abroad(abroad) => Some(abroad.gpu),
            Source::Host(_) => None,
        }
    }

    /// Whether something stands around the rule.
    pub(crate) fn is_wrapped(&self) -> bool {
        self.wrapping.is_some()
    }

    /// The type of parameters on a GPU, and where they begin there, and their gradients.
    ///
    /// # Panics
    /// Where they lie elsewhere.
    pub(crate) fn addresses(&mut self, gpu: &Gpu) -> (DType, u64, Option<u64>) {
        let Source::Abroad(Abroad { arenas, dtype, grads, .. }) = &mut self.source else {
            panic!("update: parameters of the host on a GPU")
        };
        let grads = grads.as_ref().and_then(|(grads, layout)| grads.address(layout, *dtype, gpu));
        (*dtype, arenas.on_gpu(*dtype), grads)
    }

    /// The slots of state, to write.
    pub(crate) fn state_mut(&mut self) -> &mut [StateArena] {
        self.state
    }

    /// The slots of state.
    pub fn state(&self) -> &[StateArena] {
        self.state
    }

    /// A parameter and its gradient as tensors of `shape`, as a formula sees them, in the type that steps are
    /// computed in. A master copy stands for its parameter.
    pub fn tensors(&mut self, run: Run, shape: Shape) -> (Tensor, Tensor) {
        drop(self.gpu().map(|gpu| gpu.falls_back("rules on whole tensors")));
        let master = self.state.last().filter(|slot| slot.kind() == StateKind::Master);
        let range = run.param..run.param + run.len;
        with_typed!(self.source.typed(), (P, params, grads) => {
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
        if self.source.dtype() != DType::BF16
            || self.state.iter().all(|slot| slot.kind() != StateKind::Master)
        {
            return;
        }
        let Typed::Bf16(params, _) = self.source.typed() else { return };
        for slot in self.state.iter_mut().filter(|slot| slot.kind() == StateKind::Master) {
            let copies = slot.as_slice_mut::<f32>();
            for Run { param, state, len } in runs {
                let to = &mut copies[*state..state + len];
                bf16::load(&params[*param..param + len], to);
            }
        }
    }

    /// The mean of each row of `width` numbers of a gradient, `seen` through a function.
    pub fn row_means(&mut self, run: Run, width: usize, seen: impl Fn(f64) -> f64) -> Vec<f64> {
        with_typed!(self.source.typed(), (P, _params, grads) => {
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
