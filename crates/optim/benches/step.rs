//! A step over 64 Mi parameters, against the memory's own speed measured in the same run.
//!
//! `cargo bench -p rappel-optim --bench step [-- MEBI_PARAMETERS]`; threads by `RAYON_NUM_THREADS`.

use std::hint::black_box;
use std::time::Instant;

use rappel_optim::{
    Adafactor, AdamMini, AdamW, Came, Lamb, Optimizer, OptimizerConfig, ParamGroup, Prodigy, Sgd,
    StateDtype, Wrappers,
};
use rappel_tensor::{DType, Grads, Init, Params, Tensor};
use rayon::prelude::*;

/// Timed steps; the median is given.
const ROUNDS: usize = 15;

struct Job {
    name: &'static str,
    params: Params,
    grads: Grads,
    optimizer: Optimizer,
    seconds: Vec<f64>,
}

impl Job {
    fn new(
        name: &'static str,
        dtype: DType,
        tensors: usize,
        count: usize,
        config: OptimizerConfig,
    ) -> Self {
        Self::of_shape(name, dtype, tensors, &[count / tensors], config)
    }

    fn of_shape(
        name: &'static str,
        dtype: DType,
        tensors: usize,
        shape: &[usize],
        config: OptimizerConfig,
    ) -> Self {
        let mut params = Params::with_dtype(0, dtype);
        for i in 0..tensors {
            params.scope("").add(&format!("p{i}"), shape, Init::ONES);
        }
        let optimizer = Optimizer::new(config, &params).expect("valid options");
        let tensors = params.names().into_iter().map(|name| params.get(&name).unwrap().tensor());
        let loss = tensors.map(|p| (p * 0.5).sum()).reduce(|a, b| a + b).expect("a parameter");
        let grads = loss.backward();
        drop(loss);
        Self { name, params, grads, optimizer, seconds: Vec::new() }
    }

    fn step(&mut self, step: u64) {
        let start = Instant::now();
        self.optimizer.step(step, &mut self.params, &self.grads).expect("a step");
        self.seconds.push(start.elapsed().as_secs_f64());
    }
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Reads one array and writes another, all threads: bytes per second, counting both and the read
/// that the write's cache line costs.
fn copy(from: &[f32], to: &mut [f32]) -> f64 {
    let start = Instant::now();
    to.par_chunks_mut(1 << 15).zip(from.par_chunks(1 << 15)).for_each(|(to, from)| {
        for (a, b) in to.iter_mut().zip(from) {
            *a += *b;
        }
    });
    black_box(&to);
    start.elapsed().as_secs_f64()
}

fn main() {
    let mebi = std::env::args().skip(1).find_map(|arg| arg.parse::<usize>().ok()).unwrap_or(64);
    let count = mebi << 20;
    let adamw = || OptimizerConfig::new(AdamW::default());
    let momentum = Sgd { momentum: 0.9.into(), ..Default::default() };
    let state = |name, dtype| {
        let group = ParamGroup::from(AdamW::default()).state_dtype(dtype);
        Job::new(name, DType::F32, 1, count, OptimizerConfig::new(group).unchecked())
    };
    let matrices = |name, group: ParamGroup| {
        let config = OptimizerConfig::new(group).unchecked();
        Job::of_shape(name, DType::F32, (count >> 20).max(1), &[1024, 1024], config)
    };
    let cautious = Wrappers { cautious: true, ..Default::default() };
    let mut jobs = [
        Job::new("adamw f32", DType::F32, 1, count, adamw().unchecked()),
        Job::new("adamw f32, checked", DType::F32, 1, count, adamw()),
        Job::new("adamw f32, 8192 tensors", DType::F32, 8192, count, adamw().unchecked()),
        Job::new("adamw bf16", DType::BF16, 1, count, adamw().unchecked()),
        Job::new("sgd f32", DType::F32, 1, count, OptimizerConfig::new(Sgd::default()).unchecked()),
        Job::new(
            "sgd momentum f32",
            DType::F32,
            1,
            count,
            OptimizerConfig::new(momentum).unchecked(),
        ),
        state("adamw f32, bf16 state", StateDtype::Bf16),
        state("adamw f32, 8bit state", StateDtype::BLOCK8),
        matrices("adamw f32, cautious", ParamGroup::from(AdamW::default()).wrappers(cautious)),
        matrices("lamb f32", Lamb::default().into()),
        matrices("prodigy f32", Prodigy::default().into()),
        matrices("adafactor f32", Adafactor::default().into()),
        matrices("came f32", Came::default().into()),
        matrices("adam_mini f32", AdamMini::default().into()),
    ];
    let source = Tensor::ones(count, DType::F32).to_vec::<f32>();
    let mut target = vec![0.0; count];
    let mut added = Vec::new();
    for round in 0..=ROUNDS {
        added.push(copy(&source, &mut target));
        for job in &mut jobs {
            job.step(round as u64);
        }
    }
    let threads = rayon::current_num_threads();
    println!("{count} parameters, {threads} threads, median of {ROUNDS}");
    let seconds = median(&mut added[1..]);
    println!(
        "{:26} {:7.1} ms {:6.1} GB/s",
        "a += b",
        seconds * 1e3,
        12e-9 * count as f64 / seconds
    );
    for job in &mut jobs {
        let seconds = median(&mut job.seconds[1..]);
        let bytes = job.optimizer.bytes_moved() as f64;
        println!("{:26} {:7.1} ms {:6.1} GB/s", job.name, seconds * 1e3, 1e-9 * bytes / seconds);
    }
}
