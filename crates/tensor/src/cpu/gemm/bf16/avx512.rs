//! AVX512-BF16: `vdpbf16ps` on a register tile of 14 rows x 32 columns.
//!
//! In assembly for the reason of the single-precision kernels, whose shape this one has: 28 sums, two
//! registers for a pair of rows of B, two for pairs of A, each pair one broadcast dword.

use std::arch::asm;
use std::mem::offset_of;

use super::pack::{Slivers, pack_lines, pack_rows};
use super::source::Source;
use super::{Kernel, STRIP, Tile};

/// The `vdpbf16ps` kernel.
pub(super) struct Avx512;

/// Elements from a packed row of A to the next beyond its length: spreads rows over the cache's sets.
const ROW_GAP: usize = 32;

/// Defines the kernel. Each row lists its number, its two sums, the register of its pair of A, and that
/// pair's address.
macro_rules! kernel {
    ([$(($r:literal, $x:literal, $y:literal, $e:literal, $addr:literal)),*], [$($clobber:tt)*]) => {
        /// # Safety
        /// AVX512-BF16 exists; `call` names memory that may be read, and C written.
        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn tile<const ROWS: usize>(call: &Call) {
            // SAFETY: touches only what the call names; every register it changes is declared.
            unsafe {
                asm!(
                    "mov {c}, [{call} + {o_c}]",
                    "mov {ldc}, [{call} + {o_ldc}]",
                    // Fetches the tile of C while the sums are formed.
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n prefetcht0 [{c}]\n prefetcht0 [{c} + 64]\n ",
                        "vpxord zmm", $x, ", zmm", $x, ", zmm", $x, "\n ",
                        "vpxord zmm", $y, ", zmm", $y, ", zmm", $y, "\n add {c}, {ldc}\n.endif"
                    ),)*
                    "mov {k}, [{call} + {o_pairs}]",
                    "mov {a}, [{call} + {o_a}]",
                    "mov {a1}, [{call} + {o_a_row}]",
                    "mov {ac}, [{call} + {o_a_col}]",
                    "mov {b}, [{call} + {o_b}]",
                    "lea {a3}, [{a1} + {a1}*2]",
                    "lea {a5}, [{a1} + {a1}*4]",
                    // Row 7 on has its own base.
                    "lea {a7}, [{a} + {a3}*2]",
                    "add {a7}, {a1}",
                    "test {k}, {k}",
                    "jz 3f",
                    ".p2align 5",
                    "2:",
                    "vmovups zmm0, [{b}]",
                    "vmovups zmm1, [{b} + 64]",
                    "prefetcht0 [{b} + 1024]",
                    "prefetcht0 [{b} + 1088]",
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n vbroadcastss zmm", $e, ", dword ptr [", $addr, "]\n ",
                        "vdpbf16ps zmm", $x, ", zmm0, zmm", $e, "\n ",
                        "vdpbf16ps zmm", $y, ", zmm1, zmm", $e, "\n.endif"
                    ),)*
                    "sub {b}, -128",
                    "add {a}, {ac}",
                    "add {a7}, {ac}",
                    "dec {k}",
                    "jnz 2b",
                    "3:",
                    "mov {c}, [{call} + {o_c}]",
                    "vbroadcastss zmm0, dword ptr [{call} + {o_alpha}]",
                    "cmp qword ptr [{call} + {o_add}], 0",
                    "jne 4f",
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n ",
                        "vmulps zmm", $x, ", zmm", $x, ", zmm0\n vmovups [{c}], zmm", $x, "\n ",
                        "vmulps zmm", $y, ", zmm", $y, ", zmm0\n vmovups [{c} + 64], zmm", $y, "\n ",
                        "add {c}, {ldc}\n.endif"
                    ),)*
                    "jmp 5f",
                    "4:",
                    $(concat!(
                        ".if {ROWS} > ", $r, "\n ",
                        "vfmadd213ps zmm", $x, ", zmm0, [{c}]\n vmovups [{c}], zmm", $x, "\n ",
                        "vfmadd213ps zmm", $y, ", zmm0, [{c} + 64]\n vmovups [{c} + 64], zmm", $y, "\n ",
                        "add {c}, {ldc}\n.endif"
                    ),)*
                    "5:",
                    "vzeroupper",
                    call = in(reg) call,
                    k = out(reg) _, a = out(reg) _, a1 = out(reg) _, a3 = out(reg) _, a5 = out(reg) _,
                    a7 = out(reg) _, ac = out(reg) _, b = out(reg) _, c = out(reg) _, ldc = out(reg) _,
                    o_pairs = const offset_of!(Call, pairs),
                    o_a = const offset_of!(Call, a),
                    o_a_row = const offset_of!(Call, a_row),
                    o_a_col = const offset_of!(Call, a_col),
                    o_b = const offset_of!(Call, b),
                    o_c = const offset_of!(Call, c),
                    o_ldc = const offset_of!(Call, ldc),
                    o_add = const offset_of!(Call, add),
                    o_alpha = const offset_of!(Call, alpha),
                    ROWS = const ROWS,
                    $(out($clobber) _,)*
                    options(nostack),
                );
            }
        }
    };
}

