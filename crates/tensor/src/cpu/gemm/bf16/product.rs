//! A product, superblock by superblock.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::cut::Cut;
use super::pack::{Slivers, pack_strips};
use super::{Bf16Product, Kernel, STRIP, Target, Tile};
use crate::cpu::gemm::plan::fork;
use crate::cpu::gemm::scratch::{Scratch, bytes};
use crate::memory::Buffer;

/// Slivers or strips that a worker packs at a time.
const PACK: usize = 4;

/// A product under way.
struct Running<'a> {
    p: &'a Bf16Product<'a>,
    cut: Cut,
    /// Where sums lie: C itself, or memory of their own where C is narrower and k has several blocks.
    sums: *mut f32,
    sums_row: usize,
    a: *mut u16,
    b: *mut u16,
}

// SAFETY: workers write disjoint slivers, strips and parts of the sums.
unsafe impl Sync for Running<'_> {}

/// A superblock: strips and blocks from these on.
#[derive(Clone, Copy)]
struct Super {
    strip: usize,
    strips: usize,
    block: usize,
    blocks: usize,
}

/// A job's slivers and strips, counted in the whole product.
#[derive(Clone)]
struct Job {
    slivers: std::ops::Range<usize>,
    strips: std::ops::Range<usize>,
}

/// A worker's own memory: packed slivers, and a tile.
#[derive(Clone, Copy)]
struct Own {
    a: *mut u16,
    tile: *mut f32,
}

/// Computes a product.
///
/// # Safety
/// As [`gemm`](crate::cpu::gemm::gemm), and the kernel's instructions exist.
pub(super) unsafe fn run<K: Kernel>(p: &Bf16Product<'_>, threads: usize) {
    let cut = Cut::new::<K>(p, threads);
    let apart = matches!(p.c, Target::Bf16(_)) && cut.blocks > 1;
    let a_len = if cut.shared_a { cut.slivers * cut.group * cut.sliver_len } else { 0 };
    let b_len = cut.chunk * cut.group * cut.strip_len;
    let mut packed = Buffer::uninit(2 * (a_len.next_multiple_of(32) + b_len));
    let mut sums = apart.then(|| Buffer::uninit(4 * p.m * p.n));
    let a = packed.as_slice_mut::<f32>().as_mut_ptr().cast::<u16>();
    let (sums, sums_row) = match (&mut sums, p.c) {
        (Some(sums), _) => (sums.as_slice_mut::<f32>().as_mut_ptr(), p.n),
        (None, Target::F32(c)) => (c, p.ldc),
        (None, Target::Bf16(_)) => (std::ptr::null_mut(), 0),
    };
    let b = a.wrapping_add(a_len.next_multiple_of(32));
    let running = Running { p, cut, sums, sums_row, a, b };
    let cut = &running.cut;
    for strip in (0..cut.strips).step_by(cut.chunk) {
        for block in (0..cut.blocks).step_by(cut.group) {
            let (strips, blocks) =
                (cut.chunk.min(cut.strips - strip), cut.group.min(cut.blocks - block));
            // SAFETY: the caller's promises.
            unsafe { running.superblock::<K>(Super { strip, strips, block, blocks }) }
        }
    }
}

