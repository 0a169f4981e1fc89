//! Operands as bfloat16, in the orders in which the kernels read them.
//!
//! B: strips of 32 columns; for each pair of rows 128 bytes, `(b[2p][j], b[2p + 1][j])` as one dword. That
//! is what `vdpbf16ps` takes and AMX's layout of a B tile, 16 such rows. A: rows of pairs, or, where a
//! column's elements lie side by side, a line of 16 rows for each pair; for AMX always tiles of 16 rows of
//! 64 bytes. What lies beyond an operand's edge is zero.

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm256_maskz_loadu_epi16,
    _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_maskz_loadu_epi16, _mm512_maskz_loadu_ps, _mm512_or_si512, _mm512_permutexvar_epi16,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32,
    _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use half::bf16;

use super::STRIP;
use super::source::{Source, with_view};
use crate::cpu::gemm::element::View;

/// What is packed of A: whole slivers one after another, `len` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Slivers {
    pub rows: usize,
    /// Columns that exist.
    pub k: usize,
    /// Columns of every block but the last: what a sliver has room for.
    pub depth: usize,
    /// Rows in a sliver.
    pub mr: usize,
    pub len: usize,
}

/// A type that packing reads.
trait Element: Copy + Default {
    /// The first `count` of 32 elements, rounded to bfloat16; zeros beyond.
    ///
    /// # Safety
    /// AVX512-BF16 exists and `count` elements may be read.
    unsafe fn run(from: *const Self, count: usize) -> __m512i;

    /// The first `count` of 16 pairs (even[i], odd[i]), rounded; no `odd` is zeros.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn pairs(even: *const Self, odd: Option<*const Self>, count: usize) -> __m512i;
}

/// The first `count` of 16 floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn floats(from: *const f32, count: usize) -> __m512 {
    // SAFETY: reads `count` floats at most, for which the caller vouches.
    unsafe {
        match count {
            16.. => _mm512_loadu_ps(from),
            _ => _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, from),
        }
    }
}

