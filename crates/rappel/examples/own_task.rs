//! A dataset, a model and an objective of one's own: the run gets checkpoints, exact resume, telemetry, early
//! stopping and averaging.
//!
//! `cargo run --example own_task -- DIR` fits y = sin(x) with a small network. Killed and started again, it
//! continues to the same bits.

use rappel::prelude::*;

/// Points of a sine, each drawn by its number.
struct Sine;

impl Dataset for Sine {
    type Batch = (Tensor, Tensor);

    fn len(&self) -> usize {
        4096
    }

    fn batch(&self, samples: &[usize]) -> (Tensor, Tensor) {
        let x: Vec<f32> = samples.iter().map(|i| *i as f32 / 512.0 - 4.0).collect();
        let y: Vec<f32> = x.iter().map(|x| x.sin()).collect();
        let column = |values: &[f32]| Tensor::from_slice(values, [values.len(), 1]);
        (column(&x), column(&y))
    }

    fn fingerprint(&self) -> String {
        "sine, 4096 points".to_owned()
    }
}

struct Net {
    params: Params,
    layers: [Linear; 2],
}

impl Model for Net {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }
}

struct SquaredError;

impl Objective for SquaredError {
    type Data = Sine;
    type Model = Net;

    fn loss(&self, net: &Net, (x, y): &(Tensor, Tensor), weight: f64, _: &Pass) -> Tensor {
        let hidden = net.layers[0].forward(x).tanh();
        (net.layers[1].forward(&hidden) - y).square().sum() / weight
    }
}

fn main() -> Result<(), TrainError> {
    let dir = std::env::args().nth(1).expect("usage: own_task DIR");
    let config = Config::own(
        "optimizer = { name = 'adamw', lr = 1e-2 }
         schedule = { name = 'cosine', warmup_steps = 20 }
         average = { name = 'ema', decay = 0.99 }
         early_stopping = { metric = 'loss', patience = 5 }
         train = { steps = 2000, batch_size = 32, eval_every = 200 }
         checkpoint = { every = 100 }",
        &[],
    )?;
    let mut params = Params::new(config.seed());
    let mut scope = params.scope("net");
    let layers =
        [Linear::new(&mut scope.scope("0"), 1, 32), Linear::new(&mut scope.scope("1"), 32, 1)];
    let learner = Learner::new(Net { params, layers }, Sine, SquaredError);
    let learner = learner.held_out(Some(HeldOut::new(Sine, 512)));
    if let Ended::Finished(report) = Run::own(&config, learner, dir, &mut ())?.train(&mut ())? {
        println!("validation loss {:.6}", report.validation_loss().unwrap_or(f64::NAN));
    }
    Ok(())
}
