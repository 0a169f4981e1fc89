//! Matrix factorization.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Embedding, Forward};
use rappel_tensor::{Init, Params, Tensor};

use super::{ItemVectors, Recommender, RecommenderConfig, RecommenderEntry, Sizes, Users, ids};

pub(super) const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "mf",
    summary: "matrix factorization: a vector for each user and each item",
    reference: "Rendle et al., https://arxiv.org/abs/1205.2618; Koren, Bell and Volinsky, 2009, \
                https://doi.org/10.1109/MC.2009.263",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    /// numbers of each vector
    #[option(default = 64, range = 1..=65536, aka("embedding_dim", "factors", "n_factors", "dim"))]
    embedding_size: usize,
    /// a number for each item that adds to its scores
    #[option(default = false)]
    item_bias: bool,
    /// deviation of the initial vectors; unset: sqrt(2 / (rows + embedding_size)), as Glorot and Bengio's
    #[option(range = 0.0.., aka("initializer_range", "init_std"))]
    init_std: Option<f64>,
    /// gradients of tables are kept as the rows that a batch looks up: a step costs what these cost, and leaves other rows,
    /// and their optimizer state, as they are
    #[option(default = false, aka("sparse_gradients", "sparse_grad"))]
    sparse: bool,
}

/// Parameters: `user_embedding.weight` `[users, width]`, `item_embedding.weight` `[items, width]`, and with a bias
/// `item_bias.weight` `[items, 1]`.
#[derive(Debug)]
struct MatrixFactorization {
    users: Embedding,
    items: Embedding,
    bias: Option<Embedding>,
}

impl RecommenderConfig for Config {
    fn build(&self, params: &mut Params, sizes: Sizes) -> Box<dyn Recommender> {
        let Sizes { users, items, .. } = sizes;
        let width = self.embedding_size;
        let new = if self.sparse { Embedding::by_rows } else { Embedding::from_init };
        let mut table = |name: &str, rows: usize| {
            let glorot = (2.0 / (rows + width) as f64).sqrt();
            let init = Init::Normal { std: self.init_std.unwrap_or(glorot) };
            new(&mut params.scope(name), rows, width, init)
        };
        let (users, item_table) = (table("user_embedding", users), table("item_embedding", items));
        let bias =
            self.item_bias.then(|| new(&mut params.scope("item_bias"), items, 1, Init::ZEROS));
        Box::new(MatrixFactorization { users, items: item_table, bias })
    }

    fn numbers_per_sample(&self, scored: usize) -> usize {
        // The user's and the items' vectors, their products, and the gradients of all.
        6 * self.embedding_size.saturating_mul(scored.saturating_add(1))
    }
}

impl Recommender for MatrixFactorization {
    fn users(&self, users: &Users<'_>, _: &Forward) -> Tensor {
        self.users.forward(&ids(users.ids))
    }

    fn items(&self, ids: &Tensor, _: &Forward) -> ItemVectors {
        let bias = self.bias.as_ref().map(|bias| bias.forward(ids).reshape(ids.shape()));
        ItemVectors { vectors: self.items.forward(ids), bias }
    }

    fn scores(&self, states: &Tensor, ids: &Tensor, _: &Forward) -> Tensor {
        let scores = self.items.products(states, ids);
        match &self.bias {
            Some(bias) => scores + bias.forward(ids).reshape(ids.shape()),
            None => scores,
        }
    }

    fn all_items(&self, _: &Forward) -> ItemVectors {
        let bias = self.bias.as_ref().map(|bias| bias.weight().tensor().squeeze(1));
        ItemVectors { vectors: self.items.weight().tensor(), bias }
    }
}
