//! Where layers register their parameters.

use super::layout::Entry;
use super::{Init, Param, Params, Role};
use crate::WeightLayout;
use crate::dtype::DType;
use crate::shape::Shape;

/// A prefix of parameter names, and the type of what is registered under it.
#[derive(Debug)]
pub struct Scope<'a> {
    params: &'a mut Params,
    prefix: String,
    dtype: DType,
}

impl<'a> Scope<'a> {
    pub(super) fn new(params: &'a mut Params, prefix: String, dtype: DType) -> Self {
        Self { params, prefix, dtype }
    }

    fn path(&self, name: &str) -> String {
        match (self.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}.{name}"),
        }
    }

    /// The scope `name` within this one.
    pub fn scope(&mut self, name: &str) -> Scope<'_> {
        let prefix = self.path(name);
        Scope { params: self.params, prefix, dtype: self.dtype }
    }

    /// The same scope for parameters of another type.
    #[must_use]
    pub fn dtype(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// Registers a parameter.
    ///
    /// # Panics
    /// Where the name is taken, or a value of the set was read already.
    #[track_caller]
    pub fn add(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Param {
        let entry = Entry::new(self.path(name), shape.into(), self.dtype, init);
        self.params.register(entry, Role::Other)
    }

    /// Registers a table whose rows are looked up.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    #[track_caller]
    pub fn add_table(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Param {
        let entry = Entry::new(self.path(name), shape.into(), self.dtype, init);
        self.params.register(entry, Role::Table)
    }

    /// Registers a table `[rows, width]` whose gradient is kept as the rows that a batch looked up: a step then costs what
    /// these cost, and leaves the others, and their state, as they are.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    #[track_caller]
    pub fn add_rows(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Param {
        let mut entry = Entry::new(self.path(name), shape.into(), self.dtype, init);
        assert!(entry.shape.rank() == 2, "add_rows: {} is not [rows, width]", entry.shape);
        entry.by_rows = true;
        self.params.register(entry, Role::Other)
    }

    /// Registers the matrix of a linear layer, which may have the form of a low rank.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    #[track_caller]
    pub fn add_linear(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        init: Init,
        layout: WeightLayout,
    ) -> Param {
        let entry = Entry::new(self.path(name), shape.into(), self.dtype, init);
        self.params.register(entry, Role::Linear(layout))
    }

    /// Registers what is not trained: in single precision at least.
    #[track_caller]
    pub(super) fn add_constant(
        &mut self,
        name: &str,
        shape: Shape,
        init: Init,
    ) -> (Param, &Params) {
        let mut entry = Entry::new(self.path(name), shape, self.dtype.accumulator(), init);
        entry.trainable = false;
        (self.params.register(entry, Role::Other), self.params)
    }
}
