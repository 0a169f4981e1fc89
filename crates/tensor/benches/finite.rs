//! How fast numbers are checked for NaN and infinity, against a copy of the same memory: GB/s read.
//!
//! `cargo bench -p rappel-tensor --bench finite`; threads by `RAYON_NUM_THREADS`.

use std::hint::black_box;
use std::time::Instant;

use rappel_tensor::{DType, Tensor};

/// Bytes of each tensor: far more than any cache.
const BYTES: usize = 1 << 28;
const ROUNDS: usize = 9;

/// The best rate of `f` over `BYTES`, in GB/s.
fn rate(mut f: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    BYTES as f64 / 1e9 / (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn main() {
    for dtype in [DType::F32, DType::BF16, DType::F64] {
        let x = Tensor::ones([BYTES / dtype.size()], dtype);
        let scan = rate(|| assert_eq!(black_box(&x).first_non_finite(), None));
        // As a checkpoint copies what it is about to write.
        let mut to = vec![0_u8; BYTES];
        let from = vec![1_u8; BYTES];
        let copy = rate(|| black_box(&mut to).copy_from_slice(black_box(&from)));
        println!("{dtype:5} scan {scan:6.1} GB/s   copy {copy:6.1} GB/s read and as much written");
    }
}
