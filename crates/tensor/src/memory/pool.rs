//! Blocks kept for the next request.
//!
//! A training step asks for the same sizes again and again. A pool keeps what was freed, so that
//! from the third step on nothing is asked of the system, and every step gets the same memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ALIGNMENT;
use crate::out_of_memory::refuse;

/// Makes blocks of one kind of memory.
pub(super) trait Maker {
    /// A block, which gives its memory back to the system when dropped.
    type Block;
    /// A new block of `size` bytes, a size class; none where there is no memory for it.
    fn make(&self, size: usize) -> Option<Self::Block>;
    /// The bytes of a block.
    fn size(block: &Self::Block) -> usize;
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

/// The blocks of one maker that nobody uses, by size.
pub(super) struct Pool<M: Maker> {
    maker: M,
    kept: Mutex<Kept<M::Block>>,
}

struct Kept<B> {
    free: BTreeMap<usize, Vec<B>>,
    stats: PoolStats,
}

impl<M: Maker> Pool<M> {
    pub const fn new(maker: M) -> Self {
        let stats =
            PoolStats { allocations: 0, reserved_bytes: 0, used_bytes: 0, peak_used_bytes: 0 };
        Self { maker, kept: Mutex::new(Kept { free: BTreeMap::new(), stats }) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<M::Block>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of at least `bytes`, which holds anything.
    pub fn take(&self, bytes: usize) -> M::Block {
        let wanted = class(bytes);
        let found = {
            let mut kept = self.kept();
            let found = kept.find(wanted);
            let size = found.as_ref().map_or(wanted, M::size);
            kept.stats.used_bytes += size;
            kept.stats.peak_used_bytes = kept.stats.peak_used_bytes.max(kept.stats.used_bytes);
            if found.is_none() {
                kept.stats.allocations += 1;
                kept.stats.reserved_bytes += size;
            }
            found
        };
        found.or_else(|| self.maker.make(wanted)).unwrap_or_else(|| self.make_room(wanted))
    }

    /// A block that was refused, asked for again once all that nobody uses is given back.
    fn make_room(&self, size: usize) -> M::Block {
        self.release();
        self.maker.make(size).unwrap_or_else(|| {
            let used = {
                let mut kept = self.kept();
                kept.stats.used_bytes -= size;
                kept.stats.reserved_bytes -= size;
                kept.stats.used_bytes
            };
            refuse(size, used)
        })
    }

    /// Takes a block back.
    pub fn put(&self, block: M::Block) {
        let (size, mut kept) = (M::size(&block), self.kept());
        kept.stats.used_bytes -= size;
        kept.free.entry(size).or_default().push(block);
    }

    pub fn stats(&self) -> PoolStats {
        self.kept().stats
    }

    /// Gives all blocks that nobody uses back to the system.
    pub fn release(&self) {
        let blocks = {
            let mut kept = self.kept();
            let free = std::mem::take(&mut kept.free);
            kept.stats.reserved_bytes -=
                free.iter().map(|(size, list)| size * list.len()).sum::<usize>();
            free
        };
        drop(blocks);
    }
}

impl<B> Kept<B> {
    /// A free block of this class, or one up to half as large again.
    fn find(&mut self, wanted: usize) -> Option<B> {
        let (_, list) =
            self.free.range_mut(wanted..=wanted + wanted / 2).find(|(_, list)| !list.is_empty())?;
        list.pop()
    }
}

/// Sizes are rounded up so that nearly equal ones share blocks: eight classes per power of two.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGNMENT);
    let unit = (bytes.next_power_of_two() / 16).max(ALIGNMENT);
    bytes.next_multiple_of(unit)
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
}
