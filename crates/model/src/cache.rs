//! Keys and values of the tokens that a model has read.

use rappel_tensor::{DType, Init, Param, Params, Tensor};

/// The keys and values of every layer, so that each new token costs one position's work.
///
/// Memory for all positions is taken when the first token comes:
/// `2 layers batch positions heads width` numbers. Make one with
/// [`LanguageModel::new_cache`](crate::LanguageModel::new_cache).
#[derive(Debug)]
pub struct Cache {
    // Untrained parameters: the one kind of tensor that changes in place, and only while nobody
    // reads it.
    store: Params,
    layers: Vec<[Param; 2]>,
    batch: usize,
    positions: usize,
    len: usize,
    dtype: DType,
}

/// Keys and values of a layer, `[batch, time, heads, width]`.
pub(crate) struct Layer {
    pub keys: Tensor,
    pub values: Tensor,
}

impl Cache {
    /// An empty cache for `batch` sequences of up to `positions` tokens.
    ///
    /// # Panics
    /// Where a size is 0.
    #[track_caller]
    pub fn new(
        layers: usize,
        batch: usize,
        positions: usize,
        heads: usize,
        width: usize,
        dtype: DType,
    ) -> Self {
        let mut store = Params::with_dtype(0, dtype);
        let shape = [batch, positions, heads, width];
        assert!(shape.iter().all(|size| *size > 0), "cache: {shape:?} holds nothing");
        let mut add = |layer: usize, part: &str| {
            store.scope(&layer.to_string()).add(part, shape, Init::ZEROS)
        };
        let layers = (0..layers).map(|i| [add(i, "keys"), add(i, "values")]).collect();
        store.freeze(|_| true).expect("nothing was read yet");
        Self { store, layers, batch, positions, len: 0, dtype }
    }

    /// How many tokens of each sequence it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory that it takes once the first token came.
    pub fn bytes(&self) -> usize {
        self.store.count() * self.dtype.size()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many tokens of each sequence it has room for.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Forgets all tokens; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets all tokens but the first `len`; the memory stays.
    ///
    /// # Panics
    /// Where it holds fewer.
    #[track_caller]
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "cache: {len} tokens of {}", self.len);
        self.len = len;
    }

    /// Moves what it holds to `larger`, an empty cache of the same model and batch.
    ///
    /// # Panics
    /// Where that has not the room, or other sizes.
    #[must_use]
    pub fn moved_to(self, mut larger: Self) -> Self {
        if self.len > 0 {
            for (layer, params) in self.layers.iter().enumerate() {
                let [keys, values] =
                    params.each_ref().map(|param| param.tensor().narrow(1, 0, self.len));
                let _ = larger.append(layer, &keys, &values);
            }
            larger.advance(self.len);
        }
        larger
    }

    /// Puts keys and values `[batch, new, heads, width]` behind those of `layer`, and gives all of
    /// them. The views must be gone before the next call.
    #[track_caller]
    pub(crate) fn append(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Layer {
        let (batch, new) = (keys.size(0), keys.size(1));
        assert!(batch == self.batch, "cache: made for a batch of {}, got {batch}", self.batch);
        let all = self.len + new;
        assert!(all <= self.positions, "cache: room for {} tokens, not {all}", self.positions);
        for (param, new) in self.layers[layer].clone().iter().zip([keys, values]) {
            match self.dtype {
                DType::F64 => self.write::<f64>(param, new),
                DType::BF16 => self.write::<half::bf16>(param, new),
                _ => self.write::<f32>(param, new),
            }
        }
        let [keys, values] = &self.layers[layer];
        let view = |param: &Param| param.tensor().narrow(1, 0, all);
        Layer { keys: view(keys), values: view(values) }
    }

    fn write<T: rappel_tensor::Element>(&mut self, param: &Param, new: &Tensor) {
        let (index, row) = (param.index(), new.count() / self.batch);
        let stride = param.shape().count() / self.batch;
        let start = self.len * (stride / self.positions);
        let values = new.to_vec::<T>();
        let write = |arenas: &mut rappel_tensor::Arenas<'_>| {
            let range = arenas.layout().entries()[index].range();
            let rows = arenas.all::<T>()[range].chunks_exact_mut(stride);
            for (to, from) in rows.zip(values.chunks_exact(row)) {
                to[start..start + row].copy_from_slice(from);
            }
        };
        self.store.update(write).expect("views of the cache do not outlive a layer's attention");
    }

    /// Counts `new` tokens that every layer has taken.
    pub(crate) fn advance(&mut self, new: usize) {
        self.len += new;
    }
}
