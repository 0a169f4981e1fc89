//! Factorization machines.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Embedding, Forward};
use rappel_tensor::Params;

use super::{
    FieldBatch, FieldSizes, FirstOrder, Rated, Rater, RaterConfig, RaterEntry, second_order,
    vectors, weighted,
};

pub(super) const ENTRY: RaterEntry = RaterEntry {
    name: "fm",
    summary: "lr, and the product of the vectors of each two: y = lr + sum over i < j of (v_i . v_j) x_i x_j",
    reference: "Rendle, 2010, https://doi.org/10.1109/ICDM.2010.127",
    fields: FactorizationMachine::FIELDS,
    build: |options| Ok(Box::new(FactorizationMachine::from_options(options)?)),
};

/// The vectors of a factorization machine.
#[derive(Debug, Options)]
pub(super) struct FactorizationMachine {
    /// numbers of each vector
    #[option(default = 10, range = 1..=65536, aka("embedding_dim", "factors", "k", "dim"))]
    pub embedding_size: usize,
    /// deviation of the initial vectors; unset: sqrt(2 / (rows + embedding_size)), as Glorot and Bengio's
    #[option(range = 0.0.., aka("initializer_range"))]
    init_std: Option<f64>,
}

#[derive(Debug)]
struct Machine {
    first: FirstOrder,
    vectors: Embedding,
}

impl FactorizationMachine {
    /// The vectors of all rows.
    pub fn vectors(&self, params: &mut Params, fields: &FieldSizes) -> Embedding {
        vectors(params, fields, self.embedding_size, self.init_std)
    }
}

impl RaterConfig for FactorizationMachine {
    fn build(&self, params: &mut Params, fields: &FieldSizes) -> Box<dyn Rater> {
        let first = FirstOrder::new(params, fields);
        let vectors = self.vectors(params, fields);
        Box::new(Machine { first, vectors })
    }

    fn numbers_per_sample(&self, fields: &FieldSizes) -> usize {
        8 * fields.slots.iter().sum::<usize>().saturating_mul(self.embedding_size + 1)
    }
}

impl Rater for Machine {
    fn forward(&self, x: &FieldBatch, _: &Forward) -> Rated {
        let (first, rows) = self.first.forward(x);
        let vectors = weighted(&self.vectors, x);
        Rated { outputs: first + second_order(&vectors), looked_up: vec![rows, vectors] }
    }
}
