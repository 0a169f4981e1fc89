//! Rows of a table.

use rappel_tensor::{Init, Param, Scope, Tensor, row_products};

/// Row `ids[i]` of a table for each `i`, PyTorch's `torch.nn.Embedding`.
///
/// Parameter: `weight` `[num_embeddings, embedding_dim]`.
///
/// ```
/// use rappel_nn::Embedding;
/// use rappel_tensor::{Params, Tensor};
/// let mut params = Params::new(0);
/// let table = Embedding::new(&mut params.scope("wte"), 10, 4);
/// assert_eq!(*table.forward(&Tensor::from_slice(&[3_i64, 7], [1, 2])).shape(), [1, 2, 4]);
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    weight: Param,
}

impl Embedding {
    /// A table of standard normal numbers, as PyTorch's.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, num_embeddings: usize, embedding_dim: usize) -> Self {
        Self::from_init(scope, num_embeddings, embedding_dim, Init::Normal { std: 1.0 })
    }

    /// A table that begins as `init` says.
    #[track_caller]
    pub fn from_init(
        scope: &mut Scope<'_>,
        num_embeddings: usize,
        embedding_dim: usize,
        init: Init,
    ) -> Self {
        Self { weight: scope.add_table("weight", [num_embeddings, embedding_dim], init) }
    }

    /// A table that begins as `init` says, whose gradient is kept as the rows that were looked up: see
    /// [`Scope::add_rows`].
    #[track_caller]
    pub fn by_rows(
        scope: &mut Scope<'_>,
        num_embeddings: usize,
        embedding_dim: usize,
        init: Init,
    ) -> Self {
        Self { weight: scope.add_rows("weight", [num_embeddings, embedding_dim], init) }
    }

    /// Ids (i64) of any shape `[..]` to `[.., embedding_dim]`.
    ///
    /// # Panics
    /// Where an id is outside the table.
    #[track_caller]
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        self.weight.weight().embedding(ids)
    }

    /// Products of rows `[n, embedding_dim]` with the table's rows `ids` (i64) `[n, k]`, as `[n, k]`: see [`row_products`].
    ///
    /// # Panics
    /// Where shapes do not meet, or an id is outside the table.
    #[track_caller]
    pub fn products(&self, rows: &Tensor, ids: &Tensor) -> Tensor {
        row_products(rows, &self.weight.weight().tensor(), ids)
    }

    /// The table.
    pub fn weight(&self) -> &Param {
        &self.weight
    }
}
