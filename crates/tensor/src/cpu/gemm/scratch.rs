//! Memory for packed operands: one growing buffer per thread, kept between calls.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;

/// Alignment of every part: a cache line and the widest vector.
const ALIGN: usize = 64;

thread_local! {
    /// Taken out while in use, so that a product started by an epilogue finds none and makes its own.
    static KEPT: Cell<Option<Buffer>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct Buffer {
    ptr: *mut u8,
    len: usize,
}

impl Buffer {
    fn new(len: usize) -> Self {
        let layout = Self::layout(len);
        // SAFETY: callers ask for more than zero bytes.
        let ptr = unsafe { alloc(layout) };
        if ptr.is_null() {
            handle_alloc_error(layout);
        }
        Self { ptr, len }
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, ALIGN).expect("packed panels are far smaller than memory")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.ptr, Self::layout(self.len)) }
    }
}

/// This thread's buffer, given back when dropped.
#[derive(Debug)]
pub(super) struct Scratch(Option<Buffer>);

impl Scratch {
    /// Takes the thread's buffer, grown to at least `bytes`.
    pub(super) fn take(bytes: usize) -> Self {
        let kept = KEPT.take().filter(|buffer| buffer.len >= bytes);
        Self(Some(kept.unwrap_or_else(|| Buffer::new(bytes.max(ALIGN)))))
    }

    /// Cuts the buffer into parts of these many elements; their sum is at most what was taken.
    pub(super) fn parts<T, const N: usize>(&mut self, counts: [usize; N]) -> [*mut T; N] {
        let buffer = self.0.as_ref().expect("present until dropped");
        assert!(bytes::<T, N>(counts) <= buffer.len, "parts exceed the scratch buffer");
        let mut next = buffer.ptr;
        counts.map(|count| {
            let part = next;
            next = next.wrapping_add(padded::<T>(count));
            part.cast()
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        KEPT.set(self.0.take());
    }
}

/// Bytes that parts of these many elements need.
pub(super) fn bytes<T, const N: usize>(counts: [usize; N]) -> usize {
    counts.into_iter().map(padded::<T>).sum()
}

fn padded<T>(count: usize) -> usize {
    (count * size_of::<T>()).next_multiple_of(ALIGN)
}
