//! Slots of state as tensors.

use half::bf16;
use rappel_tensor::{DType, Element, Run, Shape, StateArena, StateKind, StreamedTensor, Tensor};

/// The run of a slot, to be read a piece at a time.
pub(super) fn read(name: String, arena: &StateArena, run: Run, shape: Shape) -> StreamedTensor<'_> {
    fn of<T: Element>(
        name: String,
        arena: &StateArena,
        run: Run,
        shape: Shape,
    ) -> StreamedTensor<'_> {
        StreamedTensor::new(name, shape, T::DTYPE, move |piece| {
            let values = &arena.as_slice::<T>()[run.state..run.state + run.len];
            Tensor::from_slice(&values[piece.clone()], piece.len())
        })
    }
    match arena.kind() {
        StateKind::Number(DType::F64) => of::<f64>(name, arena, run, shape),
        StateKind::Number(DType::BF16) => of::<bf16>(name, arena, run, shape),
        StateKind::Number(_) | StateKind::Master => of::<f32>(name, arena, run, shape),
        StateKind::Block8 { .. } => of::<u8>(name, arena, run, shape),
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
