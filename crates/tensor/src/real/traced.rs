//! The number that writes C: a formula's text for a processor that is not there when this is built.
//!
//! Every operation on a [`Traced`] number is a line of C on values of type `real`; [`trace`] runs a
//! formula on such numbers and hands its lines over. A formula cannot look at a mask, so its text does
//! not depend on the numbers it will meet; its constants are parameters (`c[0]`, `c[1]`, ..), so the text
//! is the same at every step of a schedule.

use std::cell::RefCell;
use std::fmt::Write;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::Real;

/// What C must know before a [`Program`]'s functions, for `real` a `float`: contraction to
/// fused multiply-adds must be off (`-ffp-contract=off`), since formulas say where they want one.
pub const C_FLOAT: &str = "#include <math.h>
typedef float real;
#define FMA fmaf
#define SQRT sqrtf
#define ABS fabsf
#define ROUND rintf
#define EXP expf
#define LN logf
#define TANH tanhf
#define ERF erff
#define SIN sinf
#define COS cosf
#define POW powf
";

/// The lines of one formula.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Statements that read `x[0..inputs]` and `c[..]` and write `y[0..outputs]`.
    pub body: String,
    /// The values of `c`, in the order that the formula asked for them.
    pub constants: Vec<f64>,
    /// How many numbers the formula takes.
    pub inputs: usize,
    /// How many it gives.
    pub outputs: usize,
}

impl Program {
    /// The formula as a C function `void name(const real *x, real *y, const real *c)`.
    pub fn function(&self, name: &str) -> String {
        let Self { body, .. } = self;
        format!("static void {name}(const real *x, real *y, const real *c) {{\n{body}}}\n")
    }
}

#[derive(Default)]
struct Tape {
    body: String,
    values: usize,
    constants: Vec<f64>,
}

thread_local! {
    static TAPE: RefCell<Tape> = RefCell::default();
}

/// A number of a formula that is being traced.
#[derive(Debug, Clone, Copy)]
pub struct Traced(usize);

/// A comparison of a formula that is being traced.
#[derive(Debug, Clone, Copy)]
pub struct TracedMask(usize);

/// Runs a formula on `inputs` numbers that write down what is done to them.
///
/// ```
/// use rappel_tensor::{Real, trace};
/// let program = trace(2, |x| vec![x[0].mul_add(x[1], Real::of(0.5))]);
/// assert_eq!((program.constants, program.outputs), (vec![0.5], 1));
/// assert!(program.body.contains("FMA(v0, v1, v2)"));
/// ```
pub fn trace(inputs: usize, formula: impl FnOnce(&[Traced]) -> Vec<Traced>) -> Program {
    let outer = TAPE.take();
    let read: Vec<Traced> = (0..inputs).map(|i| value(format_args!("x[{i}]"))).collect();
    let written = formula(&read);
    let Tape { mut body, constants, .. } = TAPE.replace(outer);
    for (i, Traced(v)) in written.iter().enumerate() {
        writeln!(body, "    y[{i}] = v{v};").expect("text takes all");
    }
    Program { body, constants, inputs, outputs: written.len() }
}

/// A new line `kind v.. = expression;`.
fn line(kind: &str, expression: std::fmt::Arguments<'_>) -> usize {
    TAPE.with_borrow_mut(|tape| {
        let v = tape.values;
        tape.values += 1;
        writeln!(tape.body, "    const {kind} v{v} = {expression};").expect("text takes all");
        v
    })
}

fn value(expression: std::fmt::Arguments<'_>) -> Traced {
    Traced(line("real", expression))
}

fn mask(expression: std::fmt::Arguments<'_>) -> TracedMask {
    TracedMask(line("int", expression))
}

macro_rules! operators {
    ($($of:ident: $trait:ident, $method:ident, $sign:literal, $new:ident;)*) => {$(
        impl $trait for $of {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                $new(format_args!(concat!("v{} ", $sign, " v{}"), self.0, other.0))
            }
        }
    )*};
}
operators! {
    Traced: Add, add, "+", value;
    Traced: Sub, sub, "-", value;
    Traced: Mul, mul, "*", value;
    Traced: Div, div, "/", value;
    TracedMask: BitAnd, bitand, "&", mask;
    TracedMask: BitOr, bitor, "|", mask;
}

impl Neg for Traced {
    type Output = Self;
    fn neg(self) -> Self {
        value(format_args!("-v{}", self.0))
    }
}

impl Not for TracedMask {
    type Output = Self;
    fn not(self) -> Self {
        mask(format_args!("!v{}", self.0))
    }
}

macro_rules! functions {
    ($($method:ident $name:literal),*) => {$(
        fn $method(self) -> Self {
            value(format_args!(concat!($name, "(v{})"), self.0))
        }
    )*};
}

impl Real for Traced {
    type Mask = TracedMask;

    functions! {
        sqrt "SQRT", abs "ABS", round "ROUND", exp "EXP", ln "LN", tanh "TANH", erf "ERF",
        sin "SIN", cos "COS"
    }

    fn of(x: f64) -> Self {
        let k = TAPE.with_borrow_mut(|tape| {
            tape.constants.push(x);
            tape.constants.len() - 1
        });
        value(format_args!("c[{k}]"))
    }

    fn mul_add(self, a: Self, b: Self) -> Self {
        value(format_args!("FMA(v{}, v{}, v{})", self.0, a.0, b.0))
    }

    // Not C's `fmin` and `fmax`, which have other answers for NaN and for zeros of two signs.
    fn min(self, other: Self) -> Self {
        value(format_args!("v{0} < v{1} ? v{0} : v{1}", self.0, other.0))
    }

    fn max(self, other: Self) -> Self {
        value(format_args!("v{0} > v{1} ? v{0} : v{1}", self.0, other.0))
    }

    fn lt(self, other: Self) -> TracedMask {
        mask(format_args!("v{} < v{}", self.0, other.0))
    }

    fn le(self, other: Self) -> TracedMask {
        mask(format_args!("v{} <= v{}", self.0, other.0))
    }

    fn eq(self, other: Self) -> TracedMask {
        mask(format_args!("v{} == v{}", self.0, other.0))
    }

    fn select(mask: TracedMask, yes: Self, no: Self) -> Self {
        value(format_args!("v{} ? v{} : v{}", mask.0, yes.0, no.0))
    }

    fn powf(self, exponent: Self) -> Self {
        value(format_args!("POW(v{}, v{})", self.0, exponent.0))
    }
}
