//! Models that predict a number for a user, an item and what is known of both: a file each.
//!
//! All read rows of one table of fields with a weight each. Adding one is a file with its `ENTRY` and a line in [`RATERS`].

mod biased_mf;
mod deepfm;
mod dlrm;
mod fm;
mod lr;

use std::fmt;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Registry, no_more};
use rappel_nn::{Activation, Dropout, Embedding, Forward, Linear};
use rappel_tensor::{DType, Init, Param, Params, Scope, Tensor, concat};

use crate::dtype::DTypeName;

/// What a rater reads: rows of the table of all fields, and their weights.
#[derive(Debug, Clone)]
pub struct FieldBatch {
    /// i64 `[n, slots]`.
    pub ids: Tensor,
    /// `[n, slots]`, in the model's type; 0 for what is not known.
    pub weights: Tensor,
}

/// The fields that a rater is built for: the first two are users and items.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSizes {
    /// Rows of all fields.
    pub rows: usize,
    /// Slots of each field.
    pub slots: Vec<usize>,
    /// Which fields are numbers.
    pub numbers: Vec<bool>,
    /// What is predicted where nothing is known: the mean, or the logit of the share of what is liked.
    pub start: f64,
    /// The type that it computes in, which is that of the parameters.
    pub dtype: DType,
    /// Whether gradients of tables are kept by rows.
    pub sparse: bool,
}

/// What a rater predicts.
#[derive(Debug)]
pub struct Rated {
    /// `[n]`: numbers, or logits.
    pub outputs: Tensor,
    /// The rows that were looked up, for a penalty on these alone.
    pub looked_up: Vec<Tensor>,
}

/// A model of users, items and what is known of both.
pub trait Rater: fmt::Debug + Send + Sync {
    /// What it predicts for each.
    fn forward(&self, x: &FieldBatch, forward: &Forward) -> Rated;

    /// Whether it has dropout layers, whatever their probability.
    fn has_dropout(&self) -> bool {
        false
    }
}

/// A rater whose options are checked.
pub trait RaterConfig: fmt::Debug + Send + Sync {
    /// Registers its parameters.
    fn build(&self, params: &mut Params, fields: &FieldSizes) -> Box<dyn Rater>;

    /// Numbers that a sample takes in a forward and backward pass, at most about.
    fn numbers_per_sample(&self, fields: &FieldSizes) -> usize;
}

type Configure = fn(&Options) -> Result<Box<dyn RaterConfig>, ConfigError>;
type RaterEntry = Entry<Configure>;

/// Every rater.
///
/// ```
/// use rappel_model::{FieldBatch, FieldSizes, RATERS};
/// use rappel_nn::Forward;
/// use rappel_tensor::{DType, Params, Tensor};
/// let given = toml::from_str("name = 'fm'\nembedding_size = 4").unwrap();
/// let (entry, options) = RATERS.resolve("model", &given)?;
/// // Three users, four items, an age.
/// let fields = FieldSizes {
///     rows: 8, slots: vec![1, 1, 1], numbers: vec![false, false, true], start: 3.5, dtype: DType::F32,
///     sparse: false,
/// };
/// let mut params = Params::new(0);
/// let model = (entry.build)(&options)?.build(&mut params, &fields);
/// let ids = Tensor::from_slice(&[0_i64, 3, 7, 2, 6, 7], [2, 3]);
/// let weights = Tensor::ones([2, 3], DType::F32);
/// let told = model.forward(&FieldBatch { ids, weights }, &Forward::evaluation());
/// assert_eq!(*told.outputs.shape(), [2]);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub static RATERS: Registry<Configure> = Registry {
    kind: "rater",
    common: RaterOptions::FIELDS,
    entries: &[biased_mf::ENTRY, deepfm::ENTRY, dlrm::ENTRY, fm::ENTRY, lr::ENTRY],
    more: no_more,
};

/// What every rater takes, beside its own options.
#[derive(Debug, Clone, Copy, Options)]
pub struct RaterOptions {
    /// type of parameters and activations
    #[option(default = DType::F32, with = DTypeName<false>, aka("torch_dtype", "precision"))]
    pub dtype: DType,
    /// gradients of tables are kept as the rows that a batch looks up: a step costs what these cost, and leaves other rows,
    /// and their optimizer state, as they are
    #[option(default = false, aka("sparse_gradients", "sparse_grad"))]
    pub sparse: bool,
}

