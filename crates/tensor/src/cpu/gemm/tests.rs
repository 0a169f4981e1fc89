//! Products against plain sums in f64.

use std::ops::Range;
use std::sync::Mutex;

use half::bf16;

use super::isa::Isa;
use super::portable::Portable;
use super::{How, Operand, Output, Product, Threads, View, blocked, gemm};
use crate::precision::MatmulPrecision;
use crate::real::{Level, level};

/// Sizes and choices of a case.
#[derive(Clone, Copy, Debug)]
struct Case {
    size: (usize, usize, usize),
    a: Layout,
    b: Layout,
    alpha: f64,
    accumulate: bool,
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Rows,
    Columns,
    Neither,
}

const LAYOUTS: [Layout; 3] = [Layout::Rows, Layout::Columns, Layout::Neither];

/// A small generator: reproducible cases without a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// A multiple of 1/32 in [-2, 2): exact in every type.
    fn value(&mut self) -> f64 {
        (self.below(128) as f64 - 64.0) / 32.0
    }

    fn case(&mut self, largest: usize) -> Case {
        let mut side = || 1 + self.below(largest);
        let size = (side(), side(), side());
        Case {
            size,
            a: LAYOUTS[self.below(3)],
            b: LAYOUTS[self.below(3)],
            alpha: [1.0, 0.5, -1.25][self.below(3)],
            accumulate: self.below(2) == 1,
        }
    }
}

/// A type that tests can fill and read.
trait Number: Output {
    fn rounded(value: f64) -> Self;
    fn exact(self) -> f64;
}

macro_rules! number {
    ($t:ty, $from:expr, $to:expr) => {
        impl Number for $t {
            fn rounded(value: f64) -> Self {
                $from(value)
            }
            fn exact(self) -> f64 {
                $to(self)
            }
        }
    };
}
number!(f32, |v: f64| v as f32, |v: f32| v as f64);
number!(f64, |v: f64| v, |v: f64| v);
number!(bf16, bf16::from_f64, bf16::to_f64);

/// A matrix in some layout, one element past the start of its memory so that it is misaligned.
struct Matrix<T> {
    memory: Vec<T>,
    rs: usize,
    cs: usize,
}

impl<T: Number> Matrix<T> {
    fn new(rows: usize, cols: usize, layout: Layout, random: &mut Random) -> Self {
        let (rs, cs) = match layout {
            Layout::Rows => (cols + random.below(3), 1),
            Layout::Columns => (1, rows + random.below(3)),
            Layout::Neither => (2 * cols + 1, 2),
        };
        let len = 2 + (rows - 1) * rs + (cols - 1) * cs;
        Self { memory: (0..len).map(|_| T::rounded(random.value())).collect(), rs, cs }
    }

    fn view(&self) -> View<T> {
        View::new(self.memory[1..].as_ptr(), self.rs, self.cs)
    }

    fn get(&self, i: usize, j: usize) -> f64 {
        self.memory[1 + i * self.rs + j * self.cs].exact()
    }
}

/// Runs a case with `run` and compares it with sums in f64.
fn check<A, B, C>(case: Case, random: &mut Random, run: impl Fn(&Product<'_, A, B, C>))
where
    A: Number + Operand<Acc: Number>,
    B: Number + Operand<Acc = A::Acc>,
    C: Number + Output<Acc = A::Acc>,
{
    let (m, n, k) = case.size;
    let a = Matrix::<A>::new(m, k, case.a, random);
    let b = Matrix::<B>::new(k, n, case.b, random);
    let ldc = n + random.below(4);
    let before: Vec<C> = (0..=m * ldc).map(|_| C::rounded(random.value())).collect();
    let mut after = before.clone();
    let calls = Mutex::new(vec![0; m * n]);
    let count = |rows: Range<usize>, cols: Range<usize>| {
        let mut calls = calls.lock().expect("no panic holds the lock");
        rows.for_each(|i| cols.clone().for_each(|j| calls[i * n + j] += 1));
    };
    run(&Product {
        m,
        n,
        k,
        alpha: <A::Acc as Number>::rounded(case.alpha),
        a: a.view(),
        b: b.view(),
        c: after[1..].as_mut_ptr(),
        ldc,
        accumulate: case.accumulate,
        epilogue: Some(&count),
    });
    assert!(calls.into_inner().expect("no panic").iter().all(|&c| c == 1), "{case:?}: epilogue");
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|p| a.get(i, p) * b.get(p, j)).sum();
            let old = if case.accumulate { before[1 + i * ldc + j].exact() } else { 0.0 };
            let want = case.alpha * sum + old;
            let got = after[1 + i * ldc + j].exact();
            // Sums err with their length, a rounded result with its size.
            let bound = 1e-7 * k as f64 + if C::NATIVE { 1e-6 } else { 1.0 / 256.0 } * want.abs();
            assert!((got - want).abs() <= bound, "{case:?} at ({i}, {j}): {got}, not {want}");
        }
        let outside = 1 + i * ldc + n..1 + (i + 1) * ldc;
        let same = outside.clone().all(|x| x > m * ldc || after[x].exact() == before[x].exact());
        assert!(same, "{case:?}: wrote past row {i}");
    }
}