impl Running<'_> {
    /// # Safety
    /// As [`run`].
    unsafe fn superblock<K: Kernel>(&self, s: Super) {
        let cut = &self.cut;
        let (taken, packed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // SAFETY: packing is over before any job begins, and both are the caller's promises.
        fork(0..cut.workers, &|_| unsafe { self.pack::<K>(s, &packed) });
        fork(0..cut.workers, &|_| {
            let counts = [
                if cut.shared_a { 0 } else { cut.rows * cut.sliver_len / 2 },
                K::MR.next_multiple_of(16) * STRIP,
            ];
            let mut scratch = Scratch::take(bytes::<f32, 2>(counts));
            let [a, tile] = scratch.parts::<f32, 2>(counts);
            let own = Own { a: a.cast(), tile };
            // SAFETY: the caller vouches for the instructions; jobs are disjoint parts of C.
            unsafe {
                K::begin();
                while let Some(job) = self.job(s, taken.fetch_add(1, Relaxed)) {
                    self.compute::<K>(s, &job, own);
                }
                K::end();
            }
        });
    }

    fn job(&self, s: Super, index: usize) -> Option<Job> {
        let cut = &self.cut;
        let down = cut.slivers.div_ceil(cut.rows);
        let (row, col) = (index % down * cut.rows, index / down * cut.cols);
        (col < s.strips).then(|| Job {
            slivers: row..(row + cut.rows).min(cut.slivers),
            strips: s.strip + col..s.strip + (col + cut.cols).min(s.strips),
        })
    }

    /// Packs what is shared, a few strips or slivers at a time.
    ///
    /// # Safety
    /// As [`run`].
    unsafe fn pack<K: Kernel>(&self, s: Super, taken: &AtomicUsize) {
        let cut = &self.cut;
        let across = s.strips.div_ceil(PACK);
        let down = if cut.shared_a { cut.slivers.div_ceil(PACK) } else { 0 };
        loop {
            let index = taken.fetch_add(1, Relaxed);
            let (at, part) = (index / (across + down), index % (across + down));
            if at >= s.blocks {
                return;
            }
            // SAFETY: each part is packed once; the caller vouches for the operands.
            unsafe {
                if part < across {
                    let first = part * PACK;
                    let (k0, k) = self.block(s.block + at);
                    let col = (s.strip + first) * STRIP;
                    let cols = (PACK.min(s.strips - first) * STRIP).min(self.p.n - col);
                    let to = self.strip(s, at, s.strip + first);
                    pack_strips(self.p.b.from(k0, col), (k, cols), cut.strip_len, to.cast_mut());
                } else {
                    let first = (part - across) * PACK;
                    let slivers = first..(first + PACK).min(cut.slivers);
                    let to = self.sliver(at, first).cast_mut();
                    self.pack_a::<K>(s.block + at, slivers, to);
                }
            }
        }
    }

    /// The first column of a block of k, and how many there are.
    fn block(&self, block: usize) -> (usize, usize) {
        let k0 = block * self.cut.depth;
        (k0, self.cut.depth.min(self.p.k - k0))
    }

    /// Where strip `strip` of the superblock's block `at` is packed.
    fn strip(&self, s: Super, at: usize, strip: usize) -> *const u16 {
        self.b.wrapping_add((at * self.cut.chunk + strip - s.strip) * self.cut.strip_len)
    }

    /// Where a shared sliver of the superblock's block `at` is packed.
    fn sliver(&self, at: usize, sliver: usize) -> *const u16 {
        self.a.wrapping_add((at * self.cut.slivers + sliver) * self.cut.sliver_len)
    }

    /// # Safety
    /// As [`run`]; `to` has room for the slivers.
    unsafe fn pack_a<K: Kernel>(
        &self,
        block: usize,
        slivers: std::ops::Range<usize>,
        to: *mut u16,
    ) {
        let (k0, k) = self.block(block);
        let row = slivers.start * K::MR;
        let rows = (slivers.len() * K::MR).min(self.p.m - row);
        let (depth, len) = (self.cut.depth, self.cut.sliver_len);
        // SAFETY: the caller's promises.
        unsafe { K::pack_a(self.p.a.from(row, k0), Slivers { rows, k, depth, mr: K::MR, len }, to) }
    }

    /// Multiplies a job's slivers and strips, in all blocks of the superblock.
    ///
    /// # Safety
    /// As [`run`]; the strips, and shared slivers, are packed.
    unsafe fn compute<K: Kernel>(&self, s: Super, job: &Job, own: Own) {
        for at in 0..s.blocks {
            let last = s.block + at + 1 == self.cut.blocks;
            if !self.cut.shared_a {
                // SAFETY: the caller's promises; a worker's memory has room for a job's slivers.
                unsafe { self.pack_a::<K>(s.block + at, job.slivers.clone(), own.a) }
            }
            for first in job.strips.clone().step_by(self.cut.panel) {
                let panel = first..(first + self.cut.panel).min(job.strips.end);
                for sliver in job.slivers.clone() {
                    let a = if self.cut.shared_a {
                        self.sliver(at, sliver)
                    } else {
                        own.a.wrapping_add((sliver - job.slivers.start) * self.cut.sliver_len)
                    };
                    for strip in panel.clone() {
                        // SAFETY: the caller's promises.
                        unsafe { self.tile::<K>(s, at, (sliver, a), strip, own.tile) }
                    }
                }
                if last {
                    // SAFETY: these sums are complete.
                    unsafe { self.finish(job.slivers.clone(), K::MR, panel) }
                }
            }
        }
    }

    /// # Safety
    /// As [`compute`](Self::compute).
    unsafe fn tile<K: Kernel>(
        &self,
        s: Super,
        at: usize,
        (sliver, a): (usize, *const u16),
        strip: usize,
        scratch: *mut f32,
    ) {
        let p = self.p;
        let (row, col) = (sliver * K::MR, strip * STRIP);
        let (rows, cols) = (K::MR.min(p.m - row), STRIP.min(p.n - col));
        let first = s.block + at == 0;
        let (in_place, add) = (!self.sums.is_null(), !first || self.adds());
        let tile = Tile {
            rows,
            // A whole tile of sums fits the scratch, whatever C has room for.
            cols: if in_place { cols } else { STRIP },
            k: self.block(s.block + at).1,
            depth: self.cut.depth,
            a,
            a_lines: p.a.rows_adjacent(),
            b: self.strip(s, at, strip),
            c: if in_place { self.sums.wrapping_add(row * self.sums_row + col) } else { scratch },
            ldc: if in_place { self.sums_row } else { STRIP },
            add,
            alpha: p.alpha,
            scratch,
        };
        // SAFETY: the caller's promises.
        unsafe {
            K::tile(&tile);
            if !in_place {
                for i in 0..rows {
                    let sums = scratch.add(i * STRIP);
                    p.c.narrow((row + i) * p.ldc + col, sums, cols, p.accumulate);
                }
            }
        }
    }

    /// Whether the first block adds to the sums as they are.
    fn adds(&self) -> bool {
        self.p.accumulate && matches!(self.p.c, Target::F32(_))
    }

    /// Rounds complete sums into C where they lie apart, and runs the epilogue.
    ///
    /// # Safety
    /// The sums are complete, and nobody else touches this part of C.
    unsafe fn finish(
        &self,
        slivers: std::ops::Range<usize>,
        mr: usize,
        strips: std::ops::Range<usize>,
    ) {
        let p = self.p;
        let rows = slivers.start * mr..(slivers.end * mr).min(p.m);
        let cols = strips.start * STRIP..(strips.end * STRIP).min(p.n);
        if matches!(p.c, Target::Bf16(_)) && !self.sums.is_null() {
            for i in rows.clone() {
                // SAFETY: the caller's promises.
                unsafe {
                    let sums = self.sums.add(i * self.sums_row + cols.start);
                    p.c.narrow(i * p.ldc + cols.start, sums, cols.len(), p.accumulate);
                }
            }
        }
        if let Some(epilogue) = p.epilogue {
            epilogue(rows, cols);
        }
    }
}
