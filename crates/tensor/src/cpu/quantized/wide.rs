//! Runs of numbers in registers of 512 bits: the bits of [`Quantized::read`], sooner.

#[allow(clippy::wildcard_imports)] // Instructions.
use std::arch::x86_64::*;

use crate::quantized::{BlockFormat, Quantized, QuantizedForm, minimums};

/// Sixteen unsigned bytes as numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn numbers(bytes: __m128i) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
}

/// The lower and the upper halves of sixteen bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn nibbles(bytes: __m128i) -> [__m128i; 2] {
    let mask = _mm_set1_epi8(15);
    [_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16::<4>(bytes), mask)]
}

/// The half-precision number that `bytes` begin with, in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn scale(bytes: &[u8]) -> __m512 {
    _mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes([bytes[0], bytes[1]])))
}

/// Sixteen bytes from `at` on.
///
/// # Safety
/// They are within `bytes`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn load(bytes: &[u8], at: usize) -> __m128i {
    debug_assert!(at + 16 <= bytes.len());
    // SAFETY: the caller's promise.
    unsafe { _mm_loadu_si128(bytes.as_ptr().add(at).cast()) }
}

/// A block of 32 numbers, of a format that has such.
///
/// # Safety
/// The bytes are a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn eight(bytes: &[u8]) -> [__m512; 2] {
    // SAFETY: the caller's promise.
    let q = unsafe { [load(bytes, 2), load(bytes, 18)] };
    let scale = scale(bytes);
    [
        _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[0]))),
        _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[1]))),
    ]
}

/// As [`eight`].
///
/// # Safety
/// The bytes are a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn around_zero(bytes: &[u8]) -> [__m512; 2] {
    // SAFETY: the caller's promise.
    let [low, high] = nibbles(unsafe { load(bytes, 2) });
    let (scale, middle) = (scale(bytes), _mm512_set1_ps(8.0));
    [
        _mm512_mul_ps(scale, _mm512_sub_ps(numbers(low), middle)),
        _mm512_mul_ps(scale, _mm512_sub_ps(numbers(high), middle)),
    ]
}

/// As [`eight`].
///
/// # Safety
/// The bytes are a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn with_minimum(bytes: &[u8]) -> [__m512; 2] {
    // SAFETY: the caller's promise.
    let [low, high] = nibbles(unsafe { load(bytes, 4) });
    let (scale, least) = (scale(bytes), scale(&bytes[2..]));
    [
        _mm512_add_ps(_mm512_mul_ps(scale, numbers(low)), least),
        _mm512_add_ps(_mm512_mul_ps(scale, numbers(high)), least),
    ]
}

/// 32 codes of a book in their order.
///
/// # Safety
/// Sixteen bytes are there from `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn codes(table: __m512, scale: __m512, bytes: &[u8], at: usize) -> [__m512; 2] {
    // SAFETY: the caller's promise.
    let [low, high] = nibbles(unsafe { load(bytes, at) });
    // The upper half of a byte is the first of its two numbers.
    let (first, second) = (_mm_unpacklo_epi8(high, low), _mm_unpackhi_epi8(high, low));
    let first = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(first), table);
    let second = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(second), table);
    [_mm512_mul_ps(first, scale), _mm512_mul_ps(second, scale)]
}

/// Writes 32 numbers from `at` on.
///
/// # Safety
/// They are within `out`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(out: &mut [f32], at: usize, [first, second]: [__m512; 2]) {
    debug_assert!(at + 32 <= out.len());
    // SAFETY: the caller's promise.
    unsafe {
        let to = out.as_mut_ptr().add(at);
        _mm512_storeu_ps(to, first);
        _mm512_storeu_ps(to.add(16), second);
    }
}

/// Where the codes of a run are, if it is one of whole blocks: bytes, and the number of its first block.
fn run_of_codes(
    weight: &Quantized,
    at: usize,
    count: usize,
    block: usize,
) -> Option<(&[u8], usize)> {
    let aligned = block.is_multiple_of(64) && at.is_multiple_of(block) && count.is_multiple_of(64);
    let bytes = weight.bytes().slice::<u8>();
    aligned.then(|| (&bytes[at / 2..][..count / 2], at / block))
}

/// The bytes of a run of blocks.
fn run_of_blocks(weight: &Quantized, format: BlockFormat, at: usize, count: usize) -> &[u8] {
    let (block, size) = (format.block(), format.bytes());
    &weight.bytes().slice::<u8>()[at / block * size..(at + count) / block * size]
}