/// As [`gemm`], from a product.
fn whole<A, B, C>(threads: Threads) -> impl Fn(&Product<'_, A, B, C>)
where
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    move |p| {
        let size = (p.m, p.n, p.k);
        // SAFETY: the test's matrices have these sizes.
        unsafe {
            let how = How { threads, precision: MatmulPrecision::Highest };
            gemm(size, p.alpha, p.a, p.b, p.c, p.ldc, p.accumulate, p.epilogue, how);
        }
    }
}

/// The blocked product with the kernels of `I`, cut for three workers.
fn blocked<I, A, B, C>(p: &Product<'_, A, B, C>)
where
    I: Isa<A::Acc>,
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    // SAFETY: callers checked the level; the test's matrices have these sizes.
    unsafe { blocked::run::<I, A, B, C>(p, 3) }
}

#[test]
fn every_layout_and_type_agrees_with_plain_sums() {
    let mut random = Random(1);
    for _ in 0..150 {
        let case = random.case(70);
        check::<f32, f32, f32>(case, &mut random, whole(Threads::Serial));
        check::<f64, f64, f64>(case, &mut random, whole(Threads::Serial));
        check::<bf16, bf16, bf16>(case, &mut random, whole(Threads::Serial));
        check::<f32, bf16, f32>(case, &mut random, whole(Threads::Serial));
        check::<bf16, f32, bf16>(case, &mut random, whole(Threads::Serial));
    }
}

#[test]
fn vectors_agree_with_plain_sums() {
    let mut random = Random(2);
    for round in 0..150 {
        let mut case = random.case(400);
        let side = if round % 2 == 0 { &mut case.size.0 } else { &mut case.size.1 };
        *side = 1;
        check::<f32, f32, f32>(case, &mut random, whole(Threads::Parallel));
        check::<f64, f64, f64>(case, &mut random, whole(Threads::Parallel));
        check::<f32, bf16, f32>(case, &mut random, whole(Threads::Parallel));
        check::<bf16, bf16, bf16>(case, &mut random, whole(Threads::Parallel));
    }
}

#[test]
fn blocks_of_k_and_jobs_agree_with_plain_sums() {
    let mut random = Random(3);
    for (a, b) in LAYOUTS.into_iter().flat_map(|a| LAYOUTS.map(|b| (a, b))) {
        let case = Case { size: (131, 75, 1100), a, b, alpha: 0.5, accumulate: true };
        check::<f32, f32, f32>(case, &mut random, whole(Threads::Parallel));
        check::<bf16, bf16, bf16>(case, &mut random, whole(Threads::Parallel));
        let case = Case { size: (130, 1300, 40), accumulate: false, ..case };
        check::<f32, f32, f32>(case, &mut random, whole(Threads::Parallel));
    }
    // Rows a power of two apart are read through a copy.
    let case = Case {
        size: (40, 130, 1024),
        a: Layout::Rows,
        b: Layout::Rows,
        alpha: 1.0,
        accumulate: false,
    };
    for _ in 0..4 {
        check::<f32, f32, f32>(case, &mut random, whole(Threads::Serial));
    }
}

