//! Parameters open for change: all at once, or one while others are in use.

use std::sync::Arc;

use super::Built;
use super::layout::{ArenaLayout, Entry, FLOATS, float_index};
use crate::cuda::Gpu;
use crate::dtype::{DType, Element};
use crate::memory::{Buffer, Fetched};
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

/// All parameters, open for change. What lies on a device is brought to the host where it is asked
/// for as a slice, and goes back when this is dropped.
#[derive(Debug)]
pub struct Arenas<'a> {
    pub(super) built: &'a mut Built,
    fetched: [Option<Fetched>; FLOATS],
}

impl<'a> Arenas<'a> {
    /// Opens a set; `None` while somebody else holds one of its windows.
    pub(super) fn open(built: &'a mut Built) -> Option<Self> {
        for window in &mut built.windows {
            Arc::get_mut(window)?.forget_copies();
        }
        Some(Self { built, fetched: [const { None }; FLOATS] })
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

    /// The GPU that the parameters of a type lie on, if they lie on one.
    pub(crate) fn gpu(&self, dtype: DType) -> Option<&'static Gpu> {
        self.built.arenas[float_index(dtype)].as_ref()?.gpu()
    }

    /// Where the parameters of a type begin on the GPU that they lie on, to change; 0 where there are none.
    pub(crate) fn address(&mut self, dtype: DType) -> u64 {
        let index = float_index(dtype);
        // What was changed on the host goes back first.
        drop(self.fetched[index].take());
        let arena = self.built.arenas[index].as_ref();
        arena.and_then(|arena| arena.on(arena.gpu()?.device())).unwrap_or_default()
    }

    /// Every parameter of type `T`, by the offsets of [`layout`](Arenas::layout); empty where there
    /// is none.
    pub fn all<T: Element>(&mut self) -> &mut [T] {
        let index = float_index(T::DTYPE);
        let Some(arena) = &self.built.arenas[index] else { return &mut [] };
        let fetched = &mut self.fetched[index];
        if fetched.is_none() {
            *fetched = Fetched::part(arena, 0..arena.bytes());
        }
        if let Some(fetched) = fetched {
            return fetched.as_slice_mut();
        }
        // SAFETY: nobody else holds a window, as was checked on opening, nor gets one before the lock
        // is given back; `&mut self` excludes other borrows from here.
        unsafe {
            let start = arena.as_ptr::<T>().cast_mut();
            std::slice::from_raw_parts_mut(start, arena.bytes() / size_of::<T>())
        }
    }
}

/// One parameter, open for change, as [`Arenas`] are.
#[derive(Debug)]
pub struct OpenParam<'a> {
    window: &'a mut Buffer,
    fetched: Option<Fetched>,
    dtype: DType,
}

impl<'a> OpenParam<'a> {
    /// Parameter `index`; `None` while somebody else holds its window.
    pub(super) fn open(built: &'a mut Built, index: usize) -> Option<Self> {
        let entry = &built.layout.entries()[index];
        let (dtype, size) = (entry.dtype, entry.dtype.size());
        let range = entry.range().start * size..entry.range().end * size;
        let arena = built.arenas[float_index(dtype)].as_ref().expect("holds the entry");
        let window = Arc::get_mut(&mut built.windows[index])?;
        window.forget_copies();
        Some(Self { window, fetched: Fetched::part(arena, range), dtype })
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements, in row-major order.
    ///
    /// # Panics
    /// Where `T` is not their type.
    pub fn values<T: Element>(&mut self) -> &mut [T] {
        assert!(T::DTYPE == self.dtype, "a parameter of {} opened as {}", self.dtype, T::DTYPE);
        match &mut self.fetched {
            Some(fetched) => fetched.as_slice_mut(),
            None => self.window.as_slice_mut(),
        }
    }
}
