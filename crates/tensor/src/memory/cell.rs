//! A value that is made at its first use.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Holds a value or nothing; several threads may ask for it at once, one of them makes it.
///
/// The standard library's `OnceLock`, but whoever holds it alone fills it without atomic
/// operations: every tensor that is computed fills one.
pub(super) struct Lazy<T> {
    filled: AtomicBool,
    making: Mutex<()>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `value` is written by one thread under the lock while `filled` is false, or through
// `&mut`; it is read only where `filled` was seen true.
unsafe impl<T: Send + Sync> Sync for Lazy<T> {}

impl<T> Lazy<T> {
    pub const fn empty() -> Self {
        Self::from_option(None)
    }

    const fn from_option(value: Option<T>) -> Self {
        let filled = AtomicBool::new(value.is_some());
        Self { filled, making: Mutex::new(()), value: UnsafeCell::new(value) }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: filled, so nobody writes the value while it is shared.
        unsafe { &*self.value.get() }.as_ref()
    }

    /// The value, which `make` makes where there is none.
    #[inline]
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.make_shared(make),
        }
    }

    #[cold]
    fn make_shared(&self, make: impl FnOnce() -> T) -> &T {
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get().is_none() {
            let value = make();
            // SAFETY: not filled, so nobody reads it; the lock keeps other writers out.
            unsafe { *self.value.get() = Some(value) };
            self.filled.store(true, Ordering::Release);
        }
        drop(making);
        self.get().expect("just filled")
    }

    /// [`get_or_make`](Self::get_or_make) for who holds it alone.
    #[inline]
    pub fn own_or_make(&mut self, make: impl FnOnce() -> T) -> &mut T {
        let value = self.value.get_mut().get_or_insert_with(make);
        // Afterwards, for `make` may panic.
        *self.filled.get_mut() = true;
        value
    }

    /// Takes the value out.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let filled = std::mem::replace(self.filled.get_mut(), false);
        if filled { self.value.get_mut().take() } else { None }
    }
}
