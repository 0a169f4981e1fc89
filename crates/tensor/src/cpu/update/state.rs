//! Memory of optimizer state, in several precisions.

use std::fmt;

use half::bf16;

use super::quantile::{BLOCK, Codes};
use crate::cpu::parallel::Shared;
use crate::cuda::Gpu;
use crate::dtype::{DType, Element};
use crate::memory::Buffer;
use crate::real::{Kernel, Lanes, Simd, Stored, dispatch};

/// How a slot of state is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// As numbers of this type.
    Number(DType),
    /// As the parameters themselves in single precision: a walk takes these and keeps them, and
    /// leaves what they round to in the parameters.
    Master,
    /// As codes of eight bits in blocks of 256 with a scale in single precision each; `signed` where
    /// numbers below zero occur.
    Block8 {
        /// Whether numbers below zero occur.
        signed: bool,
    },
}

impl StateKind {
    /// Bytes for `len` numbers.
    pub fn bytes(self, len: usize) -> usize {
        match self {
            Self::Number(dtype) => len * dtype.size(),
            Self::Master => len * size_of::<f32>(),
            Self::Block8 { .. } => len + len.div_ceil(BLOCK) * size_of::<f32>(),
        }
    }
}

/// Memory for one slot of optimizer state, from the pool.
pub struct StateArena {
    kind: StateKind,
    buffer: Buffer,
    /// Of each block of 256; empty where the kind has none.
    scales: Buffer,
}

impl StateArena {
    /// `len` zeros.
    pub fn zeros(len: usize, kind: StateKind) -> Self {
        let (size, blocks) = match kind {
            StateKind::Number(dtype) => (dtype.size(), 0),
            StateKind::Master => (size_of::<f32>(), 0),
            StateKind::Block8 { .. } => (1, len.div_ceil(BLOCK)),
        };
        let mut buffer = Buffer::zeroed(len * size);
        if let StateKind::Block8 { signed } = kind {
            buffer.as_slice_mut::<u8>().fill(Codes::of(signed).zero());
        }
        Self { kind, buffer, scales: Buffer::zeroed(blocks * size_of::<f32>()) }
    }

    /// How the numbers are stored.
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    /// What is stored: numbers of the kind's type, or codes as `u8`.
    ///
    /// # Panics
    /// Where `T` is another type.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        self.check(T::DTYPE);
        self.buffer.as_slice()
    }

    /// What is stored, to write.
    ///
    /// # Panics
    /// As [`as_slice`](StateArena::as_slice).
    pub fn as_slice_mut<T: Element>(&mut self) -> &mut [T] {
        self.check(T::DTYPE);
        self.buffer.as_slice_mut()
    }

    /// The scales of blocks of eight-bit codes, to read and write; none for other kinds.
    pub fn scales_mut(&mut self) -> &mut [f32] {
        self.scales.as_slice_mut()
    }

    /// The scales of blocks of eight-bit codes; none for other kinds.
    pub fn scales(&self) -> &[f32] {
        self.scales.as_slice()
    }

    fn check(&self, dtype: DType) {
        let stored = match self.kind {
            StateKind::Number(dtype) => dtype,
            StateKind::Master => DType::F32,
            StateKind::Block8 { .. } => DType::U8,
        };
        assert!(dtype == stored, "state holds {stored}, not {dtype}");
    }

    fn len(&self) -> usize {
        match self.kind {
            StateKind::Number(dtype) => self.buffer.bytes() / dtype.size(),
            StateKind::Master => self.buffer.bytes() / size_of::<f32>(),
            StateKind::Block8 { .. } => self.buffer.bytes(),
        }
    }

    /// The address of the first number on a GPU, to read and write.
    pub(crate) fn made_on(&mut self, gpu: &Gpu) -> u64 {
        self.buffer.on_mut(gpu.device()).unwrap_or_default()
    }

    pub(super) fn shared(&mut self) -> Slot {
        Slot {
            kind: self.kind,
            len: self.len(),
            data: Shared::from_ptr(self.buffer.as_mut_ptr()),
            scales: Shared::from_ptr(self.scales.as_mut_ptr()),
        }
    }
}

impl fmt::Debug for StateArena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateArena")
            .field("kind", &self.kind)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A slot that tasks share, each at its own positions.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub kind: StateKind,
    pub len: usize,
    data: Shared<u8>,
    scales: Shared<f32>,
}

impl Slot {
    /// The numbers in `at..at + len`, for a slot that holds `T`.
    ///
    /// # Safety
    /// They lie within the slot, which holds `T`, and nobody else touches them.
    #[allow(clippy::mut_from_ref, reason = "tasks share the slot, each at its own positions")]
    #[allow(clippy::cast_ptr_alignment, reason = "buffers are aligned for every element")]
    pub unsafe fn numbers<T: Element>(&self, at: usize, len: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe {
            let start = self.data.at(at * size_of::<T>()).cast();
            std::slice::from_raw_parts_mut(start, len)
        }
    }

