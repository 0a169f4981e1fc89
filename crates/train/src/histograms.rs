//! Histograms of weights, gradients and updates, on the steps on which a sink wants them.

use std::sync::Arc;

use rappel_telemetry::Histogram;
use rappel_tensor::{ArenaLayout, DType, Grads, Params, Tensor};

/// Histograms with their names, such as `weights/head.weight`.
pub(crate) type Named = Vec<(String, Histogram)>;

/// The parameters as they were before a step: what the step changed is known from them.
pub(crate) struct Before(Vec<Tensor>);

impl Before {
    /// A copy of all parameters.
    pub fn of(params: &Params) -> Self {
        Self(params.tensors().into_iter().map(|(_, value)| value.copied()).collect())
    }

    /// What the step did to each parameter that is trained.
    pub fn updates(self, params: &Params) -> Named {
        let entries = params.entries();
        let pairs = params.tensors().into_iter().zip(self.0).zip(entries);
        let trained = pairs.filter(|(_, entry)| entry.trainable);
        trained
            .map(|(((name, after), before), _)| {
                let mut histogram = Histogram::default();
                if after.dtype() == DType::F64 {
                    let pairs = after.as_slice::<f64>().iter().zip(before.as_slice::<f64>());
                    histogram.extend(pairs.map(|(after, before)| (after - before) as f32));
                } else {
                    let [after, before] = [after, before].map(|value| value.to_dtype(DType::F32));
                    let pairs = after.as_slice::<f32>().iter().zip(before.as_slice::<f32>());
                    histogram.extend(pairs.map(|(after, before)| after - before));
                }
                (format!("updates/{name}"), histogram)
            })
            .collect()
    }
}

/// The value of each parameter.
pub(crate) fn weights(params: &Params) -> Named {
    let named = |(name, value): (String, Tensor)| {
        let mut histogram = Histogram::default();
        if value.dtype() == DType::F64 {
            histogram.extend(value.as_slice::<f64>().iter().map(|value| *value as f32));
        } else {
            histogram.extend(value.to_dtype(DType::F32).as_slice::<f32>().iter().copied());
        }
        (format!("weights/{name}"), histogram)
    };
    params.tensors().into_iter().map(named).collect()
}

/// The gradient of each parameter that one flowed to.
pub(crate) fn gradients(grads: &Grads, layout: &Arc<ArenaLayout>) -> Named {
    let entries = layout.entries().iter().enumerate();
    let filled = entries.filter(|(index, _)| grads.is_filled(layout, *index));
    filled
        .map(|(_, entry)| {
            let mut histogram = Histogram::default();
            if entry.dtype == DType::F64 {
                let values = &grads.all::<f64>(layout, entry.dtype)[entry.range()];
                histogram.extend(values.iter().map(|value| *value as f32));
            } else {
                let values = &grads.all::<f32>(layout, entry.dtype)[entry.range()];
                histogram.extend(values.iter().copied());
            }
            (format!("gradients/{}", entry.name), histogram)
        })
        .collect()
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
}
