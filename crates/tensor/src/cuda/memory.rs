//! A GPU's memory: blocks that come back, and who has how much of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::machine::Free;
use super::{Gpu, OPERATION, locked};
use crate::device::{DeviceError, fail};
use crate::memory::DeviceMemory;

/// Sizes below this are rounded up to it.
const LEAST: usize = 512;

/// What lies where.
#[derive(Default)]
pub(super) struct Blocks {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Blocks that nobody uses, by their size.
    free: BTreeMap<usize, Vec<u64>>,
    /// Who asked for the blocks in use.
    owner: BTreeMap<u64, &'static str>,
    /// Bytes in use, by who asked for them.
    used: BTreeMap<&'static str, usize>,
    reserved: usize,
}

impl Kept {
    /// A free block of this size, or one up to half as large again.
    fn find(&mut self, wanted: usize) -> Option<(u64, usize)> {
        let mut fitting = self.free.range_mut(wanted..=wanted + wanted / 2);
        let (size, list) = fitting.find(|(_, list)| !list.is_empty())?;
        list.pop().map(|address| (address, *size))
    }

    fn give(&mut self, address: u64, size: usize) {
        let name = OPERATION.get();
        self.owner.insert(address, name);
        *self.used.entry(name).or_default() += size;
    }
}

/// Sizes are rounded up so that nearly equal ones share blocks: eight classes per power of two.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(LEAST);
    bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(LEAST))
}

impl DeviceMemory for Gpu {
    fn take(&self, bytes: usize) -> (u64, usize) {
        let size = class(bytes);
        let mut kept = locked(&self.memory.kept);
        let (address, size) = match kept.find(size) {
            Some(found) => found,
            None => match self.done(self.machine.allocate(size), "allocation") {
                Some(address) => {
                    kept.reserved += size;
                    (address, size)
                }
                None => self.make_room(&mut kept, size),
            },
        };
        kept.give(address, size);
        drop(kept);
        if self.poisons {
            // Bytes that are no number: nothing may be read that was not written.
            self.done(self.machine.fill(address, size, 0xff), "poison");
        }
        (address, size)
    }

    fn put(&self, address: u64, size: usize) {
        let mut kept = locked(&self.memory.kept);
        if let Some(name) = kept.owner.remove(&address)
            && let Some(used) = kept.used.get_mut(name)
        {
            *used -= size;
        }
        kept.free.entry(size).or_default().push(address);
    }

    fn send(&self, from: &[u8], address: u64) {
        self.done(self.machine.send(from, address), "copy to the GPU");
    }

    fn fetch(&self, address: u64, to: &mut [u8]) {
        self.done(self.machine.fetch(address, to), "copy to the host");
    }

    fn clear(&self, address: u64, bytes: usize) {
        if bytes > 0 {
            self.done(self.machine.fill(address, bytes, 0), "zeros");
        }
    }

    fn gpu(&self) -> Option<&Gpu> {
        Some(self)
    }
}

impl Gpu {
    /// A block that was refused, asked for again once all that nobody uses is given back.
    fn make_room(&self, kept: &mut Kept, size: usize) -> (u64, usize) {
        self.done(self.machine.finish(), "waiting");
        for (size, list) in std::mem::take(&mut kept.free) {
            kept.reserved -= size * list.len();
            for address in list {
                self.machine.release(address);
            }
        }
        match self.done(self.machine.allocate(size), "allocation") {
            Some(address) => {
                kept.reserved += size;
                (address, size)
            }
            None => fail(self.too_little(kept, size)),
        }
    }

    fn too_little(&self, kept: &Kept, size: usize) -> DeviceError {
        let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / (1_u64 << 20) as f64);
        let Free { free, total } = self.machine.memory().unwrap_or_default();
        let used: usize = kept.used.values().sum();
        let mut largest: Vec<_> = kept.used.iter().filter(|(_, bytes)| **bytes > 0).collect();
        largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
        let largest: Vec<String> = largest
            .iter()
            .take(5)
            .map(|(name, bytes)| format!("{name} {}", mib(**bytes)))
            .collect();
        let others = total.saturating_sub(free).saturating_sub(kept.reserved);
        DeviceError::new(format!(
            "out of memory on cuda:{} ({}): {} asks for {}; this process holds {} ({}), other processes and the driver {} of \
             {}; use a smaller train.batch_size with more gradient_accumulation_steps, update_in_backward, a bf16 model, or \
             end what else uses the GPU",
            self.index,
            self.hardware(),
            OPERATION.get(),
            mib(size),
            mib(used),
            largest.join(", "),
            mib(others),
            mib(total),
        ))
    }
}
