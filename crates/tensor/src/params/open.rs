//! Parameters open for change: all at once, or one while others are in use.

use std::sync::Arc;

use super::Built;
use super::layout::{ArenaLayout, Entry, FLOATS, float_index};
use crate::dtype::{DType, Element};
use crate::memory::Buffer;
use crate::tensor::Tensor;
use crate::with_float;

/// Each parameter's part of its arena.
pub(super) fn windows(
    layout: &ArenaLayout,
    arenas: &[Option<Arc<Buffer>>; FLOATS],
) -> Vec<Arc<Buffer>> {
    let window = |entry: &Entry| {
        let arena = arenas[float_index(entry.dtype)].as_ref().expect("holds the entry");
        let (range, size) = (entry.range(), entry.dtype.size());
        // SAFETY: the layout keeps parameters apart; arenas are reached through `Arenas` alone,
        // which are open only while nobody else holds a window (`Params::update`).
        Arc::new(unsafe { Buffer::window(arena, range.start * size..range.end * size) })
    };
    layout.entries().iter().map(window).collect()
}

/// All parameters, open for change.
pub struct Arenas<'a> {
    pub(super) built: &'a mut Built,
}

impl<'a> Arenas<'a> {
    /// Of a set whose windows all have one owner.
    pub(super) fn new(built: &'a mut Built) -> Self {
        Self { built }
    }

    /// Where each parameter lies.
    pub fn layout(&self) -> Arc<ArenaLayout> {
        self.built.layout.clone()
    }

    /// Replaces the value of parameter `index` by that of a tensor of its shape.
    pub(super) fn put(&mut self, index: usize, value: &Tensor) {
        let layout = self.layout();
        let entry = &layout.entries()[index];
        let value = value.detach().to_dtype(entry.dtype).contiguous();
        with_float!(entry.dtype, "parameter", T => {
            self.all::<T>()[entry.range()].copy_from_slice(value.slice::<T>());
        });
    }

    /// Every parameter of type `T`, by the offsets of [`layout`](Arenas::layout); empty where there
    /// is none.
    pub fn all<T: Element>(&mut self) -> &mut [T] {
        match &self.built.arenas[float_index(T::DTYPE)] {
            // SAFETY: nobody else holds a window, as was checked on opening, nor gets one before
            // the lock is given back; `&mut self` excludes other borrows from here.
            Some(arena) => unsafe {
                std::slice::from_raw_parts_mut(arena.as_ptr(), arena.bytes() / size_of::<T>())
            },
            None => &mut [],
        }
    }
}

/// One parameter, open for change.
pub struct OpenParam<'a> {
    buffer: &'a mut Buffer,
    dtype: DType,
}

impl<'a> OpenParam<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, dtype: DType) -> Self {
        Self { buffer, dtype }
    }

    /// The elements, in row-major order.
    ///
    /// # Panics
    /// Where `T` is not their type.
    pub fn values<T: Element>(&mut self) -> &mut [T] {
        assert!(T::DTYPE == self.dtype, "a parameter of {} opened as {}", self.dtype, T::DTYPE);
        self.buffer.as_slice_mut()
    }
}
