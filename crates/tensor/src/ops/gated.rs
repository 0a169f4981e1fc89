//! Gated activations.

use super::{Operation, Sample};
use crate::kernels::args::{Formula, Pair};
use crate::kernels::map::{map, map_pair};
use crate::real::Real;
use crate::tensor::Tensor;

#[derive(Clone, Copy)]
struct GatedSilu;
impl Formula<2> for GatedSilu {
    #[inline(always)]
    fn eval<R: Real>(&self, [gate, up]: [R; 2]) -> R {
        gate * gate.sigmoid() * up
    }
}

#[derive(Clone, Copy)]
struct GatedSiluGrad;
impl Pair<3> for GatedSiluGrad {
    #[inline(always)]
    fn eval<R: Real>(&self, [g, gate, up]: [R; 3]) -> [R; 2] {
        let s = gate.sigmoid();
        let y = gate * s;
        [g * up * (R::of(1.0) - s).mul_add(y, s), g * y]
    }
}

/// `silu(gate) up`, with `silu(x) = x sigmoid(x)`: the inside of a SwiGLU layer (Shazeer,
/// <https://arxiv.org/abs/2002.05202>).
///
/// One walk forward and one back; nothing but the operands is kept.
///
/// # Panics
/// Where shapes or types differ.
///
/// ```
/// use rappel_tensor::{DType, Tensor, gated_silu};
/// let x = Tensor::linspace(-2.0, 2.0, 5, DType::F64);
/// let (fused, plain) = (gated_silu(&x, &x), x.silu() * &x);
/// assert!((fused - plain).abs().sum().item() < 1e-15);
/// ```
#[track_caller]
#[must_use]
pub fn gated_silu(gate: &Tensor, up: &Tensor) -> Tensor {
    assert!(
        gate.shape() == up.shape(),
        "gated_silu: gate {} and up {} differ",
        gate.shape(),
        up.shape()
    );
    let (a, b) = (gate.detach(), up.detach());
    map("gated_silu", [gate, up], GatedSilu).record(&[gate, up], move |grad, sink| {
        let [to_gate, to_up] = map_pair("gated_silu", [&grad, &a, &b], GatedSiluGrad);
        sink.add(0, || to_gate);
        sink.add(1, || to_up);
    })
}

pub(super) const OPERATION: Operation = Operation {
    name: "gated",
    samples: |draw| {
        let (n, m) = (draw.size(1, 5), draw.size(1, 20));
        let plain = vec![draw.normal([n, m]), draw.normal([n, m])];
        let turned = vec![draw.normal([m, n]), draw.normal([n, m])];
        vec![
            Sample::new("silu", plain, |x| gated_silu(&x[0], &x[1])),
            Sample::new("silu, transposed", turned, |x| gated_silu(&x[0].mt(), &x[1])),
        ]
    },
};
