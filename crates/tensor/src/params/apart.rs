//! Weights that are kept apart from the arenas, in a few bits a number.

use std::sync::{Arc, OnceLock};

use super::{Params, read, write};
use crate::dtype::DType;
use crate::quantized::{Quantized, Weight};
use crate::shape::Shape;

/// What a layer does with a weight that can be kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatrixUse {
    /// It multiplies by it.
    Linear,
    /// It looks rows up; a head may multiply by the same.
    Table,
}

/// Asked with the name of each matrix as it is registered.
pub(super) type ChooseApart = Box<dyn Fn(&str, MatrixUse) -> bool + Send + Sync>;

/// A weight that is kept apart.
#[derive(Debug)]
pub(super) struct Apart {
    pub name: String,
    pub shape: Shape,
    /// The type that layers compute in.
    pub dtype: DType,
    value: OnceLock<Arc<Quantized>>,
}

impl Apart {
    pub fn new(name: String, shape: Shape, dtype: DType) -> Self {
        Self { name, shape, dtype, value: OnceLock::new() }
    }

    /// Whether it has its numbers.
    pub fn is_set(&self) -> bool {
        self.value.get().is_some()
    }

    pub fn weight(&self) -> Weight {
        let Some(value) = self.value.get() else {
            panic!("`{}` is read before `set_quantized` gave it its numbers", self.name);
        };
        Weight::Quantized(value.clone(), self.dtype)
    }
}

impl Params {
    /// Keeps the matrices of linear layers, and tables, that are registered from now on and that `choose` means by name
    /// and use apart, in a few bits a number: they are constants, have no place in arenas, and no file of parameters
    /// has them. [`set_quantized`](Self::set_quantized) gives them their numbers.
    ///
    /// ```
    /// use rappel_tensor::{CodeBook, DType, Init, Params, Quantized, Tensor, WeightLayout};
    /// let mut params = Params::new(0);
    /// params.quantize(|name, _| name == "net.weight");
    /// let weight = params.scope("net").add_linear("weight", [1, 2], Init::ZEROS, WeightLayout::OutIn);
    /// assert_eq!(params.names(), Vec::<String>::new());
    /// let numbers = Tensor::from_slice(&[1.0_f32, -1.0], [1, 2]);
    /// params.set_quantized("net.weight", Quantized::four_bits(&numbers, CodeBook::Nf4, false));
    /// assert_eq!(weight.tensor().to_vec::<f32>(), [1.0, -1.0]);
    /// ```
    pub fn quantize(&mut self, choose: impl Fn(&str, MatrixUse) -> bool + Send + Sync + 'static) {
        write(&self.shared).apart = Some(Box::new(choose));
    }

    /// Gives a weight that is kept apart its numbers, once.
    ///
    /// # Panics
    /// Where there is no such weight, its shape is another, or it has numbers already.
    #[track_caller]
    pub fn set_quantized(&mut self, name: &str, value: Quantized) {
        let apart = self.apart(name);
        let apart = apart.unwrap_or_else(|| panic!("`{name}` is not kept apart"));
        let (wanted, found) = (apart.shape, value.shape());
        assert!(wanted == found, "`{name}` is {wanted}, got {found}");
        assert!(apart.value.set(Arc::new(value)).is_ok(), "`{name}` has its numbers already");
    }

    /// Names and shapes of the weights that are kept apart, in the order of registration.
    pub fn quantized(&self) -> Vec<(String, Shape)> {
        let state = read(&self.shared);
        state.kept_apart.iter().map(|apart| (apart.name.clone(), apart.shape)).collect()
    }

    /// How a weight that is kept apart is stored, if there is one of this name that has its numbers.
    pub fn quantized_weight(&self, name: &str) -> Option<Arc<Quantized>> {
        self.apart(name)?.value.get().cloned()
    }

    /// Bytes of the weights that are kept apart.
    pub fn quantized_bytes(&self) -> usize {
        let state = read(&self.shared);
        let values = state.kept_apart.iter().filter_map(|apart| apart.value.get());
        values.map(|value| value.size()).sum()
    }

    pub(super) fn apart(&self, name: &str) -> Option<Arc<Apart>> {
        let state = read(&self.shared);
        state.kept_apart.iter().find(|apart| apart.name == name).cloned()
    }
}
