//! Squares transposed in registers, for packing a B whose rows are adjacent.

use std::arch::x86_64::{
    __m256, __m512, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
    _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_loadu_ps, _mm512_shuffle_f32x4,
    _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

/// Two registers of 16, merged by a shuffle in each of their 128-bit quarters.
type Pair = (__m512, __m512);

/// 16 x 16 f32.
///
/// # Safety
/// AVX-512 exists; both squares are valid.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn f32x16(src: *const f32, src_row: isize, dst: *mut f32, dst_row: usize) {
    // SAFETY: loads and stores stay in the squares that the caller vouches for.
    unsafe {
        let row = |i: usize| _mm512_loadu_ps(src.offset(i as isize * src_row));
        // Quarter q of column group g then holds 4 x 4 transposed blocks.
        let blocks = [quad(row, 0), quad(row, 4), quad(row, 8), quad(row, 12)];
        for column in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|group: usize| blocks[group][column]);
            let ab_low = _mm512_shuffle_f32x4::<0x88>(a, b);
            let ab_high = _mm512_shuffle_f32x4::<0xdd>(a, b);
            let cd_low = _mm512_shuffle_f32x4::<0x88>(c, d);
            let cd_high = _mm512_shuffle_f32x4::<0xdd>(c, d);
            let out = |i: usize| dst.add((column + 4 * i) * dst_row);
            _mm512_storeu_ps(out(0), _mm512_shuffle_f32x4::<0x88>(ab_low, cd_low));
            _mm512_storeu_ps(out(1), _mm512_shuffle_f32x4::<0x88>(ab_high, cd_high));
            _mm512_storeu_ps(out(2), _mm512_shuffle_f32x4::<0xdd>(ab_low, cd_low));
            _mm512_storeu_ps(out(3), _mm512_shuffle_f32x4::<0xdd>(ab_high, cd_high));
        }
    }
}

/// Transposes the 4 x 4 blocks of rows `first..first + 4`.
#[inline]
#[target_feature(enable = "avx512f")]
fn quad(row: impl Fn(usize) -> __m512, first: usize) -> [__m512; 4] {
    let (r0, r1, r2, r3) = (row(first), row(first + 1), row(first + 2), row(first + 3));
    let low: Pair = (_mm512_unpacklo_ps(r0, r1), _mm512_unpacklo_ps(r2, r3));
    let high: Pair = (_mm512_unpackhi_ps(r0, r1), _mm512_unpackhi_ps(r2, r3));
    [
        _mm512_shuffle_ps::<0x44>(low.0, low.1),
        _mm512_shuffle_ps::<0xee>(low.0, low.1),
        _mm512_shuffle_ps::<0x44>(high.0, high.1),
        _mm512_shuffle_ps::<0xee>(high.0, high.1),
    ]
}

/// 8 x 8 f32.
///
/// # Safety
/// AVX2 exists; both squares are valid.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn f32x8(src: *const f32, src_row: isize, dst: *mut f32, dst_row: usize) {
    // SAFETY: loads and stores stay in the squares that the caller vouches for.
    unsafe {
        let row = |i: usize| _mm256_loadu_ps(src.offset(i as isize * src_row));
        let upper: [__m256; 4] = quad_256(row, 0);
        let lower: [__m256; 4] = quad_256(row, 4);
        for column in 0..4 {
            let (a, b) = (upper[column], lower[column]);
            let left = _mm256_permute2f128_ps::<0x20>(a, b);
            let right = _mm256_permute2f128_ps::<0x31>(a, b);
            _mm256_storeu_ps(dst.add(column * dst_row), left);
            _mm256_storeu_ps(dst.add((column + 4) * dst_row), right);
        }
    }
}

/// Transposes the 4 x 4 blocks of rows `first..first + 4`.
#[inline]
#[target_feature(enable = "avx2")]
fn quad_256(row: impl Fn(usize) -> __m256, first: usize) -> [__m256; 4] {
    let (r0, r1, r2, r3) = (row(first), row(first + 1), row(first + 2), row(first + 3));
    let (low01, low23) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpacklo_ps(r2, r3));
    let (high01, high23) = (_mm256_unpackhi_ps(r0, r1), _mm256_unpackhi_ps(r2, r3));
    [
        _mm256_shuffle_ps::<0x44>(low01, low23),
        _mm256_shuffle_ps::<0xee>(low01, low23),
        _mm256_shuffle_ps::<0x44>(high01, high23),
        _mm256_shuffle_ps::<0xee>(high01, high23),
    ]
}
