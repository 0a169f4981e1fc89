//! Gated activations.

use std::marker::PhantomData;

use super::unary::{gelu, gelu_slope, gelu_tanh, gelu_tanh_slope};
#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::{Formula, Pair};
use crate::kernels::map::{map, map_pair};
use crate::real::Real;
use crate::tensor::Tensor;

/// An activation and its slope, for a value and gradients of `activation(gate) up`.
trait Gate: Copy + Send + Sync + 'static {
    const NAME: &'static str;

    /// The activation of a gate.
    fn value<R: Real>(gate: R) -> R;

    /// The activation of a gate, and its slope.
    fn slope<R: Real>(gate: R) -> [R; 2];
}

#[derive(Clone, Copy)]
struct Silu;
impl Gate for Silu {
    const NAME: &'static str = "gated_silu";

    #[inline(always)]
    fn value<R: Real>(gate: R) -> R {
        gate * gate.sigmoid()
    }

    #[inline(always)]
    fn slope<R: Real>(gate: R) -> [R; 2] {
        let s = gate.sigmoid();
        let y = gate * s;
        [y, (R::of(1.0) - s).mul_add(y, s)]
    }
}

#[derive(Clone, Copy)]
struct Gelu;
impl Gate for Gelu {
    const NAME: &'static str = "gated_gelu";

    #[inline(always)]
    fn value<R: Real>(gate: R) -> R {
        gelu(gate)
    }

    #[inline(always)]
    fn slope<R: Real>(gate: R) -> [R; 2] {
        [gelu(gate), gelu_slope(gate)]
    }
}

#[derive(Clone, Copy)]
struct GeluTanh;
impl Gate for GeluTanh {
    const NAME: &'static str = "gated_gelu_tanh";

    #[inline(always)]
    fn value<R: Real>(gate: R) -> R {
        gelu_tanh(gate)
    }

    #[inline(always)]
    fn slope<R: Real>(gate: R) -> [R; 2] {
        let (s, bend) = gelu_tanh_slope(gate);
        [gelu_tanh(gate), s * bend]
    }
}

#[derive(Clone, Copy)]
struct Gated<G>(PhantomData<G>);
impl<G: Gate> Formula<2> for Gated<G> {
    #[inline(always)]
    fn eval<R: Real>(&self, [gate, up]: [R; 2]) -> R {
        G::value(gate) * up
    }
}

#[derive(Clone, Copy)]
struct GatedGrad<G>(PhantomData<G>);
impl<G: Gate> Pair<3> for GatedGrad<G> {
    #[inline(always)]
    fn eval<R: Real>(&self, [g, gate, up]: [R; 3]) -> [R; 2] {
        let [value, slope] = G::slope(gate);
        [g * up * slope, g * value]
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
    gated::<Silu>(gate, up)
}

/// `gelu(gate) up` with the exact GELU: the inside of a GeGLU layer (Shazeer,
/// <https://arxiv.org/abs/2002.05202>), as ModernBERT has it.
///
/// # Panics
/// Where shapes or types differ.
///
/// ```
/// use rappel_tensor::{DType, Tensor, gated_gelu};
/// let x = Tensor::linspace(-2.0, 2.0, 5, DType::F64);
/// let (fused, plain) = (gated_gelu(&x, &x), x.gelu() * &x);
/// assert!((fused - plain).abs().sum().item() < 1e-15);
/// ```
#[track_caller]
#[must_use]
pub fn gated_gelu(gate: &Tensor, up: &Tensor) -> Tensor {
    gated::<Gelu>(gate, up)
}

/// `gelu(gate) up` with GELU's tanh form, as Gemma has it.
///
/// # Panics
/// Where shapes or types differ.
///
/// ```
/// use rappel_tensor::{DType, Tensor, gated_gelu_tanh};
/// let x = Tensor::linspace(-2.0, 2.0, 5, DType::F64);
/// let (fused, plain) = (gated_gelu_tanh(&x, &x), x.gelu_tanh() * &x);
/// assert!((fused - plain).abs().sum().item() < 1e-15);
/// ```
#[track_caller]
#[must_use]
pub fn gated_gelu_tanh(gate: &Tensor, up: &Tensor) -> Tensor {
    gated::<GeluTanh>(gate, up)
}

#[track_caller]
fn gated<G: Gate>(gate: &Tensor, up: &Tensor) -> Tensor {
    let (name, shapes) = (G::NAME, [gate.shape(), up.shape()]);
    assert!(shapes[0] == shapes[1], "{name}: gate {} and up {} differ", shapes[0], shapes[1]);
    let (a, b) = (gate.detach(), up.detach());
    map(name, [gate, up], Gated::<G>(PhantomData)).record(&[gate, up], move |grad, sink| {
        let [to_gate, to_up] = map_pair(name, [&grad, &a, &b], GatedGrad::<G>(PhantomData));
        sink.add(0, || to_gate);
        sink.add(1, || to_up);
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "gated",
    samples: |draw| {
        let (n, m) = (draw.size(1, 5), draw.size(1, 20));
        let plain = vec![draw.normal([n, m]), draw.normal([n, m])];
        let turned = vec![draw.normal([m, n]), draw.normal([n, m])];
        vec![
            Sample::new("silu", plain.clone(), |x| gated_silu(&x[0], &x[1])),
            Sample::new("gelu", plain.clone(), |x| gated_gelu(&x[0], &x[1])),
            Sample::new("gelu, tanh", plain, |x| gated_gelu_tanh(&x[0], &x[1])),
            Sample::new("silu, transposed", turned, |x| gated_silu(&x[0].mt(), &x[1])),
        ]
    },
};
