//! A step over tables of which a batch looks up few rows: what it costs by how many rows the table has.
//!
//! `cargo bench -p rappel-optim --bench rows [-- ROWS]`; threads by `RAYON_NUM_THREADS`.

use std::time::Instant;

use rappel_optim::{Adagrad, Adam, Optimizer, OptimizerConfig, Sgd};
use rappel_tensor::{Init, Key, Param, Params, Tensor, embedding};

/// Numbers of a row, and rows that a batch looks up.
const WIDTH: usize = 16;
const BATCH: usize = 4096;
/// Timed steps; the median is given.
const ROUNDS: u64 = 15;

/// Makes an optimizer's config.
type Make = fn() -> OptimizerConfig;

struct Table {
    params: Params,
    weight: Param,
    optimizer: Optimizer,
}

impl Table {
    fn new(rows: usize, by_rows: bool, config: OptimizerConfig) -> Self {
        let mut params = Params::new(0);
        let mut scope = params.scope("table");
        let (shape, init) = ([rows, WIDTH], Init::Constant(0.1));
        let weight = if by_rows {
            scope.add_rows("weight", shape, init)
        } else {
            scope.add("weight", shape, init)
        };
        let optimizer = Optimizer::new(config, &params).expect("valid options");
        Self { params, weight, optimizer }
    }

    /// Milliseconds of a step: looking rows up, the way back, the update.
    fn step(&mut self, step: u64) -> f64 {
        let start = Instant::now();
        let rows = self.weight.shape()[0] as u64;
        let key = Key::new(1).with(step);
        let ids: Vec<i64> = (0..BATCH as u64).map(|i| key.with(i).below(rows) as i64).collect();
        let loss =
            embedding(&Tensor::from_slice(&ids, [BATCH]), &self.weight.tensor()).square().sum();
        let grads = loss.backward();
        drop(loss);
        self.optimizer.step(step, &mut self.params, &grads).expect("a step");
        start.elapsed().as_secs_f64() * 1e3
    }

    fn median(&mut self) -> f64 {
        let mut times: Vec<f64> = (0..ROUNDS).map(|step| self.step(step)).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

fn main() {
    let rows = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(10_000_000);
    let rules: [(&str, Make); 3] = [
        ("sgd", || OptimizerConfig::new(Sgd::default())),
        ("adagrad", || OptimizerConfig::new(Adagrad::default())),
        ("adam", || OptimizerConfig::new(Adam::default())),
    ];
    println!("{BATCH} of so many rows of {WIDTH} numbers, milliseconds a step");
    for (name, config) in rules {
        let few = Table::new(10_000, true, config()).median();
        let many = Table::new(rows, true, config()).median();
        let whole = Table::new(rows / 10, false, config()).median();
        println!(
            "{name:8} rows of 10000: {few:.2}; rows of {rows}: {many:.2}, {:.1} times as much; \
             the whole gradient of {}: {whole:.2}",
            many / few,
            rows / 10
        );
    }
}
