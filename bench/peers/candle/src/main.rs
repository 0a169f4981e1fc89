//! candle on the jobs of the benchmark, through its own layers, losses and optimizers.
//!
//! Its fused layer norm and softmax have no backward pass, so training takes the composed ones.

mod gpt;

use candle_core::{DType, Device, Result as Candle, Tensor, Var, backprop::GradStore};
use candle_nn::{AdamW, Linear, Module, Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap, loss};
use worker::{Job, Result};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A training step: a loss and the optimizer of what it depends on.
struct Training<F> {
    loss_of: F,
    optimizer: AdamW,
    loss: Option<Tensor>,
}

impl<F: Fn() -> Candle<Tensor>> Training<F> {
    fn new(variables: Vec<Var>, loss_of: F) -> Result<Self> {
        Ok(Self { loss_of, optimizer: adamw(variables)?, loss: None })
    }
}

impl<F: Fn() -> Candle<Tensor>> Job for Training<F> {
    fn step(&mut self) -> Result<()> {
        let loss = (self.loss_of)()?;
        self.optimizer.backward_step(&loss)?;
        self.loss = Some(loss.detach());
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        scalar(self.loss.as_ref())
    }
}

struct Seed {
    x: Tensor,
    y: Tensor,
    loss: Option<Tensor>,
}

impl Job for Seed {
    fn step(&mut self) -> Result<()> {
        let map = VarMap::new();
        let net = candle_nn::linear(1, 1, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
        let mut sgd = SGD::new(map.all_vars(), worker::SEED_LR)?;
        for _ in 0..worker::SEED_EPOCHS {
            let loss = loss::mse(&net.forward(&self.x)?, &self.y)?;
            sgd.backward_step(&loss)?;
            self.loss = Some(loss.detach());
        }
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        scalar(self.loss.as_ref())
    }
}

struct AdamWAlone {
    parameter: Var,
    gradients: GradStore,
    optimizer: AdamW,
}

impl Job for AdamWAlone {
    fn step(&mut self) -> Result<()> {
        Ok(self.optimizer.step(&self.gradients)?)
    }

    fn loss(&mut self) -> Result<f64> {
        Ok(f64::from(self.parameter.get(0)?.to_scalar::<f32>()?))
    }
}

fn adamw(variables: Vec<Var>) -> Candle<AdamW> {
    let weight_decay = worker::WEIGHT_DECAY;
    AdamW::new(variables, ParamsAdamW { lr: worker::LR, weight_decay, ..Default::default() })
}

fn scalar(loss: Option<&Tensor>) -> Result<f64> {
    Ok(f64::from(loss.ok_or("no step was made")?.to_scalar::<f32>()?))
}

fn seed() -> Result<Seed> {
    let (x, y) = worker::seed_data();
    let column =
        |values: Vec<f32>| Tensor::from_vec(values, (worker::SEED_POINTS, 1), &Device::Cpu);
    Ok(Seed { x: column(x)?, y: column(y)?, loss: None })
}

fn mlp() -> Result<Training<impl Fn() -> Candle<Tensor>>> {
    let (x, y) = worker::mlp_data();
    let x = Tensor::from_vec(x, (worker::MLP_BATCH, worker::MLP_WIDTHS[0]), &Device::Cpu)?;
    let y = Tensor::from_vec(y, worker::MLP_BATCH, &Device::Cpu)?;
    let map = VarMap::new();
    let root = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let [a, b, c, d] = worker::MLP_WIDTHS;
    let layers = [
        candle_nn::linear(a, b, root.pp("0"))?,
        candle_nn::linear(b, c, root.pp("1"))?,
        candle_nn::linear(c, d, root.pp("2"))?,
    ];
    Training::new(map.all_vars(), move || {
        let [first, second, third]: &[Linear; 3] = &layers;
        let h = first.forward(&x)?.relu()?;
        let h = second.forward(&h)?.relu()?;
        loss::cross_entropy(&third.forward(&h)?, &y)
    })
}

fn adamw_alone() -> Result<AdamWAlone> {
    let parameter = Var::ones(worker::ADAMW_SIZE, DType::F32, &Device::Cpu)?;
    // The gradient of a sum of 0.01 p is 0.01 everywhere.
    let gradients = (parameter.as_tensor() * 0.01)?.sum_all()?.backward()?;
    let optimizer = adamw(vec![parameter.clone()])?;
    Ok(AdamWAlone { parameter, gradients, optimizer })
}

fn gpt(size: worker::Gpt) -> Result<Training<impl Fn() -> Candle<Tensor>>> {
    let (x, y) = worker::tokens(&size);
    let x = Tensor::from_vec(x, (size.batch, size.time), &Device::Cpu)?;
    let y = Tensor::from_vec(y, size.batch * size.time, &Device::Cpu)?;
    let map = VarMap::new();
    let net = gpt::Gpt::new(size, &VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
    Training::new(map.all_vars(), move || loss::cross_entropy(&net.forward(&x)?, &y))
}

fn main() -> Result<()> {
    match worker::job_name()?.as_str() {
        "seed" => worker::serve(seed),
        "gpt_small" => worker::serve(|| gpt(worker::GPT_SMALL)),
        "gpt2" => worker::serve(|| gpt(worker::GPT2)),
        "mlp" => worker::serve(mlp),
        "adamw" => worker::serve(adamw_alone),
        name => Err(format!("no job named {name}").into()),
    }
}
