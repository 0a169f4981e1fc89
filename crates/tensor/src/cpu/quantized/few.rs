//! A few rows times a matrix, in registers of 512 bits.
//!
//! What a block's numbers are multiplied by is added up before it is scaled, so that a number costs little more than its
//! bytes. A row's results are the same bits whatever other rows there are.

#[allow(clippy::wildcard_imports)] // Instructions.
use std::arch::x86_64::*;
use std::array::from_fn;

use super::FEW;
use crate::quantized::{BlockFormat, PER_STEP, Quantized, QuantizedForm, Scales, half};

/// Numbers that are added up together.
const RUN: usize = 32;
/// Bytes of the matrix that are asked for before they are read: what lies in memory comes while others are multiplied.
const AHEAD: usize = 2048;
/// Blocks whose scales are read together.
const TOGETHER: usize = 16;

/// Rows that matrices are multiplied by, as their kernels read them.
pub(super) struct Rows {
    /// `[filled, stride]`; of codes, runs have their even numbers first.
    x: Vec<f32>,
    stride: usize,
    /// The sums of runs, `[filled, runs]`.
    sums: Vec<f32>,
    runs: usize,
    /// Rows that are computed: a power of two.
    filled: usize,
}

impl Rows {
    /// Of `m` rows, at most [`FEW`], in `x` `[m, stride]`; none where there is no kernel for the matrix. A stride is whole runs,
    /// and filled up with zeros.
    pub fn new(weight: &Quantized, x: &[f32], m: usize, stride: usize) -> Option<Self> {
        let cols = weight.stored()[1];
        let (of_codes, sums) = match weight.form() {
            QuantizedForm::Blocks(BlockFormat::Q4_1 | BlockFormat::Q4K) => (false, true),
            QuantizedForm::Blocks(BlockFormat::Q8_0 | BlockFormat::Q4_0 | BlockFormat::Q6K)
            | QuantizedForm::Rows { .. } => (false, false),
            QuantizedForm::Codes { block, .. } => {
                // So that a pair of runs has one scale.
                if !(block.is_multiple_of(2 * RUN) && cols.is_multiple_of(2 * RUN)) {
                    return None;
                }
                (true, false)
            }
            QuantizedForm::Blocks(_) => return None,
        };
        let filled = m.next_power_of_two();
        let mut own = vec![0.0; filled * stride];
        own[..m * stride].copy_from_slice(&x[..m * stride]);
        if of_codes {
            for run in own.as_chunks_mut::<RUN>().0 {
                *run = from_fn(|i| run[2 * i % RUN + 2 * i / RUN]);
            }
        }
        // Filled up, so that sixteen can be read from any multiple of sixteen on.
        let runs = (stride / RUN).next_multiple_of(TOGETHER);
        let mut all = Vec::new();
        if sums {
            for row in own.chunks_exact(stride) {
                all.extend(row.chunks_exact(RUN).map(|run| run.iter().sum::<f32>()));
                all.resize(all.len().next_multiple_of(runs), 0.0);
            }
        }
        Some(Self { x: own, stride, sums: all, runs, filled })
    }

