//! Any optimizer's step alone, and what the memory can do at best.

use std::env::args;

use rappel_optim::{OPTIMIZERS, Optimizer, OptimizerConfig};
use rappel_config::Family;
use rappel_schedule::{Horizon, constant};
use rappel_tensor::{Grads, Init, Key, Params, Tensor};
use rayon::prelude::*;
use worker::{Job, Result};

/// A step on given gradients; instead of a loss, it tells how many bytes a step moves.
struct Rule {
    params: Params,
    optimizer: Optimizer,
    grads: Grads,
    step: u64,
}

impl Job for Rule {
    fn step(&mut self) -> Result<()> {
        self.optimizer.step(self.step, &mut self.params, &self.grads)?;
        self.step += 1;
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        Ok(self.optimizer.bytes_moved() as f64)
    }
}

/// `rule SECTION TENSORS ROWS COLUMNS`: the optimizer of a config's section, over so many matrices.
pub fn rule() -> Result<impl Job> {
    let arg = |i: usize| args().nth(i).ok_or("usage: rule SECTION TENSORS ROWS COLUMNS");
    let (section, tensors) = (arg(2)?, arg(3)?.parse::<usize>()?);
    let shape = [arg(4)?.parse()?, arg(5)?.parse::<usize>()?];
    let options = OPTIMIZERS.resolve_options("optimizer", &toml::from_str(&section)?)?;
    let recipe = OptimizerConfig::from_section(&options, Horizon { steps: 1000 }, constant(1.0))?;
    let mut params = Params::new(0);
    let add = |i| params.scope("").add(&format!("p{i}"), shape, Init::Normal { std: 1.0 });
    let all: Vec<_> = (0..tensors).map(add).collect();
    let optimizer = Optimizer::new(recipe.unchecked(), &params)?;
    let mut grads = Grads::default();
    for (i, param) in all.iter().enumerate() {
        let key = Key::new(7).with(i as u64);
        grads.add(param, &(Tensor::randn(shape, rappel_tensor::DType::F32, key) * 0.01));
    }
    Ok(Rule { params, optimizer, grads, step: 0 })
}

/// One array added to another: the memory's best at reading and writing in place.
struct Add(Vec<f32>, Vec<f32>);

impl Job for Add {
    fn step(&mut self) -> Result<()> {
        let pieces = self.0.par_chunks_mut(1 << 15).zip(self.1.par_chunks(1 << 15));
        pieces.for_each(|(to, from)| to.iter_mut().zip(from).for_each(|(a, b)| *a += *b));
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        Ok(12.0 * self.0.len() as f64)
    }
}

/// The job `add`: 67M numbers.
pub fn add() -> Result<impl Job> {
    Ok(Add(vec![1.0; worker::ADAMW_SIZE], vec![1e-3; worker::ADAMW_SIZE]))
}
