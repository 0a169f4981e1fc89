//! Self-attention over what a user took.

use rappel_config::{InvalidOption, OptionSet, Options};
use rappel_nn::Forward;
use rappel_tensor::{Params, Tensor, row_products};

use super::{ItemVectors, Recommender, RecommenderConfig, RecommenderEntry, Sizes, Users};
use crate::{ActivationName, Documents, Gpt2Config, LanguageModel, ModelConfig};

pub(super) const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "sasrec",
    summary: "causal attention over the items that a user took last, as a language model reads words",
    reference: "Kang and McAuley, https://arxiv.org/abs/1808.09781",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Clone, Options)]
#[options(check = Self::check)]
struct Config {
    /// numbers of a state and of an item's vector
    #[option(default = 64, range = 1..=65536, aka("embedding_size", "hidden_dim", "dim", "width"))]
    hidden_size: usize,
    /// number of blocks
    #[option(default = 2, range = 1..=1000, aka("n_layer", "num_blocks", "layers"))]
    n_layers: usize,
    /// attention heads of a block; must divide hidden_size
    #[option(default = 2, range = 1..=65536, aka("n_head", "num_heads", "heads"))]
    n_heads: usize,
    /// width inside a block's MLP; unset: 4 hidden_size
    #[option(range = 1..=262144, aka("intermediate_size", "d_ff"))]
    inner_size: Option<usize>,
    /// how many of the last items are read
    #[option(default = 50, range = 1..=65536, aka("MAX_ITEM_LIST_LENGTH", "maxlen", "max_len"))]
    max_length: usize,
    /// probability with which a number of a state is 0 in training
    #[option(default = 0.2, range = 0.0..1.0, aka("hidden_dropout_prob"))]
    dropout: f64,
    /// the same of attention; unset: dropout
    #[option(unset = dropout, range = 0.0..1.0, aka("attn_dropout_prob"))]
    attention_dropout: f64,
    /// deviation of the initial weights
    #[option(default = 0.02, range = 0.0.., aka("init_std"))]
    initializer_range: f64,
}

impl Config {
    fn check(&self) -> Result<(), InvalidOption> {
        let Self { hidden_size, n_heads, .. } = *self;
        if hidden_size % n_heads != 0 {
            let reason = format!(
                "{hidden_size} does not split evenly into {n_heads} heads; make it a multiple"
            );
            return Err(InvalidOption::new("hidden_size", reason));
        }
        Ok(())
    }
}

/// GPT-2's blocks, whose tokens are items: parameters carry its names, `transformer.wte.weight` `[items, width]` above all.
#[derive(Debug)]
struct SasRec {
    model: Box<dyn LanguageModel>,
    longest: usize,
}

impl RecommenderConfig for Config {
    fn build(&self, params: &mut Params, sizes: Sizes) -> Box<dyn Recommender> {
        let config = Gpt2Config {
            n_layer: self.n_layers,
            n_head: self.n_heads,
            n_embd: self.hidden_size,
            n_positions: self.max_length,
            n_inner: self.inner_size,
            vocab_size: sizes.items,
            activation_function: ActivationName::Gelu,
            resid_pdrop: self.dropout,
            embd_pdrop: self.dropout,
            attn_pdrop: self.attention_dropout,
            initializer_range: self.initializer_range,
            ..Gpt2Config::default()
        };
        let config = config.with_dtype(sizes.dtype);
        Box::new(SasRec { model: config.build(params), longest: self.max_length })
    }

    fn numbers_per_sample(&self, scored: usize) -> usize {
        let inner = self.inner_size.unwrap_or(4 * self.hidden_size);
        let block = 16 * self.hidden_size + 6 * inner;
        let states = block.saturating_mul(self.n_layers).saturating_add(8 * self.hidden_size);
        let scores = 4 * self.hidden_size.saturating_mul(scored.min(1024));
        states.saturating_add(scores).saturating_mul(self.max_length)
    }
}

impl SasRec {
    /// The part of a history that is read.
    fn read<'a>(&self, history: &'a [u32]) -> &'a [u32] {
        &history[history.len().saturating_sub(self.longest)..]
    }
}

impl Recommender for SasRec {
    /// A user without items has a vector of zeros.
    fn users(&self, users: &Users<'_>, forward: &Forward) -> Tensor {
        let read: Vec<&[u32]> = users.histories.iter().map(|history| self.read(history)).collect();
        let table = self.model.head().weight;
        let (width, dtype) = (table.shape()[1], table.dtype());
        let mut last = Vec::new();
        let mut end = 0;
        for history in &read {
            end += history.len();
            last.push(end as i64 - 1);
        }
        if end == 0 {
            return Tensor::zeros([read.len(), width], dtype);
        }
        let states = self.states(&read, forward);
        let last: Vec<i64> = last.into_iter().map(|at| at.max(0)).collect();
        let states = states.index_select(0, &Tensor::from_slice(&last, [last.len()]));
        if read.iter().all(|history| !history.is_empty()) {
            return states;
        }
        let some: Vec<f64> = read.iter().map(|h| f64::from(u8::from(!h.is_empty()))).collect();
        states * Tensor::from_slice(&some, [some.len(), 1]).to_dtype(dtype)
    }

    fn items(&self, ids: &Tensor, _: &Forward) -> ItemVectors {
        ItemVectors { vectors: self.model.head().weight.embedding(ids), bias: None }
    }

    fn scores(&self, states: &Tensor, ids: &Tensor, _: &Forward) -> Tensor {
        row_products(states, &self.model.head().weight.tensor(), ids)
    }

    fn all_items(&self, _: &Forward) -> ItemVectors {
        ItemVectors { vectors: self.model.head().weight.tensor(), bias: None }
    }

    fn reads_histories(&self) -> bool {
        true
    }

    fn longest_history(&self) -> Option<usize> {
        Some(self.longest)
    }

    /// Histories lie one after another, and each sees itself alone: nothing is padded.
    fn states(&self, histories: &[&[u32]], forward: &Forward) -> Tensor {
        let (mut items, mut documents, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for (number, history) in histories.iter().enumerate() {
            for (position, item) in self.read(history).iter().enumerate() {
                items.push(i64::from(*item));
                documents.push(number as i64);
                positions.push(position as i64);
            }
        }
        let row = |values: &[i64]| Tensor::from_slice(values, [1, values.len()]);
        let documents = Documents { ids: row(&documents), positions: Some(row(&positions)) };
        self.model.output(&row(&items), Some(&documents), forward).hidden.squeeze(0)
    }

    fn has_dropout(&self) -> bool {
        true
    }
}