kernel!(
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
    ["zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11" "zmm12"
     "zmm13" "zmm14" "zmm15" "zmm16" "zmm17" "zmm18" "zmm19" "zmm20" "zmm21" "zmm22" "zmm23" "zmm24"
     "zmm25" "zmm26" "zmm27" "zmm28" "zmm29" "zmm30" "zmm31"]
);

/// What the assembly reads: strides in bytes.
#[repr(C)]
struct Call {
    pairs: usize,
    a: *const u16,
    a_row: usize,
    a_col: usize,
    b: *const u16,
    c: *mut f32,
    ldc: usize,
    add: usize,
    alpha: f32,
}

impl Kernel for Avx512 {
    const MR: usize = 14;
    /// A sliver of so many columns stays in the first-level cache.
    const DEPTH: usize = 768;
    const FLOPS_PER_WORKER: usize = 4_000_000;

    unsafe fn begin() {}

    unsafe fn end() {}

    fn sliver_len(depth: usize) -> usize {
        // As rows with a gap, or a line of 16 rows for each pair.
        (Self::MR * (depth + ROW_GAP)).max(16 * depth).next_multiple_of(32)
    }

    unsafe fn pack_a(a: Source, slivers: Slivers, dst: *mut u16) {
        // SAFETY: the caller's promises.
        unsafe {
            if a.rows_adjacent() {
                pack_lines(a, slivers, dst);
            } else {
                pack_rows(a, slivers, (slivers.depth + ROW_GAP, 32), dst);
            }
        }
    }

    unsafe fn tile(t: &Tile) {
        let (a_row, a_col) = if t.a_lines { (4, 64) } else { (2 * (t.depth + ROW_GAP), 4) };
        let edge = t.cols < STRIP;
        let (c, ldc) = if edge { (t.scratch, STRIP) } else { (t.c, t.ldc) };
        let add = usize::from(t.add);
        let call = Call {
            pairs: t.k.div_ceil(2),
            a: t.a,
            a_row,
            a_col,
            b: t.b,
            c,
            ldc: 4 * ldc,
            add,
            alpha: t.alpha,
        };
        macro_rules! choose {
            ($($rows:literal)*) => {
                match t.rows {
                    $($rows => tile::<$rows>(&call),)*
                    _ => unreachable!("a tile has at most 14 rows"),
                }
            };
        }
        // SAFETY: the caller vouches for the instructions and the tile; an edge goes to the scratch.
        unsafe {
            if edge && t.add {
                t.load_scratch();
            }
            choose!(14 1 2 3 4 5 6 7 8 9 10 11 12 13);
            if edge {
                t.store_scratch();
            }
        }
    }
}
