//! Slots of state as tensors.

use half::bf16;
use rappel_tensor::{DType, Element, Run, Shape, StateArena, StateKind, Tensor};

pub(super) fn read(arena: &StateArena, run: Run, shape: Shape) -> Tensor {
    fn values<T: Element>(arena: &StateArena, run: Run, shape: Shape) -> Tensor {
        Tensor::from_slice(&arena.as_slice::<T>()[run.state..run.state + run.len], shape)
    }
    match arena.kind() {
        StateKind::Number(DType::F64) => values::<f64>(arena, run, shape),
        StateKind::Number(DType::BF16) => values::<bf16>(arena, run, shape),
        StateKind::Number(_) | StateKind::Master => values::<f32>(arena, run, shape),
        StateKind::Block8 { .. } => values::<u8>(arena, run, shape),
    }
}

pub(super) fn write(arena: &mut StateArena, run: Run, value: &Tensor) {
    fn values<T: Element>(arena: &mut StateArena, run: Run, value: &Tensor) {
        let to = &mut arena.as_slice_mut::<T>()[run.state..run.state + run.len];
        to.copy_from_slice(&value.to_vec::<T>());
    }
    match arena.kind() {
        StateKind::Number(DType::F64) => values::<f64>(arena, run, value),
        StateKind::Number(DType::BF16) => values::<bf16>(arena, run, value),
        StateKind::Number(_) | StateKind::Master => values::<f32>(arena, run, value),
        StateKind::Block8 { .. } => values::<u8>(arena, run, value),
    }
}
