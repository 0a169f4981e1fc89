//! A batch of rows of a table, as the first layer of a model reads it.

use std::ops::Range;

use rappel_tensor::{Param, Tensor, WeightLayout, concat, linear, one_hot_linear};

use super::linear::Linear;
use crate::forward::Forward;

/// The inputs of rows: numbers, and inputs that are 1 because the row is of a category. All others are
/// 0, and are never made.
///
/// ```
/// use rappel_nn::{Features, Forward, Linear};
/// use rappel_tensor::{DType, Params, Tensor};
/// let mut params = Params::with_dtype(0, DType::F64);
/// let layer = Linear::new(&mut params.scope("net"), 4, 2);
/// // Two rows of four inputs: the second is a number, of the others one is 1.
/// let numbers = Tensor::from_slice(&[0.5, 2.0], [2, 1]);
/// let features = Features::new(numbers, &[1], Some(Tensor::from_slice(&[0_i64, 3], [2, 1])));
/// let dense = Tensor::from_slice(&[1.0, 0.5, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0], [2, 4]);
/// let forward = Forward::evaluation();
/// let found = layer.of_features(&features, &forward).to_vec::<f64>();
/// for (found, want) in found.iter().zip(layer.forward(&dense).to_vec::<f64>()) {
///     assert!((found - want).abs() < 1e-15);
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Features {
    numbers: Tensor,
    at: Tensor,
    ones: Option<Tensor>,
}

impl Features {
    /// Numbers `[rows, n]`, which are the inputs `at` of the model, and the inputs of each row that are
    /// 1, i64 `[rows, ones]`, where -1 is none; without them `at` must be all inputs in order.
    ///
    /// # Panics
    /// Where shapes do not meet.
    #[track_caller]
    pub fn new(numbers: Tensor, at: &[usize], ones: Option<Tensor>) -> Self {
        let shape = numbers.shape();
        assert!(shape.rank() == 2, "Features: numbers {shape} are not [rows, n]");
        assert!(shape[1] == at.len(), "Features: {} inputs of numbers {shape}", at.len());
        assert!(
            ones.as_ref().is_none_or(|ones| ones.size(0) == shape[0]),
            "Features: ones of other rows than numbers {shape}"
        );
        let at: Vec<i64> = at.iter().map(|at| *at as i64).collect();
        Self { numbers, at: Tensor::from_slice(&at, [at.len()]), ones }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.numbers.size(0)
    }

    /// How many numbers a row is kept as: its numbers, and two in single precision for each place of an
    /// input that is 1.
    pub fn row_size(&self) -> usize {
        self.numbers.size(1) + 2 * self.ones.as_ref().map_or(0, |ones| ones.size(1))
    }

    /// The numbers `[rows, n]`.
    pub fn numbers(&self) -> &Tensor {
        &self.numbers
    }

    /// The inputs that are 1, `[rows, ones]`, -1 for none.
    pub fn ones(&self) -> Option<&Tensor> {
        self.ones.as_ref()
    }

    /// These rows, by number.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let ids: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let ids = Tensor::from_slice(&ids, [ids.len()]);
        self.map(|x| x.index_select(0, &ids))
    }

    /// `len` rows from `start` on.
    #[must_use]
    pub fn narrow(&self, start: usize, len: usize) -> Self {
        self.map(|x| x.narrow(0, start, len))
    }

    /// These rows with some columns of other rows: of the numbers and of the ones.
    ///
    /// # Panics
    /// Where those have other shapes.
    #[track_caller]
    #[must_use]
    pub fn with_columns(&self, other: &Self, numbers: Range<usize>, ones: Range<usize>) -> Self {
        let of_ones = self.ones.as_ref().zip(other.ones.as_ref());
        Self {
            numbers: spliced(&self.numbers, &other.numbers, numbers),
            at: self.at.clone(),
            ones: of_ones.map(|(here, there)| spliced(here, there, ones)),
        }
    }

    fn map(&self, of: impl Fn(&Tensor) -> Tensor) -> Self {
        let ones = self.ones.as_ref().map(&of);
        Self { numbers: of(&self.numbers), at: self.at.clone(), ones }
    }
}

/// `x` with these columns of `other`.
#[track_caller]
fn spliced(x: &Tensor, other: &Tensor, columns: Range<usize>) -> Tensor {
    let Range { start, end } = columns;
    let parts = [(x, 0, start), (other, start, end - start), (x, end, x.size(1) - end)];
    let parts = parts.into_iter().filter(|(.., width)| *width > 0);
    let parts: Vec<Tensor> = parts.map(|(of, from, width)| of.narrow(1, from, width)).collect();
    if parts.is_empty() { x.clone() } else { concat(&parts.iter().collect::<Vec<_>>(), 1) }
}

impl From<Tensor> for Features {
    /// Numbers `[rows, inputs]` alone.
    fn from(numbers: Tensor) -> Self {
        let at: Vec<usize> = (0..numbers.size(1)).collect();
        Self::new(numbers, &at, None)
    }
}

impl Linear {
    /// The map of features: `[rows, in_features]` to `[rows, out_features]`, where numbers get the
    /// noise that `forward` asks for, and rows are mixed as it asks.
    #[track_caller]
    pub fn of_features(&self, x: &Features, forward: &Forward) -> Tensor {
        let (weight, bias) = (self.weight().tensor(), self.bias().map(Param::tensor));
        let Some(ones) = &x.ones else {
            let numbers = forward.embeddings(x.numbers.clone());
            return linear(&numbers, &weight, bias.as_ref(), WeightLayout::OutIn);
        };
        // The map of mixed rows is the mix of their maps.
        let sums = one_hot_linear(ones, &weight);
        let sums = match forward.noise.mixup.filter(|_| forward.train) {
            Some(mixup) => mixup.mix(&sums),
            None => sums,
        };
        if x.at.count() == 0 {
            return match bias {
                Some(bias) => sums + bias,
                None => sums,
            };
        }
        let numbers = forward.embeddings(x.numbers.clone());
        let weight = weight.index_select(1, &x.at);
        sums + linear(&numbers, &weight, bias.as_ref(), WeightLayout::OutIn)
    }
}
