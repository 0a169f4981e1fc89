//! Convolutions and pools at the shapes of small image models, in milliseconds: the shortest of some, forward and both
//! ways.
//!
//! `cargo bench -p rappel-tensor --bench conv`; threads by `RAYON_NUM_THREADS`. `bench/conv_torch.py`
//! measures PyTorch at the same shapes.

use std::hint::black_box;
use std::time::Instant;

use rappel_tensor::{
    Conv2dOptions, DType, Key, Pool2dOptions, Tensor, conv2d, max_pool2d, no_grad,
};

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

/// Milliseconds of an operation alone, and of it and its gradients.
fn both(op: &dyn Fn() -> Tensor) -> [f64; 2] {
    let forward = shortest(|| no_grad(|| drop(black_box(op()))));
    let loss = |y: &Tensor| drop(black_box(y.sum().backward()));
    let whole = shortest(|| loss(&op()));
    // What the loss itself costs, there and back, is not the operation's.
    let output = op().detach().requires_grad();
    [forward, whole - shortest(|| loss(&output))]
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
        let (x, w) = (x.requires_grad(), w.requires_grad());
        let [forward, both] = both(&|| conv2d(&x, &w, None, &options));
        let places = conv2d(&x, &w, None, &options).shape()[2..].iter().product::<usize>();
        let flops = 2.0 * (batch * outputs * places * inputs / groups * kernel * kernel) as f64;
        println!(
            "{batch:4} x {inputs:3} x {size:2}^2, {outputs:3} of {kernel}x{kernel}/{stride} {groups:2}   forward \
             {forward:7.2} ({:4.0} GFLOP/s)   both {both:7.2} ({:4.0} GFLOP/s)",
            flops / forward * 1e-6,
            3.0 * flops / both * 1e-6
        );
    }
    let x = Tensor::randn([128, 32, 28, 28], DType::F32, Key::new(1)).requires_grad();
    for (name, options) in [
        ("2x2/2", Pool2dOptions::new([2, 2])),
        ("3x3/2", Pool2dOptions { stride: [2; 2], padding: [1; 2], ..Pool2dOptions::new([3, 3]) }),
    ] {
        let [forward, both] = both(&|| max_pool2d(&x, &options));
        println!(" 128 x  32 x 28^2, max pool {name}   forward {forward:7.2}   both {both:7.2}");
    }
}
