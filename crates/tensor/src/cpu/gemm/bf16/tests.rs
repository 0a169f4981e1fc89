//! Products against sums in f64, and against the instructions' definition bit by bit.

use std::ops::Range;
use std::sync::Mutex;

use half::bf16;

use super::amx::{Amx, Emulated, Hardware};
use super::avx512::Avx512;
use super::choice::{amx, avx512};
use super::{Bf16Product, Kernel, Source, Target, product};
use crate::cpu::gemm::element::{Operand, Output, View};

/// A small generator: reproducible cases without a dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }

    /// A number of 24 bits' mantissa between -2 and 2.
    fn value(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 22) as f32 - 2.0
    }
}

/// How a matrix lies in memory, and as what.
#[derive(Clone, Copy, Debug)]
struct Lies {
    rows_first: bool,
    scattered: bool,
    wide: bool,
}

struct Matrix {
    wide: Vec<f32>,
    narrow: Vec<bf16>,
    lies: Lies,
    rs: usize,
    cs: usize,
}

impl Matrix {
    fn new(rows: usize, cols: usize, lies: Lies, random: &mut Random) -> Self {
        let step = if lies.scattered { 2 } else { 1 };
        let gap = random.below(3);
        let (rs, cs) =
            if lies.rows_first { (step * cols + gap, step) } else { (step, step * rows + gap) };
        let wide: Vec<f32> =
            (0..1 + rs * (rows - 1) + cs * (cols - 1)).map(|_| random.value()).collect();
        let narrow = wide.iter().map(|&x| <bf16 as Output>::narrow(x)).collect();
        Self { wide, narrow, lies, rs, cs }
    }

    fn source(&self) -> Source {
        if self.lies.wide {
            Source::F32(View::new(self.wide.as_ptr(), self.rs, self.cs))
        } else {
            Source::Bf16(View::new(self.narrow.as_ptr(), self.rs, self.cs))
        }
    }

    /// What a kernel multiplies: rounded, whatever lies there.
    fn get(&self, i: usize, j: usize) -> f32 {
        self.narrow[i * self.rs + j * self.cs].widen()
    }
}

/// The sizes and choices of a product.
#[derive(Clone, Copy, Debug)]
struct Case {
    size: (usize, usize, usize),
    a: Lies,
    b: Lies,
    alpha: f32,
    accumulate: bool,
    narrow_c: bool,
}

impl Random {
    fn lies(&mut self) -> Lies {
        Lies {
            rows_first: self.below(2) == 0,
            scattered: self.below(4) == 0,
            wide: self.below(2) == 0,
        }
    }

    fn case(&mut self, largest: (usize, usize, usize)) -> Case {
        let mut side = |most| 1 + self.below(most);
        let size = (side(largest.0), side(largest.1), side(largest.2));
        Case {
            size,
            a: self.lies(),
            b: self.lies(),
            alpha: [1.0, 1.0, 0.625][self.below(3)],
            accumulate: self.below(2) == 0,
            narrow_c: self.below(3) == 0,
        }
    }
}

/// The operands of a case, and C before it.
struct Given {
    case: Case,
    a: Matrix,
    b: Matrix,
    ldc: usize,
    c: Vec<f32>,
}

impl Given {
    fn new(case: Case, random: &mut Random) -> Self {
        let (m, n, k) = case.size;
        let (a, b) = (Matrix::new(m, k, case.a, random), Matrix::new(k, n, case.b, random));
        let ldc = n + random.below(3);
        let c = (0..m * ldc).map(|_| <bf16 as Output>::narrow(random.value()).widen()).collect();
        Self { case, a, b, ldc, c }
    }

    /// C after the first `rows` rows of the product, and how often each element was finished.
    fn run<K: Kernel>(&self, rows: usize, threads: usize) -> Vec<f32> {
        let (_, n, k) = self.case.size;
        let mut wide = self.c.clone();
        let mut narrow: Vec<bf16> = wide.iter().map(|&x| <bf16 as Output>::narrow(x)).collect();
        let calls = Mutex::new(vec![0; rows * n]);
        let count = |rows: Range<usize>, cols: Range<usize>| {
            let mut calls = calls.lock().unwrap();
            rows.for_each(|i| cols.clone().for_each(|j| calls[i * n + j] += 1));
        };
        let c = if self.case.narrow_c {
            Target::Bf16(narrow.as_mut_ptr())
        } else {
            Target::F32(wide.as_mut_ptr())
        };
        let p = Bf16Product {
            m: rows,
            n,
            k,
            alpha: self.case.alpha,
            a: self.a.source(),
            b: self.b.source(),
            c,
            ldc: self.ldc,
            accumulate: self.case.accumulate,
            epilogue: Some(&count),
        };
        // SAFETY: the matrices have these sizes; the caller checked the instructions.
        unsafe { product::run::<K>(&p, threads) }
        assert!(calls.into_inner().unwrap().iter().all(|&c| c == 1), "{:?}: epilogue", self.case);
        if self.case.narrow_c { narrow.into_iter().map(Operand::widen).collect() } else { wide }
    }

    fn check<K: Kernel>(&self, threads: usize) {
        let (case, (m, n, k)) = (self.case, self.case.size);
        let got = self.run::<K>(m, threads);
        for i in 0..m {
            for j in 0..self.ldc {
                let at = i * self.ldc + j;
                if j >= n {
                    assert!(got[at] == self.c[at], "{case:?}: wrote past row {i}");
                    continue;
                }
                let products = (0..k).map(|p| self.a.get(i, p) as f64 * self.b.get(p, j) as f64);
                let before = if case.accumulate { self.c[at] as f64 } else { 0.0 };
                let want = case.alpha as f64 * products.clone().sum::<f64>() + before;
                // Sums err with the size of what is added, a rounded result with its own.
                let size: f64 = products.map(f64::abs).sum::<f64>() + before.abs();
                let bound = 2e-7 * size + if case.narrow_c { want.abs() / 250.0 } else { 0.0 };
                let got = got[at] as f64;
                assert!((got - want).abs() <= bound, "{case:?} ({i}, {j}): {got}, not {want}");
            }
        }
    }

