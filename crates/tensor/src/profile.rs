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
    /// Of the seconds, those in which all threads had work to take: the others are one thread's alone.
    pub parallel: f64,
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
    /// Seconds spent in kernels that the running one called, and those of them that threads shared.
    static INNER: Cell<(f64, f64)> = const { Cell::new((0.0, 0.0)) };
    /// Seconds in which threads shared this one's work; and whether they do so now.
    static SHARED: Cell<(f64, bool)> = const { Cell::new((0.0, false)) };
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
    shared: f64,
    outer: (f64, f64),
}

/// Times the kernel `name`, which does `flops` operations and moves `bytes`.
#[inline]
pub(crate) fn timed(name: &'static str, flops: f64, bytes: f64) -> Timer {
    if !ON.load(Ordering::Relaxed) {
        return Timer(None);
    }
    let row = Row { name, calls: 1, seconds: 0.0, flops, bytes, parallel: 0.0 };
    let (shared, outer) = (SHARED.get().0, INNER.replace((0.0, 0.0)));
    Timer(Some(Running { row, since: Instant::now(), shared, outer }))
}

/// Times nothing.
pub(crate) fn no_timer() -> Timer {
    Timer(None)
}

/// Counts `work`, which all threads take part in, as such.
#[inline]
pub(crate) fn shared_by_threads(work: impl FnOnce()) {
    let (before, nested) = SHARED.get();
    if nested || !ON.load(Ordering::Relaxed) {
        return work();
    }
    SHARED.set((before, true));
    let since = Instant::now();
    work();
    SHARED.set((before + since.elapsed().as_secs_f64(), false));
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(Running { mut row, since, shared, outer }) = self.0.take() else { return };
        let (whole, parallel) = (since.elapsed().as_secs_f64(), SHARED.get().0 - shared);
        let inner = INNER.get();
        (row.seconds, row.parallel) = (whole - inner.0, parallel - inner.1);
        INNER.set((outer.0 + whole, outer.1 + parallel));
        let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
        rows.entry(row.name)
            .and_modify(|sum| {
                sum.calls += 1;
                sum.seconds += row.seconds;
                sum.flops += row.flops;
                sum.bytes += row.bytes;
                sum.parallel += row.parallel;
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
                shared_by_threads(|| shared_by_threads(pause));
            }
            pause();
        }
        let rows = take();
        let whole = since.elapsed().as_secs_f64();
        let row = |name| rows.iter().find(|row| row.name == name).unwrap();
        let (outer, inner) = (row("test outer").seconds, row("test inner").seconds);
        assert!(outer >= 0.005 && inner >= 0.005 && outer + inner <= whole, "{rows:?}");
        let [outer, inner] = [row("test outer"), row("test inner")];
        assert!(outer.parallel.abs() < 1e-9 && inner.parallel >= 0.005, "{rows:?}");
        assert!(inner.parallel <= inner.seconds, "{rows:?}");
        assert_eq!((row("test outer").flops, row("test outer").bytes), (1.0, 2.0));
    }
}