impl Element for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn run(from: *const f32, count: usize) -> __m512i {
        // SAFETY: as the caller's; the conversion's result is 32 bfloat16 numbers.
        unsafe {
            let high = floats(from.wrapping_add(16), count.saturating_sub(16));
            transmute(_mm512_cvtne2ps_pbh(high, floats(from, count)))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pairs(even: *const f32, odd: Option<*const f32>, count: usize) -> __m512i {
        const ORDER: [u16; 32] = {
            let (mut order, mut i) = ([0; 32], 0);
            while i < 16 {
                (order[2 * i], order[2 * i + 1]) = (i as u16, 16 + i as u16);
                i += 1;
            }
            order
        };
        // SAFETY: as the caller's; arrays and registers of the same size.
        unsafe {
            let odd = odd.map_or(_mm512_setzero_ps(), |odd| floats(odd, count));
            let both: __m512i = transmute(_mm512_cvtne2ps_pbh(odd, floats(even, count)));
            _mm512_permutexvar_epi16(transmute::<[u16; 32], __m512i>(ORDER), both)
        }
    }
}

impl Element for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn run(from: *const bf16, count: usize) -> __m512i {
        // SAFETY: reads `count` numbers at most, for which the caller vouches.
        unsafe {
            match count {
                32.. => _mm512_loadu_si512(from.cast()),
                _ => _mm512_maskz_loadu_epi16(((1u64 << count) - 1) as u32, from.cast()),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pairs(even: *const bf16, odd: Option<*const bf16>, count: usize) -> __m512i {
        let wide = |from: *const bf16| {
            // SAFETY: reads `count` numbers at most, for which the caller vouches.
            let half = unsafe {
                match count {
                    16.. => _mm256_loadu_si256(from.cast()),
                    _ => _mm256_maskz_loadu_epi16(((1u32 << count) - 1) as u16, from.cast()),
                }
            };
            _mm512_cvtepu16_epi32(half)
        };
        match odd {
            Some(odd) => _mm512_or_si512(wide(even), _mm512_slli_epi32::<16>(wide(odd))),
            None => wide(even),
        }
    }
}

/// Elements (`row`, `col`..) of a matrix, of which `count` exist: at most 32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn run<T: Element>(v: View<T>, row: usize, col: usize, count: usize) -> __m512i {
    // SAFETY: the caller vouches for the elements.
    unsafe {
        if v.cs == 1 {
            return T::run(v.at(row, col), count);
        }
        let mut near = [T::default(); 32];
        for (i, near) in near.iter_mut().enumerate().take(count) {
            *near = *v.at(row, col + i);
        }
        T::run(near.as_ptr(), count)
    }
}

/// Pairs of rows 2p and 2p + 1 of `v[rows, cols]`, columns side by side, from column `col` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pairs<T: Element>(
    v: View<T>,
    p: usize,
    col: usize,
    (rows, cols): (usize, usize),
) -> __m512i {
    if 2 * p >= rows || col >= cols {
        return _mm512_setzero_si512();
    }
    let odd = (2 * p + 1 < rows).then(|| v.at(2 * p + 1, col));
    // SAFETY: the caller vouches for the matrix.
    unsafe { T::pairs(v.at(2 * p, col), odd, cols - col) }
}

/// Transposes 16 x 16 dwords.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &mut [__m512i; 16]) {
    let mut blocks = *rows;
    for i in (0..16).step_by(4) {
        let [a, b, c, d] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (low2, high2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        blocks[i] = _mm512_unpacklo_epi64(low, low2);
        blocks[i + 1] = _mm512_unpackhi_epi64(low, low2);
        blocks[i + 2] = _mm512_unpacklo_epi64(high, high2);
        blocks[i + 3] = _mm512_unpackhi_epi64(high, high2);
    }
    for c in 0..4 {
        let [w, x, y, z] = [blocks[c], blocks[4 + c], blocks[8 + c], blocks[12 + c]];
        let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(w, x), _mm512_shuffle_i32x4::<0xdd>(w, x));
        let (even2, odd2) =
            (_mm512_shuffle_i32x4::<0x88>(y, z), _mm512_shuffle_i32x4::<0xdd>(y, z));
        rows[c] = _mm512_shuffle_i32x4::<0x88>(even, even2);
        rows[c + 4] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
        rows[c + 8] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
        rows[c + 12] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
    }
}