    fn bits<K: Kernel>(&self, threads: usize) -> Vec<u32> {
        self.run::<K>(self.case.size.0, threads).into_iter().map(f32::to_bits).collect()
    }
}

/// Whether the packing's instructions are there, without which nothing here runs; said where not.
fn runs() -> bool {
    let missing = avx512().err();
    if let Some(reason) = &missing {
        eprintln!("skipped: {reason}");
    }
    missing.is_none()
}

fn agrees<K: Kernel>(seed: u64) {
    let mut random = Random(seed);
    for _ in 0..60 {
        let case = random.case((90, 100, 80));
        Given::new(case, &mut random).check::<K>(3);
    }
    // Several blocks of k, several superblocks, shared and own slivers.
    for size in [(70, 40, 1700), (9, 700, 900), (300, 70, 530)] {
        let case = Case { size, ..random.case((1, 1, 1)) };
        Given::new(case, &mut random).check::<K>(2);
    }
}

#[test]
fn vdpbf16ps_agrees_with_plain_sums() {
    if runs() {
        agrees::<Avx512>(1);
    }
}

#[test]
fn emulated_tiles_agree_with_plain_sums() {
    if runs() {
        agrees::<Amx<Emulated>>(2);
    }
}

#[test]
fn tiles_have_the_bits_of_their_emulation() {
    if let Err(reason) = amx() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut random = Random(3);
    for round in 0..40 {
        let case = random.case(if round < 30 { (90, 100, 80) } else { (70, 70, 1100) });
        let given = Given::new(case, &mut random);
        assert!(given.bits::<Amx<Hardware>>(2) == given.bits::<Amx<Emulated>>(1), "{case:?}");
    }
}

/// As the manuals have it: of each pair first the odd product is added, then the even one, each rounded.
fn pairwise(given: &Given, i: usize, j: usize) -> f32 {
    let k = given.case.size.2;
    let depth = k.div_ceil(k.div_ceil(Avx512::DEPTH)).next_multiple_of(32);
    let at = |p: usize| if p < k { (given.a.get(i, p), given.b.get(p, j)) } else { (0.0, 0.0) };
    let mut c = if given.case.accumulate { given.c[i * given.ldc + j] } else { 0.0 };
    for (block, start) in (0..k).step_by(depth).enumerate() {
        let mut sum = 0.0_f32;
        for p in (start..k.min(start + depth)).step_by(2) {
            for (x, y) in [at(p + 1), at(p)] {
                sum = x.mul_add(y, sum);
            }
        }
        let add = block > 0 || given.case.accumulate;
        let alpha = given.case.alpha;
        c = if add { sum.mul_add(alpha, c) } else { sum * alpha };
    }
    c
}

#[test]
fn vdpbf16ps_adds_the_odd_and_the_even_product_of_each_pair_in_turn() {
    if !runs() {
        return;
    }
    let mut random = Random(4);
    for size in [(31, 45, 77), (15, 33, 1601)] {
        let case = Case { size, narrow_c: false, ..random.case((1, 1, 1)) };
        let given = Given::new(case, &mut random);
        let got = given.run::<Avx512>(size.0, 2);
        for (i, j) in (0..size.0).flat_map(|i| (0..size.1).map(move |j| (i, j))) {
            let (got, want) = (got[i * given.ldc + j], pairwise(&given, i, j));
            assert!(got.to_bits() == want.to_bits(), "{case:?} ({i}, {j}): {got}, not {want}");
        }
    }
}

fn same_bits<K: Kernel>(seed: u64) {
    let mut random = Random(seed);
    for size in [(150, 90, 160), (40, 300, 1100)] {
        for narrow_c in [false, true] {
            let case = Case { size, narrow_c, ..random.case((1, 1, 1)) };
            let given = Given::new(case, &mut random);
            let one = given.bits::<K>(1);
            for threads in [2, 3, 8] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let many = pool.install(|| given.bits::<K>(threads));
                assert!(many == one, "{case:?} differs with {threads} threads");
            }
            let fewer = given.run::<K>(size.0 / 2, 2);
            let rows = size.0 / 2 * given.ldc;
            let same = fewer[..rows].iter().zip(&one).all(|(x, bits)| x.to_bits() == *bits);
            assert!(same, "{case:?}: rows depend on the batch");
        }
    }
}

#[test]
fn bits_depend_neither_on_threads_nor_on_the_batch() {
    if runs() {
        same_bits::<Avx512>(5);
        same_bits::<Amx<Emulated>>(6);
    }
}

#[test]
fn denormal_operands_count_as_zeros() {
    if !runs() {
        return;
    }
    let lies = Lies { rows_first: true, scattered: false, wide: false };
    let case =
        Case { size: (2, 2, 4), a: lies, b: lies, alpha: 1.0, accumulate: false, narrow_c: false };
    let mut given = Given::new(case, &mut Random(7));
    given.a.narrow.fill(bf16::from_bits(1));
    given.b.narrow.fill(bf16::from_f32(1e30));
    assert!(
        given.run::<Avx512>(2, 1).iter().zip(0..).all(|(&x, j)| j % given.ldc >= 2 || x == 0.0)
    );
}
