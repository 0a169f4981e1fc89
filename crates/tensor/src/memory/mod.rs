//! Buffers, and the pool that they come from and return to.
//!
//! A training step asks for the same sizes again and again. The pool keeps what was freed, so that
//! from the third step on nothing is asked of the system: no page faults, no allocator locks, the
//! same memory every step. Large buffers lie on huge pages where the system grants them.

mod host;
mod pool;

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::dtype::Element;
use host::{Block, Host};
use pool::Pool;
pub use pool::PoolStats;

/// Buffers begin on a boundary of this many bytes: a cache line, and the widest register.
pub(crate) const ALIGNMENT: usize = 64;

/// The pool of the processor's memory.
static POOL: Pool<Host> = Pool::new(Host);

/// What the pool of buffers holds and has done.
pub fn pool_stats() -> PoolStats {
    POOL.stats()
}

/// Gives all memory that no tensor uses back to the system.
pub fn release_unused_memory() {
    POOL.release();
}

/// Memory that tensors share; returns to the pool when the last one lets go.
pub(crate) struct Buffer {
    place: Place,
    bytes: usize,
}

/// Where a buffer's memory is.
enum Place {
    /// In a block of its own.
    Block(Block),
    /// Within another buffer, from this byte on.
    Within(Arc<Buffer>, usize),
    /// Back in the pool.
    Gone,
}

impl Buffer {
    /// A buffer of at least `bytes`; its content is whatever was there.
    pub fn uninit(bytes: usize) -> Self {
        Self { place: Place::Block(POOL.take(bytes)), bytes }
    }

    /// The bytes `range` of `arena`, as a buffer that can be shared, or held alone, by itself.
    ///
    /// # Safety
    /// Windows of an arena lie apart, and the arena itself is read and written only while each of
    /// its windows is held by nobody but the one who does so.
    pub unsafe fn window(arena: &Arc<Self>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= arena.bytes, "a window leaves its arena");
        Self { place: Place::Within(arena.clone(), range.start), bytes: range.len() }
    }

    /// A buffer of `bytes` zeros.
    pub fn zeroed(bytes: usize) -> Self {
        let buffer = Self::uninit(bytes);
        // SAFETY: the buffer was just made and has `bytes` writable bytes.
        unsafe { buffer.as_ptr::<u8>().write_bytes(0, bytes) };
        buffer
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The start, for kernels. Writing through it needs what a `&mut` would: that nobody else
    /// reads or writes the same elements at the time.
    pub fn as_ptr<T: Element>(&self) -> *mut T {
        match &self.place {
            Place::Block(block) => block.start.as_ptr().cast(),
            Place::Within(arena, from) => arena.as_ptr::<u8>().wrapping_add(*from).cast(),
            Place::Gone => NonNull::dangling().as_ptr(),
        }
    }

    /// All elements.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        // SAFETY: a buffer is aligned for every element type, every bit pattern is a valid element,
        // and tensors write only while they hold the buffer alone.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.bytes / size_of::<T>()) }
    }

    /// All elements, to write.
    pub fn as_slice_mut<T: Element>(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and `&mut self` excludes others; windows keep out of each
        // other's way and out of their arena's (`window`).
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.bytes / size_of::<T>()) }
    }
}

/// The bytes of elements.
pub(crate) fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: elements have no padding, and the bytes are borrowed for as long.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// The bytes of elements, to write.
pub(crate) fn bytes_of_mut<T: Element>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes_of`, and every bit pattern is a valid element.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size_of_val(elements)) }
}

/// The elements whose bytes these are.
///
/// # Panics
/// Where the bytes do not begin at an element's boundary.
pub(crate) fn elements_of_mut<T: Element>(bytes: &mut [u8]) -> &mut [T] {
    assert!(bytes.as_ptr().cast::<T>().is_aligned(), "bytes of elements are aligned");
    let count = bytes.len() / size_of::<T>();
    // SAFETY: aligned, long enough, and every bit pattern is a valid element.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) }
}

/// Maps a file for reading.
pub(crate) fn map_file(file: &std::fs::File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: whoever changes a file while it is being read gets garbage numbers, as with any
    // reader; no invariant of this program rests on the bytes staying the same.
    unsafe { memmap2::Mmap::map(file) }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Place::Block(block) = std::mem::replace(&mut self.place, Place::Gone) {
            POOL.put(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::host::MAPPED;
    use super::*;

    #[test]
    fn a_freed_block_serves_the_next_request_of_its_size() {
        let size = 77_824;
        let first = Buffer::uninit(size);
        let at = first.as_ptr::<u8>();
        drop(first);
        // Another test may take the block in between; one of a few tries meets it again.
        assert!((0..50).any(|_| Buffer::uninit(size).as_ptr::<u8>() == at));
    }

    #[test]
    fn large_blocks_are_aligned_and_writable() {
        let mut buffer = Buffer::zeroed(MAPPED + 100);
        assert_eq!(buffer.as_ptr::<u8>() as usize % ALIGNMENT, 0);
        let last = buffer.as_slice::<u8>().len() - 1;
        buffer.as_slice_mut::<u8>()[last] = 7;
        assert_eq!(buffer.as_slice::<u8>()[last], 7);
    }
}
