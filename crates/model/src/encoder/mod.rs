//! Encoders: blocks of attention in both directions.
//!
//! One model with options; an architecture is a reader of its config and the names of its parameters.

mod bert_like;
mod block;
mod head;
mod options;
mod shape;
mod task;
mod texts;

use rappel_nn::{Dropout, Embedding, Forward, LayerNorm, Linear, Values};
use rappel_tensor::{
    CrossEntropy, Params, Scope, Tensor, checkpoint, cross_entropy, is_recording, mse, stack,
};

use self::block::Block;
use self::head::{Head, Out};
use self::texts::first;
use crate::rope::Ropes;

pub(crate) use bert_like::{BertLike, NAMES};
pub use options::{EncoderArchitecture, EncoderConfig};
pub(crate) use options::{EncoderOptions, bert_config, entry, tied};
pub(crate) use shape::{
    Dense, Dropouts, EncoderShape, HeadShape, LayerShape, Names, Norms, Positions, Projections,
    Reads, is_within,
};
pub use task::{EncoderTask, Labels, Problem};
pub use texts::{EncoderTexts, Pooling, unit_length};

/// An encoder of texts with a head, or without; its parameters carry the names of transformers' class for that.
///
/// Ids are each in `0..vocab_size`, and texts have at most `max_positions` tokens: the model panics at others, so whoever
/// takes them from a user checks them first.
#[derive(Debug)]
pub struct Encoder {
    task: EncoderTask,
    tokens: Embedding,
    positions: Option<Embedding>,
    types: Option<Embedding>,
    norm: LayerNorm,
    blocks: Vec<Block>,
    last_norm: Option<LayerNorm>,
    ropes: Ropes,
    head: Option<Head>,
    dropout: Dropout,
    config: EncoderConfig,
}

