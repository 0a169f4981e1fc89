//! GPT-2 from burn's layers.

use burn::module::{Module, Param};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor};

const NORMAL: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };

/// True where the future is: `[1, 1, time, time]`.
pub fn causal_mask(time: usize, device: &Device) -> Tensor<4, Bool> {
    Tensor::<2, Bool>::tril_mask([time, time], 0, device).unsqueeze()
}

#[derive(Module, Debug)]
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
    fn new(size: &worker::Gpt, device: &Device) -> Self {
        let width = size.n_embd;
        Self {
            heads: size.n_head,
            ln_1: LayerNormConfig::new(width).init(device),
            qkv: linear(width, 3 * width, device),
            proj: linear(width, width, device),
            ln_2: LayerNormConfig::new(width).init(device),
            up: linear(width, 4 * width, device),
            down: linear(4 * width, width, device),
        }
    }

    /// `x`: `[batch, time, width]`.
    fn forward(&self, x: Tensor<3>, mask: &Tensor<4, Bool>) -> Tensor<3> {
        let [b, t, w] = x.dims();
        let qkv = self.qkv.forward(self.ln_1.forward(x.clone()));
        let [q, k, v] = [0, 1, 2].map(|i| {
            let part = qkv.clone().narrow(2, i * w, w);
            part.reshape([b, t, self.heads, w / self.heads]).swap_dims(1, 2)
        });
        // `tensor::module::attention` has no backward of its own and builds its mask each time.
        let scale = 1.0 / ((w / self.heads) as f64).sqrt();
        let scores = (q * scale).matmul(k.swap_dims(2, 3));
        let mask = mask.clone().expand([b, self.heads, t, t]);
        let y = softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3).matmul(v);
        let x = x + self.proj.forward(y.swap_dims(1, 2).reshape([b, t, w]));
        // The exact GELU: one operation with its own backward, faster here than the tanh form.
        let hidden = gelu(self.up.forward(self.ln_2.forward(x.clone())));
        x + self.down.forward(hidden)
    }
}

/// The model.
#[derive(Module, Debug)]
pub struct Gpt {
    wte: Embedding,
    wpe: Param<Tensor<2>>,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    head: Option<Linear>,
}

impl Gpt {
    /// A model with GPT-2's initialisation.
    pub fn new(size: worker::Gpt, device: &Device) -> Self {
        let [vocab, width] = [size.vocab, size.n_embd];
        let head = LinearConfig::new(width, vocab).with_bias(false).with_initializer(NORMAL);
        Self {
            wte: EmbeddingConfig::new(vocab, width).with_initializer(NORMAL).init(device),
            wpe: NORMAL.init([size.positions, width], device),
            blocks: (0..size.n_layer).map(|_| Block::new(&size, device)).collect(),
            ln_f: LayerNormConfig::new(width).init(device),
            head: (!size.tied).then(|| head.init(device)),
        }
    }

    /// Logits `[batch * time, vocab]` of the tokens `[batch, time]`.
    pub fn forward(&self, tokens: Tensor<2, Int>, mask: &Tensor<4, Bool>) -> Tensor<2> {
        let [_, time] = tokens.dims();
        let positions = self.wpe.val().narrow(0, 0, time).unsqueeze::<3>();
        let mut x = self.wte.forward(tokens) + positions;
        for block in &self.blocks {
            x = block.forward(x, mask);
        }
        let x: Tensor<2> = self.ln_f.forward(x).flatten(0, 1);
        match &self.head {
            Some(head) => head.forward(x),
            None => x.matmul(self.wte.weight.val().transpose()),
        }
    }
}

fn linear(from: usize, to: usize, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(from, to).with_initializer(NORMAL).init(device);
    linear.bias = Some(Initializer::Zeros.init([to], device));
    linear
}
