//! Two networks: one of users, one of items.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Activation, Dropout, Embedding, Forward, Linear};
use rappel_tensor::{Init, Params, Tensor};

use super::{ItemVectors, Recommender, RecommenderConfig, RecommenderEntry, Sizes, Users, ids};

pub(super) const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "two_tower",
    summary: "a network of a user's vector and one of an item's; for loss.name = \"in_batch_softmax\"",
    reference: "Yi et al., 2019, https://doi.org/10.1145/3298689.3346996",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    /// numbers of the vectors that are looked up
    #[option(default = 64, range = 1..=65536, aka("embedding_dim", "factors", "dim"))]
    embedding_size: usize,
    /// widths of the layers of both towers; the last is that of the vectors whose product is the score
    #[option(default = [64], range = 1..=65536, aka("tower_sizes", "mlp_hidden_size", "layers"))]
    hidden_sizes: Vec<usize>,
    /// probability with which a hidden number is 0 in training
    #[option(default = 0.0, range = 0.0..1.0, aka("dropout_prob"))]
    dropout: f64,
    /// vectors of length 1, so that scores are cosines; take a loss.temperature below 1 with it
    #[option(default = false, aka("l2_normalize", "cosine"))]
    normalize: bool,
}

/// Parameters: `user_embedding.weight`, `user_tower.0.weight`, `user_tower.0.bias` and so on; the same of `item`.
#[derive(Debug)]
struct TwoTower {
    towers: [Tower; 2],
    items: usize,
}

#[derive(Debug)]
struct Tower {
    table: Embedding,
    layers: Vec<Linear>,
    dropout: Dropout,
    normalize: bool,
}

impl RecommenderConfig for Config {
    fn build(&self, params: &mut Params, sizes: Sizes) -> Box<dyn Recommender> {
        let mut tower = |name: &str, rows: usize| {
            let width = self.embedding_size;
            let init = Init::Normal { std: (2.0 / (rows + width) as f64).sqrt() };
            let mut scope = params.scope(&format!("{name}_embedding"));
            let table = Embedding::from_init(&mut scope, rows, width, init);
            let widths = [&[width], &self.hidden_sizes[..]].concat();
            let mut scope = params.scope(&format!("{name}_tower"));
            let layer = |(i, pair): (usize, &[usize])| {
                Linear::new(&mut scope.scope(&i.to_string()), pair[0], pair[1])
            };
            let layers = widths.windows(2).enumerate().map(layer).collect();
            let (dropout, normalize) = (Dropout::new(self.dropout), self.normalize);
            Tower { table, layers, dropout, normalize }
        };
        let towers = [tower("user", sizes.users), tower("item", sizes.items)];
        Box::new(TwoTower { towers, items: sizes.items })
    }

    fn numbers_per_sample(&self, scored: usize) -> usize {
        let widths = self.embedding_size + self.hidden_sizes.iter().sum::<usize>();
        10 * widths.saturating_mul(2) + 4 * scored
    }
}

impl Tower {
    /// `[..]` ids to `[.., width]`.
    fn forward(&self, ids: &Tensor, forward: &Forward) -> Tensor {
        let last = self.layers.len().saturating_sub(1);
        let rows = self.table.forward(ids);
        let made = self.layers.iter().enumerate().fold(rows, |x, (i, layer)| {
            let made = layer.forward(&x);
            if i == last {
                return made;
            }
            self.dropout.forward(Activation::Relu.forward(&made), &forward.number(i))
        });
        if !self.normalize {
            return made;
        }
        let axis = made.rank() - 1;
        let squares = made.square().sum_axis(axis).unsqueeze(axis) + 1e-12;
        &made / &squares.sqrt()
    }
}

impl Recommender for TwoTower {
    fn users(&self, users: &Users<'_>, forward: &Forward) -> Tensor {
        self.towers[0].forward(&ids(users.ids), &forward.layer("user_tower"))
    }

    fn items(&self, ids: &Tensor, forward: &Forward) -> ItemVectors {
        let vectors = self.towers[1].forward(ids, &forward.layer("item_tower"));
        ItemVectors { vectors, bias: None }
    }

    fn all_items(&self, forward: &Forward) -> ItemVectors {
        self.items(&Tensor::arange(self.items, rappel_tensor::DType::I64), forward)
    }

    fn has_dropout(&self) -> bool {
        true
    }
}