/// As [`Quantized::read`], for forms that are met most; says whether it is one.
///
/// # Safety
/// The instructions exist.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn read(weight: &Quantized, row: usize, first: usize, out: &mut [f32]) -> bool {
    let at = row * weight.stored()[1] + first;
    match weight.form() {
        QuantizedForm::Blocks(format) => {
            let bytes = run_of_blocks(weight, *format, at, out.len());
            // SAFETY: blocks have their format's bytes and numbers.
            unsafe { blocks(*format, bytes, out) }
        }
        QuantizedForm::Codes { book, block, scales } => {
            let Some((bytes, begins)) = run_of_codes(weight, at, out.len(), *block) else {
                return false;
            };
            // SAFETY: a book has sixteen numbers.
            let table = unsafe { _mm512_loadu_ps(book.values().as_ptr()) };
            for i in 0..out.len() / 32 {
                let scale = _mm512_set1_ps(scales.of(begins + 32 * i / block));
                // SAFETY: the run has a byte for each two numbers.
                unsafe { store(out, 32 * i, codes(table, scale, bytes, 16 * i)) }
            }
            true
        }
        QuantizedForm::Rows { .. } => false,
    }
}

/// The numbers of whole blocks.
///
/// # Safety
/// `bytes` and `out` are as many blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn blocks(format: BlockFormat, bytes: &[u8], out: &mut [f32]) -> bool {
    let blocks = bytes.chunks_exact(format.bytes()).zip(out.chunks_exact_mut(format.block()));
    for (bytes, out) in blocks {
        // SAFETY: a block has as many bytes and numbers as are read and written here.
        unsafe {
            match format {
                BlockFormat::Q8_0 => store(out, 0, eight(bytes)),
                BlockFormat::Q4_0 => store(out, 0, around_zero(bytes)),
                BlockFormat::Q4_1 => store(out, 0, with_minimum(bytes)),
                BlockFormat::Q4K => four_bits(bytes, out),
                BlockFormat::Q6K => six_bits(bytes, out),
                BlockFormat::Q5_0 | BlockFormat::Q5_1 | BlockFormat::Q5K => return false,
            }
        }
    }
    true
}

/// A block of Q4_K.
///
/// # Safety
/// The bytes are a block, and 256 numbers have room.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn four_bits(bytes: &[u8], out: &mut [f32]) {
    for pair in 0..4 {
        // SAFETY: the caller's promise.
        let halves = unsafe {
            [0, 16]
                .map(|at| nibbles(_mm_loadu_si128(bytes.as_ptr().add(16 + 32 * pair + at).cast())))
        };
        for run in 0..2 {
            let (scale, least) = minimums(&bytes[..16], 2 * pair + run);
            let (scale, least) = (_mm512_set1_ps(scale), _mm512_set1_ps(least));
            let first = _mm512_sub_ps(_mm512_mul_ps(scale, numbers(halves[0][run])), least);
            let second = _mm512_sub_ps(_mm512_mul_ps(scale, numbers(halves[1][run])), least);
            // SAFETY: the caller's promise.
            unsafe { store(out, 64 * pair + 32 * run, [first, second]) }
        }
    }
}

/// A block of Q6_K.
///
/// # Safety
/// The bytes are a block, and 256 numbers have room.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn six_bits(bytes: &[u8], out: &mut [f32]) {
    let (whole, middle) = (scale(&bytes[208..]), _mm512_set1_ps(32.0));
    for run in 0..8 {
        let (part, run_of) = (run / 4, run % 4);
        let mut both = [_mm512_setzero_ps(); 2];
        for (i, both) in both.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let (low, high) = unsafe {
                let low = load(bytes, part * 64 + run_of % 2 * 32 + 16 * i);
                (nibbles(low)[run_of / 2], load(bytes, 128 + part * 32 + 16 * i))
            };
            let high = _mm_srl_epi16(high, _mm_cvtsi32_si128(2 * run_of as i32));
            let high = _mm_slli_epi16::<4>(_mm_and_si128(high, _mm_set1_epi8(3)));
            let step = _mm512_set1_ps(f32::from(bytes[192 + 2 * run + i] as i8));
            let q = _mm512_sub_ps(numbers(_mm_or_si128(low, high)), middle);
            *both = _mm512_mul_ps(_mm512_mul_ps(whole, step), q);
        }
        // SAFETY: the caller's promise.
        unsafe { store(out, 32 * run, both) }
    }
}
