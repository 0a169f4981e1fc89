//! burn on the jobs of the benchmark: its flex backend, its own layers, losses and optimizers.

mod gpt;

use burn::module::{Module, Param};
use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use worker::{Job, Result};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A training step: a model, its loss and AdamW.
struct Training<M, F> {
    model: Option<M>,
    loss_of: F,
    optimizer: ModuleOptimizer,
    loss: Option<Tensor<1>>,
}

impl<M: Module, F: Fn(&M) -> Tensor<1>> Training<M, F> {
    fn new(model: M, loss_of: F) -> Self {
        Self { model: Some(model), loss_of, optimizer: adamw(), loss: None }
    }
}

impl<M: Module, F: Fn(&M) -> Tensor<1>> Job for Training<M, F> {
    fn step(&mut self) -> Result<()> {
        let model = self.model.take().ok_or("the last step failed")?;
        let loss = (self.loss_of)(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimizer.step(worker::LR, model, gradients));
        self.loss = Some(loss.detach());
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        scalar(self.loss.as_ref())
    }
}

struct Seed {
    device: Device,
    x: Tensor<2>,
    y: Tensor<2>,
    loss: Option<Tensor<1>>,
}

impl Job for Seed {
    fn step(&mut self) -> Result<()> {
        let mut net = LinearConfig::new(1, 1).init(&self.device);
        let mut sgd = SgdConfig::new().init();
        let mse = MseLoss::new();
        for _ in 0..worker::SEED_EPOCHS {
            let loss = mse.forward(net.forward(self.x.clone()), self.y.clone(), Reduction::Mean);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = sgd.step(worker::SEED_LR, net, gradients);
            self.loss = Some(loss.detach());
        }
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        scalar(self.loss.as_ref())
    }
}

#[derive(Module, Debug)]
struct Flat {
    parameter: Param<Tensor<1>>,
}

struct AdamWAlone {
    model: Option<Flat>,
    gradient: Tensor<1>,
    ready: Option<GradientsParams>,
    optimizer: ModuleOptimizer,
}

impl Job for AdamWAlone {
    /// The optimizer takes the gradient by value; a copy of its own lets it work in place.
    fn prepare(&mut self) -> Result<()> {
        let model = self.model.as_ref().ok_or("the last step failed")?;
        let mut gradients = GradientsParams::new();
        gradients.register(model.parameter.id, self.gradient.clone() * 1.0);
        self.ready = Some(gradients);
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let model = self.model.take().ok_or("the last step failed")?;
        let gradients = self.ready.take().ok_or("no gradient was prepared")?;
        self.model = Some(self.optimizer.step(worker::LR, model, gradients));
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        let model = self.model.as_ref().ok_or("the last step failed")?;
        Ok(f64::from(model.parameter.val().detach().slice([0..1]).into_scalar::<f32>()))
    }
}

#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    second: Linear,
    third: Linear,
}

fn adamw() -> ModuleOptimizer {
    let weight_decay = worker::WEIGHT_DECAY as f32;
    AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(weight_decay).init()
}

fn scalar(loss: Option<&Tensor<1>>) -> Result<f64> {
    Ok(f64::from(loss.ok_or("no step was made")?.clone().into_scalar::<f32>()))
}

fn seed(device: &Device) -> Seed {
    let (x, y) = worker::seed_data();
    let column =
        |values| Tensor::from_data(TensorData::new(values, [worker::SEED_POINTS, 1]), device);
    Seed { device: device.clone(), x: column(x), y: column(y), loss: None }
}

fn mlp(device: &Device) -> impl Job {
    let (x, y) = worker::mlp_data();
    let [a, b, c, d] = worker::MLP_WIDTHS;
    let x = Tensor::<2>::from_data(TensorData::new(x, [worker::MLP_BATCH, a]), device);
    let y = Tensor::<1, Int>::from_data(TensorData::new(y, [worker::MLP_BATCH]), device);
    let model = Mlp {
        first: LinearConfig::new(a, b).init(device),
        second: LinearConfig::new(b, c).init(device),
        third: LinearConfig::new(c, d).init(device),
    };
    let cross_entropy = CrossEntropyLossConfig::new().init(device);
    Training::new(model, move |model: &Mlp| {
        let h = relu(model.first.forward(x.clone()));
        let h = relu(model.second.forward(h));
        cross_entropy.forward(model.third.forward(h), y.clone())
    })
}

fn adamw_alone(device: &Device) -> AdamWAlone {
    let parameter = Param::from_tensor(Tensor::ones([worker::ADAMW_SIZE], device));
    // Gradients live on the device without autodiff.
    let gradient = Tensor::ones([worker::ADAMW_SIZE], &Device::flex()) * 0.01;
    AdamWAlone { model: Some(Flat { parameter }), gradient, ready: None, optimizer: adamw() }
}

fn gpt(size: worker::Gpt, device: &Device) -> impl Job {
    let (x, y) = worker::tokens(&size);
    let x = Tensor::<2, Int>::from_data(TensorData::new(x, [size.batch, size.time]), device);
    let y = Tensor::<1, Int>::from_data(TensorData::new(y, [size.batch * size.time]), device);
    let cross_entropy = CrossEntropyLossConfig::new().init(device);
    let mask = gpt::causal_mask(size.time, device);
    Training::new(gpt::Gpt::new(size, device), move |model: &gpt::Gpt| {
        cross_entropy.forward(model.forward(x.clone(), &mask), y.clone())
    })
}

fn main() -> Result<()> {
    let device = Device::flex().autodiff();
    match worker::job_name()?.as_str() {
        "seed" => worker::serve(|| Ok(seed(&device))),
        "gpt_small" => worker::serve(|| Ok(gpt(worker::GPT_SMALL, &device))),
        "gpt2" => worker::serve(|| Ok(gpt(worker::GPT2, &device))),
        "mlp" => worker::serve(|| Ok(mlp(&device))),
        "adamw" => worker::serve(|| Ok(adamw_alone(&device))),
        name => Err(format!("no job named {name}").into()),
    }
}
