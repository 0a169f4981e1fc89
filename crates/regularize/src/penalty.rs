//! Penalties on the size of parameters, to add to a loss.

use rappel_tensor::{DType, Params, Tensor};

/// `lambda` times the sum of squares of the weights, a scalar to add to the loss.
///
/// Weights are the trainable parameters of rank 2 and more: biases, and the gains of norms, have
/// rank 1 and are left free, as is the custom. The gradient is `2 lambda w`, so that this is SGD's
/// `weight_decay = 2 lambda`, on weights alone. `lambda` is at least 0.
///
/// ```
/// use rappel_regularize::l2;
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// let w = params.scope("net").add("weight", [2, 3], Init::Constant(2.0));
/// params.scope("net").add("bias", [3], Init::ONES);
/// let penalty = l2(&params, 0.5);
/// assert_eq!(penalty.item(), 12.0);
/// assert_eq!(penalty.backward().param(&w).unwrap().to_vec::<f32>(), [2.0; 6]);
/// ```
///
/// Where parameters are of several types, the penalty is of the first one's, bfloat16 as `f32`.
#[must_use]
pub fn l2(params: &Params, lambda: f64) -> Tensor {
    penalty(params, lambda, |weight| weight.square().sum())
}

/// `lambda` times the sum of magnitudes of the weights, a scalar to add to the loss: it drives
/// weights to exactly 0. Weights are those that [`l2`] takes; the gradient is
/// `lambda sign(w)`, 0 at 0.
///
/// Tibshirani, [Regression shrinkage and selection via the
/// lasso](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x), 1996.
///
/// ```
/// use rappel_regularize::l1;
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 2], Init::Constant(-3.0));
/// assert_eq!(l1(&params, 0.5).item(), 6.0);
/// ```
#[must_use]
pub fn l1(params: &Params, lambda: f64) -> Tensor {
    penalty(params, lambda, |weight| weight.abs().sum())
}

fn penalty(params: &Params, lambda: f64, size: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let layout = params.layout();
    let dtype = layout.entries().first().map_or(DType::F32, |entry| entry.dtype.accumulator());
    let weights = layout.entries().iter().filter(|e| e.trainable && e.shape.rank() >= 2);
    let sizes = weights.map(|entry| {
        let weight = params.get(&entry.name).expect("an entry of these").tensor();
        size(&weight.to_dtype(dtype))
    });
    match sizes.reduce(|sum, size| sum + size) {
        Some(sum) => sum * lambda,
        None => Tensor::scalar(0.0, dtype),
    }
}
