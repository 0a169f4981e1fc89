//! Register tiles for x86-64 in assembly: compilers spill the accumulators of tiles this large.
//!
//! AVX-512: 14 rows x 2 vectors, 28 accumulators, 2 registers for B and 2 for a broadcast element of
//! A. AVX2: 6 x 2. One text serves both and f32 and f64; `.if` drops the rows and the vector that a
//! smaller tile lacks. The row addresses of A are formed from one row stride, so that A is read
//! where it lies whether its rows or its columns are adjacent, or packed.

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::mem::offset_of;

use super::element::Float;
use super::isa::{Isa, Tile};
use super::x86_transpose as transpose;

/// AVX-512 (foundation), on vectors of 64 bytes.
pub(super) struct Avx512;
/// AVX2 with FMA, on vectors of 32 bytes.
pub(super) struct Avx2;

/// Defines a tile kernel. Each row lists its number, its two accumulators, the register of its
/// element of A, and that element's address.
macro_rules! kernel {
    (
        $name:ident, $t:ty, $features:literal, $v:literal, $bytes:literal, $zero:literal,
        $s:literal, $bc:literal,
        [$(($r:literal, $x:literal, $y:literal, $e:literal, $addr:literal)),*], [$($clobber:tt)*]
    ) => {
        /// # Safety
        /// As [`Isa::tile`].
        #[target_feature(enable = $features)]
        unsafe fn $name<const ROWS: usize, const VECTORS: usize>(tile: &Tile<$t>) {
            // SAFETY: touches only what the tile names; every register it changes is declared.
            unsafe {
                asm!(
                    "mov {c}, [{tile} + {o_c}]",
                    "mov {ldc}, [{tile} + {o_c_row}]",
                    // Fetches the tile of C while the sums are formed.
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n prefetcht0 [{c}]\n ",
                        $zero, " ", $v, $x, ", ", $v, $x, ", ", $v, $x, "\n",
                        ".if {VECTORS} > 1\n prefetcht0 [{c} + ", $bytes, "]\n ",
                        $zero, " ", $v, $y, ", ", $v, $y, ", ", $v, $y, "\n.endif\n",
                        " add {c}, {ldc}\n.endif"
                    ),)*
                    "mov {k}, [{tile} + {o_k}]",
                    "mov {a}, [{tile} + {o_a}]",
                    "mov {a1}, [{tile} + {o_a_row}]",
                    "mov {ac}, [{tile} + {o_a_col}]",
                    "mov {b}, [{tile} + {o_b}]",
                    "mov {br}, [{tile} + {o_b_row}]",
                    "lea {a3}, [{a1} + {a1}*2]",
                    "lea {a5}, [{a1} + {a1}*4]",
                    // Row 7 on has its own base.
                    "lea {a7}, [{a} + {a3}*2]",
                    "add {a7}, {a1}",
                    "mov {c}, [{tile} + {o_ahead}]",
                    "mov {line}, [{tile} + {o_ahead} + 8]",
                    "mov {ldc}, [{tile} + {o_ahead} + 16]",
                    "test {k}, {k}",
                    "jz 3f",
                    ".p2align 4",
                    "2:",
                    concat!("vmovu", $s, " ", $v, "0, [{b}]"),
                    concat!(".if {VECTORS} > 1\n vmovu", $s, " ", $v, "1, [{b} + ", $bytes, "]\n.endif"),
                    // A narrow tile has no loads to spare.
                    ".if {VECTORS} > 1",
                    "prefetcht0 [{b} + {br}*8]",
                    concat!("prefetcht0 [{b} + {br}*8 + ", $bytes, "]"),
                    "prefetcht1 [{c}]",
                    "prefetcht1 [{c} + {line}]",
                    "add {c}, {ldc}",
                    ".endif",
                    "add {b}, {br}",
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n ", $bc, " ", $v, $e, ", [", $addr, "]\n ",
                        "vfmadd231", $s, " ", $v, $x, ", ", $v, "0, ", $v, $e, "\n",
                        ".if {VECTORS} > 1\n ",
                        "vfmadd231", $s, " ", $v, $y, ", ", $v, "1, ", $v, $e, "\n.endif\n.endif"
                    ),)*
                    "add {a}, {ac}",
                    "add {a7}, {ac}",
                    "dec {k}",
                    "jnz 2b",
                    "3:",
                    "mov {c}, [{tile} + {o_c}]",
                    "mov {ldc}, [{tile} + {o_c_row}]",
                    concat!($bc, " ", $v, "0, [{tile} + {o_alpha}]"),
                    "cmp qword ptr [{tile} + {o_acc}], 0",
                    "jne 4f",
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n ",
                        "vmul", $s, " ", $v, $x, ", ", $v, $x, ", ", $v, "0\n ",
                        "vmovu", $s, " [{c}], ", $v, $x, "\n",
                        ".if {VECTORS} > 1\n ",
                        "vmul", $s, " ", $v, $y, ", ", $v, $y, ", ", $v, "0\n ",
                        "vmovu", $s, " [{c} + ", $bytes, "], ", $v, $y, "\n.endif\n",
                        " add {c}, {ldc}\n.endif"
                    ),)*
                    "jmp 5f",
                    "4:",
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n ",
                        "vfmadd213", $s, " ", $v, $x, ", ", $v, "0, [{c}]\n ",
                        "vmovu", $s, " [{c}], ", $v, $x, "\n",
                        ".if {VECTORS} > 1\n ",
                        "vfmadd213", $s, " ", $v, $y, ", ", $v, "0, [{c} + ", $bytes, "]\n ",
                        "vmovu", $s, " [{c} + ", $bytes, "], ", $v, $y, "\n.endif\n",
                        " add {c}, {ldc}\n.endif"
                    ),)*
                    "5:",
                    "vzeroupper",
                    tile = in(reg) tile,
                    k = out(reg) _, a = out(reg) _, a1 = out(reg) _, a3 = out(reg) _,
                    a5 = out(reg) _, a7 = out(reg) _, ac = out(reg) _, b = out(reg) _,
                    br = out(reg) _, c = out(reg) _, ldc = out(reg) _, line = out(reg) _,
                    o_ahead = const offset_of!(Tile<$t>, ahead),
                    o_k = const offset_of!(Tile<$t>, k),
                    o_a = const offset_of!(Tile<$t>, a),
                    o_a_row = const offset_of!(Tile<$t>, a_row),
                    o_a_col = const offset_of!(Tile<$t>, a_col),
                    o_b = const offset_of!(Tile<$t>, b),
                    o_b_row = const offset_of!(Tile<$t>, b_row),
                    o_c = const offset_of!(Tile<$t>, c),
                    o_c_row = const offset_of!(Tile<$t>, c_row),
                    o_acc = const offset_of!(Tile<$t>, accumulate),
                    o_alpha = const offset_of!(Tile<$t>, alpha),
                    ROWS = const ROWS,
                    VECTORS = const VECTORS,
                    $(out($clobber) _,)*
                    options(nostack),
                );
            }
        }
    };
}

