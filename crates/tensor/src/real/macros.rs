//! What the instruction sets share.

/// `Add`, `Sub`, `Mul`, `Div` and `Neg` of a register type from its intrinsics.
macro_rules! lanes_ops {
    ($lanes:ident, $add:path, $sub:path, $mul:path, $div:path) => {
        lanes_ops!(@one $lanes, Add, add, $add);
        lanes_ops!(@one $lanes, Sub, sub, $sub);
        lanes_ops!(@one $lanes, Mul, mul, $mul);
        lanes_ops!(@one $lanes, Div, div, $div);
        impl Neg for $lanes {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self::of(-0.0) - self
            }
        }
    };
    (@one $lanes:ident, $trait:ident, $method:ident, $intrinsic:path) => {
        impl $trait for $lanes {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: only reached from a function that the instruction set was detected for.
                unsafe { Self($intrinsic(self.0, other.0)) }
            }
        }
    };
}

/// `BitAnd`, `BitOr` and `Not` of a mask of whole lanes from its intrinsics.
macro_rules! mask_ops {
    ($mask:ident, $and:path, $or:path, $xor:path, $ones:expr) => {
        lanes_ops!(@one $mask, BitAnd, bitand, $and);
        lanes_ops!(@one $mask, BitOr, bitor, $or);
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                // SAFETY: only reached from a function that the instruction set was detected for.
                unsafe { Self($xor(self.0, $ones)) }
            }
        }
    };
}

/// Applies a scalar function to each lane.
macro_rules! each {
    ($lanes:expr, $f:expr) => {{
        let array = $lanes.to_array().map($f);
        // SAFETY: the array holds a whole register.
        unsafe { Self::load(array.as_ptr()) }
    }};
}

/// All lanes joined, the halves of the register onto each other first.
#[inline(always)]
pub(super) fn fold<T: Copy, const N: usize>(mut lanes: [T; N], join: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

pub(super) use {each, lanes_ops, mask_ops};
