//! A factorization machine beside a network.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Embedding, Forward};
use rappel_tensor::Params;

use super::fm::FactorizationMachine;
use super::{
    FieldBatch, FieldSizes, FirstOrder, Layers, Rated, Rater, RaterConfig, RaterEntry, of_fields,
    second_order, weighted,
};

pub(super) const ENTRY: RaterEntry = RaterEntry {
    name: "deepfm",
    summary: "fm, and what a network makes of the vectors of all fields: y = fm + mlp(v)",
    reference: "Guo et al., https://arxiv.org/abs/1703.04247",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    #[option(flatten)]
    machine: FactorizationMachine,
    /// widths of the network's hidden layers
    #[option(default = [128, 128, 128], range = 1..=65536, aka("mlp_hidden_size", "hidden", "layers"))]
    hidden_sizes: Vec<usize>,
    /// probability with which a hidden number is 0 in training
    #[option(default = 0.2, range = 0.0..1.0, aka("dropout_prob"))]
    dropout: f64,
}

/// Parameters beside those of `fm`: `mlp.0.weight`, `mlp.0.bias` and so on.
#[derive(Debug)]
struct DeepFm {
    first: FirstOrder,
    vectors: Embedding,
    mlp: Layers,
    slots: Vec<usize>,
}

impl RaterConfig for Config {
    fn build(&self, params: &mut Params, fields: &FieldSizes) -> Box<dyn Rater> {
        let first = FirstOrder::new(params, fields);
        let vectors = self.machine.vectors(params, fields);
        let inputs = fields.slots.len() * self.machine.embedding_size;
        let sizes = [&[inputs], &self.hidden_sizes[..], &[1]].concat();
        let mlp = Layers::new(&mut params.scope("mlp"), &sizes, self.dropout, true);
        Box::new(DeepFm { first, vectors, mlp, slots: fields.slots.clone() })
    }

    fn numbers_per_sample(&self, fields: &FieldSizes) -> usize {
        let slots =
            fields.slots.iter().sum::<usize>().saturating_mul(self.machine.embedding_size + 1);
        10 * slots.saturating_add(self.hidden_sizes.iter().sum())
    }
}

impl Rater for DeepFm {
    fn forward(&self, x: &FieldBatch, forward: &Forward) -> Rated {
        let (first, rows) = self.first.forward(x);
        let vectors = weighted(&self.vectors, x);
        let fields = of_fields(&vectors, &self.slots);
        let flat = fields.reshape([fields.size(0), fields.size(1) * fields.size(2)]);
        let deep = self.mlp.forward(&flat, &forward.layer("mlp")).squeeze(1);
        Rated { outputs: first + second_order(&vectors) + deep, looked_up: vec![rows, vectors] }
    }

    fn has_dropout(&self) -> bool {
        true
    }
}
