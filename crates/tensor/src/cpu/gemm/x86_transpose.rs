//! Squares transposed in registers, for packing a B whose rows are adjacent.

use std::arch::x86_64::{
    __m256, __m512, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
    _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_loadu_ps, _mm512_shuffle_f32x4,
    _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

/// 16 x 16 f32.
///
/// # Safety
/// AVX-512 exists; both squares are valid.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn f32x16(src: *const f32, src_row: isize, dst: *mut f32, dst_row: usize) {
    // SAFETY: loads and stores stay in the squares that the caller vouches for.
    unsafe {
        let row = |i: usize| _mm512_loadu_ps(src.offset(i as isize * src_row));
        // Register c of each four holds column c of their 4 x 4 blocks, one in each quarter.
        let [a, b, c, d] = [quad(row, 0), quad(row, 4), quad(row, 8), quad(row, 12)];
        for (column, (((a, b), c), d)) in a.into_iter().zip(b).zip(c).zip(d).enumerate() {
            let ab_even = _mm512_shuffle_f32x4::<0x88>(a, b);
            let ab_odd = _mm512_shuffle_f32x4::<0xdd>(a, b);
            let cd_even = _mm512_shuffle_f32x4::<0x88>(c, d);
            let cd_odd = _mm512_shuffle_f32x4::<0xdd>(c, d);
            let out = |block: usize| dst.add((column + 4 * block) * dst_row);
            _mm512_storeu_ps(out(0), _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even));
            _mm512_storeu_ps(out(1), _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd));
            _mm512_storeu_ps(out(2), _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even));
            _mm512_storeu_ps(out(3), _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd));
        }
    }
}

/// Transposes the 4 x 4 blocks of rows `first..first + 4`.
#[inline]
#[target_feature(enable = "avx512f")]
fn quad(row: impl Fn(usize) -> __m512, first: usize) -> [__m512; 4] {
    let (r0, r1, r2, r3) = (row(first), row(first + 1), row(first + 2), row(first + 3));
    let (low01, low23) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpacklo_ps(r2, r3));
    let (high01, high23) = (_mm512_unpackhi_ps(r0, r1), _mm512_unpackhi_ps(r2, r3));
    [
        _mm512_shuffle_ps::<0x44>(low01, low23),
        _mm512_shuffle_ps::<0xee>(low01, low23),
        _mm512_shuffle_ps::<0x44>(high01, high23),
        _mm512_shuffle_ps::<0xee>(high01, high23),
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
        let rows = quad_256(row, 0).into_iter().zip(quad_256(row, 4));
        for (column, (a, b)) in rows.enumerate() {
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