impl Encoder {
    /// Registers the parameters of a model: `values` are those of the encoder and of its head. `with_pooler` is a layer
    /// that some files have which nothing here reads.
    pub(crate) fn new(
        params: &mut Params,
        config: EncoderConfig,
        task: EncoderTask,
        with_pooler: bool,
        [values, head_values]: [Values; 2],
    ) -> Self {
        let shape = &config.shape;
        let (names, width, init) = (shape.names, shape.width, values.normal(shape.stds[0]));
        let mut top = params.scope("").dtype(shape.dtype);
        let prefix = if task == EncoderTask::Embedding { "" } else { names.prefix };
        let mut scope = top.scope(prefix);
        let table = |scope: &mut Scope<'_>, name: &str, rows: usize| {
            Embedding::from_init(&mut scope.scope(name), rows, width, init)
        };
        let tokens = table(&mut scope, names.tokens, shape.vocab_size);
        let positions = match shape.positions {
            Positions::Learned { rows, .. } => Some(table(&mut scope, names.positions, rows)),
            Positions::Rotary { .. } => None,
        };
        let types = (shape.types > 0).then(|| table(&mut scope, names.types, shape.types));
        let norm = shape.norm(&mut scope.scope(names.norm));
        let layers = shape.layers.iter().enumerate();
        let blocks = layers
            .map(|(i, layer)| {
                let mut scope = scope.scope(&format!("{}.{i}", names.layers));
                Block::new(&mut scope, shape, layer, i == 0, values)
            })
            .collect();
        let last_norm = names.last_norm.map(|name| shape.norm(&mut scope.scope(name)));
        if let Some(name) = names.pooler.filter(|_| with_pooler) {
            Linear::with_zero_bias(&mut scope.scope(name), width, width, init, true);
        }
        let mut head = |head: &HeadShape, out| Head::new(&mut top, shape, head, out, head_values);
        let head = match &task {
            EncoderTask::Embedding => None,
            EncoderTask::MaskedLanguageModel => {
                Some(head(&shape.for_masked, Out::Tokens(tokens.weight())))
            }
            EncoderTask::SequenceClassification(labels) => {
                Some(head(&shape.for_sequences, Out::Labels(labels.names.len())))
            }
            EncoderTask::TokenClassification(labels) => {
                Some(head(&shape.for_tokens, Out::Labels(labels.names.len())))
            }
        };
        let ropes = Ropes::new(shape.layers.iter().map(|layer| layer.rope.as_ref()), shape.dtype);
        let dropout = Dropout::new(shape.dropouts.embeddings);
        Self {
            task,
            tokens,
            positions,
            types,
            norm,
            blocks,
            last_norm,
            ropes,
            head,
            dropout,
            config,
        }
    }

    /// What it was built from.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// What it is for.
    pub fn task(&self) -> &EncoderTask {
        &self.task
    }

    /// The states of all tokens, `[batch, time, width]`; those of padding mean nothing.
    #[track_caller]
    pub fn states(&self, texts: &EncoderTexts, forward: &Forward) -> Tensor {
        let embedded = self.embed_tokens(texts, forward);
        let mut x = self.dropout.forward(embedded, &forward.layer("embeddings"));
        let recompute = self.config.shape.gradient_checkpointing && is_recording();
        let (forward, time) = (forward.layer("layers"), texts.ids().size(1));
        let angles = self.ropes.angles(0, time);
        for (i, (block, angles)) in self.blocks.iter().zip(angles).enumerate() {
            let (forward, real) = (forward.block(i, self.blocks.len()), texts.real());
            x = if recompute {
                let (block, real) = (block.clone(), real.cloned());
                checkpoint(&[&x], move |x| {
                    block.forward(&x[0], angles.as_ref(), real.as_ref(), &forward)
                })
            } else {
                block.forward(&x, angles.as_ref(), real, &forward)
            };
        }
        self.last_norm.as_ref().map_or_else(|| x.clone(), |norm| norm.forward(&x))
    }

    /// Tokens with their places and segments, `[batch, time, width]`.
    #[track_caller]
    fn embed_tokens(&self, texts: &EncoderTexts, forward: &Forward) -> Tensor {
        let (shape, time) = (&self.config.shape, texts.ids().size(1));
        let most = shape.max_positions();
        let name = self.config.model_type();
        assert!(time <= most, "{name}: {time} tokens, positions for {most}");
        let mut x = forward.embeddings(self.tokens.forward(texts.ids()));
        if let Some(types) = &self.types {
            x = match texts.types() {
                Some(ids) => x + types.forward(ids),
                None => x + types.weight().tensor().narrow(0, 0, 1),
            };
        }
        if let (Some(positions), Positions::Learned { first, .. }) =
            (&self.positions, shape.positions)
        {
            x = x + positions.weight().tensor().narrow(0, first, time);
        }
        self.norm.forward(&x)
    }

    /// One vector for each text, `[batch, width]`: its states pooled, of length 1 where `normalize`.
    #[track_caller]
    pub fn embed(
        &self,
        texts: &EncoderTexts,
        pooling: Pooling,
        normalize: bool,
        forward: &Forward,
    ) -> Tensor {
        let states = self.states(texts, forward);
        let pooled = match pooling {
            Pooling::Mean => texts.mean(&states),
            Pooling::Cls => first(&states),
        };
        if normalize { unit_length(&pooled) } else { pooled }
    }

    /// What the head makes of the states: `[batch, labels]`, or for a label or a token at each place
    /// `[batch, time, labels]`.
    ///
    /// # Panics
    /// Without a head.
    #[track_caller]
    pub fn logits(&self, texts: &EncoderTexts, forward: &Forward) -> Tensor {
        let head = self.head();
        let states = self.states(texts, forward);
        let (batch, time) = (states.size(0), states.size(1));
        let logits = head.logits(head.read(&states, texts), &forward.layer("head"));
        match self.task {
            EncoderTask::SequenceClassification(_) => logits,
            _ => logits.reshape([batch, time, logits.size(1)]),
        }
    }

    /// Logits `[places, labels]` of some places, counted through a batch `[batch, time]`, of a head that reads the state of each
    /// token: what nobody asks for need not become logits.
    ///
    /// # Panics
    /// Without such a head.
    #[track_caller]
    pub fn logits_at(&self, texts: &EncoderTexts, places: &[i64], forward: &Forward) -> Tensor {
        let head = self.head();
        assert!(head.is_of_each(), "the head has no logits of single tokens");
        let states = self.states(texts, forward);
        let places = Tensor::from_slice(places, [places.len()]);
        let rows = head.read(&states, texts).index_select(0, &places);
        head.logits(rows, &forward.layer("head"))
    }

    /// The loss of the head, a mean as in transformers.
    ///
    /// `targets` are tokens or labels i64 `[batch, time]`, counted where they are not `options.ignore_index`; labels of
    /// texts i64 `[batch]`, of which `[batch, labels]` are 0 or 1 where several may be right; or numbers
    /// `[batch, labels]`, whose mean squared error it is.
    ///
    /// # Panics
    /// Without a head, and where shapes do not meet.
    #[track_caller]
    pub fn loss(
        &self,
        texts: &EncoderTexts,
        targets: &Tensor,
        options: &CrossEntropy,
        forward: &Forward,
    ) -> Tensor {
        let head = self.head();
        let states = self.states(texts, forward);
        let mut rows = head.read(&states, texts);
        let mut targets = targets.clone();
        if head.is_of_each() {
            // What no target is given for need not become logits.
            targets = targets.reshape([targets.count()]);
            let ids = targets.to_vec::<i64>();
            let counted = (0_i64..).zip(&ids).filter(|(_, id)| **id != options.ignore_index);
            let counted: Vec<i64> = counted.map(|(i, _)| i).collect();
            let counted = Tensor::from_slice(&counted, [counted.len()]);
            rows = rows.index_select(0, &counted);
            targets = targets.index_select(0, &counted);
        }
        let logits = head.logits(rows, &forward.layer("head"));
        match self.task.labels().map(|labels| labels.problem) {
            Some(Problem::Regression) => mse(&logits, &targets),
            Some(Problem::MultiLabel) => {
                // Whether a label is right is a choice of two, of which the other's logit is 0.
                let logits = logits.reshape([logits.count()]);
                let zeros = Tensor::zeros(logits.shape(), logits.dtype());
                let targets = targets.reshape([targets.count()]);
                cross_entropy(&stack(&[&zeros, &logits], 1), &targets, options)
            }
            _ => cross_entropy(&logits, &targets, options),
        }
    }

    #[track_caller]
    fn head(&self) -> &Head {
        let Some(head) = &self.head else {
            panic!("{}: an encoder without a head has no logits", self.config.model_type())
        };
        head
    }
}