#[test]
fn every_kernel_agrees_with_plain_sums() {
    let mut random = Random(4);
    for _ in 0..60 {
        let case = random.case(70);
        check::<f32, f32, f32>(case, &mut random, blocked::<Portable, _, _, _>);
        check::<f64, f64, f64>(case, &mut random, blocked::<Portable, _, _, _>);
        #[cfg(target_arch = "x86_64")]
        if level() >= Level::Avx2 {
            check::<f32, f32, f32>(case, &mut random, blocked::<super::x86::Avx2, _, _, _>);
            check::<f64, f64, f64>(case, &mut random, blocked::<super::x86::Avx2, _, _, _>);
            check::<f32, bf16, bf16>(case, &mut random, blocked::<super::x86::Avx2, _, _, _>);
        }
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 {
            check::<f32, f32, f32>(case, &mut random, blocked::<super::x86::Avx512, _, _, _>);
            check::<f64, f64, f64>(case, &mut random, blocked::<super::x86::Avx512, _, _, _>);
        }
    }
}

#[test]
fn without_columns_of_a_the_product_is_zero() {
    for accumulate in [false, true] {
        let mut c = [f32::NAN; 6];
        if accumulate {
            c = [3.0; 6];
        }
        let empty = View::new(c.as_ptr(), 0, 1);
        // SAFETY: no element of A or B is read; C has 2 x 3.
        unsafe {
            let c = c.as_mut_ptr();
            for precision in [MatmulPrecision::Highest, MatmulPrecision::Medium] {
                let how = How::parallel(precision);
                gemm((2, 3, 0), 1.0, empty, empty, c, 3, accumulate, None, how);
            }
        }
        assert_eq!(c, [if accumulate { 3.0 } else { 0.0 }; 6]);
    }
}

#[test]
fn results_are_the_same_bits_for_any_threads_and_any_batch() {
    let mut random = Random(5);
    for (m, n, k) in [(301, 200, 700), (1, 3000, 300), (700, 64, 1030), (96, 900, 64)] {
        for (la, lb) in [(Layout::Rows, Layout::Columns), (Layout::Columns, Layout::Rows)] {
            let a = Matrix::<f32>::new(m, k, la, &mut random);
            let b = Matrix::<f32>::new(k, n, lb, &mut random);
            let product = |rows: usize, threads| {
                let mut c = vec![f32::NAN; rows * n];
                // SAFETY: the matrices have these sizes; A at least this many rows.
                unsafe {
                    let c = c.as_mut_ptr();
                    let size = (rows, n, k);
                    let how = How { threads, precision: MatmulPrecision::Highest };
                    gemm(size, 0.7, a.view(), b.view(), c, n, false, None, how);
                }
                c
            };
            let serial = product(m, Threads::Serial);
            for count in [1, 2, 3, 8] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
                let pool = pool.expect("a few threads can be started");
                let parallel = pool.install(|| product(m, Threads::Parallel));
                assert!(serial == parallel, "{m} x {n} x {k} differs with {count} threads");
            }
            if m > 1 {
                let fewer = product(m / 2, Threads::Parallel);
                assert!(
                    serial[..fewer.len()] == fewer,
                    "{m} x {n} x {k}: rows depend on the batch"
                );
            }
        }
    }
}

#[test]
fn an_epilogue_may_start_a_product() {
    let a = [1.0f32; 64];
    let inner = |_: Range<usize>, _: Range<usize>| {
        let view = View::new(a.as_ptr(), 8, 1);
        let mut c = [0.0f32; 64];
        // SAFETY: 8 x 8 matrices.
        unsafe {
            let how = How::serial(MatmulPrecision::Highest);
            gemm((8, 8, 8), 1.0, view, view, c.as_mut_ptr(), 8, false, None, how);
        }
        assert_eq!(c, [8.0; 64]);
    };
    let mut c = [0.0f32; 64];
    let view = View::new(a.as_ptr(), 8, 1);
    // SAFETY: 8 x 8 matrices.
    unsafe {
        let c = c.as_mut_ptr();
        let how = How::parallel(MatmulPrecision::Highest);
        gemm((8, 8, 8), 2.0, view, view, c, 8, false, Some(&inner), how);
    }
    assert_eq!(c, [16.0; 64]);
}

#[test]
fn bf16_rounds_to_nearest_even() {
    let mut random = Random(6);
    for _ in 0..10_000 {
        let value = f32::from_bits(random.next() as u32 ^ (random.next() as u32) << 9);
        let (got, want) = (<bf16 as Output>::narrow(value), bf16::from_f32(value));
        assert!(got == want || (got.is_nan() && want.is_nan()), "{value}: {got}, not {want}");
    }
}