/// Asks for a line that is packed soon; any address will do.
#[inline(always)]
fn prefetch<T>(address: *const T) {
    // SAFETY: a hint that never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

/// Packs `b[k, cols]` as strips, `len` elements apart, with zeros in rows from `k` to a multiple of 32.
///
/// # Safety
/// AVX512-BF16 exists, the operand is valid for these sizes, and `dst` has room.
pub(super) unsafe fn pack_strips(b: Source, (k, cols): (usize, usize), len: usize, dst: *mut u16) {
    // SAFETY: the caller's promises.
    with_view!(b, view => unsafe { strips(view, (k, cols), len, dst) });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn strips<T: Element>(b: View<T>, (k, cols): (usize, usize), len: usize, dst: *mut u16) {
    let whole = k.next_multiple_of(32);
    let out =
        |p: usize, j: usize| dst.wrapping_add(j / STRIP * len + p * 2 * STRIP + j % STRIP * 2);
    let columns = (0..cols.next_multiple_of(STRIP)).step_by(16);
    // SAFETY: the caller's promises; strips have room for whole tiles.
    unsafe {
        if b.cs == 1 {
            for p in 0..whole / 2 {
                for j in columns.clone() {
                    prefetch(b.at(2 * p + 16, j));
                    prefetch(b.at(2 * p + 17, j));
                    _mm512_storeu_si512(out(p, j).cast(), pairs(b, p, j, (k, cols)));
                }
            }
            return;
        }
        let b = b.t();
        for j in columns {
            for q in (0..whole).step_by(32) {
                let mut square = [_mm512_setzero_si512(); 16];
                for (i, row) in square.iter_mut().enumerate().take(cols.saturating_sub(j)) {
                    prefetch(b.at(j + i, q + 64));
                    prefetch(b.at(j + i, q + 80));
                    *row = run(b, j + i, q, k.saturating_sub(q));
                }
                transpose(&mut square);
                for (i, row) in square.into_iter().enumerate() {
                    _mm512_storeu_si512(out(q / 2 + i, j).cast(), row);
                }
            }
        }
    }
}

/// Packs rows of A, 32 columns at a time: `row` elements from a row of a sliver to the next, `block` from 32
/// columns to the next.
///
/// # Safety
/// As [`pack_strips`].
pub(super) unsafe fn pack_rows(
    a: Source,
    slivers: Slivers,
    (row, block): (usize, usize),
    dst: *mut u16,
) {
    // SAFETY: the caller's promises.
    with_view!(a, view => unsafe { rows(view, slivers, (row, block), dst) });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn rows<T: Element>(
    a: View<T>,
    Slivers { rows, k, mr, len, .. }: Slivers,
    (row, block): (usize, usize),
    dst: *mut u16,
) {
    for i in 0..rows.next_multiple_of(mr) {
        let dst = dst.wrapping_add(i / mr * len + i % mr * row);
        for q in (0..k).step_by(32) {
            // SAFETY: the caller's promises.
            unsafe {
                prefetch(a.at(i + 4, q));
                prefetch(a.at(i + 4, q + 16));
                let found = if i < rows { run(a, i, q, k - q) } else { _mm512_setzero_si512() };
                _mm512_storeu_si512(dst.wrapping_add(q / 32 * block).cast(), found);
            }
        }
    }
}

/// Packs A, whose columns' elements lie side by side: for each pair a line of 16 rows.
///
/// # Safety
/// As [`pack_strips`].
pub(super) unsafe fn pack_lines(a: Source, slivers: Slivers, dst: *mut u16) {
    // SAFETY: the caller's promises.
    with_view!(a, view => unsafe { lines(view.t(), slivers, dst) });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn lines<T: Element>(at: View<T>, Slivers { rows, k, mr, len, .. }: Slivers, dst: *mut u16) {
    for p in 0..k.div_ceil(2) {
        for i in (0..rows).step_by(mr) {
            // SAFETY: the caller's promises.
            unsafe {
                prefetch(at.at(2 * p + 16, i));
                prefetch(at.at(2 * p + 17, i));
                let line = dst.wrapping_add(i / mr * len + p * 32);
                _mm512_storeu_si512(line.cast(), pairs(at, p, i, (k, rows)));
            }
        }
    }
}

/// Packs A, whose columns' elements lie side by side, as tiles of 16 rows x 32 columns, two to each 32
/// columns.
///
/// # Safety
/// As [`pack_strips`].
pub(super) unsafe fn pack_tiles(a: Source, slivers: Slivers, dst: *mut u16) {
    // SAFETY: the caller's promises.
    with_view!(a, view => unsafe { tiles(view.t(), slivers, dst) });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn tiles<T: Element>(at: View<T>, Slivers { rows, k, mr, len, .. }: Slivers, dst: *mut u16) {
    for q in (0..k).step_by(32) {
        for i in (0..rows.next_multiple_of(mr)).step_by(16) {
            let mut square = [_mm512_setzero_si512(); 16];
            // SAFETY: the caller's promises.
            unsafe {
                for (p, line) in square.iter_mut().enumerate() {
                    prefetch(at.at(q + 2 * p + 32, i));
                    prefetch(at.at(q + 2 * p + 33, i));
                    *line = pairs(at, q / 2 + p, i, (k, rows));
                }
                transpose(&mut square);
                let tile = dst.wrapping_add(i / mr * len + q * mr + i % mr * 32);
                for (i, row) in square.into_iter().enumerate() {
                    _mm512_storeu_si512(tile.wrapping_add(i * 32).cast(), row);
                }
            }
        }
    }
}
