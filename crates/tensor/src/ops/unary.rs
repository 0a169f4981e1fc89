//! Functions of one number at each place.

#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::DType;
use crate::kernels::args::Formula;
use crate::kernels::copy;
use crate::kernels::map::map;
use crate::real::Real;
use crate::tensor::Tensor;

/// A function and its derivative's product with the upstream gradient `g`, from the input `x` and
/// the output `y`.
macro_rules! unary {
    ($($(#[$doc:meta])* $method:ident, $forward:ident, $backward:ident: |$x:ident| $value:expr,
       |$g:ident, $bx:ident, $by:ident| $slope:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $forward;
            impl Formula<1> for $forward {
                #[inline(always)]
                fn eval<R: Real>(&self, [$x]: [R; 1]) -> R { $value }
            }
            #[derive(Clone, Copy)]
            struct $backward;
            impl Formula<3> for $backward {
                #[inline(always)]
                fn eval<R: Real>(&self, [$g, $bx, $by]: [R; 3]) -> R { $slope }
            }
        )*
        impl Tensor {
            $(
                $(#[$doc])*
                #[track_caller]
                #[must_use]
                pub fn $method(&self) -> Self {
                    let name = stringify!($method);
                    let y = map(name, [self], $forward);
                    let (x, saved) = (self.detach(), y.clone());
                    y.record(&[self], move |grad, sink| {
                        sink.add(0, || map(name, [&grad, &x, &saved], $backward));
                    })
                }
            )*
        }
        /// The name, the function, and where to sample it.
        #[cfg(test)]
        const FUNCTIONS: &[(&str, fn(&Tensor) -> Tensor)] =
            &[$((stringify!($method), Tensor::$method)),*];
    };
}

const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// The inner function of GELU's tanh form and its derivative.
#[inline(always)]
fn gelu_inner<R: Real>(x: R) -> (R, R) {
    let square = x * x;
    let cubic = R::of(0.044_715 * SQRT_2_OVER_PI);
    let linear = R::of(SQRT_2_OVER_PI);
    let inner = square.mul_add(cubic, linear) * x;
    (inner, square.mul_add(cubic * R::of(3.0), linear))
}

/// `x Phi(x)`.
#[inline(always)]
pub(super) fn gelu<R: Real>(x: R) -> R {
    x * normal_distribution(x)
}

/// The slope of [`gelu`].
#[inline(always)]
pub(super) fn gelu_slope<R: Real>(x: R) -> R {
    let density = R::of(INV_SQRT_2PI) * (R::of(-0.5) * x * x).exp();
    x.mul_add(density, normal_distribution(x))
}

#[inline(always)]
fn normal_distribution<R: Real>(x: R) -> R {
    R::of(0.5) + R::of(0.5) * (x * R::of(std::f64::consts::FRAC_1_SQRT_2)).erf()
}

/// GELU's tanh form.
#[inline(always)]
pub(super) fn gelu_tanh<R: Real>(x: R) -> R {
    // 0.5 (1 + tanh u) = sigmoid(2 u).
    let (u, _) = gelu_inner(x);
    x * (u + u).sigmoid()
}

/// Two factors of the slope of [`gelu_tanh`].
#[inline(always)]
pub(super) fn gelu_tanh_slope<R: Real>(x: R) -> (R, R) {
    let (u, du) = gelu_inner(x);
    let s = (u + u).sigmoid();
    let slope = (du + du) * (R::of(1.0) - s);
    (s, slope.mul_add(x, R::of(1.0)))
}

unary! {
    /// e to the power of each element.
    exp, Exp, ExpGrad: |x| x.exp(), |g, _x, y| g * y;
    /// The natural logarithm.
    ln, Ln, LnGrad: |x| x.ln(), |g, x, _y| g / x;
    /// The square root.
    sqrt, Sqrt, SqrtGrad: |x| x.sqrt(), |g, _x, y| g / (y + y);
    /// Each element times itself.
    square, Square, SquareGrad: |x| x * x, |g, x, _y| g * (x + x);
    /// The absolute value; the gradient at zero is zero.
    abs, Abs, AbsGrad: |x| x.abs(), |g, x, _y| g * x.sign();
    /// The reciprocal.
    recip, Recip, RecipGrad: |x| x.recip(), |g, _x, y| -(g * y * y);
    /// Sine, in radians.
    sin, Sin, SinGrad: |x| x.sin(), |g, x, _y| g * x.cos();
    /// Cosine, in radians.
    cos, Cos, CosGrad: |x| x.cos(), |g, x, _y| -(g * x.sin());
    /// The hyperbolic tangent.
    tanh, Tanh, TanhGrad: |x| x.tanh(), |g, _x, y| g * (R::of(1.0) - y * y);
    /// The logistic function `1 / (1 + exp(-x))`.
    sigmoid, Sigmoid, SigmoidGrad: |x| x.sigmoid(), |g, _x, y| g * y * (R::of(1.0) - y);
    /// The logarithm of [`sigmoid`](Tensor::sigmoid), `min(x, 0) - ln(1 + exp(-|x|))`.
    log_sigmoid, LogSigmoid, LogSigmoidGrad: |x| x.min(R::of(0.0)) - ((-x.abs()).exp() + R::of(1.0)).ln(),
        |g, x, _y| g * (-x).sigmoid();
    /// The error function.
    erf, Erf, ErfGrad: |x| x.erf(), |g, x, _y| g * R::of(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp();
    /// `max(x, 0)`; the gradient at zero is zero.
    relu, Relu, ReluGrad: |x| x.max(R::of(0.0)), |g, x, _y| R::select(R::of(0.0).lt(x), g, R::of(0.0));
    /// `x sigmoid(x)`, also called swish (Hendrycks and Gimpel, <https://arxiv.org/abs/1606.08415>).
    silu, Silu, SiluGrad: |x| x * x.sigmoid(), |g, x, y| {
        let s = x.sigmoid();
        g * (R::of(1.0) - s).mul_add(y, s)
    };
    /// `x Phi(x)` with the normal distribution function `Phi`, exactly: PyTorch's `gelu`
    /// (Hendrycks and Gimpel, <https://arxiv.org/abs/1606.08415>).
    gelu, Gelu, GeluGrad: |x| gelu(x), |g, x, _y| g * gelu_slope(x);
    /// GELU with its distribution function approximated by tanh: `gelu_new` of GPT-2,
    /// `gelu(approximate="tanh")` of PyTorch.
    gelu_tanh, GeluTanh, GeluTanhGrad: |x| gelu_tanh(x), |g, x, _y| {
        let (s, bend) = gelu_tanh_slope(x);
        g * s * bend
    };
}

/// `x` to a constant power.
#[derive(Clone, Copy)]
struct Power(f64);
impl Formula<1> for Power {
    #[inline(always)]
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        x.powf(R::of(self.0))
    }
}
#[derive(Clone, Copy)]
struct PowerGrad(f64);
impl Formula<2> for PowerGrad {
    #[inline(always)]
    fn eval<R: Real>(&self, [g, x]: [R; 2]) -> R {
        g * R::of(self.0) * x.powf(R::of(self.0 - 1.0))
    }
}

#[derive(Clone, Copy)]
struct Clamp(f64, f64);
impl Formula<1> for Clamp {
    #[inline(always)]
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        let raised = R::select(x.lt(R::of(self.0)), R::of(self.0), x);
        R::select(R::of(self.1).lt(raised), R::of(self.1), raised)
    }
}
impl Formula<2> for Clamp {
    #[inline(always)]
    fn eval<R: Real>(&self, [g, x]: [R; 2]) -> R {
        R::select(R::of(self.0).le(x) & x.le(R::of(self.1)), g, R::of(0.0))
    }
}

impl Tensor {
    /// Each element to the power `exponent`.
    #[track_caller]
    #[must_use]
    pub fn powf(&self, exponent: f64) -> Self {
        let x = self.detach();
        map("powf", [self], Power(exponent)).record(&[self], move |grad, sink| {
            sink.add(0, || map("powf", [&grad, &x], PowerGrad(exponent)));
        })
    }

    /// Each element moved into `low..=high`; no gradient where it was outside. NaN stays.
    #[track_caller]
    #[must_use]
    pub fn clamp(&self, low: f64, high: f64) -> Self {
        let x = self.detach();
        let y: Tensor = map::<1, _>("clamp", [self], Clamp(low, high));
        y.record(&[self], move |grad, sink| {
            sink.add(0, || map::<2, _>("clamp", [&grad, &x], Clamp(low, high)));
        })
    }

    /// The same values as another type: rounded to nearest, truncated towards zero for integers.
    /// Gradients flow between floating-point types.
    #[must_use]
    pub fn to_dtype(&self, dtype: DType) -> Self {
        let before = self.dtype();
        if dtype == before {
            return self.clone();
        }
        let out = copy::convert(self, dtype);
        if !dtype.is_float() {
            return out;
        }
        out.record(&[self], move |grad, sink| sink.add(0, || grad.to_dtype(before)))
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "unary",
    samples: |draw| {
        let n = draw.size(1, 20);
        let mut samples: Vec<Sample> = FUNCTIONS
            .iter()
            .map(|&(name, f)| {
                // Away from kinks and poles, on both sides where the function allows it.
                let positive = matches!(name, "ln" | "sqrt" | "recip");
                let x = draw.uniform([n], 0.3, 2.0);
                let x = if positive || draw.size(0, 1) == 0 { x } else { -x };
                Sample::new(name, vec![x], move |x| f(&x[0]))
            })
            .collect();
        let x = draw.uniform([n], 0.3, 2.0);
        samples.push(Sample::new("powf", vec![x.clone()], |x| x[0].powf(2.5)));
        samples.push(Sample::new("clamp", vec![x], |x| x[0].clamp(0.0, 5.0)));
        samples
    },
};
