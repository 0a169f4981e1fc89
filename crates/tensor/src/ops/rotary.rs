//! Rotary positions.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::rotary::rotate;
use crate::tensor::Tensor;

/// Turns pairs of channels by angles that grow with the position: `x cos + rotate_half(x) sin`
/// with `rotate_half([a, b]) = [-b, a]` on the halves of the last dimension.
///
/// `x` is `[batch, time, heads, dim]`, a strided view if need be. `cos` and `sin` are
/// `[time, turned]`, or `[batch, time, turned]` where sequences stand at different positions, with an
/// even `turned` up to `dim`; they are constants, no gradient flows to them. Pairs are
/// `(i, i + turned / 2)`, as transformers' Llama has them, not neighbours as in the paper; channels
/// from `turned` on stay as they are.
///
/// Su and others, <https://arxiv.org/abs/2104.09864>; transformers' `apply_rotary_pos_emb`.
///
/// # Panics
/// Where sizes or types do not meet.
///
/// ```
/// use rappel_tensor::{DType, Tensor, rotary};
/// let x = Tensor::from_slice(&[3.0_f32, 4.0], [1, 1, 1, 2]);
/// // A quarter of a turn.
/// let (cos, sin) = (Tensor::zeros([1, 2], DType::F32), Tensor::ones([1, 2], DType::F32));
/// assert_eq!(rotary(&x, &cos, &sin).to_vec::<f32>(), [-4.0, 3.0]);
/// ```
#[track_caller]
#[must_use]
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let (shape, angles) = (x.shape(), cos.shape());
    let sequences = if angles.rank() == 3 { angles[0] } else { 1 };
    let meet = shape.rank() == 4
        && matches!(angles.rank(), 2 | 3)
        && angles == sin.shape()
        && (sequences == 1 || sequences == shape[0])
        && angles[angles.rank() - 2] == shape[1]
        && angles[angles.rank() - 1] <= shape[3]
        && angles[angles.rank() - 1].is_multiple_of(2);
    assert!(meet, "rotary: input {shape}, cos {angles} and sin {} do not meet", sin.shape());
    assert!(
        cos.dtype() == x.dtype() && sin.dtype() == x.dtype(),
        "rotary: input is {}, cos {}, sin {}",
        x.dtype(),
        cos.dtype(),
        sin.dtype()
    );
    let turned = angles[angles.rank() - 1];
    let angles = |a: &Tensor| a.detach().contiguous().reshape([sequences, shape[1], turned]);
    let (cos, sin) = (angles(cos), angles(sin));
    let rows =
        |x: &Tensor| if x.layout.strides[3] == 1 { x.detach() } else { x.detach().contiguous() };
    rotate(&rows(x), &cos, &sin, false).record(&[x], move |grad, sink| {
        sink.add(0, || rotate(&rows(&grad), &cos, &sin, true));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "rotary",
    samples: |draw| {
        let (b, t, h, d) = (draw.size(1, 3), draw.size(1, 4), draw.size(1, 3), 2 * draw.size(1, 5));
        let x = vec![draw.normal([b, t, h, d])];
        let shared = [draw.normal([t, d]), draw.normal([t, d])];
        let own = [draw.normal([b, t, d]), draw.normal([b, t, d])];
        let more = draw.size(1, 3);
        let wide = vec![draw.normal([b, t, h, d + more])];
        let some = [draw.normal([t, d]), draw.normal([t, d])];
        vec![
            Sample::new("shared angles", x.clone(), move |x| rotary(&x[0], &shared[0], &shared[1])),
            Sample::new("own angles", x, move |x| rotary(&x[0], &own[0], &own[1])),
            Sample::new("partial", wide, move |x| rotary(&x[0], &some[0], &some[1])),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::rotary;
    use crate::dtype::DType;
    use crate::random::Key;
    use crate::tensor::Tensor;

    #[test]
    fn views_and_types_follow_the_formula() {
        for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6), (DType::BF16, 4e-2)] {
            for half in [1, 3, 8, 16, 17, 35] {
                let dim = 2 * half;
                let draw = |k, shape: &[usize]| {
                    Tensor::randn(shape, DType::F64, Key::new(k)).to_dtype(dtype)
                };
                let packed = draw(1, &[2, 3, 3 * 2 * dim]);
                let view = packed.narrow(2, 2 * dim, 2 * dim).reshape([2, 3, 2, dim]);
                let turned = view.transpose(1, 2).contiguous().transpose(1, 2);
                let (cos, sin) = (draw(2, &[3, dim]), draw(3, &[3, dim]));
                let got = rotary(&view, &cos, &sin).to_f64_vec();
                assert_eq!(got, rotary(&turned, &cos, &sin).to_f64_vec());
                let (x, cos, sin) = (view.to_f64_vec(), cos.to_f64_vec(), sin.to_f64_vec());
                for (r, row) in x.chunks(dim).enumerate() {
                    let t = r / 2 % 3;
                    for i in 0..dim {
                        let other = if i < half { -row[i + half] } else { row[i - half] };
                        let want = row[i] * cos[t * dim + i] + other * sin[t * dim + i];
                        assert!((got[r * dim + i] - want).abs() <= tolerance * want.abs().max(1.0));
                    }
                }
            }
        }
    }
}