    /// Reads numbers from position `at`, a block's beginning.
    ///
    /// # Safety
    /// They lie within the slot, and nobody else writes them.
    pub unsafe fn load(&self, at: usize, to: &mut [f32]) {
        // SAFETY: the caller's promise; blocks of 256 from a block's beginning have a scale each.
        unsafe {
            match self.kind {
                StateKind::Block8 { signed } => {
                    let codes = self.data.slice(at..at + to.len());
                    let scales = self.scales.slice(at / BLOCK..(at + to.len()).div_ceil(BLOCK));
                    dispatch(Decode { codes, scales, to, map: Codes::of(signed) });
                }
                StateKind::Number(DType::BF16) => widen(self.numbers(at, to.len()), to),
                StateKind::Number(_) | StateKind::Master => {
                    to.copy_from_slice(self.numbers(at, to.len()));
                }
            }
        }
    }

    /// Writes numbers from position `at`, a block's beginning; with `seeds`, rounded to either
    /// neighbour at random.
    ///
    /// # Safety
    /// They lie within the slot, and nobody else reads or writes them.
    pub unsafe fn store(&self, at: usize, from: &[f32], seeds: Option<[u32; 2]>) {
        // SAFETY: as in `load`.
        unsafe {
            match self.kind {
                StateKind::Block8 { signed } => {
                    let codes = self.data.slice(at..at + from.len());
                    let scales = self.scales.slice(at / BLOCK..(at + from.len()).div_ceil(BLOCK));
                    dispatch(Encode { from, codes, scales, map: Codes::of(signed), seeds, at });
                }
                StateKind::Number(DType::BF16) => {
                    narrow(from, self.numbers(at, from.len()), seeds, at);
                }
                StateKind::Number(_) | StateKind::Master => {
                    self.numbers(at, from.len()).copy_from_slice(from);
                }
            }
        }
    }
}

struct Decode<'a> {
    codes: &'a [u8],
    scales: &'a [f32],
    to: &'a mut [f32],
    map: &'a Codes,
}

impl Kernel for Decode<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let blocks = self.codes.chunks(BLOCK).zip(self.to.chunks_mut(BLOCK));
        for ((codes, to), scale) in blocks.zip(self.scales) {
            self.map.decode::<S>(codes, *scale, to);
        }
    }
}

struct Encode<'a> {
    from: &'a [f32],
    codes: &'a mut [u8],
    scales: &'a mut [f32],
    map: &'a Codes,
    seeds: Option<[u32; 2]>,
    at: usize,
}

impl Kernel for Encode<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let blocks = self.from.chunks(BLOCK).zip(self.codes.chunks_mut(BLOCK));
        for (i, ((from, codes), scale)) in blocks.zip(self.scales).enumerate() {
            *scale = self.map.encode::<S>(from, codes, self.seeds, self.at + i * BLOCK);
        }
    }
}

/// bfloat16 as single precision.
pub(super) fn widen(from: &[bf16], to: &mut [f32]) {
    dispatch(Widen { from, to });
}

/// Single precision as bfloat16: to the nearest, ties to even, or with `seeds` to either neighbour,
/// the nearer one likelier in proportion, by a hash of the position, which counts from `at`.
pub(super) fn narrow(from: &[f32], to: &mut [bf16], seeds: Option<[u32; 2]>, at: usize) {
    match seeds {
        None => dispatch(Narrow { from, to }),
        Some(seeds) => dispatch(Dither { from, to, seeds, at }),
    }
}

struct Widen<'a> {
    from: &'a [bf16],
    to: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

struct Narrow<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
}

impl Kernel for Narrow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = S::F32::LANES;
        let whole = self.from.len() / lanes * lanes;
        for i in (0..whole).step_by(lanes) {
            // SAFETY: a whole register from `i` lies within both.
            unsafe {
                let x = <f32 as Stored>::load::<S>(self.from.as_ptr().add(i));
                <bf16 as Stored>::store::<S>(x, self.to.as_mut_ptr().add(i));
            }
        }
        for (to, from) in self.to[whole..].iter_mut().zip(&self.from[whole..]) {
            *to = bf16::from_f32(*from);
        }
    }
}

struct Dither<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
    seeds: [u32; 2],
    at: usize,
}

impl Kernel for Dither<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (i, (to, from)) in self.to.iter_mut().zip(self.from).enumerate() {
            let noise = crate::random::hash((self.at + i) as u32, self.seeds) >> 16;
            // What does not fit is a fraction of the last place: noise below one place carries with
            // that probability. Infinity and NaN have nothing to carry into.
            let bits =
                if from.is_finite() { from.to_bits().wrapping_add(noise) } else { from.to_bits() };
            *to = bf16::from_bits((bits >> 16) as u16);
        }
    }
}
