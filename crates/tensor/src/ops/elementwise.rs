//! Arithmetic of two operands, broadcast as NumPy does; with scalars; on single tensors.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::unbroadcast;
#[cfg(test)]
#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::DType;
use crate::kernels::args::Formula;
use crate::kernels::lines::zip;
use crate::kernels::map::map;
use crate::real::Real;
use crate::tensor::Tensor;

/// `a * x + b`: every operation with a scalar.
#[derive(Clone, Copy)]
struct Affine(f64, f64);
impl Formula<1> for Affine {
    #[inline(always)]
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        x.mul_add(R::of(self.0), R::of(self.1))
    }
}

macro_rules! formula {
    ($name:ident, $n:literal, [$($x:ident),+] => $value:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Formula<$n> for $name {
            #[inline(always)]
            fn eval<R: Real>(&self, [$($x),+]: [R; $n]) -> R {
                $value
            }
        }
    };
}
formula!(Sum, 2, [a, b] => a + b);
formula!(Difference, 2, [a, b] => a - b);
formula!(Product, 2, [a, b] => a * b);
formula!(Quotient, 2, [a, b] => a / b);
/// `c / x` for a number `c`.
#[derive(Clone, Copy)]
struct Over(f64);
impl Formula<1> for Over {
    #[inline(always)]
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        R::of(self.0) / x
    }
}
formula!(Least, 2, [a, b] => R::select(a.le(b), a, b));
formula!(Most, 2, [a, b] => R::select(b.le(a), a, b));
// Where both are equal each gets half, as in PyTorch.
formula!(Share, 3, [g, a, b] => {
    R::select(a.lt(b), g, R::select(a.eq(b), g * R::of(0.5), R::of(0.0)))
});
formula!(OverGrad, 3, [g, x, y] => -(g * y) / x);
formula!(DivisorGrad, 3, [g, a, b] => -(g * a) / (b * b));

impl Tensor {
    #[track_caller]
    fn affine(&self, a: f64, b: f64) -> Self {
        if self.dtype() == DType::I64 {
            let [a, b] = [a, b].map(|x| {
                assert!(x.fract() == 0.0, "integer arithmetic: {x} is not a whole number");
                x as i64
            });
            let one = Tensor::scalar(1.0, DType::I64);
            return zip("integer arithmetic", self, &one, |x: i64, _: i64| {
                x.wrapping_mul(a).wrapping_add(b)
            });
        }
        map("scalar arithmetic", [self], Affine(a, b))
            .record(&[self], move |grad, sink| sink.add(0, || grad.affine(a, 0.0)))
    }

    /// The smaller of both at each place; gradients go to the smaller, halves to equals.
    #[track_caller]
    #[must_use]
    pub fn minimum(&self, other: &Tensor) -> Self {
        let (a, b) = (self.detach(), other.detach());
        map("minimum", [self, other], Least).record(&[self, other], move |grad, sink| {
            sink.add(0, || unbroadcast(map("minimum", [&grad, &a, &b], Share), a.shape()));
            sink.add(1, || unbroadcast(map("minimum", [&grad, &b, &a], Share), b.shape()));
        })
    }

    /// The larger of both at each place; gradients go to the larger, halves to equals.
    #[track_caller]
    #[must_use]
    pub fn maximum(&self, other: &Tensor) -> Self {
        let (a, b) = (self.detach(), other.detach());
        map("maximum", [self, other], Most).record(&[self, other], move |grad, sink| {
            sink.add(0, || unbroadcast(map("maximum", [&grad, &b, &a], Share), a.shape()));
            sink.add(1, || unbroadcast(map("maximum", [&grad, &a, &b], Share), b.shape()));
        })
    }
}

/// Whether both hold `i64`, whose arithmetic wraps around, as in PyTorch.
fn integers(a: &Tensor, b: &Tensor) -> bool {
    a.dtype() == DType::I64 && b.dtype() == DType::I64
}

#[track_caller]
fn add(a: &Tensor, b: &Tensor) -> Tensor {
    if integers(a, b) {
        return zip("add", a, b, i64::wrapping_add);
    }
    let (sa, sb) = (a.shape(), b.shape());
    map("add", [a, b], Sum).record(&[a, b], move |grad, sink| {
        sink.add(0, || unbroadcast(grad.clone(), sa));
        sink.add(1, || unbroadcast(grad, sb));
    })
}

