//! Memory that the system refuses.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system refused memory to a tensor, which panics: what was asked, and what tensors had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: usize,
    /// Bytes that tensors had then.
    pub used: usize,
}

impl std::error::Error for OutOfMemory {}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes as f64 / (1_u64 << 20) as f64;
        write!(
            f,
            "out of memory: the system refused {:.1} MiB to a tensor, while tensors held {:.1} MiB; use a \
             smaller batch or model, or give the process more memory",
            mib(self.bytes),
            mib(self.used)
        )
    }
}

/// The first refusal: bytes asked for, 0 where there was none, and bytes held.
static REFUSED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// The first refusal of memory, if there was one: to tell the panic that came of it from others.
pub fn out_of_memory() -> Option<OutOfMemory> {
    let [bytes, used] = [0, 1].map(|i| REFUSED[i].load(Ordering::Acquire));
    (bytes > 0).then_some(OutOfMemory { bytes, used })
}

/// Panics because the system refused `bytes`.
pub(crate) fn refuse(bytes: usize, used: usize) -> ! {
    if REFUSED[0].load(Ordering::Acquire) == 0 {
        REFUSED[1].store(used, Ordering::Release);
        REFUSED[0].store(bytes, Ordering::Release);
    }
    panic!("{}", OutOfMemory { bytes, used })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tensor};

    #[test]
    fn a_refusal_says_what_was_asked_and_counts_for_nothing() {
        // More than any machine can address.
        let refused = std::panic::catch_unwind(|| Tensor::zeros([1 << 46], DType::F32));
        let Err(panicked) = refused else { panic!("a refusal") };
        let told = panicked.downcast_ref::<String>().expect("a message");
        assert!(
            told.starts_with("out of memory: the system refused 268435456.0 MiB to a tensor"),
            "{told}"
        );
        assert_eq!(out_of_memory().map(|refused| refused.bytes), Some(1 << 48));
        assert!(crate::pool_stats().used_bytes < 1 << 48);
    }
}
