//! What every language model can do.

use std::fmt::Debug;

use rappel_nn::{Forward, Head, Output, Values};
use rappel_tensor::{CrossEntropy, DType, Params, Tensor, no_grad};
use serde_json::{Map, Value};

use crate::Cache;

/// A model's sizes and options, checked: what a config section or a config.json comes to.
pub trait ModelConfig: Debug + Send + Sync {
    /// The architecture's name, Hugging Face's `model_type`.
    fn model_type(&self) -> &'static str;

    /// The model, whose parameters it registers in `params` by their names in checkpoints.
    ///
    /// # Panics
    /// Where `params` has such names already.
    fn build_with(&self, params: &mut Params, values: Values) -> Box<dyn LanguageModel>;

    /// [`build_with`](ModelConfig::build_with) values drawn as the architecture says.
    fn build(&self, params: &mut Params) -> Box<dyn LanguageModel> {
        self.build_with(params, Values::Drawn)
    }

    /// The config.json that transformers reads.
    fn to_json(&self) -> Map<String, Value>;

    /// How many numbers are trained.
    fn parameter_count(&self) -> u64;

    /// Floating-point operations of one token's forward and backward pass in sequences of `time`
    /// tokens: 6 for each weight of a matrix product, and those of attention.
    fn flops_per_token(&self, time: usize) -> u64;

    /// The type of parameters and activations.
    fn dtype(&self) -> DType;

    /// Whether blocks are computed again in the backward pass, so that only their inputs are kept.
    fn gradient_checkpointing(&self) -> bool;

    /// The share of the tokens that the matrix product of a parameter sees on average: all, unless a router sends them
    /// elsewhere.
    fn share_of_tokens(&self, parameter: &str) -> f64 {
        let _ = parameter;
        1.0
    }

    /// How many different tokens there are.
    fn vocab_size(&self) -> usize;

    /// The longest sequence, in tokens.
    fn max_positions(&self) -> usize;
}

/// How rows of tokens are divided into documents.
#[derive(Debug, Clone)]
pub struct Documents {
    /// i64 `[batch, time]`: the document of each token.
    pub ids: Tensor,
    /// i64 `[batch, time]`: the position of each token. Unset: they continue counting across documents, as in
    /// transformers without position ids.
    pub positions: Option<Tensor>,
}

/// A model that predicts the next token.
///
/// Ids are i64 `[batch, time]`, each in `0..vocab_size`, `time` at most `max_positions`: the model
/// panics at others, so whoever takes them from a user checks them first.
pub trait LanguageModel: Debug + Send + Sync {
    /// What it was built from.
    fn config(&self) -> &dyn ModelConfig;

    /// The states that the head reads, `[batch, time, width]`, and in a pass that trains the loss that the model has
    /// of its own.
    ///
    /// With `documents` a token attends only to those of its own document.
    fn output(&self, ids: &Tensor, documents: Option<&Documents>, forward: &Forward) -> Output;

    /// The states of [`output`](LanguageModel::output) alone.
    fn hidden(&self, ids: &Tensor, documents: Option<&Documents>, forward: &Forward) -> Tensor {
        self.output(ids, documents, forward).hidden
    }

    /// What makes logits of the states.
    fn head(&self) -> Head;

    /// Logits `[batch, vocab]` of the token after the last of `ids`, which follow the tokens that
    /// `cache` holds; afterwards it holds these too.
    ///
    /// # Panics
    /// Where the cache has no room for them.
    fn decode(&self, ids: &Tensor, cache: &mut Cache) -> Tensor;

    /// A cache for `batch` sequences of up to `positions` tokens each.
    fn new_cache(&self, batch: usize, positions: usize) -> Cache;

    /// The cross-entropy of predicting `targets` (i64 `[batch, time]`, not shifted here) from
    /// `ids`, in nats per token, and in a pass that trains the model's own loss; logits never exist whole.
    fn loss(
        &self,
        ids: &Tensor,
        targets: &Tensor,
        documents: Option<&Documents>,
        options: &CrossEntropy,
        forward: &Forward,
    ) -> Tensor {
        let Output { hidden, auxiliary } = self.output(ids, documents, forward);
        let loss = self.head().cross_entropy(&hidden, targets, options);
        match auxiliary {
            Some(auxiliary) => loss + auxiliary * options.share(targets),
            None => loss,
        }
    }

    /// Logits `[batch, time, vocab]`, in evaluation and not differentiable.
    fn logits(&self, ids: &Tensor) -> Tensor {
        no_grad(|| self.head().logits(&self.hidden(ids, None, &Forward::evaluation())))
    }
}
