//! GPT-2 from candle's layers.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::{Embedding, Init, Linear, Module, VarBuilder, ops};

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(width: usize, at: &VarBuilder) -> Result<Self> {
        let weight = at.get_with_hints(width, "weight", Init::Const(1.0))?;
        Ok(Self { weight, bias: at.get_with_hints(width, "bias", Init::Const(0.0))? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm_slow(x, &self.weight, &self.bias, 1e-5)
    }
}

struct Block {
    heads: usize,
    ln_1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    ln_2: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(size: &worker::Gpt, at: &VarBuilder) -> Result<Self> {
        let width = size.n_embd;
        Ok(Self {
            heads: size.n_head,
            ln_1: LayerNorm::new(width, &at.pp("ln_1"))?,
            qkv: linear(width, 3 * width, &at.pp("qkv"))?,
            proj: linear(width, width, &at.pp("proj"))?,
            ln_2: LayerNorm::new(width, &at.pp("ln_2"))?,
            up: linear(width, 4 * width, &at.pp("up"))?,
            down: linear(4 * width, width, &at.pp("down"))?,
        })
    }

    /// `x`: `[batch, time, width]`; `mask`: `[time, time]`, minus infinity where the future is.
    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (b, t, w) = x.dims3()?;
        let qkv = self.qkv.forward(&self.ln_1.forward(x)?)?;
        let head = |i: usize| {
            let part = qkv.narrow(D::Minus1, i * w, w)?;
            part.reshape((b, t, self.heads, w / self.heads))?.transpose(1, 2)?.contiguous()
        };
        let (q, k, v) = (head(0)?, head(1)?, head(2)?);
        let scale = 1.0 / ((w / self.heads) as f64).sqrt();
        let scores = (q * scale)?.matmul(&k.t()?)?.broadcast_add(mask)?;
        let y = ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let x = (x + self.proj.forward(&y.transpose(1, 2)?.reshape((b, t, w))?)?)?;
        let hidden = self.up.forward(&self.ln_2.forward(&x)?)?.gelu()?;
        x + self.down.forward(&hidden)?
    }
}

/// The model.
pub struct Gpt {
    wte: Embedding,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    head: Linear,
    mask: Tensor,
}

impl Gpt {
    /// A model whose variables are made by `at`.
    pub fn new(size: worker::Gpt, at: &VarBuilder) -> Result<Self> {
        let normal = Init::Randn { mean: 0.0, stdev: 0.02 };
        let shape = (size.vocab, size.n_embd);
        let wte = at.get_with_hints(shape, "wte", normal)?;
        let head = if size.tied { wte.clone() } else { at.get_with_hints(shape, "head", normal)? };
        let time = size.time;
        let mask: Vec<f32> = (0..time * time)
            .map(|i| if i % time > i / time { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        Ok(Self {
            wte: Embedding::new(wte, size.n_embd),
            wpe: at.get_with_hints((size.positions, size.n_embd), "wpe", normal)?,
            blocks: (0..size.n_layer)
                .map(|i| Block::new(&size, &at.pp(format!("h.{i}"))))
                .collect::<Result<_>>()?,
            ln_f: LayerNorm::new(size.n_embd, &at.pp("ln_f"))?,
            head: Linear::new(head, None),
            mask: Tensor::from_vec(mask, (time, time), &Device::Cpu)?,
        })
    }

    /// Logits `[batch * time, vocab]` of the tokens `[batch, time]`.
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let positions = self.wpe.narrow(0, 0, tokens.dim(1)?)?;
        let mut x = self.wte.forward(tokens)?.broadcast_add(&positions)?;
        for block in &self.blocks {
            x = block.forward(&x, &self.mask)?;
        }
        self.head.forward(&self.ln_f.forward(&x)?.flatten_to(1)?)
    }
}

fn linear(from: usize, to: usize, at: &VarBuilder) -> Result<Linear> {
    let weight = at.get_with_hints((to, from), "weight", Init::Randn { mean: 0.0, stdev: 0.02 })?;
    Ok(Linear::new(weight, Some(at.get_with_hints(to, "bias", Init::Const(0.0))?)))
}
