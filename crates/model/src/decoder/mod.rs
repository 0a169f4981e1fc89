//! Decoders: blocks of causal attention and a gated MLP over rotary positions.
//!
//! One model with options; an architecture is a reader of its config and the names of its parameters.

mod attention;
mod block;
mod experts;
mod options;
mod shape;

use rappel_nn::{Dropout, Embedding, Forward, Head, Linear, Output, RmsNorm, Values};
use rappel_tensor::{DType, Param, Params, Tensor, checkpoint, concat, is_recording, no_grad};

use crate::rope::{Angles, Ropes};
use crate::{Cache, Documents, LanguageModel, ModelConfig};
use block::Block;
use experts::{Load, imbalance};
use shape::AttentionShape;

pub(crate) use options::{
    DecoderOptions, Shared, decoder_config, entry, slide, sliding, unless_zero,
};
pub(crate) use shape::{DecoderShape, ExpertsShape, Norms, QkNorm};

/// The parameter of a head that is not tied.
pub(crate) const HEAD: &str = "lm_head.weight";
/// The parameter of the embedding.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// A decoder; its parameters carry the names of transformers' `*ForCausalLM`.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: Box<dyn ModelConfig>,
    shape: DecoderShape,
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Param,
    dropout: Dropout,
    ropes: Ropes,
}

impl Decoder {
    /// Registers the parameters of a model of this shape.
    pub fn new(
        params: &mut Params,
        config: Box<dyn ModelConfig>,
        shape: DecoderShape,
        values: Values,
    ) -> Self {
        let (width, vocab, init) = (shape.width, shape.vocab_size, values.normal(shape.std));
        let mut top = params.scope("").dtype(shape.dtype);
        let mut scope = top.scope("model");
        let embedding = Embedding::from_init(&mut scope.scope("embed_tokens"), vocab, width, init);
        let layers = shape.layers.iter().enumerate();
        let blocks = layers
            .map(|(i, layer)| {
                Block::new(&mut scope.scope(&format!("layers.{i}")), &shape, layer, values)
            })
            .collect();
        let norm = shape.norm(&mut scope.scope("norm"), width);
        let head = if shape.tied {
            embedding.weight().clone()
        } else {
            let mut scope = top.scope("lm_head");
            Linear::from_init(&mut scope, width, vocab, init, false).weight().clone()
        };
        let dropout = Dropout::new(shape.dropouts[0]);
        let ropes = Ropes::new(shape.layers.iter().map(|layer| layer.rope.as_ref()), shape.dtype);
        // As exact as the embeddings that it multiplies, which is how models with a scale were trained.
        let shape = DecoderShape {
            embedding_scale: shape.embedding_scale.map(|scale| rounded(scale, shape.dtype)),
            ..shape
        };
        Self { config, shape, embedding, blocks, norm, head, dropout, ropes }
    }

    /// Tokens as `[batch, time, width]`, whose positions end before `end`.
    #[track_caller]
    fn embed(&self, ids: &Tensor, end: usize, forward: &Forward) -> Tensor {
        let name = self.config.model_type();
        assert!(ids.rank() == 2, "{name}: ids are [batch, time], got {}", ids.shape());
        let most = self.shape.positions;
        assert!(end <= most, "{name}: {end} tokens, positions for {most}");
        let x = self.embedding.forward(ids);
        forward.embeddings(self.shape.embedding_scale.map_or_else(|| x.clone(), |scale| &x * scale))
    }

    /// One block, recomputed in the backward pass where the config says so.
    fn block(
        &self,
        i: usize,
        x: &Tensor,
        angles: Option<&Angles>,
        documents: Option<&Tensor>,
        forward: &Forward,
    ) -> (Tensor, Option<Load>) {
        let block = &self.blocks[i];
        if !(self.shape.gradient_checkpointing && is_recording()) {
            return block.forward(x, angles, documents, forward);
        }
        let balanced = self.balanced() && self.shape.layers[i].sparse && forward.train;
        let (block, angles, documents) = (block.clone(), angles.cloned(), documents.cloned());
        let forward = *forward;
        // What is computed again is one tensor, so a load goes behind the states.
        let out = checkpoint(&[x], move |x| {
            let (x, load) = block.forward(&x[0], angles.as_ref(), documents.as_ref(), &forward);
            match load {
                Some(load) => {
                    let numbers = [x.count(), load.count()];
                    let load = load.to_dtype(x.dtype()).reshape([numbers[1]]);
                    concat(&[&x.reshape([numbers[0]]), &load], 0)
                }
                None => x,
            }
        });
        if !balanced {
            return (out, None);
        }
        let states = x.count();
        let load = out.narrow(0, states, out.count() - states);
        let experts = load.count() / 2;
        let load = load.reshape([2, experts]).to_dtype(x.dtype().accumulator());
        (out.narrow(0, 0, states).reshape(x.shape()), Some(load))
    }

    /// Whether the load of experts is balanced by a loss.
    fn balanced(&self) -> bool {
        self.shape.experts.as_ref().is_some_and(|experts| experts.balance.is_some())
    }
}

/// `x` as a number of this type.
fn rounded(x: f64, dtype: DType) -> f64 {
    Tensor::scalar(x, dtype).item()
}

impl LanguageModel for Decoder {
    fn config(&self) -> &dyn ModelConfig {
        self.config.as_ref()
    }

    fn output(&self, ids: &Tensor, documents: Option<&Documents>, forward: &Forward) -> Output {
        let positions = documents.and_then(|documents| documents.positions.as_ref());
        let (angles, end) = match positions {
            None => (self.ropes.angles(0, ids.size(1)), ids.size(1)),
            Some(positions) => self.ropes.angles_at(positions),
        };
        let embedded = self.embed(ids, end, forward);
        let documents = documents.map(|documents| &documents.ids);
        let mut x = self.dropout.forward(embedded, &forward.layer("embed_tokens"));
        let forward = forward.layer("layers");
        let mut loads = Vec::new();
        for (i, angles) in angles.iter().enumerate() {
            let forward = forward.block(i, self.blocks.len());
            let load;
            (x, load) = self.block(i, &x, angles.as_ref(), documents, &forward);
            loads.extend(load);
        }
        let balance = self.shape.experts.as_ref().and_then(|experts| experts.balance);
        let auxiliary = imbalance(&loads).zip(balance).map(|(loss, factor)| loss * factor);
        Output { hidden: self.norm.forward(&x), auxiliary }
    }

    fn head(&self) -> Head {
        Head { weight: self.head.weight(), softcap: self.shape.softcap }
    }

    fn decode(&self, ids: &Tensor, cache: &mut Cache) -> Tensor {
        no_grad(|| {
            let (past, time) = (cache.len(), ids.size(1));
            let angles = self.ropes.angles(past, time);
            let mut x = self.embed(ids, past + time, &Forward::evaluation());
            for (i, (block, angles)) in self.blocks.iter().zip(&angles).enumerate() {
                x = block.decode(&x, angles.as_ref(), i, cache);
            }
            cache.advance(time);
            let last = x.narrow(1, time - 1, 1).squeeze(1);
            self.head().logits(&self.norm.forward(&last))
        })
    }

    fn new_cache(&self, batch: usize, positions: usize) -> Cache {
        let DecoderShape { attention, layers, dtype, .. } = &self.shape;
        let AttentionShape { kv_heads, dim, .. } = *attention;
        Cache::new(layers.len(), batch, positions, kv_heads, dim, *dtype)
    }
}
