//! Histograms of weights, gradients and updates, on the steps on which a sink wants them.

use std::ops::Range;
use std::sync::Arc;

use rappel_telemetry::Histogram;
use rappel_tensor::{ArenaLayout, DType, Grads, Params, Tensor};
use rayon::prelude::*;

/// Histograms with their names, such as `weights/head.weight`.
pub(crate) type Named = Vec<(String, Histogram)>;

/// Numbers that one thread counts at a time; so sums do not depend on the number of threads.
const PIECE: usize = 1 << 16;

/// The parameters that are trained, as they were before a step: what the step changed is known from them.
pub(crate) struct Before(Vec<Tensor>);

impl Before {
    /// A copy of them.
    pub fn of(params: &Params) -> Self {
        Self(trained(params).map(|(_, value)| value.copied()).collect())
    }

    /// What the step did to each of them.
    pub fn updates(self, params: &Params) -> Named {
        let update = |((name, after), before)| (format!("updates/{name}"), change(after, before));
        trained(params).zip(self.0).map(update).collect()
    }
}

fn trained(params: &Params) -> impl Iterator<Item = (String, Tensor)> {
    let all = params.tensors().into_iter().zip(params.entries());
    all.filter(|(_, entry)| entry.trainable).map(|(named, _)| named)
}

/// The value of each parameter.
pub(crate) fn weights(params: &Params) -> Named {
    let named = |(name, value): (String, Tensor)| {
        let histogram = match value.dtype() {
            DType::F64 => of_doubles(value.as_slice()),
            _ => of_singles(value.to_dtype(DType::F32).as_slice()),
        };
        (format!("weights/{name}"), histogram)
    };
    params.tensors().into_iter().map(named).collect()
}

/// The gradient of each parameter that one flowed to.
pub(crate) fn gradients(grads: &Grads, layout: &Arc<ArenaLayout>) -> Named {
    let entries = layout.entries().iter().enumerate();
    let filled = entries.filter(|(index, _)| grads.is_filled(layout, *index));
    filled
        .map(|(index, entry)| {
            let histogram = match entry.dtype {
                // What is kept by rows has no place among the others.
                of if entry.by_rows => {
                    let whole = grads.tensor(layout, index).expect("it is filled");
                    match of {
                        DType::F64 => of_doubles(whole.as_slice()),
                        _ => of_singles(whole.as_slice()),
                    }
                }
                DType::F64 => of_doubles(&grads.all(layout, entry.dtype)[entry.range()]),
                _ => of_singles(&grads.all(layout, entry.dtype)[entry.range()]),
            };
            (format!("gradients/{}", entry.name), histogram)
        })
        .collect()
}

/// `after - before`, in double precision where they are.
fn change(after: Tensor, before: Tensor) -> Histogram {
    if after.dtype() == DType::F64 {
        let (after, before) = (after.as_slice::<f64>(), before.as_slice::<f64>());
        return counted(after.len(), |at| {
            let pairs = after[at.clone()].iter().zip(&before[at]);
            pairs.map(|(after, before)| (after - before) as f32)
        });
    }
    let [after, before] = [after, before].map(|value| value.to_dtype(DType::F32));
    let (after, before) = (after.as_slice::<f32>(), before.as_slice::<f32>());
    counted(after.len(), |at| {
        after[at.clone()].iter().zip(&before[at]).map(|(after, before)| after - before)
    })
}

fn of_singles(values: &[f32]) -> Histogram {
    counted(values.len(), |at| values[at].iter().copied())
}

fn of_doubles(values: &[f64]) -> Histogram {
    counted(values.len(), |at| values[at].iter().map(|value| *value as f32))
}

/// The histogram of `len` numbers, which `part` gives by their places.
fn counted<V: Iterator<Item = f32>>(
    len: usize,
    part: impl Fn(Range<usize>) -> V + Sync,
) -> Histogram {
    let piece = |at: usize| {
        let mut histogram = Histogram::default();
        histogram.extend(part(at..len.min(at + PIECE)));
        histogram
    };
    if len <= PIECE {
        return piece(0);
    }
    let pieces: Vec<Histogram> =
        (0..len.div_ceil(PIECE)).into_par_iter().map(|number| piece(number * PIECE)).collect();
    let mut all = Histogram::default();
    for piece in pieces {
        all += piece;
    }
    all
}

#[cfg(test)]
mod tests {
    use rappel_tensor::Init;

    use super::*;

    /// Two parameters of a type, of which the first is trained and has a gradient.
    fn drawn(dtype: DType) -> [Named; 3] {
        let mut params = Params::with_dtype(0, dtype);
        let [a, _] = ["a", "b"].map(|name| params.scope("").add(name, [3], Init::ONES));
        params.freeze(|name| name == "b").unwrap();
        let before = Before::of(&params);
        let scale = Tensor::from_slice(&[1.0, 2.0, 4.0], [3]).to_dtype(dtype);
        let grads = (a.tensor() * scale).sum().backward();
        params.set(&a, &Tensor::from_slice(&[0.5, 1.0, 1.25], [3])).unwrap();
        [weights(&params), gradients(&grads, &params.layout()), before.updates(&params)]
    }

    #[test]
    fn what_is_drawn_are_the_numbers_of_each_parameter_in_every_precision() {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let all = drawn(dtype);
            let told = all.each_ref().map(|all| {
                let of = |(name, of): &(String, Histogram)| {
                    (name.clone(), of.count(), of.min(), of.max(), of.sum())
                };
                all.iter().map(of).collect::<Vec<_>>()
            });
            let of = |name: &str, min, max, sum| (name.to_owned(), 3, min, max, sum);
            assert_eq!(
                told,
                [
                    vec![of("weights/a", 0.5, 1.25, 2.75), of("weights/b", 1.0, 1.0, 3.0)],
                    vec![of("gradients/a", 1.0, 4.0, 7.0)],
                    vec![of("updates/a", -0.5, 0.25, -0.25)],
                ],
                "{dtype:?}"
            );
        }
    }

    #[test]
    fn many_numbers_are_counted_in_pieces() {
        let values: Vec<f32> = (0..3 * PIECE + 5).map(|i| (i % 1024) as f32 - 512.0).collect();
        let mut all = Histogram::default();
        all.extend(values.iter().copied());
        assert_eq!(of_singles(&values), all);
    }
}
