//! This project on the jobs of the benchmark.

mod rules;

use rappel_model::{Gpt2Config, LanguageModel, ModelConfig};
use rappel_nn::{Activation, Forward, Linear, Mlp};
use rappel_optim::{AdamW, Optimizer, OptimizerConfig, ParamGroup, Sgd};
use rappel_tensor::{
    CrossEntropy, DType, Grads, Init, Key, MatmulPrecision, Params, Tensor, cross_entropy,
    with_matmul_precision,
};
use worker::{Gpt, Job, Result};

fn main() -> Result<()> {
    let name = worker::job_name()?;
    // Inside the pool, as `rappel train` runs: kernels then share their work without waiting for
    // a thread to hand it over.
    rayon::ThreadPoolBuilder::new().build()?.install(|| match name.as_str() {
        "seed" => worker::serve(seed).map_err(|error| error.to_string()),
        "gpt_small" => worker::serve(|| gpt(worker::GPT_SMALL)).map_err(|e| e.to_string()),
        "gpt_wide" => worker::serve(|| gpt(worker::GPT_WIDE)).map_err(|e| e.to_string()),
        "gpt2" => worker::serve(|| gpt(worker::GPT2)).map_err(|error| error.to_string()),
        "gpt2_long" => worker::serve(|| gpt(worker::GPT2_LONG)).map_err(|e| e.to_string()),
        "gpt2_short" => worker::serve(|| gpt(worker::GPT2_SHORT)).map_err(|e| e.to_string()),
        "mlp" => worker::serve(mlp).map_err(|error| error.to_string()),
        "adamw" => worker::serve(adamw_alone).map_err(|error| error.to_string()),
        "rule" => worker::serve(rules::rule).map_err(|error| error.to_string()),
        "add" => worker::serve(rules::add).map_err(|error| error.to_string()),
        name => Err(format!("no job named {name}")),
    })?;
    Ok(())
}

/// How a GPT multiplies: the worker's second argument.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Variant {
    /// Single precision.
    Single,
    /// `matmul_precision = "medium"`.
    Medium,
    /// Parameters and activations in bfloat16, with single-precision master weights.
    Bf16,
}

impl Variant {
    fn from_args() -> Result<Self> {
        Ok(match std::env::args().nth(2).as_deref() {
            None => Self::Single,
            Some("medium") => Self::Medium,
            Some("bf16") => Self::Bf16,
            Some(other) => return Err(format!("no variant named {other}").into()),
        })
    }
}

fn adamw(params: &Params) -> Result<Optimizer> {
    let rule = AdamW {
        lr: worker::LR.into(),
        weight_decay: worker::WEIGHT_DECAY.into(),
        ..AdamW::default()
    };
    // As the peers' steps: no clipping, and gradients taken unchecked.
    // Master copies are only made of what is bfloat16.
    let group = ParamGroup::from(rule).master_weights();
    Ok(Optimizer::new(OptimizerConfig::from(group).unchecked(), params)?)
}

/// A model, its data and its optimizer.
struct Training<F> {
    params: Params,
    optimizer: Optimizer,
    loss_of: F,
    step: u64,
    loss: Option<Tensor>,
}

impl<F: Fn() -> Tensor> Job for Training<F> {
    fn step(&mut self) -> Result<()> {
        let loss = (self.loss_of)();
        self.optimizer.step(self.step, &mut self.params, &loss.backward())?;
        self.step += 1;
        self.loss = Some(loss);
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        Ok(self.loss.as_ref().ok_or("no step yet")?.item())
    }
}

fn gpt(size: Gpt) -> Result<impl Job> {
    let variant = Variant::from_args()?;
    let config = Gpt2Config {
        n_layer: size.n_layer,
        n_head: size.n_head,
        n_embd: size.n_embd,
        n_positions: size.positions,
        vocab_size: size.vocab,
        tie_word_embeddings: size.tied,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        dtype: if variant == Variant::Bf16 { DType::BF16 } else { DType::F32 },
        ..Gpt2Config::default()
    };
    let mut params = Params::new(0);
    let model: Box<dyn LanguageModel> = config.build(&mut params);
    let optimizer = adamw(&params)?;
    let (ids, targets) = worker::tokens(&size);
    let shape = [size.batch, size.time];
    let (ids, targets) = (Tensor::from_slice(&ids, shape), Tensor::from_slice(&targets, shape));
    let forward = Forward::training(Key::new(0));
    let options = CrossEntropy::default();
    let precision = match variant {
        Variant::Medium => MatmulPrecision::Medium,
        Variant::Single | Variant::Bf16 => MatmulPrecision::Highest,
    };
    let loss_of = move || {
        with_matmul_precision(precision, || model.loss(&ids, &targets, None, &options, &forward))
    };
    Ok(Training { params, optimizer, loss_of, step: 0, loss: None })
}

fn mlp() -> Result<impl Job> {
    let mut params = Params::new(0);
    let net = Mlp::new(&mut params.scope("net"), &worker::MLP_WIDTHS, Activation::Relu);
    let optimizer = adamw(&params)?;
    let (x, classes) = worker::mlp_data();
    let x = Tensor::from_slice(&x, [worker::MLP_BATCH, worker::MLP_WIDTHS[0]]);
    let classes = Tensor::from_slice(&classes, [worker::MLP_BATCH]);
    let loss_of = move || cross_entropy(&net.forward(&x), &classes, &CrossEntropy::default());
    Ok(Training { params, optimizer, loss_of, step: 0, loss: None })
}

/// The seed program, from the same weights at every call.
struct Seed {
    x: Tensor,
    y: Tensor,
    loss: f64,
}

impl Job for Seed {
    fn step(&mut self) -> Result<()> {
        let mut params = Params::new(0);
        let net = Linear::new(&mut params.scope("net"), 1, 1);
        let mut sgd =
            Optimizer::new(Sgd { lr: worker::SEED_LR.into(), ..Sgd::default() }, &params)?;
        for step in 0..worker::SEED_EPOCHS as u64 {
            let loss = (net.forward(&self.x) - &self.y).square().mean();
            sgd.step(step, &mut params, &loss.backward())?;
            if step + 1 == worker::SEED_EPOCHS as u64 {
                self.loss = loss.item();
            }
        }
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        Ok(self.loss)
    }
}

fn seed() -> Result<Seed> {
    let (x, y) = worker::seed_data();
    let column = |values: Vec<f32>| Tensor::from_slice(&values, [worker::SEED_POINTS, 1]);
    Ok(Seed { x: column(x), y: column(y), loss: f64::NAN })
}

/// AdamW on one tensor, its gradient given.
struct AdamWAlone {
    params: Params,
    optimizer: Optimizer,
    grads: Grads,
    step: u64,
}

impl Job for AdamWAlone {
    fn step(&mut self) -> Result<()> {
        self.optimizer.step(self.step, &mut self.params, &self.grads)?;
        self.step += 1;
        Ok(())
    }

    fn loss(&mut self) -> Result<f64> {
        let weight = self.params.get("weight").ok_or("registered below")?.tensor();
        Ok(weight.narrow(0, 0, 1).item())
    }
}

fn adamw_alone() -> Result<AdamWAlone> {
    let mut params = Params::new(0);
    let weight = params.scope("").add("weight", [worker::ADAMW_SIZE], Init::ONES);
    let optimizer = adamw(&params)?;
    let grads = (weight.tensor().sum() * 0.01).backward();
    Ok(AdamWAlone { params, optimizer, grads, step: 0 })
}
