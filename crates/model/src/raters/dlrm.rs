//! Facebook's model of recommendation.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Embedding, Forward};
use rappel_tensor::{Init, Param, Params, Tensor, concat};

use super::{
    FieldBatch, FieldSizes, Layers, Rated, Rater, RaterConfig, RaterEntry, of_fields, vectors,
    weighted,
};

pub(super) const ENTRY: RaterEntry = RaterEntry {
    name: "dlrm",
    summary: "a network of the numbers, the products of each two vectors of fields, and a network on top of both",
    reference: "Naumov et al., https://arxiv.org/abs/1906.00091",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    /// numbers of each vector
    #[option(default = 16, range = 1..=65536, aka("embedding_dim", "arch_sparse_feature_size", "dim"))]
    embedding_size: usize,
    /// deviation of the initial vectors; unset: sqrt(2 / (rows + embedding_size)), as Glorot and Bengio's
    #[option(range = 0.0.., aka("initializer_range"))]
    init_std: Option<f64>,
    /// widths of the hidden layers that read the numbers, where there are any
    #[option(default = [64], range = 1..=65536, aka("arch_mlp_bot"))]
    bottom_sizes: Vec<usize>,
    /// widths of the hidden layers that read the products
    #[option(default = [128, 64], range = 1..=65536, aka("arch_mlp_top", "hidden_sizes"))]
    top_sizes: Vec<usize>,
    /// probability with which a hidden number is 0 in training
    #[option(default = 0.0, range = 0.0..1.0, aka("dropout_prob"))]
    dropout: f64,
}

/// Parameters: `embedding.weight`, `bottom.0.weight` and so on where there are numbers, `top.0.weight` and so on, `bias`.
#[derive(Debug)]
struct Dlrm {
    vectors: Embedding,
    bottom: Option<Layers>,
    top: Layers,
    bias: Param,
    slots: Vec<usize>,
    /// The slots of numbers.
    numbers: Vec<i64>,
    /// Places of the products of each two fields in a matrix of all.
    pairs: Vec<i64>,
}

impl RaterConfig for Config {
    fn build(&self, params: &mut Params, fields: &FieldSizes) -> Box<dyn Rater> {
        let width = self.embedding_size;
        let vectors = vectors(params, fields, width, self.init_std);
        let mut first = 0;
        let mut numbers = Vec::new();
        for (slots, is_number) in fields.slots.iter().zip(&fields.numbers) {
            if *is_number {
                numbers.push(first);
            }
            first += *slots as i64;
        }
        let bottom = (!numbers.is_empty()).then(|| {
            let sizes = [&[numbers.len()], &self.bottom_sizes[..], &[width]].concat();
            Layers::new(&mut params.scope("bottom"), &sizes, self.dropout, false)
        });
        let count = fields.slots.len() + usize::from(bottom.is_some());
        let pairs: Vec<i64> =
            (0..count).flat_map(|i| (0..i).map(move |j| (i * count + j) as i64)).collect();
        let inputs = pairs.len() + if bottom.is_some() { width } else { 0 };
        let sizes = [&[inputs], &self.top_sizes[..], &[1]].concat();
        let top = Layers::new(&mut params.scope("top"), &sizes, self.dropout, true);
        let bias = params.scope("").add("bias", [1], Init::Constant(fields.start));
        Box::new(Dlrm { vectors, bottom, top, bias, slots: fields.slots.clone(), numbers, pairs })
    }

    fn numbers_per_sample(&self, fields: &FieldSizes) -> usize {
        let slots = fields.slots.iter().sum::<usize>().saturating_mul(self.embedding_size);
        let products = (fields.slots.len() + 1).pow(2);
        let hidden: usize = self.top_sizes.iter().chain(&self.bottom_sizes).sum();
        10 * slots.saturating_add(products).saturating_add(hidden)
    }
}

impl Rater for Dlrm {
    fn forward(&self, x: &FieldBatch, forward: &Forward) -> Rated {
        let looked_up = weighted(&self.vectors, x);
        let mut fields = of_fields(&looked_up, &self.slots);
        let dense = self.bottom.as_ref().map(|bottom| {
            let numbers = Tensor::from_slice(&self.numbers, [self.numbers.len()]);
            bottom.forward(&x.weights.index_select(1, &numbers), &forward.layer("bottom"))
        });
        if let Some(dense) = &dense {
            fields = concat(&[&fields, &dense.unsqueeze(1)], 1);
        }
        let (n, count) = (fields.size(0), fields.size(1));
        let products = fields.matmul(&fields.mt()).reshape([n, count * count]);
        let products =
            products.index_select(1, &Tensor::from_slice(&self.pairs, [self.pairs.len()]));
        let read = match &dense {
            Some(dense) => concat(&[dense, &products], 1),
            None => products,
        };
        let told = self.top.forward(&read, &forward.layer("top")).squeeze(1);
        Rated { outputs: told + self.bias.tensor(), looked_up: vec![looked_up] }
    }

    fn has_dropout(&self) -> bool {
        true
    }
}
