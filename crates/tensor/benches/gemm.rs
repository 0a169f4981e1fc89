//! Matrix products at the shapes of training: `cargo bench --bench gemm -- [filter] [highest|medium|bf16]`.
//!
//! Prints each product's median time, its rate, and that rate over the limit: a product whose operands
//! stay in the caches, on one thread, measured in the same run, times the threads in use. Rounds over
//! all shapes are interleaved, so that a slow moment of the machine falls on all of them alike.

use std::hint::black_box;
use std::time::Instant;

use rappel_tensor::{DType, Key, MatmulPrecision, Tensor, bf16_kernel, with_matmul_precision};

/// Rounds over all shapes.
const ROUNDS: usize = 9;
/// Floating-point operations per round and shape: a few milliseconds.
const WORK: usize = 400_000_000;

/// Which operands are read transposed.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Both row by row: the forward pass of GPT-2's `[in, out]` weights.
    Plain,
    /// B column by column: the forward pass of `[out, in]` weights.
    TransposedB,
    /// A column by column: the gradient of a weight.
    TransposedA,
}

struct Shape {
    name: String,
    size: (usize, usize, usize),
    kind: Kind,
    seconds: Vec<f64>,
}

impl Shape {
    fn new(name: &str, m: usize, n: usize, k: usize, kind: Kind) -> Self {
        Self { name: format!("{name} {m} x {n} x {k}"), size: (m, n, k), kind, seconds: Vec::new() }
    }

    fn flops(&self) -> usize {
        2 * self.size.0 * self.size.1 * self.size.2
    }

    fn time(&mut self, dtype: DType) {
        let (m, n, k) = self.size;
        let random = |rows, cols| Tensor::randn([rows, cols], dtype, Key::new(1));
        let a = match self.kind {
            Kind::TransposedA => random(k, m).t(),
            Kind::Plain | Kind::TransposedB => random(m, k),
        };
        let b = match self.kind {
            Kind::TransposedB => random(n, k).t(),
            Kind::Plain | Kind::TransposedA => random(k, n),
        };
        let repeats = (WORK / self.flops()).clamp(1, 2000);
        drop(a.matmul(&b));
        let start = Instant::now();
        (0..repeats).for_each(|_| drop(black_box(a.matmul(&b))));
        self.seconds.push(start.elapsed().as_secs_f64() / repeats as f64);
    }

    fn rate(&mut self) -> (f64, f64) {
        self.seconds.sort_by(f64::total_cmp);
        let seconds = self.seconds[self.seconds.len() / 2];
        (seconds, self.flops() as f64 / seconds / 1e9)
    }
}

/// The three products of a linear layer over `tokens`.
fn layer(shapes: &mut Vec<Shape>, tokens: usize, inputs: usize, outputs: usize) {
    let name = |pass| format!("{inputs} -> {outputs} {pass}");
    let mut add = |pass, m, n, k, kind| shapes.push(Shape::new(&name(pass), m, n, k, kind));
    add("forward", tokens, outputs, inputs, Kind::Plain);
    add("forward, [out, in]", tokens, outputs, inputs, Kind::TransposedB);
    add("input gradient", tokens, inputs, outputs, Kind::TransposedB);
    add("input gradient, [out, in]", tokens, inputs, outputs, Kind::Plain);
    add("weight gradient", inputs, outputs, tokens, Kind::TransposedA);
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (inputs, outputs) in [(256, 768), (256, 256), (256, 1024), (1024, 256), (256, 4096)] {
        layer(&mut shapes, 1024, inputs, outputs);
    }
    for (inputs, outputs) in [(768, 2304), (768, 768), (768, 3072), (3072, 768)] {
        layer(&mut shapes, 1024, inputs, outputs);
    }
    for (inputs, outputs) in [(384, 1152), (384, 1536), (1536, 384)] {
        layer(&mut shapes, 3072, inputs, outputs);
    }
    for (inputs, outputs) in [(784, 512), (512, 512), (512, 10)] {
        layer(&mut shapes, 64, inputs, outputs);
    }
    shapes.push(Shape::new("square", 2048, 2048, 2048, Kind::Plain));
    shapes.push(Shape::new("attention", 64, 64, 64, Kind::TransposedB));
    shapes.push(Shape::new("attention", 128, 256, 64, Kind::TransposedB));
    shapes.push(Shape::new("token", 1, 3072, 768, Kind::Plain));
    shapes.push(Shape::new("token", 1, 50257, 768, Kind::TransposedB));
    shapes
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let filter = args.next().unwrap_or_default();
    let (precision, dtype) = match args.next().as_deref() {
        None | Some("highest") => (MatmulPrecision::Highest, DType::F32),
        Some("medium") => (MatmulPrecision::Medium, DType::F32),
        Some("bf16") => (MatmulPrecision::Highest, DType::BF16),
        Some(other) => panic!("expected highest, medium or bf16, got {other}"),
    };
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let mut limit = Shape::new("limit", 14 * 8, 32 * 8, 256, Kind::Plain);
    let mut shapes = shapes();
    shapes.retain(|shape| shape.name.contains(&filter));
    for _ in 0..ROUNDS {
        alone.install(|| limit.time(DType::F32));
        for shape in &mut shapes {
            with_matmul_precision(precision, || shape.time(dtype));
        }
    }
    let threads = rayon::current_num_threads();
    let (_, limit) = limit.rate();
    println!(
        "{threads} threads, limit of f32 {limit:.1} GFLOP/s each, bf16 by {}",
        bf16_kernel().name()
    );
    println!("{:<52} {:>12} {:>9} {:>6}", "product", "microseconds", "GFLOP/s", "limit");
    for shape in &mut shapes {
        let (seconds, rate) = shape.rate();
        let share = 100.0 * rate / limit / threads as f64;
        println!("{:<52} {:>12.1} {rate:>9.1} {share:>5.0}%", shape.name, seconds * 1e6);
    }
}
