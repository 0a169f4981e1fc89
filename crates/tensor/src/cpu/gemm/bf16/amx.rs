//! AMX: 2 x 2 sums of 16 x 16, on tiles that are the machine's or, in tests, an emulation.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::marker::PhantomData;

use super::pack::{Slivers, pack_rows, pack_tiles};
use super::source::Source;
use super::{Kernel, STRIP, Tile};

/// Operations on eight tiles of 16 rows of 64 bytes each, named by number; strides in bytes.
///
/// # Safety
/// The instructions exist and are permitted; memory that is named is valid.
pub(super) trait Tiles: 'static {
    unsafe fn configure();
    unsafe fn release();
    unsafe fn zero<const T: usize>();
    unsafe fn load<const T: usize>(from: *const u8, stride: usize);
    unsafe fn store<const T: usize>(to: *mut u8, stride: usize);
    /// `C += A B`, where a dword is two bfloat16 numbers, adjacent in k.
    unsafe fn dot<const C: usize, const A: usize, const B: usize>();
}

/// The machine's tiles. They live between instructions, where nothing else of this program uses them.
pub(super) struct Hardware;

#[repr(C, align(64))]
struct Config([u8; 64]);

/// All eight tiles whole: palette 1, widths from byte 16 on, row counts from byte 48 on.
static WHOLE: Config = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Config(bytes)
};

impl Tiles for Hardware {
    #[inline(always)]
    unsafe fn configure() {
        // SAFETY: reads 64 bytes; the caller vouches for the instruction.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly)) }
    }

    #[inline(always)]
    unsafe fn release() {
        // SAFETY: the caller vouches for the instruction.
        unsafe { asm!("tilerelease", options(nostack)) }
    }

    #[inline(always)]
    unsafe fn zero<const T: usize>() {
        // SAFETY: the caller vouches for the instruction.
        unsafe { asm!("tilezero tmm{t}", t = const T, options(nostack)) }
    }

    #[inline(always)]
    unsafe fn load<const T: usize>(from: *const u8, stride: usize) {
        // SAFETY: the caller vouches for the instruction and the memory.
        unsafe {
            asm!(
                "tileloadd tmm{t}, [{from} + {stride}*1]",
                t = const T, from = in(reg) from, stride = in(reg) stride, options(nostack),
            );
        }
    }

    #[inline(always)]
    unsafe fn store<const T: usize>(to: *mut u8, stride: usize) {
        // SAFETY: the caller vouches for the instruction and the memory.
        unsafe {
            asm!(
                "tilestored [{to} + {stride}*1], tmm{t}",
                t = const T, to = in(reg) to, stride = in(reg) stride, options(nostack),
            );
        }
    }

    #[inline(always)]
    unsafe fn dot<const C: usize, const A: usize, const B: usize>() {
        // SAFETY: the caller vouches for the instruction.
        unsafe {
            asm!(
                "tdpbf16ps tmm{c}, tmm{a}, tmm{b}",
                c = const C, a = const A, b = const B, options(nostack),
            );
        }
    }
}

/// The AMX kernel: 32 rows x 32 columns.
pub(super) struct Amx<T>(PhantomData<T>);

impl<T: Tiles> Kernel for Amx<T> {
    const MR: usize = 32;
    /// A sliver and a strip of so many columns are 32 KB each.
    const DEPTH: usize = 512;
    const FLOPS_PER_WORKER: usize = 12_000_000;

    unsafe fn begin() {
        // SAFETY: the caller vouches for the instructions.
        unsafe { T::configure() }
    }

    unsafe fn end() {
        // SAFETY: the caller vouches for the instructions.
        unsafe { T::release() }
    }

    fn sliver_len(depth: usize) -> usize {
        Self::MR * depth
    }

    unsafe fn pack_a(a: Source, slivers: Slivers, dst: *mut u16) {
        // Two tiles of 16 rows of 64 bytes for each 32 columns.
        // SAFETY: the caller's promises.
        unsafe {
            if a.rows_adjacent() {
                pack_tiles(a, slivers, dst);
            } else {
                pack_rows(a, slivers, (32, 32 * Self::MR), dst);
            }
        }
    }

    unsafe fn tile(t: &Tile) {
        // SAFETY: the caller vouches for the instructions and the tile; what C has no room for, and what
        // is to be scaled, goes through the scratch.
        unsafe {
            let scaled = t.alpha != 1.0;
            if t.rows == Self::MR && t.cols == STRIP && !scaled {
                multiply::<T>(t, t.c, t.ldc, t.add);
            } else if scaled {
                multiply::<T>(t, t.scratch, STRIP, false);
                t.scale_scratch();
            } else {
                if t.add {
                    t.load_scratch();
                }
                multiply::<T>(t, t.scratch, STRIP, t.add);
                t.store_scratch();
            }
        }
    }
}

