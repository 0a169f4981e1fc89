//! Blocks of the processor's memory.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;

use super::ALIGNMENT;
use super::pool::Maker;

/// From this size on, a block is mapped by itself, on huge pages where the system grants them.
pub(super) const MAPPED: usize = 4 << 20;

/// How far the starts of successive mapped blocks are moved apart. Blocks at distances of a large
/// power of two fall on the same banks of memory: a walk over four of them ran at a third of the
/// speed.
const STAGGER: usize = 261 * ALIGNMENT;

/// After how many blocks the shifts begin again.
const STAGGERS: usize = 16;

/// Blocks mapped so far.
static MAPS: AtomicUsize = AtomicUsize::new(0);

/// A block of the processor's memory.
pub(super) struct Block {
    pub start: NonNull<u8>,
    size: usize,
    /// Boxed, so that a buffer is small: most blocks have none.
    map: Option<Box<MmapMut>>,
}

// SAFETY: a block owns its memory like a `Box<[u8]>` does.
unsafe impl Send for Block {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Block {}

/// Makes blocks of the processor's memory.
pub(super) struct Host;

impl Maker for Host {
    type Block = Block;

    fn make(&self, size: usize) -> Option<Block> {
        if size >= MAPPED
            && let Ok(mut map) = MmapMut::map_anon(size + STAGGERS * STAGGER)
        {
            // A refusal only costs speed.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            let shift = MAPS.fetch_add(1, Ordering::Relaxed) % STAGGERS * STAGGER;
            let start = NonNull::from(&mut map[shift]);
            return Some(Block { start, size, map: Some(Box::new(map)) });
        }
        let layout = Block::layout(size);
        // Zeroed once, so that memory is initialised whoever reads it first.
        // SAFETY: `size` is at least one class unit, never zero.
        let start = unsafe { alloc_zeroed(layout) };
        Some(Block { start: NonNull::new(start)?, size, map: None })
    }

    fn size(block: &Block) -> usize {
        block.size
    }
}

impl Block {
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGNMENT).expect("a tensor's size fits the address space")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.map.is_none() {
            // SAFETY: allocated in `make` with the same layout.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) }
        }
    }
}
