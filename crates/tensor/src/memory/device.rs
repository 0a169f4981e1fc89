//! What buffers need of a device's memory.

use crate::cuda::Gpu;

/// The memory of a device: blocks by their addresses, and copies to and from them.
///
/// Work on a device is done in the order that it was asked for, so that a block given back can be
/// handed out again at once.
pub(crate) trait DeviceMemory: std::fmt::Debug + Sync {
    /// The address and the size class of a block of at least `bytes`, which holds anything.
    fn take(&self, bytes: usize) -> (u64, usize);
    /// Takes the block at `address` back.
    fn put(&self, address: u64, size: usize);
    /// Copies bytes from the host to `address` on.
    fn send(&self, from: &[u8], address: u64);
    /// Copies bytes from `address` on to the host.
    fn fetch(&self, address: u64, to: &mut [u8]);
    /// Writes zeros to `bytes` bytes from `address` on.
    fn clear(&self, address: u64, bytes: usize);
    /// The GPU whose memory it is; `None` where nothing computes there.
    fn gpu(&self) -> Option<&Gpu> {
        None
    }
}

/// A block of a device's memory, which goes back to the device when dropped.
pub(crate) struct Block {
    pub memory: &'static dyn DeviceMemory,
    pub address: u64,
    /// Its size class.
    pub size: usize,
}

impl Block {
    pub fn take(memory: &'static dyn DeviceMemory, bytes: usize) -> Self {
        let (address, size) = memory.take(bytes);
        Self { memory, address, size }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.memory.put(self.address, self.size);
    }
}
