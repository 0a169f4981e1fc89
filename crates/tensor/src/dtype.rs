//! The kinds of number that a tensor holds.

use std::fmt;

use half::bf16;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// Double precision.
    F64,
    /// Single precision.
    F32,
    /// bfloat16: single precision's range with 8 bits of mantissa.
    BF16,
    /// Signed integers: token ids, indices.
    I64,
    /// Bytes: masks (0 or 1) and raw data.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 => 4,
            DType::BF16 => 2,
            DType::U8 => 1,
        }
    }

    /// Whether elements are floating-point numbers, which alone can carry gradients.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::BF16)
    }

    /// The type that sums over elements of this type are kept in: single precision for bfloat16.
    pub const fn accumulator(self) -> DType {
        match self {
            DType::BF16 => DType::F32,
            other => other,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::I64 => "i64",
            DType::U8 => "u8",
        })
    }
}

impl std::str::FromStr for DType {
    type Err = String;
    /// Reads a name as `Display` writes it, or as PyTorch does (`float32`, `bfloat16`, ...).
    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "f64" | "float64" => DType::F64,
            "f32" | "float32" => DType::F32,
            "bf16" | "bfloat16" => DType::BF16,
            "i64" | "int64" => DType::I64,
            "u8" | "uint8" => DType::U8,
            _ => return Err(format!("unknown dtype `{name}` (known: f64, f32, bf16, i64, u8)")),
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor can hold.
pub trait Element: sealed::Sealed + Copy + Send + Sync + PartialEq + fmt::Debug + 'static {
    /// The matching tag.
    const DTYPE: DType;
    /// Converts from `f64`, rounding to nearest; integers truncate.
    fn from_f64(x: f64) -> Self;
    /// Converts to `f64`.
    fn to_f64(self) -> f64;
}

/// An [`Element`] that is a floating-point number.
pub trait Float: Element + PartialOrd {}

macro_rules! element {
    ($($t:ty => $tag:ident),*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$tag;
            #[inline(always)]
            fn from_f64(x: f64) -> Self { x as $t }
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
        }
    )*};
}
element!(f64 => F64, f32 => F32, i64 => I64, u8 => U8);

impl sealed::Sealed for bf16 {}
impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        bf16::from_f64(x)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.to_f32() as f64
    }
}

impl Float for f64 {}
impl Float for f32 {}
impl Float for bf16 {}

/// Runs `$body` with `$t` standing for the floating-point type of `$dtype`; panics for others,
/// naming the operation.
#[macro_export]
#[doc(hidden)]
macro_rules! with_float {
    ($dtype:expr, $op:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::DType::BF16 => {
                type $t = ::half::bf16;
                $body
            }
            other => panic!("{}: needs floating-point numbers, got {}", $op, other),
        }
    };
}

/// Runs `$body` with `$t` standing for the type of `$dtype`.
#[macro_export]
#[doc(hidden)]
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::DType::BF16 => {
                type $t = ::half::bf16;
                $body
            }
            $crate::DType::I64 => {
                type $t = i64;
                $body
            }
            $crate::DType::U8 => {
                type $t = u8;
                $body
            }
        }
    };
}