#[track_caller]
fn sub(a: &Tensor, b: &Tensor) -> Tensor {
    if integers(a, b) {
        return zip("sub", a, b, i64::wrapping_sub);
    }
    let (sa, sb) = (a.shape(), b.shape());
    map("sub", [a, b], Difference).record(&[a, b], move |grad, sink| {
        sink.add(0, || unbroadcast(grad.clone(), sa));
        sink.add(1, || unbroadcast(-&grad, sb));
    })
}

#[track_caller]
fn mul(a: &Tensor, b: &Tensor) -> Tensor {
    if integers(a, b) {
        return zip("mul", a, b, i64::wrapping_mul);
    }
    let (x, y) = (a.detach(), b.detach());
    map("mul", [a, b], Product).record(&[a, b], move |grad, sink| {
        sink.add(0, || unbroadcast(&grad * &y, x.shape()));
        sink.add(1, || unbroadcast(&grad * &x, y.shape()));
    })
}

#[track_caller]
fn div(a: &Tensor, b: &Tensor) -> Tensor {
    let (x, y) = (a.detach(), b.detach());
    map("div", [a, b], Quotient).record(&[a, b], move |grad, sink| {
        sink.add(0, || unbroadcast(&grad / &y, x.shape()));
        sink.add(1, || unbroadcast(map("div", [&grad, &x, &y], DivisorGrad), y.shape()));
    })
}

#[track_caller]
fn over(c: f64, x: &Tensor) -> Tensor {
    let y: Tensor = map::<1, _>("div", [x], Over(c));
    let (x0, y0) = (x.detach(), y.clone());
    y.record(&[x], move |grad, sink| {
        sink.add(0, || map("div", [&grad, &x0, &y0], OverGrad));
    })
}

/// The operator between tensors; with a number on the right, as `a x + b`; with one on the left.
macro_rules! operator {
    ($trait:ident, $method:ident, $function:ident, $scalar:expr, $left:expr) => {
        impl $trait for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                $function(self, other)
            }
        }
        impl $trait for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                $function(&self, &other)
            }
        }
        impl $trait<&Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                $function(&self, other)
            }
        }
        impl $trait<Tensor> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                $function(self, &other)
            }
        }
        impl $trait<f64> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: f64) -> Tensor {
                let scalar: fn(f64) -> (f64, f64) = $scalar;
                let (a, b) = scalar(other);
                self.affine(a, b)
            }
        }
        impl $trait<f64> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: f64) -> Tensor {
                $trait::$method(&self, other)
            }
        }
        impl $trait<&Tensor> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                let left: fn(f64, &Tensor) -> Tensor = $left;
                left(self, other)
            }
        }
        impl $trait<Tensor> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                $trait::$method(self, &other)
            }
        }
    };
}
operator!(Add, add, add, |c| (1.0, c), |c, x| x.affine(1.0, c));
operator!(Sub, sub, sub, |c| (1.0, -c), |c, x| x.affine(-1.0, c));
operator!(Mul, mul, mul, |c| (c, 0.0), |c, x| x.affine(c, 0.0));
operator!(Div, div, div, |c| (1.0 / c, 0.0), over);

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        self.affine(-1.0, 0.0)
    }
}
impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        -&self
    }
}

#[cfg(test)]
type Binary = fn(&Tensor, &Tensor) -> Tensor;

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "elementwise",
    samples: |draw| {
        let (n, m) = (draw.size(1, 4), draw.size(1, 5));
        let mut samples = Vec::new();
        let pairs = [([n, m], [n, m]), ([n, m], [1, m]), ([n, 1], [1, m])];
        let functions: [(&str, Binary); 6] = [
            ("add", |a, b| a + b),
            ("sub", |a, b| a - b),
            ("mul", |a, b| a * b),
            ("div", |a, b| a / b),
            ("minimum", |a, b| a.minimum(b)),
            ("maximum", |a, b| a.maximum(b)),
        ];
        for (name, f) in functions {
            for (a, b) in pairs {
                let inputs = vec![draw.normal(a), draw.uniform(b, 0.5, 2.0)];
                samples.push(Sample::new(name, inputs, move |x| f(&x[0], &x[1])));
            }
        }
        let inputs = vec![draw.normal([n, m])];
        samples.push(Sample::new("scalars", inputs, |x| (-(&x[0] * 3.0 - 1.0) + 2.0) / 7.0));
        let inputs = vec![draw.uniform([n, m], 0.5, 2.0)];
        samples.push(Sample::new("scalars on the left", inputs, |x| {
            2.0 * (1.0 - 3.0 / &x[0]) + (0.5 + &x[0])
        }));
        samples
    },
};
