//! The search of an optimizer whose rule evaluates the loss itself.

use std::ops::Range;

use rappel_tensor::{ArenaLayout, DType, Shape};

use super::group::Group;
use crate::error::OptimError;
use crate::kernels::Engine;

/// A search and the parameters that it is over.
pub(super) struct Search {
    pub engine: Engine,
    pub places: Vec<Place>,
    pub dtype: DType,
}

/// A parameter's place in its arena and in the vector.
pub(super) struct Place {
    pub name: String,
    pub shape: Shape,
    pub index: usize,
    pub arena: Range<usize>,
    pub vector: Range<usize>,
}

impl Search {
    /// The search of the only group, where its rule is one.
    pub fn new(layout: &ArenaLayout, groups: &[Group]) -> Result<Option<Self>, OptimError> {
        let [Group { stepper, parts, .. }] = groups else { return Ok(None) };
        let dtype = parts[0].dtype;
        let mut places = Vec::new();
        let mut end = 0;
        for (index, entry) in layout.entries().iter().enumerate().filter(|(_, e)| e.trainable) {
            let vector = end..end + entry.shape.count();
            end = vector.end;
            let (name, shape, arena) = (entry.name.clone(), entry.shape, entry.range());
            places.push(Place { name, shape, index, arena, vector });
        }
        let Some(engine) = stepper.search(dtype.accumulator(), end) else { return Ok(None) };
        if parts.len() > 1 {
            return Err(OptimError::Mixed { group: None });
        }
        Ok(Some(Self { engine, places, dtype }))
    }

    pub fn needs_loss(&self) -> bool {
        match &self.engine {
            Engine::F32(search) => search.needs_loss(),
            Engine::F64(search) => search.needs_loss(),
        }
    }
}
