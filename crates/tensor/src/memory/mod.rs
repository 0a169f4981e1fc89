//! Buffers, each with a copy in the processor's memory and one in a device's, and the pools that
//! their memory comes from and returns to.
//!
//! Either copy may be absent: a new buffer has none, and who writes first decides where it lies. The
//! other is made when somebody reads there, once. Values never change once made, so two copies never
//! disagree; what changes a buffer holds it alone, and drops the copy that falls behind.

mod cell;
mod device;
#[cfg(test)]
mod echo;
mod host;
mod mapped;
mod pool;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::cuda::Gpu;
use crate::device::Device;
use crate::dtype::Element;
use crate::profile::timed;
use cell::Lazy;
pub(crate) use device::DeviceMemory;
#[cfg(test)]
pub(crate) use echo::Echo;
use host::{Block, Host};
pub use mapped::MappedFile;
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

/// Memory that tensors share; returns to its pool when the last one lets go.
pub(crate) struct Buffer {
    bytes: usize,
    place: Place,
    host: Lazy<Block>,
    /// Boxed, so that buffers without one are small.
    device: Lazy<Box<device::Block>>,
}

/// Its size: what it holds is for tensors to show.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Buffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Whether a buffer has memory of its own.
enum Place {
    /// It has.
    Own,
    /// It is a window of this buffer, from this byte on: where that lies, the window does, and what
    /// it has of its own are copies elsewhere.
    Within(Arc<Buffer>, usize),
}

impl Buffer {
    /// A buffer of at least `bytes`, which lies nowhere yet; its content is whatever will be there.
    pub fn uninit(bytes: usize) -> Self {
        Self::placed(bytes, Place::Own)
    }

    fn placed(bytes: usize, place: Place) -> Self {
        Self { bytes, place, host: Lazy::empty(), device: Lazy::empty() }
    }

