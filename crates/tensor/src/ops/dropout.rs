//! Dropout.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels;
use crate::random::Key;
use crate::tensor::Tensor;

/// Each element zero with probability `p`, else `x / (1 - p)`, so that its mean stays
/// (Srivastava et al., <https://jmlr.org/papers/v15/srivastava14a.html>).
///
/// What is dropped is a pure function of `key` and the position in row-major order: nothing is
/// saved for the backward pass, which draws again. A draw is a hash of the position, seeded for
/// every 16384 positions from the key's generator; `p` is rounded to a multiple of 2^-32. NaN and
/// infinity stay visible: where dropped they are NaN. With `p` 0 this is the tensor itself.
///
/// # Panics
/// Where `p` is outside `0..1`.
///
/// ```
/// use rappel_tensor::{DType, Key, Tensor, dropout};
/// let y = dropout(&Tensor::ones([1000], DType::F32), 0.5, Key::new(0).with(3)).to_vec::<f32>();
/// assert!(y.iter().all(|&y| y == 0.0 || y == 2.0));
/// ```
#[track_caller]
#[must_use]
pub fn dropout(x: &Tensor, p: f64, key: Key) -> Tensor {
    assert!((0.0..1.0).contains(&p), "dropout: p is {p}, which is outside 0..1");
    assert!(x.dtype().is_float(), "dropout: needs floating-point numbers, got {}", x.dtype());
    if p == 0.0 {
        return x.clone();
    }
    kernels::dropout::dropout(&x.detach().contiguous(), p, key).record(&[x], move |grad, sink| {
        sink.add(0, || kernels::dropout::dropout(&grad.contiguous(), p, key));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "dropout",
    samples: |draw| {
        let (rows, width, key) = (draw.size(1, 5), draw.size(1, 40), draw.key());
        let inputs = vec![draw.normal([rows, width])];
        let turned = inputs.clone();
        vec![
            Sample::new("contiguous", inputs, move |x| dropout(&x[0], 0.4, key)),
            Sample::new("transposed", turned, move |x| dropout(&x[0].mt(), 0.1, key)),
        ]
    },
};