/// `c[32, 32] (+)= a b`, over steps of 32 columns of A; only the upper half where A has at most 16 rows.
///
/// # Safety
/// As [`Kernel::tile`]; `c` has room.
#[inline(always)]
unsafe fn multiply<T: Tiles>(t: &Tile, c: *mut f32, ldc: usize, add: bool) {
    let (mut a, mut b, stride) = (t.a.cast::<u8>(), t.b.cast::<u8>(), 4 * ldc);
    let top = c.cast::<u8>();
    let low = top.wrapping_add(16 * stride);
    let steps = t.k.div_ceil(32);
    let both = t.rows > 16;
    // SAFETY: the caller's promises.
    unsafe {
        if add {
            T::load::<0>(top, stride);
            T::load::<1>(top.add(64), stride);
        } else {
            T::zero::<0>();
            T::zero::<1>();
        }
        if !both {
            for _ in 0..steps {
                T::load::<4>(a, 64);
                T::load::<6>(b, 128);
                T::dot::<0, 4, 6>();
                T::load::<7>(b.add(64), 128);
                T::dot::<1, 4, 7>();
                (a, b) = (a.wrapping_add(2048), b.wrapping_add(2048));
            }
            T::store::<0>(top, stride);
            T::store::<1>(top.add(64), stride);
            return;
        }
        if add {
            T::load::<2>(low, stride);
            T::load::<3>(low.add(64), stride);
        } else {
            T::zero::<2>();
            T::zero::<3>();
        }
        for _ in 0..steps {
            T::load::<4>(a, 64);
            T::load::<6>(b, 128);
            T::dot::<0, 4, 6>();
            T::load::<7>(b.add(64), 128);
            T::dot::<1, 4, 7>();
            T::load::<5>(a.add(1024), 64);
            T::dot::<2, 5, 6>();
            T::dot::<3, 5, 7>();
            (a, b) = (a.wrapping_add(2048), b.wrapping_add(2048));
        }
        T::store::<0>(top, stride);
        T::store::<1>(top.add(64), stride);
        T::store::<2>(low, stride);
        T::store::<3>(low.add(64), stride);
    }
}

/// The states that the system saves for a thread, as bits.
#[target_feature(enable = "xsave")]
fn saved() -> u64 {
    // SAFETY: the instruction exists where the feature does.
    unsafe { _xgetbv(0) }
}

/// Asks whether AMX may be used; the system grants it to the whole process.
pub(super) fn permission() -> Result<(), String> {
    const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
    const SAVED: u64 = 3 << 17;
    let edx = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 };
    if edx & TILES_AND_BF16 != TILES_AND_BF16 {
        return Err("this processor has no AMX".to_owned());
    }
    // SAFETY: OSXSAVE says that the instruction exists.
    let mask = if __cpuid(1).ecx & 1 << 27 == 0 { 0 } else { unsafe { saved() } };
    if mask & SAVED != SAVED {
        return Err("the system does not save AMX's tiles".to_owned());
    }
    if ask() {
        return Ok(());
    }
    // Refused where this thread's signal stack is too small for tiles; then once more without one.
    let none =
        libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: the stack is described whole, and its use is only given up.
    let dropped = unsafe { libc::sigaltstack(&raw const none, std::ptr::null_mut()) } == 0;
    if dropped && ask() {
        return Ok(());
    }
    Err(format!("the system does not permit AMX: {}", std::io::Error::last_os_error()))
}

/// Asks the system for the state that tiles need.
fn ask() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: two numbers; no memory is named.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// The tiles in plain Rust, for tests on machines without them.
#[cfg(test)]
pub(super) struct Emulated;

#[cfg(test)]
type Eight = Vec<[[u32; 16]; 16]>;

#[cfg(test)]
thread_local! {
    static TILES: std::cell::RefCell<Eight> = const { std::cell::RefCell::new(Vec::new()) };
}

#[cfg(test)]
impl Emulated {
    fn with(work: impl FnOnce(&mut Eight)) {
        TILES.with_borrow_mut(work);
    }
}

#[cfg(test)]
impl Tiles for Emulated {
    unsafe fn configure() {
        // NaN: what is not loaded or zeroed first shows.
        Self::with(|tiles| *tiles = vec![[[u32::MAX; 16]; 16]; 8]);
    }

    unsafe fn release() {
        Self::with(Vec::clear);
    }

    unsafe fn zero<const T: usize>() {
        Self::with(|tiles| tiles[T] = [[0; 16]; 16]);
    }

    unsafe fn load<const T: usize>(from: *const u8, stride: usize) {
        Self::with(|tiles| {
            for (i, row) in tiles[T].iter_mut().enumerate() {
                // SAFETY: the caller vouches for 16 rows of 64 bytes.
                *row = unsafe { from.add(i * stride).cast::<[u32; 16]>().read_unaligned() };
            }
        });
    }

    unsafe fn store<const T: usize>(to: *mut u8, stride: usize) {
        Self::with(|tiles| {
            for (i, row) in tiles[T].iter().enumerate() {
                // SAFETY: the caller vouches for 16 rows of 64 bytes.
                unsafe { to.add(i * stride).cast::<[u32; 16]>().write_unaligned(*row) };
            }
        });
    }

    /// As Intel's manual has it: even and odd k are summed apart, and then both are added to C.
    unsafe fn dot<const C: usize, const A: usize, const B: usize>() {
        let (even, odd) =
            (|x: u32| f32::from_bits(x << 16), |x: u32| f32::from_bits(x & 0xffff_0000));
        Self::with(|tiles| {
            for (i, j) in (0..256).map(|place| (place / 16, place % 16)) {
                let mut sums = [0.0_f32; 2];
                for p in 0..16 {
                    let (a, b) = (tiles[A][i][p], tiles[B][p][j]);
                    sums[0] = even(a).mul_add(even(b), sums[0]);
                    sums[1] = odd(a).mul_add(odd(b), sums[1]);
                }
                let c = f32::from_bits(tiles[C][i][j]);
                tiles[C][i][j] = (c + (sums[0] + sums[1])).to_bits();
            }
        });
    }
}