    /// The products with the matrix's rows from `first` on.
    ///
    /// # Safety
    /// The instructions exist; the matrix is the one that this was made for, and has these rows.
    pub unsafe fn dots(&self, weight: &Quantized, first: usize, sums: &mut [[f32; FEW]]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.filled {
                1 => self.dots_of::<1>(weight, first, sums),
                2 => self.dots_of::<2>(weight, first, sums),
                4 => self.dots_of::<4>(weight, first, sums),
                _ => self.dots_of::<FEW>(weight, first, sums),
            }
        }
    }

    /// See [`dots`](Self::dots).
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn dots_of<const M: usize>(
        &self,
        weight: &Quantized,
        first: usize,
        sums: &mut [[f32; FEW]],
    ) {
        let cols = weight.stored()[1];
        let bytes = weight.bytes().slice::<u8>();
        for (row, sums) in (first..).zip(sums) {
            let at = row * cols;
            let blocks = |format: BlockFormat| {
                let row = cols / format.block() * format.bytes();
                &bytes[at / format.block() * format.bytes()..][..row]
            };
            let mut to = Sums::<M>::new();
            // SAFETY: blocks and codes are those of the row, and runs of `x` those of blocks.
            unsafe {
                match weight.form() {
                    QuantizedForm::Blocks(format) => match format {
                        BlockFormat::Q4K => self.add_q4k(blocks(*format), &mut to),
                        BlockFormat::Q6K => self.add_q6k(blocks(*format), &mut to),
                        BlockFormat::Q4_0 => self.add_q4_0(blocks(*format), &mut to),
                        BlockFormat::Q4_1 => self.add_q4_1(blocks(*format), &mut to),
                        _ => self.add_q8_0(blocks(*format), &mut to),
                    },
                    QuantizedForm::Codes { book, block, scales } => {
                        let table = _mm512_loadu_ps(book.values().as_ptr());
                        let bytes = &bytes[at / 2..][..cols / 2];
                        self.add_codes(bytes, table, (at, *block, scales), &mut to);
                    }
                    QuantizedForm::Rows { scales } => {
                        self.add_bytes(&bytes[at..][..cols], scales[row], &mut to);
                    }
                }
            }
            sums[..M].copy_from_slice(&to.total());
        }
    }

    /// Adds a run's products, `scale` times.
    ///
    /// # Safety
    /// There is such a run.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add<const M: usize>(
        &self,
        run: usize,
        numbers: [__m512; 2],
        scale: __m512,
        to: &mut [__m512; M],
    ) {
        for (i, to) in to.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { self.x.as_ptr().add(i * self.stride + run * RUN) };
            // SAFETY: as above.
            let (first, second) = unsafe { (_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))) };
            let product = _mm512_fmadd_ps(numbers[1], second, _mm512_mul_ps(numbers[0], first));
            *to = _mm512_fmadd_ps(scale, product, *to);
        }
    }

    /// As [`add`](Self::add), with a scale for each half.
    ///
    /// # Safety
    /// There is such a run.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add_halves<const M: usize>(
        &self,
        run: usize,
        numbers: [__m512; 2],
        scales: [__m512; 2],
        to: &mut Sums<M>,
    ) {
        let numbers = [0, 1].map(|half| _mm512_mul_ps(numbers[half], scales[half]));
        for i in 0..M {
            // SAFETY: the caller's promise.
            let x = unsafe { self.x.as_ptr().add(i * self.stride + run * RUN) };
            // SAFETY: as above.
            let (first, second) = unsafe { (_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))) };
            to.even[i] = _mm512_fmadd_ps(numbers[0], first, to.even[i]);
            to.odd[i] = _mm512_fmadd_ps(numbers[1], second, to.odd[i]);
        }
    }

    /// Adds `least` times the sums of sixteen runs from `run` on, a multiple of sixteen.
    ///
    /// # Safety
    /// There are such sums.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add_least<const M: usize>(&self, run: usize, least: __m512, to: &mut Sums<M>) {
        for (i, to) in to.even.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let sums = unsafe { _mm512_loadu_ps(self.sums.as_ptr().add(i * self.runs + run)) };
            *to = _mm512_fmadd_ps(least, sums, *to);
        }
    }

    /// A row of codes in the book `table`, which begins at number `at`.
    ///
    /// # Safety
    /// There are bytes for whole pairs of runs, and scales for their blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add_codes<const M: usize>(
        &self,
        bytes: &[u8],
        table: __m512,
        (at, block, scales): (usize, usize, &Scales),
        to: &mut Sums<M>,
    ) {
        for (pair, bytes) in bytes.chunks_exact(RUN).enumerate() {
            prefetch(bytes);
            let scale = _mm512_set1_ps(scales.of((at + 2 * RUN * pair) / block));
            // SAFETY: sixteen bytes each, and the caller's promise.
            unsafe {
                let [second, first] = nibbles(bytes.as_ptr(), table);
                self.add(2 * pair, [first, second], scale, &mut to.even);
                let [second, first] = nibbles(bytes.as_ptr().add(16), table);
                self.add(2 * pair + 1, [first, second], scale, &mut to.odd);
            }
        }
    }

    /// A row of bytes with one scale.
    ///
    /// # Safety
    /// There are runs for all of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add_bytes<const M: usize>(&self, bytes: &[u8], scale: f32, to: &mut Sums<M>) {
        let scale = _mm512_set1_ps(scale * PER_STEP);
        let (whole, rest) = bytes.as_chunks::<RUN>();
        for (run, bytes) in whole.iter().enumerate() {
            prefetch(bytes);
            // SAFETY: 32 bytes, and the caller's promise.
            unsafe {
                let numbers = [signed(bytes.as_ptr()), signed(bytes.as_ptr().add(16))];
                let to = if run % 2 == 0 { &mut to.even } else { &mut to.odd };
                self.add(run, numbers, scale, to);
            }
        }
        if !rest.is_empty() {
            let mut last = [0; RUN];
            last[..rest.len()].copy_from_slice(rest);
            // SAFETY: as above.
            unsafe {
                let numbers = [signed(last.as_ptr()), signed(last.as_ptr().add(16))];
                self.add(whole.len(), numbers, scale, &mut to.even);
            }
        }
    }

    /// A row of Q4_K.
    ///
    /// # Safety
    /// The bytes are whole blocks, and there are runs and sums for all of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add_q4k<const M: usize>(&self, bytes: &[u8], to: &mut Sums<M>) {
        let table = _mm512_cvtepi32_ps(counting());
        for (block, bytes) in bytes.chunks_exact(BlockFormat::Q4K.bytes()).enumerate() {
            let (scales, least) = scales_and_minimums(bytes);
            for pair in 0..4 {
                let run = 8 * block + 2 * pair;
                let scale = |which| _mm512_set1_ps(scales[2 * pair + which]);
                prefetch(&bytes[32 * pair..]);
                // SAFETY: a block has 32 bytes for each pair of runs.
                unsafe {
                    let bytes = bytes.as_ptr().add(16 + 32 * pair);
                    let ([a, b], [c, d]) = (nibbles(bytes, table), nibbles(bytes.add(16), table));
                    self.add(run, [a, c], scale(0), &mut to.even);
                    self.add(run + 1, [b, d], scale(1), &mut to.odd);
                }
            }
            // A register holds the sums of two blocks: those of the other one count nothing.
            let least = half_of_register(least, block % 2);
            // SAFETY: the caller's promise.
            unsafe { self.add_least(block / 2 * TOGETHER, least, to) }
        }
    }

    /// A row of Q6_K.
    ///
    /// # Safety
    /// The bytes are whole blocks, and there are runs for all of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn add_q6k<const M: usize>(&self, bytes: &[u8], to: &mut Sums<M>) {
        let (low, two) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
        for (block, bytes) in bytes.chunks_exact(BlockFormat::Q6K.bytes()).enumerate() {
            let mut scales = [0.0; 16];
            // SAFETY: a block has the bytes that are read, and the caller's promise.
            unsafe {
                let whole = _mm512_set1_ps(half(&bytes[208..]));
                let own = _mm512_mul_ps(whole, signed(bytes.as_ptr().add(192)));
                _mm512_storeu_ps(scales.as_mut_ptr(), own);
                for part in 0..2 {
                    prefetch(&bytes[128 * part..]);
                    prefetch(&bytes[128 * part + 64..]);
                    let load = |at: usize| _mm256_loadu_si256(bytes.as_ptr().add(at).cast());
                    let (a, b) = (load(64 * part), load(64 * part + 32));
                    let high = load(128 + 32 * part);
                    let up = [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high)];
                    let codes = [
                        (a, up[0]),
                        (b, up[1]),
                        (_mm256_srli_epi16::<4>(a), high),
                        (_mm256_srli_epi16::<4>(b), _mm256_srli_epi16::<2>(high)),
                    ];
                    for (i, (four, two_more)) in codes.into_iter().enumerate() {
                        let (four, more) =
                            (_mm256_and_si256(four, low), _mm256_and_si256(two_more, two));
                        let q = _mm256_sub_epi8(_mm256_or_si256(four, more), _mm256_set1_epi8(32));
                        let halves = [_mm256_castsi256_si128(q), _mm256_extracti128_si256::<1>(q)];
                        let numbers = halves.map(|q| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)));
                        let run = 4 * part + i;
                        let scale = |half| _mm512_set1_ps(scales[2 * run + half]);
                        self.add_halves(8 * block + run, numbers, [scale(0), scale(1)], to);
                    }
                }
            }
        }
    }
}

