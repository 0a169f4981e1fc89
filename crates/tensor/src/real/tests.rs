use super::dispatch::dispatch_at;
use super::*;

/// Every level up to this machine's best.
fn levels() -> Vec<Level> {
    let all = [Level::Plain, Level::Neon, Level::Avx2, Level::Avx512];
    let best = level();
    all.into_iter()
        .filter(|&l| l == Level::Plain || l == best || (l == Level::Avx2 && best == Level::Avx512))
        .collect()
}

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Ln,
    Tanh,
    Erf,
    Sin,
    Round,
    Sign,
    Sqrt,
}

impl Function {
    fn eval<R: Real>(self, x: R) -> R {
        match self {
            Self::Exp => x.exp(),
            Self::Ln => x.ln(),
            Self::Tanh => x.tanh(),
            Self::Erf => x.erf(),
            Self::Sin => x.sin(),
            Self::Round => x.round(),
            Self::Sign => x.sign(),
            Self::Sqrt => x.sqrt(),
        }
    }
}

struct Apply<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    function: Function,
}

impl<T: Stored> Kernel for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        for (x, y) in self.x.chunks(lanes).zip(self.y.chunks_mut(lanes)) {
            // SAFETY: both chunks hold as many values as are read and written.
            unsafe {
                if x.len() == lanes {
                    T::store::<S>(self.function.eval(T::load::<S>(x.as_ptr())), y.as_mut_ptr());
                } else {
                    let value = self.function.eval(T::load_partial::<S>(x.as_ptr(), x.len()));
                    T::store_partial::<S>(value, y.as_mut_ptr(), x.len());
                }
            }
        }
    }
}

/// The largest distance to the double-precision function, in units of the last place of `f32`.
fn worst(level: Level, function: Function, xs: &[f32]) -> f64 {
    let mut ys = vec![0.0; xs.len()];
    dispatch_at(level, Apply { x: xs, y: &mut ys, function });
    let mut worst = 0.0_f64;
    for (&x, &y) in xs.iter().zip(&ys) {
        let want: f64 = function.eval(f64::from(x));
        let rounded = want as f32;
        if !rounded.is_finite() || rounded == 0.0 || rounded.is_subnormal() {
            assert!(
                (y == rounded) || (y.is_nan() && rounded.is_nan()) || y.abs() < 1.2e-38,
                "{x}: {y} {want}"
            );
            continue;
        }
        let ulp = f64::from(rounded.abs().next_up() - rounded.abs());
        worst = worst.max((f64::from(y) - want).abs() / ulp);
    }
    worst
}

fn range(low: f32, high: f32) -> Vec<f32> {
    (0..200_003).map(|i| low + (high - low) * i as f32 / 200_002.0).collect()
}

#[test]
fn functions_are_within_their_stated_error() {
    for level in levels() {
        assert!(worst(level, Function::Exp, &range(-100.0, 89.0)) < 2.0, "{level:?}");
        assert!(worst(level, Function::Ln, &range(1e-30, 3.0)) < 2.0, "{level:?}");
        assert!(worst(level, Function::Ln, &range(3.0, 1e30)) < 2.0, "{level:?}");
        assert!(worst(level, Function::Tanh, &range(-12.0, 12.0)) < 3.0, "{level:?}");
        assert!(worst(level, Function::Erf, &range(-5.0, 5.0)) < 6.0, "{level:?}");
        assert!(worst(level, Function::Sin, &range(-20.0, 20.0)) < 2.0, "{level:?}");
        assert!(worst(level, Function::Sqrt, &range(0.0, 20.0)) < 1.0, "{level:?}");
        for function in [Function::Round, Function::Sign] {
            assert!(worst(level, function, &range(-20.0, 20.0)) == 0.0, "{level:?}");
        }
    }
}

#[test]
fn special_values_are_the_standard_librarys() {
    let xs = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40, -1.0, 500.0, -500.0];
    for level in levels() {
        for function in [Function::Exp, Function::Ln, Function::Tanh, Function::Erf] {
            let mut ys = [0.0; 9];
            dispatch_at(level, Apply { x: &xs, y: &mut ys, function });
            for (x, y) in xs.into_iter().zip(ys) {
                let want = function.eval(f64::from(x)) as f32;
                let same = y == want || y.is_nan() && want.is_nan() || (y - want).abs() < 1e-5;
                assert!(same, "{level:?} of {x}: {y}, not {want}");
            }
        }
    }
}

#[test]
fn bfloat16_rounds_to_nearest_even_on_every_level() {
    let mut values: Vec<f32> =
        (0..70_000_u32).map(|i| f32::from_bits(i.wrapping_mul(61_441))).collect();
    values.extend([f32::NAN, f32::INFINITY, 1.003_906_2, 1.011_718_8]);
    for level in levels() {
        let mut narrow = vec![half::bf16::ZERO; values.len()];
        dispatch_at(level, Narrow { x: &values, y: &mut narrow });
        for (x, y) in values.iter().zip(narrow) {
            let want = half::bf16::from_f32(*x);
            assert!(y == want || (y.is_nan() && want.is_nan()), "{level:?} {x}: {y} not {want}");
        }
    }
}

struct Narrow<'a> {
    x: &'a [f32],
    y: &'a mut [half::bf16],
}

impl Kernel for Narrow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = S::F32::LANES;
        for (x, y) in self.x.chunks(lanes).zip(self.y.chunks_mut(lanes)) {
            // SAFETY: both chunks hold as many values as are read and written.
            unsafe {
                if x.len() == lanes {
                    S::F32::load(x.as_ptr()).store_bf16(y.as_mut_ptr());
                } else {
                    let x = S::F32::load_partial(x.as_ptr(), x.len());
                    half::bf16::store_partial::<S>(x, y.as_mut_ptr(), y.len());
                }
            }
        }
    }
}

#[test]
fn sums_over_lanes_count_every_lane() {
    struct Reduce;
    impl Kernel for Reduce {
        type Output = (f64, f64);
        fn run<S: Simd>(self) -> (f64, f64) {
            let x: Vec<f32> = (0..S::F32::LANES).map(|i| i as f32 + 1.0).collect();
            // SAFETY: as many values as lanes.
            let x = unsafe { S::F32::load(x.as_ptr()) };
            (x.reduce_sum().into(), x.reduce_max().into())
        }
    }
    for level in levels() {
        let (sum, max) = dispatch_at(level, Reduce);
        assert_eq!(sum, max * (max + 1.0) / 2.0, "{level:?}");
    }
}
