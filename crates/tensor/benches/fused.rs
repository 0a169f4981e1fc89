//! Fused operations at the shapes of training, in milliseconds: medians, forward and both ways.
//!
//! `cargo bench -p rappel-tensor --bench fused`; threads by `RAYON_NUM_THREADS`.

use std::hint::black_box;
use std::time::Instant;

use rappel_tensor::{AttentionOptions, DType, Key, Tensor, attention_packed, layer_norm, no_grad};

/// The median time of `f`, in milliseconds.
fn median(runs: usize, mut f: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..runs + runs / 4)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e3
        })
        .skip(runs / 4)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Times a function of one input, alone and with its gradient.
fn report(what: &str, runs: usize, x: &Tensor, f: impl Fn(&Tensor) -> Tensor) {
    let upstream = Tensor::randn(f(x).shape(), x.dtype(), Key::new(9));
    let forward = median(runs, || no_grad(|| drop(black_box(f(x)))));
    let leaf = x.requires_grad();
    let loss = |y: &Tensor| drop(black_box((y * &upstream).sum().backward()));
    let whole = median(runs, || loss(&f(&leaf)));
    // What the loss itself costs, there and back, is not the operation's.
    let output = f(x).requires_grad();
    let both = whole - median(runs, || loss(&output));
    println!("{what:40} forward {forward:8.3}   forward + backward {both:8.3}");
}

fn main() {
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    for dtype in [DType::F32, DType::BF16] {
        for (batch, time, heads, dim) in [(8, 128, 4, 64), (4, 256, 12, 64), (1, 1024, 12, 64)] {
            let qkv = Tensor::randn([batch, time, 3 * heads * dim], dtype, Key::new(1));
            let what = format!("attention {dtype} {batch} x {time} x {heads} x {dim}");
            report(&what, 40, &qkv, |x| attention_packed(x, heads, &options));
        }
    }
    for width in [256, 768] {
        let x = Tensor::randn([1024, width], DType::F32, Key::new(1));
        let ones = Tensor::ones([width], DType::F32).requires_grad();
        let zeros = Tensor::zeros([width], DType::F32).requires_grad();
        let what = format!("layer_norm 1024 x {width}");
        report(&what, 200, &x, |x| layer_norm(x, &ones, Some(&zeros), 1e-5));
    }
}
