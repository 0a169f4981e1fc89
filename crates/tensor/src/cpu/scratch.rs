//! This thread's memory for what one task computes in pieces, kept between tasks.

use std::cell::Cell;

use crate::dtype::Element;
use crate::memory::{ALIGNMENT, Buffer};

thread_local! {
    static KEPT: Cell<Option<Buffer>> = const { Cell::new(None) };
}

/// Memory that grows to the largest use and goes back to the thread when dropped.
pub(in crate::cpu) struct Scratch {
    buffer: Option<Buffer>,
    used: usize,
}

impl Scratch {
    /// Room for parts of `bytes` together, each rounded up to [`padded`].
    pub fn take(bytes: usize) -> Self {
        let kept = KEPT.take().filter(|buffer| buffer.bytes() >= bytes);
        Self { buffer: Some(kept.unwrap_or_else(|| Buffer::uninit(bytes))), used: 0 }
    }

    /// The next part, of `count` elements that hold anything.
    pub fn part<T: Element>(&mut self, count: usize) -> *mut T {
        let buffer = self.buffer.as_mut().expect("present until dropped");
        let start = self.used;
        self.used += padded::<T>(count);
        assert!(self.used <= buffer.bytes(), "scratch: parts exceed what was taken");
        buffer.as_mut_ptr::<u8>().wrapping_add(start).cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        KEPT.set(self.buffer.take());
    }
}

/// Bytes that a part takes.
pub(in crate::cpu) fn padded<T: Element>(count: usize) -> usize {
    (count * size_of::<T>()).next_multiple_of(ALIGNMENT)
}
