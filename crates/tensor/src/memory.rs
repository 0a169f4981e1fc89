//! Buffers, and the pool that they come from and return to.
//!
//! A training step asks for the same sizes again and again. The pool keeps what was freed, so that
//! from the third step on nothing is asked of the system: no page faults, no allocator locks, the
//! same memory every step. Large buffers lie on huge pages where the system grants them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::MmapMut;

use crate::dtype::Element;

/// Buffers begin on a boundary of this many bytes: a cache line, and the widest register.
pub(crate) const ALIGNMENT: usize = 64;

/// From this size on, a block is mapped by itself, on huge pages where the system grants them.
const MAPPED: usize = 4 << 20;

/// How far the starts of successive mapped blocks are moved apart. Blocks at distances of a large
/// power of two fall on the same banks of memory: a walk over four of them ran at a third of the
/// speed.
const STAGGER: usize = 261 * ALIGNMENT;

/// After how many blocks the shifts begin anew.
const STAGGERS: usize = 16;

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

struct Block {
    start: NonNull<u8>,
    size: usize,
    map: Option<MmapMut>,
}

// SAFETY: a block owns its memory like a `Box<[u8]>` does.
unsafe impl Send for Block {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Block {}

/// Blocks mapped so far.
static MAPS: AtomicUsize = AtomicUsize::new(0);

impl Block {
    fn new(size: usize) -> Self {
        if size >= MAPPED
            && let Ok(mut map) = MmapMut::map_anon(size + STAGGERS * STAGGER)
        {
            // A refusal only costs speed.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            let shift = MAPS.fetch_add(1, Ordering::Relaxed) % STAGGERS * STAGGER;
            let start = NonNull::from(&mut map[shift]);
            return Self { start, size, map: Some(map) };
        }
        let layout = Self::layout(size);
        // Zeroed once, so that memory is initialised whoever reads it first.
        // SAFETY: `size` is at least one class unit, never zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, size, map: None }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGNMENT).expect("a tensor's size fits the address space")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.map.is_none() {
            // SAFETY: allocated in `new` with the same layout.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) }
        }
    }
}

/// What the pool holds and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Blocks asked of the system since the start.
    pub allocations: u64,
    /// Bytes asked of the system and not given back.
    pub reserved_bytes: usize,
    /// Bytes now in use by tensors, rounded up to the pool's size classes.
    pub used_bytes: usize,
    /// The most bytes that were in use at one time.
    pub peak_used_bytes: usize,
}

struct Pool {
    free: BTreeMap<usize, Vec<Block>>,
    stats: PoolStats,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    free: BTreeMap::new(),
    stats: PoolStats { allocations: 0, reserved_bytes: 0, used_bytes: 0, peak_used_bytes: 0 },
});

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the pool of buffers holds and has done.
pub fn pool_stats() -> PoolStats {
    pool().stats
}

/// Gives all memory that no tensor uses back to the system.
pub fn release_unused_memory() {
    let blocks = {
        let mut pool = pool();
        let free = std::mem::take(&mut pool.free);
        pool.stats.reserved_bytes -=
            free.iter().map(|(size, list)| size * list.len()).sum::<usize>();
        free
    };
    drop(blocks);
}

/// Sizes are rounded up so that nearly equal ones share blocks: eight classes per power of two.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGNMENT);
    let unit = (bytes.next_power_of_two() / 16).max(ALIGNMENT);
    bytes.next_multiple_of(unit)
}

impl Buffer {
    /// A buffer of at least `bytes`; its content is whatever was there.
    pub fn uninit(bytes: usize) -> Self {
        let wanted = class(bytes);
        let found = {
            let mut pool = pool();
            let found = pool.take(wanted);
            let size = found.as_ref().map_or(wanted, |block| block.size);
            pool.stats.used_bytes += size;
            pool.stats.peak_used_bytes = pool.stats.peak_used_bytes.max(pool.stats.used_bytes);
            if found.is_none() {
                pool.stats.allocations += 1;
                pool.stats.reserved_bytes += size;
            }
            found
        };
        let block = found.unwrap_or_else(|| Block::new(wanted));
        Self { place: Place::Block(block), bytes }
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

impl Pool {
    /// A free block of this class, or one up to half as large again.
    fn take(&mut self, wanted: usize) -> Option<Block> {
        let (_, list) =
            self.free.range_mut(wanted..=wanted + wanted / 2).find(|(_, list)| !list.is_empty())?;
        list.pop()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Place::Block(block) = std::mem::replace(&mut self.place, Place::Gone) {
            let mut pool = pool();
            pool.stats.used_bytes -= block.size;
            pool.free.entry(block.size).or_default().push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_little_and_hold_the_size() {
        for bytes in (1..100_000).chain([1 << 20, (1 << 20) + 1, 77_777_777]) {
            let class = class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGNMENT));
            assert!(class <= bytes.next_multiple_of(ALIGNMENT) * 9 / 8, "{bytes} -> {class}");
        }
    }

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