/// `b + sum of w_i x_i`: parameters `linear.weight` `[rows, 1]`, from 0, and `bias` `[1]`.
#[derive(Debug)]
struct FirstOrder {
    weight: Embedding,
    bias: Param,
}

impl FirstOrder {
    fn new(params: &mut Params, fields: &FieldSizes) -> Self {
        let mut scope = params.scope("linear");
        let weight = table(&mut scope, fields, 1, Init::ZEROS);
        let bias = params.scope("").add("bias", [1], Init::Constant(fields.start));
        Self { weight, bias }
    }

    /// Sums `[n]`, and the rows that were looked up.
    fn forward(&self, x: &FieldBatch) -> (Tensor, Tensor) {
        let rows = self.weight.forward(&x.ids).squeeze(2) * &x.weights;
        (rows.sum_axis(1) + self.bias.tensor(), rows)
    }
}

/// The vectors of all rows: `embedding.weight` `[rows, width]`.
fn vectors(params: &mut Params, fields: &FieldSizes, width: usize, std: Option<f64>) -> Embedding {
    let std = std.unwrap_or_else(|| (2.0 / (fields.rows + width) as f64).sqrt());
    table(&mut params.scope("embedding"), fields, width, Init::Normal { std })
}

/// A table of all fields' rows.
fn table(scope: &mut Scope<'_>, fields: &FieldSizes, width: usize, init: Init) -> Embedding {
    let new = if fields.sparse { Embedding::by_rows } else { Embedding::from_init };
    new(scope, fields.rows, width, init)
}

/// Vectors of slots, each times its weight: `[n, slots, width]`.
fn weighted(table: &Embedding, x: &FieldBatch) -> Tensor {
    table.forward(&x.ids) * x.weights.unsqueeze(2)
}

/// Half of the square of the sum less the sum of squares, over all numbers of a vector: `[n]`, the sum of the products of all
/// pairs of slots.
fn second_order(vectors: &Tensor) -> Tensor {
    let of_sums = vectors.sum_axis(1).square();
    ((of_sums - vectors.square().sum_axis(1)) * 0.5).sum_axis(1)
}

/// Vectors of fields `[n, fields, width]` of those of slots.
fn of_fields(vectors: &Tensor, slots: &[usize]) -> Tensor {
    if slots.iter().all(|count| *count == 1) {
        return vectors.clone();
    }
    let parts = vectors.split(1, slots);
    let sums: Vec<Tensor> = parts.iter().map(|part| part.sum_axis(1).unsqueeze(1)).collect();
    concat(&sums.iter().collect::<Vec<_>>(), 1)
}

/// Linear layers with ReLU and dropout after each; the last one alone has none where it `ends`.
#[derive(Debug)]
struct Layers {
    layers: Vec<Linear>,
    dropout: Dropout,
    ends: bool,
}

impl Layers {
    fn new(scope: &mut Scope<'_>, sizes: &[usize], dropout: f64, ends: bool) -> Self {
        let layer = |(i, pair): (usize, &[usize])| {
            Linear::new(&mut scope.scope(&i.to_string()), pair[0], pair[1])
        };
        let layers = sizes.windows(2).enumerate().map(layer).collect();
        Self { layers, dropout: Dropout::new(dropout), ends }
    }

    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(x.clone(), |x, (i, layer)| {
            let made = layer.forward(&x);
            if self.ends && i == last {
                return made;
            }
            self.dropout.forward(Activation::Relu.forward(&made), &forward.number(i))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&RATERS);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raters");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &RATERS.names());
    }

    #[test]
    fn the_second_order_is_the_sum_over_pairs() {
        let vectors = [[1.0_f64, 2.0], [3.0, -1.0], [0.5, 4.0]];
        let mut pairs = 0.0;
        for i in 0..3 {
            for j in 0..i {
                pairs += vectors[i][0] * vectors[j][0] + vectors[i][1] * vectors[j][1];
            }
        }
        let found = second_order(&Tensor::from_slice(&vectors.concat(), [1, 3, 2])).item();
        assert!((found - pairs).abs() < 1e-12, "{found} {pairs}");
    }
}
