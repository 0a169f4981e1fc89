//! Norms of gradients, clipping, and the search for what is not finite.

use half::bf16;
use rappel_tensor::{ArenaLayout, DType, Element, Grads, Trained};
use std::sync::Arc;

use crate::error::OptimError;

/// What PyTorch adds to the norm before dividing by it.
const NORM_EPS: f64 = 1e-6;

/// The factor that brings a norm down to `max_norm`: `min(1, max_norm / (norm + 1e-6))`.
pub(crate) fn coefficient(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + NORM_EPS)).min(1.0)
}

/// The `p`-norm of all gradients of `layout` as one vector; infinity gives the largest magnitude.
pub(crate) fn norm(grads: &Grads, layout: &Arc<ArenaLayout>, p: f64) -> f64 {
    if p == 2.0 {
        return grads.norm(layout);
    }
    let mut total = 0.0_f64;
    for_each(grads, layout, &mut |_, _, value| {
        let magnitude = value.abs();
        if magnitude.is_nan() || total.is_nan() {
            total = f64::NAN;
        } else if p == f64::INFINITY {
            total = total.max(magnitude);
        } else {
            total += magnitude.powf(p);
        }
    });
    if p == f64::INFINITY { total } else { total.powf(p.recip()) }
}

/// Why a norm is not finite: the first tensor with an element that is not, or the largest.
pub(crate) fn explain(grads: &Grads, layout: &Arc<ArenaLayout>, step: u64) -> OptimError {
    let (mut first, mut largest) = (None, (0, 0.0));
    for_each(grads, layout, &mut |entry, index, value| {
        if !value.is_finite() && first.is_none() {
            first = Some((entry, index, value));
        }
        if value.abs() > largest.1 {
            largest = (entry, value.abs());
        }
    });
    let name = |entry: usize| layout.entries()[entry].name.clone();
    match first {
        Some((entry, index, value)) => {
            OptimError::NonFiniteGradient { name: name(entry), index, value, step }
        }
        None => OptimError::NormOverflow { name: name(largest.0), value: largest.1, step },
    }
}

/// Calls `look` with parameter, element and value, for each element of each gradient in order.
fn for_each(grads: &Grads, layout: &Arc<ArenaLayout>, look: &mut dyn FnMut(usize, usize, f64)) {
    fn each<P: Trained>(
        grads: &Grads,
        layout: &Arc<ArenaLayout>,
        entry: usize,
        look: &mut dyn FnMut(usize, usize, f64),
    ) {
        let range = layout.entries()[entry].range();
        let values = &grads.all::<P::Acc>(layout, P::DTYPE)[range];
        values.iter().enumerate().for_each(|(i, value)| look(entry, i, value.to_f64()));
    }
    for (i, entry) in layout.entries().iter().enumerate() {
        if let Some((rows, values)) = grads.rows(layout, i) {
            let values = values.to_f64_vec();
            for (row, values) in rows.iter().zip(values.chunks(entry.shape[1])) {
                let first = *row as usize * entry.shape[1];
                values.iter().enumerate().for_each(|(k, value)| look(i, first + k, *value));
            }
            continue;
        }
        match entry.dtype {
            _ if !entry.trainable || !grads.is_filled(layout, i) => {}
            DType::F32 => each::<f32>(grads, layout, i, look),
            DType::F64 => each::<f64>(grads, layout, i, look),
            _ => each::<bf16>(grads, layout, i, look),
        }
    }
}
