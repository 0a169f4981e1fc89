//! GPT-2: blocks of causal attention and an MLP, normalised before each, learned positions.

mod block;
mod config;

use rappel_config::{Entry, OptionSet};
use rappel_nn::{Activation, Dropout, Embedding, Forward, Head, LayerNorm, Linear, Output, Values};
use rappel_tensor::{Param, Params, Tensor, checkpoint, is_recording, no_grad};

use super::{Architecture, Common, configure};
use crate::{Cache, Documents, GgufDialect, LanguageModel, ModelConfig};
use block::Block;
pub use config::Gpt2Config;

/// Tokens of the released models, and Hugging Face's default.
const VOCAB_SIZE: usize = 50_257;

pub(super) const ENTRY: Entry<Architecture> = Entry {
    name: "gpt2",
    summary: "decoder with learned positions, layer norm before each part, and a GELU MLP",
    reference: "Radford et al., Language Models are Unsupervised Multitask Learners, 2019; \
                transformers GPT2LMHeadModel",
    fields: Gpt2Config::FIELDS,
    build: Architecture {
        configure: configure::<Gpt2Config>,
        off: &[],
        canonical,
        tied: &[(HEAD, "transformer.wte.weight")],
        gguf: GgufDialect::GPT2,
    },
};

const HEAD: &str = "lm_head.weight";

/// The first upload of GPT-2 has no `transformer.` before its names, and files of older versions
/// hold the causal mask of each layer.
fn canonical(name: &str) -> Option<String> {
    let is_mask = name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
    match name {
        _ if is_mask => None,
        HEAD => Some(name.to_owned()),
        _ if name.starts_with("transformer.") => Some(name.to_owned()),
        _ => Some(format!("transformer.{name}")),
    }
}

/// The model; its parameters carry the names of transformers' `GPT2LMHeadModel`.
#[derive(Debug)]
struct Gpt2 {
    config: Gpt2Config,
    wte: Embedding,
    wpe: Embedding,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    head: Param,
    dropout: Dropout,
}

impl Gpt2Config {
    fn activation(&self) -> Activation {
        self.activation_function.function()
    }
}

impl Gpt2 {
    fn new(params: &mut Params, config: &Gpt2Config, values: Values) -> Self {
        let (width, init) = (config.n_embd, values.normal(config.initializer_range));
        let mut top = params.scope("").dtype(config.common.dtype);
        let mut scope = top.scope("transformer");
        let table = |scope: &mut rappel_tensor::Scope<'_>, name: &str, rows| {
            Embedding::from_init(&mut scope.scope(name), rows, width, init)
        };
        let wte = table(&mut scope, "wte", config.vocab_size);
        let wpe = table(&mut scope, "wpe", config.n_positions);
        let blocks = (0..config.n_layer)
            .map(|i| Block::new(&mut scope.scope(&format!("h.{i}")), config, values))
            .collect();
        let ln_f = LayerNorm::new(&mut scope.scope("ln_f"), width, config.layer_norm_epsilon);
        let head = if config.tie_word_embeddings {
            wte.weight().clone()
        } else {
            let mut scope = top.scope("lm_head");
            Linear::from_init(&mut scope, width, config.vocab_size, init, false).weight().clone()
        };
        let dropout = Dropout::new(config.embd_pdrop);
        Self { config: config.clone(), wte, wpe, blocks, ln_f, head, dropout }
    }

    /// Tokens and positions from `past` on, `[batch, time, width]`.
    #[track_caller]
    fn embed(
        &self,
        ids: &Tensor,
        past: usize,
        positions: Option<&Tensor>,
        forward: &Forward,
    ) -> Tensor {
        assert!(ids.rank() == 2, "gpt2: ids are [batch, time], got {}", ids.shape());
        let words = forward.embeddings(self.wte.forward(ids));
        if let Some(positions) = positions {
            return words + self.wpe.forward(positions);
        }
        let (time, most) = (ids.size(1), self.config.n_positions);
        assert!(past + time <= most, "gpt2: {} tokens, positions for {most}", past + time);
        words + self.wpe.weight().tensor().narrow(0, past, time)
    }
}

impl LanguageModel for Gpt2 {
    fn config(&self) -> &dyn ModelConfig {
        &self.config
    }

    fn output(&self, ids: &Tensor, documents: Option<&Documents>, forward: &Forward) -> Output {
        let recompute = self.config.common.gradient_checkpointing && is_recording();
        let positions = documents.and_then(|documents| documents.positions.as_ref());
        let embedded = self.embed(ids, 0, positions, forward);
        let documents = documents.map(|documents| &documents.ids);
        let mut x = self.dropout.forward(embedded, &forward.layer("drop"));
        let forward = forward.layer("h");
        for (i, block) in self.blocks.iter().enumerate() {
            let forward = forward.block(i, self.blocks.len());
            x = if recompute {
                let (block, documents) = (block.clone(), documents.cloned());
                checkpoint(&[&x], move |x| block.forward(&x[0], documents.as_ref(), &forward))
            } else {
                block.forward(&x, documents, &forward)
            };
        }
        self.ln_f.forward(&x).into()
    }

    fn head(&self) -> Head {
        Head::new(self.head.weight())
    }

    fn decode(&self, ids: &Tensor, cache: &mut Cache) -> Tensor {
        no_grad(|| {
            let mut x = self.embed(ids, cache.len(), None, &Forward::evaluation());
            for (i, block) in self.blocks.iter().enumerate() {
                x = block.decode(&x, i, cache);
            }
            cache.advance(ids.size(1));
            let last = x.narrow(1, ids.size(1) - 1, 1).squeeze(1);
            self.head().logits(&self.ln_f.forward(&last))
        })
    }

    fn new_cache(&self, batch: usize, positions: usize) -> Cache {
        let Gpt2Config { n_layer, n_head, n_embd, common: Common { dtype, .. }, .. } = self.config;
        Cache::new(n_layer, batch, positions, n_head, n_embd / n_head, dtype)
    }
}