macro_rules! avx512_kernel {
    ($name:ident, $t:ty, $s:literal, $bc:literal) => {
        kernel!(
            $name, $t, "avx512f", "zmm", "64", "vpxorq", $s, $bc,
            [
                ("0", "4", "5", "2", "{a}"),
                ("1", "6", "7", "3", "{a} + {a1}"),
                ("2", "8", "9", "2", "{a} + {a1}*2"),
                ("3", "10", "11", "3", "{a} + {a3}"),
                ("4", "12", "13", "2", "{a} + {a1}*4"),
                ("5", "14", "15", "3", "{a} + {a5}"),
                ("6", "16", "17", "2", "{a} + {a3}*2"),
                ("7", "18", "19", "3", "{a7}"),
                ("8", "20", "21", "2", "{a7} + {a1}"),
                ("9", "22", "23", "3", "{a7} + {a1}*2"),
                ("10", "24", "25", "2", "{a7} + {a3}"),
                ("11", "26", "27", "3", "{a7} + {a1}*4"),
                ("12", "28", "29", "2", "{a7} + {a5}"),
                ("13", "30", "31", "3", "{a7} + {a3}*2")
            ],
            ["zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11"
             "zmm12" "zmm13" "zmm14" "zmm15" "zmm16" "zmm17" "zmm18" "zmm19" "zmm20" "zmm21" "zmm22"
             "zmm23" "zmm24" "zmm25" "zmm26" "zmm27" "zmm28" "zmm29" "zmm30" "zmm31"]
        );
    };
}

