//! Where the time of a step goes, kernel by kernel.
//!
//! Off, a kernel pays one load of a flag. On, each kernel adds its own time (that of kernels it
//! calls counts as theirs), the floating-point operations it must do and the bytes it must move.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::dtype::DType;
use crate::random::Key;
use crate::tensor::Tensor;

/// What one kind of kernel did since [`start`].
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The kernel.
    pub name: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// Seconds on the clock, without the kernels that it called.
    pub seconds: f64,
    /// Floating-point operations of matrix products; elementwise work is counted by its bytes.
    pub flops: f64,
    /// Bytes read and written, each operand once.
    pub bytes: f64,
}

/// The best that this machine was seen to do, with the threads in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Floating-point operations a second, in a square single-precision matrix product.
    pub flops: f64,
    /// Bytes a second, read and written together, in a sum of two large tensors.
    pub bytes: f64,
}

static ON: AtomicBool = AtomicBool::new(false);
static ROWS: Mutex<BTreeMap<&'static str, Row>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Seconds spent in kernels that the running one called.
    static INNER: Cell<f64> = const { Cell::new(0.0) };
}

/// Begins to count, from nothing.
pub fn start() {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops counting; gives what was counted, the longest first.
pub fn take() -> Vec<Row> {
    ON.store(false, Ordering::Relaxed);
    let rows = std::mem::take(&mut *ROWS.lock().unwrap_or_else(PoisonError::into_inner));
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    rows
}

/// Times a kernel until dropped.
pub(crate) struct Timer(Option<Running>);

struct Running {
    row: Row,
    since: Instant,
    outer: f64,
}

/// Times the kernel `name`, which does `flops` operations and moves `bytes`.
#[inline]
pub(crate) fn timed(name: &'static str, flops: f64, bytes: f64) -> Timer {
    if !ON.load(Ordering::Relaxed) {
        return Timer(None);
    }
    let row = Row { name, calls: 1, seconds: 0.0, flops, bytes };
    Timer(Some(Running { row, since: Instant::now(), outer: INNER.replace(0.0) }))
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(Running { mut row, since, outer }) = self.0.take() else { return };
        let whole = since.elapsed().as_secs_f64();
        row.seconds = whole - INNER.get();
        INNER.set(outer + whole);
        let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
        rows.entry(row.name)
            .and_modify(|sum| {
                sum.calls += 1;
                sum.seconds += row.seconds;
                sum.flops += row.flops;
                sum.bytes += row.bytes;
            })
            .or_insert(row);
    }
}

/// Measures the machine: a matrix product, and the better of a sum (which only reads) and an addition
/// (which also writes) over 64 MiB operands. Takes about half a second.
pub fn machine_peak() -> Peak {
    let best = |rounds: usize, work: &dyn Fn() -> Tensor| {
        (0..=rounds)
            .map(|_| {
                let since = Instant::now();
                drop(work());
                since.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min)
    };
    let n = 1024;
    let square = Tensor::randn([n, n], DType::F32, Key::new(0));
    let flops = 2.0 * (n * n * n) as f64 / best(10, &|| square.matmul(&square));
    let count = 16 << 20;
    let [a, b] = [1.0, 2.0].map(|value| Tensor::full([count], value, DType::F32));
    let size = (4 * count) as f64;
    let (read, write) = (size / best(5, &|| a.sum()), 3.0 * size / best(5, &|| &a + &b));
    Peak { flops, bytes: read.max(write) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_time_excludes_what_it_called() {
        let pause = || std::thread::sleep(std::time::Duration::from_millis(5));
        let since = Instant::now();
        start();
        {
            let _outer = timed("test outer", 1.0, 2.0);
            {
                let _inner = timed("test inner", 0.0, 0.0);
                pause();
            }
            pause();
        }
        let rows = take();
        let whole = since.elapsed().as_secs_f64();
        let row = |name| rows.iter().find(|row| row.name == name).unwrap();
        let (outer, inner) = (row("test outer").seconds, row("test inner").seconds);
        assert!(outer >= 0.005 && inner >= 0.005 && outer + inner <= whole, "{rows:?}");
        assert_eq!((row("test outer").flops, row("test outer").bytes), (1.0, 2.0));
    }
}