/// A method for rows of blocks of 32 numbers: what reads a block's numbers, and where its minimum is.
macro_rules! add_blocks {
    ($name:ident, $format:ident, $least:expr, $numbers:expr) => {
        impl Rows {
            /// A row of blocks.
            ///
            /// # Safety
            /// The bytes are whole blocks, and there are runs, and sums where blocks have minimums, for all of them.
            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            unsafe fn $name<const M: usize>(&self, bytes: &[u8], to: &mut Sums<M>) {
                const SIZE: usize = BlockFormat::$format.bytes();
                let least: Option<usize> = $least;
                for (group, bytes) in bytes.chunks(TOGETHER * SIZE).enumerate() {
                    let first = group * TOGETHER;
                    // SAFETY: blocks have the bytes that are read, and the caller's promise.
                    unsafe {
                        let mut scales = [0.0; TOGETHER];
                        _mm512_storeu_ps(scales.as_mut_ptr(), halves(bytes, SIZE, 0));
                        if let Some(at) = least {
                            self.add_least(first, halves(bytes, SIZE, at), to);
                        }
                        let mut pairs = bytes.chunks_exact(2 * SIZE).enumerate();
                        for (pair, blocks) in pairs.by_ref() {
                            prefetch(blocks);
                            let run = first + 2 * pair;
                            let scale = |which| _mm512_set1_ps(scales[2 * pair + which]);
                            self.add(run, $numbers(blocks), scale(0), &mut to.even);
                            self.add(run + 1, $numbers(&blocks[SIZE..]), scale(1), &mut to.odd);
                        }
                        let count = bytes.len() / SIZE;
                        if count % 2 == 1 {
                            let (last, scale) = (count - 1, _mm512_set1_ps(scales[count - 1]));
                            let numbers = $numbers(&bytes[last * SIZE..]);
                            self.add(first + last, numbers, scale, &mut to.even);
                        }
                    }
                }
            }
        }
    };
}

