//! Convolutions at the shapes of small image models, in milliseconds: medians, forward and both ways.
//!
//! `cargo bench -p rappel-tensor --bench conv`; threads by `RAYON_NUM_THREADS`. `bench/conv_torch.py`
//! measures PyTorch at the same shapes.

use std::hint::black_box;
use std::time::Instant;

use rappel_tensor::{Conv2dOptions, DType, Key, Tensor, conv2d, no_grad};

/// `[batch, inputs, size]`, `[outputs, kernel, stride, groups]`.
const SHAPES: [([usize; 3], [usize; 4]); 9] = [
    ([128, 1, 28], [32, 3, 1, 1]),
    ([128, 32, 14], [64, 3, 1, 1]),
    ([16, 3, 64], [64, 7, 2, 1]),
    ([16, 64, 16], [64, 3, 1, 1]),
    ([16, 64, 16], [128, 3, 2, 1]),
    ([16, 128, 8], [128, 3, 1, 1]),
    ([16, 256, 4], [256, 3, 1, 1]),
    ([16, 96, 16], [384, 1, 1, 1]),
    ([16, 96, 16], [96, 7, 1, 96]),
];

/// The shortest of several times of `f`, in milliseconds.
fn shortest(mut f: impl FnMut()) -> f64 {
    let times = (0..12).map(|_| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    for ([batch, inputs, size], [outputs, kernel, stride, groups]) in SHAPES {
        let x = Tensor::randn([batch, inputs, size, size], DType::F32, Key::new(1));
        let weight = [outputs, inputs / groups, kernel, kernel];
        let w = Tensor::randn(weight, DType::F32, Key::new(2));
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            groups,
            ..Conv2dOptions::default()
        };
        let forward = shortest(|| no_grad(|| drop(black_box(conv2d(&x, &w, None, &options)))));
        let (x, w) = (x.requires_grad(), w.requires_grad());
        let loss = |y: &Tensor| drop(black_box(y.sum().backward()));
        let whole = shortest(|| loss(&conv2d(&x, &w, None, &options)));
        // What the loss itself costs, there and back, is not the operation's.
        let y = conv2d(&x, &w, None, &options);
        let (output, places) = (y.detach().requires_grad(), y.size(2) * y.size(3));
        let both = whole - shortest(|| loss(&output));
        let flops = 2.0 * (batch * outputs * places * inputs / groups * kernel * kernel) as f64;
        println!(
            "{batch:4} x {inputs:3} x {size:2}^2, {outputs:3} of {kernel}x{kernel}/{stride} {groups:2}   forward \
             {forward:7.2} ({:4.0} GFLOP/s)   both {both:7.2} ({:4.0} GFLOP/s)",
            flops / forward * 1e-6,
            3.0 * flops / both * 1e-6
        );
    }
}
