//! A second memory for tests: real blocks of its own, reached by copies alone, which are counted.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::device::DeviceMemory;
use super::pool::{Maker, Pool};
use crate::device::Device;

/// A device that has memory and nothing that computes.
pub struct Echo {
    pool: Pool<Echoes>,
    sent: AtomicUsize,
    fetched: AtomicUsize,
}

/// Makes blocks of an [`Echo`]: known by their addresses, as a driver's are.
struct Echoes;

struct Raw {
    address: u64,
    size: usize,
}

impl Maker for Echoes {
    type Block = Raw;
    fn make(&self, size: usize) -> Option<Raw> {
        // Nothing may be read that was not written.
        let bytes = vec![0xff_u8; size].into_boxed_slice();
        Some(Raw { address: Box::into_raw(bytes).cast::<u8>() as u64, size })
    }
    fn size(block: &Raw) -> usize {
        block.size
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let bytes = std::ptr::slice_from_raw_parts_mut(self.address as *mut u8, self.size);
        // SAFETY: made in `make`, of the same size.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

impl Echo {
    /// A memory of its own, for one test.
    pub fn device() -> (Device, &'static Self) {
        let pool = Pool::new(Echoes);
        let echo: &Self = Box::leak(Box::new(Self { pool, sent: 0.into(), fetched: 0.into() }));
        (Device::Echo(echo), echo)
    }

    /// How many copies went to the device and came from it since the last call.
    pub fn copies(&self) -> [usize; 2] {
        [&self.sent, &self.fetched].map(|count| count.swap(0, Ordering::Relaxed))
    }

    /// Takes the last copy to the device out of the count.
    pub fn forget_one_sent(&self) {
        self.sent.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.pool.stats().used_bytes
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echo")
    }
}

impl DeviceMemory for Echo {
    fn take(&self, bytes: usize) -> (u64, usize) {
        let Raw { address, size } = *ManuallyDrop::new(self.pool.take(bytes));
        (address, size)
    }

    fn put(&self, address: u64, size: usize) {
        self.pool.put(Raw { address, size });
    }

    fn send(&self, from: &[u8], address: u64) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        // SAFETY: buffers keep within their blocks, and copies are made in order.
        unsafe { (address as *mut u8).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }

    fn fetch(&self, address: u64, to: &mut [u8]) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as in `send`.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(address as *const u8, to.len()) };
    }

    fn clear(&self, address: u64, bytes: usize) {
        // SAFETY: as in `send`.
        unsafe { (address as *mut u8).write_bytes(0, bytes) };
    }
}