macro_rules! avx2_kernel {
    ($name:ident, $t:ty, $s:literal, $bc:literal) => {
        kernel!(
            $name, $t, "avx2,fma", "ymm", "32", "vxorps", $s, $bc,
            [
                ("0", "4", "5", "2", "{a}"),
                ("1", "6", "7", "3", "{a} + {a1}"),
                ("2", "8", "9", "2", "{a} + {a1}*2"),
                ("3", "10", "11", "3", "{a} + {a3}"),
                ("4", "12", "13", "2", "{a} + {a1}*4"),
                ("5", "14", "15", "3", "{a} + {a5}")
            ],
            ["ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11"
             "ymm12" "ymm13" "ymm14" "ymm15"]
        );
    };
}

avx512_kernel!(avx512_f32, f32, "ps", "vbroadcastss");
avx512_kernel!(avx512_f64, f64, "pd", "vbroadcastsd");
avx2_kernel!(avx2_f32, f32, "ps", "vbroadcastss");
avx2_kernel!(avx2_f64, f64, "pd", "vbroadcastsd");

/// Calls the kernel compiled for this number of rows and vectors.
macro_rules! choose {
    ($kernel:ident, $rows:ident, $vectors:ident, $tile:ident, [$($r:literal)*]) => {
        match ($rows, $vectors) {
            $(($r, 2) => $kernel::<$r, 2>($tile), ($r, _) => $kernel::<$r, 1>($tile),)*
            _ => unreachable!("a tile has at most its kernel's rows"),
        }
    };
}

macro_rules! isa {
    ($isa:ty, $t:ty, $kernel:ident, $mr:literal, $lanes:literal, $features:literal,
     $rows:tt $(, $transpose:path)?) => {
        impl Isa<$t> for $isa {
            const MR: usize = $mr;
            const NR: usize = 2 * $lanes;
            const LANES: usize = $lanes;

            #[inline]
            unsafe fn tile(rows: usize, vectors: usize, tile: &Tile<$t>) {
                // SAFETY: the caller vouches for the instructions and the tile.
                unsafe { choose!($kernel, rows, vectors, tile, $rows) }
            }

            $(
                #[inline]
                unsafe fn transpose(src: *const $t, src_row: isize, dst: *mut $t, dst_row: usize) {
                    // SAFETY: the caller vouches for the instructions and both squares.
                    unsafe { $transpose(src, src_row, dst, dst_row) }
                }
            )?

            #[inline(always)]
            fn mul_add(a: $t, b: $t, c: $t) -> $t {
                a.fused(b, c)
            }

            #[inline(always)]
            fn prefetch<M>(address: *const M) {
                // SAFETY: a hint that never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
            }

            #[inline]
            unsafe fn inside<R>(f: impl FnOnce() -> R) -> R {
                #[target_feature(enable = $features)]
                fn run<R>(f: impl FnOnce() -> R) -> R {
                    f()
                }
                // SAFETY: the caller vouches for the instructions.
                unsafe { run(f) }
            }
        }
    };
}

isa!(Avx512, f32, avx512_f32, 14, 16, "avx512f,avx2,fma", [14 1 2 3 4 5 6 7 8 9 10 11 12 13],
     transpose::f32x16);
isa!(Avx512, f64, avx512_f64, 14, 8, "avx512f,avx2,fma", [14 1 2 3 4 5 6 7 8 9 10 11 12 13]);
isa!(Avx2, f32, avx2_f32, 6, 8, "avx2,fma", [6 1 2 3 4 5], transpose::f32x8);
isa!(Avx2, f64, avx2_f64, 6, 4, "avx2,fma", [6 1 2 3 4 5]);