add_blocks!(add_q8_0, Q8_0, None, |block: &[u8]| {
    [signed(block[2..].as_ptr()), signed(block[18..].as_ptr())]
});
add_blocks!(add_q4_0, Q4_0, None, |block: &[u8]| {
    let table = _mm512_cvtepi32_ps(_mm512_sub_epi32(counting(), _mm512_set1_epi32(8)));
    nibbles(block[2..].as_ptr(), table)
});
add_blocks!(add_q4_1, Q4_1, Some(2), |block: &[u8]| {
    nibbles(block[4..].as_ptr(), _mm512_cvtepi32_ps(counting()))
});

/// Sums in lanes, of each row two.
struct Sums<const M: usize> {
    even: [__m512; M],
    odd: [__m512; M],
}

impl<const M: usize> Sums<M> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn new() -> Self {
        Self { even: [_mm512_setzero_ps(); M], odd: [_mm512_setzero_ps(); M] }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn total(&self) -> [f32; M] {
        let mut total = [0.0; M];
        for (i, total) in total.iter_mut().enumerate() {
            *total = _mm512_reduce_add_ps(_mm512_add_ps(self.even[i], self.odd[i]));
        }
        total
    }
}

/// Asks for what lies [`AHEAD`] of these bytes.
#[inline]
fn prefetch(bytes: &[u8]) {
    // SAFETY: an address that is not mapped is passed over.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(AHEAD).cast()) }
}

/// The numbers from 0 to 15.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn counting() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

/// What the lower, and what the upper halves of sixteen bytes are in a table.
///
/// # Safety
/// There are sixteen bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn nibbles(bytes: *const u8, table: __m512) -> [__m512; 2] {
    // SAFETY: the caller's promise.
    let bytes = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(bytes.cast()) });
    // The instruction looks at the lowest four bits alone.
    let (low, high) = (bytes, _mm512_srli_epi32::<4>(bytes));
    [_mm512_permutexvar_ps(low, table), _mm512_permutexvar_ps(high, table)]
}

/// Sixteen signed bytes as numbers.
///
/// # Safety
/// There are sixteen bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn signed(bytes: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(bytes.cast()) }))
}

/// The half-precision numbers at `at` in each of at most sixteen blocks; 0 where there is none.
///
/// # Safety
/// The bytes are whole blocks of `size`, which have four bytes at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn halves(bytes: &[u8], size: usize, at: usize) -> __m512 {
    let there = ((1_u32 << (bytes.len() / size)) - 1) as u16;
    let places = _mm512_mullo_epi32(counting(), _mm512_set1_epi32(size as i32));
    let begin = bytes[at..].as_ptr().cast();
    // SAFETY: the caller's promise.
    let both =
        unsafe { _mm512_mask_i32gather_epi32::<1>(_mm512_setzero_si512(), there, places, begin) };
    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(both))
}

/// The scales of a block's eight runs, and their minimums, with the sign that they are added with: see
/// [`crate::quantized::minimums`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn scales_and_minimums(block: &[u8]) -> ([f32; 8], __m256) {
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (a, b, c) = (word(4), word(8), word(12));
    // Six bits of the first four, then four bits and the two that are left over in those.
    let six = 0x3f3f_3f3f;
    let scales = [a & six, c & 0x0f0f_0f0f | (a >> 2) & 0x3030_3030];
    let least = [b & six, (c >> 4) & 0x0f0f_0f0f | (b >> 2) & 0x3030_3030];
    let numbers = |words: [u32; 2], scale: f32| {
        let bytes = _mm_cvtsi64_si128((u64::from(words[1]) << 32 | u64::from(words[0])) as i64);
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_set1_ps(scale))
    };
    let mut own = [0.0; 8];
    // SAFETY: eight numbers.
    unsafe { _mm256_storeu_ps(own.as_mut_ptr(), numbers(scales, half(block))) }
    (own, numbers(least, -half(&block[2..])))
}

/// Eight numbers as the lower or the upper half of a register; the other one is 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn half_of_register(x: __m256, which: usize) -> __m512 {
    let lower = _mm512_zextps256_ps512(x);
    if which == 0 { lower } else { _mm512_shuffle_f32x4::<0b01_00_11_10>(lower, lower) }
}
