//! Matrix factorization of ratings.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Embedding, Forward};
use rappel_tensor::Params;

use super::{
    FieldBatch, FieldSizes, FirstOrder, Rated, Rater, RaterConfig, RaterEntry, vectors, weighted,
};

pub(super) const ENTRY: RaterEntry = RaterEntry {
    name: "biased_mf",
    summary: "matrix factorization: y = mean + b_user + b_item + p_user . q_item; other fields are not read",
    reference: "Koren, Bell and Volinsky, 2009, https://doi.org/10.1109/MC.2009.263; Surprise's SVD",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    /// numbers of each vector
    #[option(default = 100, range = 1..=65536, aka("embedding_dim", "factors", "n_factors", "dim"))]
    embedding_size: usize,
    /// deviation of the initial vectors
    #[option(default = 0.1, range = 0.0.., aka("init_std_dev", "initializer_range"))]
    init_std: f64,
}

#[derive(Debug)]
struct BiasedMf {
    biases: FirstOrder,
    vectors: Embedding,
}

impl RaterConfig for Config {
    fn build(&self, params: &mut Params, fields: &FieldSizes) -> Box<dyn Rater> {
        let biases = FirstOrder::new(params, fields);
        let vectors = vectors(params, fields, self.embedding_size, Some(self.init_std));
        Box::new(BiasedMf { biases, vectors })
    }

    fn numbers_per_sample(&self, _: &FieldSizes) -> usize {
        16 * (self.embedding_size + 1)
    }
}

impl Rater for BiasedMf {
    fn forward(&self, x: &FieldBatch, _: &Forward) -> Rated {
        let pair = |of: &rappel_tensor::Tensor| of.narrow(1, 0, 2);
        let x = FieldBatch { ids: pair(&x.ids), weights: pair(&x.weights) };
        let (biases, rows) = self.biases.forward(&x);
        let vectors = weighted(&self.vectors, &x);
        let [user, item] = [0, 1].map(|of| vectors.narrow(1, of, 1).squeeze(1));
        Rated { outputs: biases + (user * item).sum_axis(1), looked_up: vec![rows, vectors] }
    }
}