    /// The bytes `range` of `arena`, as a buffer that can be shared, or held alone, by itself.
    ///
    /// # Safety
    /// Windows of an arena lie apart, and the arena itself is read and written only while each of
    /// its windows is held by nobody but the one who does so.
    pub unsafe fn window(arena: &Arc<Self>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= arena.bytes, "a window leaves its arena");
        Self::placed(range.len(), Place::Within(arena.clone(), range.start))
    }

    /// A buffer of `bytes` zeros, on the host.
    pub fn zeroed(bytes: usize) -> Self {
        let mut buffer = Self::uninit(bytes);
        buffer.as_slice_mut::<u8>().fill(0);
        buffer
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The arena that this is a window of and that lies on a device, and where in it.
    fn abroad(&self) -> Option<(&device::Block, usize)> {
        match &self.place {
            Place::Within(arena, from) => arena.device.get().map(|block| (&**block, *from)),
            Place::Own => None,
        }
    }

    /// The start of the host's copy. Writing through it needs what a `&mut` would: that nobody else
    /// reads or writes the same elements at the time, and that there is no other copy.
    #[inline]
    fn start(&self) -> *mut u8 {
        match self.host.get() {
            Some(block) => block.start.as_ptr(),
            None => self.find_start(),
        }
    }

    /// [`start`](Self::start) where there is no copy of its own.
    #[inline(never)]
    fn find_start(&self) -> *mut u8 {
        match &self.place {
            Place::Within(arena, from) if arena.device.get().is_none() => {
                arena.start().wrapping_add(*from)
            }
            _ => self.host.get_or_make(|| self.to_host()).start.as_ptr(),
        }
    }

    /// A block of the host's memory with what the device has, if that has anything.
    fn to_host(&self) -> Block {
        let block = POOL.take(self.bytes);
        let own = self.device.get().map(|block| (&**block, 0));
        if let Some((device, from)) = own.or_else(|| self.abroad()) {
            let _timer = timed("to host", 0.0, self.bytes as f64);
            // SAFETY: the block was just made and has that many bytes.
            let to = unsafe { std::slice::from_raw_parts_mut(block.start.as_ptr(), self.bytes) };
            device.memory.fetch(device.address + from as u64, to);
        }
        block
    }

    /// The host's copy, if there is one.
    fn on_host(&self) -> Option<&[u8]> {
        let there = match &self.place {
            Place::Within(arena, _) if arena.device.get().is_none() => arena.host.get().is_some(),
            _ => self.host.get().is_some(),
        };
        there.then(|| self.as_slice())
    }

    /// The GPU that it lies on, if it lies on one, whether or not the host has a copy, too.
    pub fn gpu(&self) -> Option<&'static Gpu> {
        let own = self.device.get().map(|block| block.memory);
        own.or_else(|| self.abroad().map(|(block, _)| block.memory))?.gpu()
    }

    /// The address of the copy on `device`, made where there is none; `None` where the device is the
    /// processor.
    pub fn on(&self, device: Device) -> Option<u64> {
        let memory = device.memory()?;
        if let Some((block, from)) = self.abroad() {
            return Some(block.address + from as u64);
        }
        let block = self.device.get_or_make(|| Box::new(self.to_device(memory)));
        Some(block.address)
    }

    /// A block of the device's memory with what the host has, if that has anything.
    fn to_device(&self, memory: &'static dyn DeviceMemory) -> device::Block {
        let block = device::Block::take(memory, self.bytes);
        if let Some(bytes) = self.on_host() {
            let _timer = timed("to device", 0.0, self.bytes as f64);
            memory.send(bytes, block.address);
        }
        block
    }

    /// [`on`](Self::on) to write there: the host's copy is dropped.
    pub fn on_mut(&mut self, device: Device) -> Option<u64> {
        let address = self.on(device)?;
        self.drop_host();
        Some(address)
    }

    fn drop_host(&mut self) {
        if let Some(block) = self.host.take() {
            POOL.put(block);
        }
    }

    /// Writes zeros to bytes, where the buffer lies: on the host, if it lies nowhere.
    pub fn clear(&mut self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.bytes, "zeros beyond a buffer");
        match self.device.get() {
            Some(block) => {
                block.memory.clear(block.address + range.start as u64, range.len());
                self.drop_host();
            }
            None => self.as_slice_mut::<u8>()[range].fill(0),
        }
    }

    /// For a window: drops what it has of its own, because the arena is about to change.
    pub fn forget_copies(&mut self) {
        self.drop_host();
        drop(self.device.take());
    }

    /// The start of the host's copy, to read.
    #[inline]
    pub fn as_ptr<T: Element>(&self) -> *const T {
        self.start().cast_const().cast()
    }

    /// The start of the host's copy, to write; the device's is dropped. Writing through it later
    /// needs what a `&mut` would.
    ///
    /// # Panics
    /// For a window of an arena that lies on a device: [`Fetched`] changes those.
    #[inline]
    pub fn as_mut_ptr<T: Element>(&mut self) -> *mut T {
        if matches!(self.place, Place::Own) {
            if self.host.get().is_none() {
                let block = self.to_host();
                self.host.own_or_make(|| block);
            }
            drop(self.device.take());
        } else {
            assert!(self.abroad().is_none(), "a window of a device's arena is changed there");
            drop(self.device.take());
        }
        self.start().cast()
    }

    /// All elements.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        // SAFETY: a buffer is aligned for every element type, every bit pattern is a valid element,
        // and tensors write only while they hold the buffer alone.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.bytes / size_of::<T>()) }
    }

    /// All elements, to write.
    pub fn as_slice_mut<T: Element>(&mut self) -> &mut [T] {
        let count = self.bytes / size_of::<T>();
        // SAFETY: as in `as_slice`, and `&mut self` excludes others; windows keep out of each
        // other's way and out of their arena's (`window`).
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), count) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.drop_host();
    }
}

/// A part of an arena that lies on a device, brought to the host to be changed; goes back when
/// dropped.
#[derive(Debug)]
pub(crate) struct Fetched {
    arena: Arc<Buffer>,
    from: usize,
    host: Buffer,
}

impl Fetched {
    /// The bytes `range` of `arena`; `None` where the host has them.
    pub fn part(arena: &Arc<Buffer>, range: Range<usize>) -> Option<Self> {
        arena.device.get()?;
        // SAFETY: the window is only read, and gone before anybody else writes.
        let window = unsafe { Buffer::window(arena, range.clone()) };
        let mut host = Buffer::uninit(range.len());
        let block = window.to_host();
        host.host.own_or_make(|| block);
        Some(Self { arena: arena.clone(), from: range.start, host })
    }

    /// The elements, to change.
    pub fn as_slice_mut<T: Element>(&mut self) -> &mut [T] {
        self.host.as_slice_mut()
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let block = self.arena.device.get().expect("an arena stays where it lies");
        let _timer = timed("to device", 0.0, self.host.bytes as f64);
        block.memory.send(self.host.as_slice(), block.address + self.from as u64);
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
