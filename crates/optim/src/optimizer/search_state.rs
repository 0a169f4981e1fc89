//! The state of searches as named tensors.

use std::ops::Range;
use std::sync::Arc;

use rappel_tensor::{DType, Float, Shape, StreamedTensor, Tensor, TensorFile};

use super::search::{Place, Search};
use crate::kernels::vector::Vector;
use crate::kernels::{Engine, SearchState, Searching, Stepper};

impl Search {
    /// Adds the state: vectors cut into parameters, and the rest under the name of the first.
    pub fn save<'a>(&'a self, tensors: &mut Vec<StreamedTensor<'a>>) {
        match &self.engine {
            Engine::F32(search) => save(search.save(), &self.places, tensors),
            Engine::F64(search) => save(search.save(), &self.places, tensors),
        }
    }

    /// Lets what is wanted of a file have as many entries of history as the file has.
    pub fn grow(&self, wanted: &mut [(String, Shape, DType)], file: &TensorFile) {
        let (lists, histories) = match &self.engine {
            Engine::F32(search) => growing(&**search),
            Engine::F64(search) => growing(&**search),
        };
        let name = format!("{}.{}", lists[0], self.places[0].name);
        let Some(found) = file.shape(&name).filter(|shape| shape.rank() == 1) else { return };
        let entries = found.count();
        for (name, shape, _) in wanted {
            let is =
                |slot: &&&str| name.strip_prefix(**slot).is_some_and(|rest| rest.starts_with('.'));
            if lists.iter().any(|slot| is(&slot)) {
                *shape = entries.into();
            } else if histories.iter().any(|slot| is(&slot)) {
                *shape = shape.removed(0).inserted(0, entries);
            }
        }
    }

    /// Takes the state in the order in which [`save`](Self::save) adds it.
    pub fn load(&mut self, values: &mut impl Iterator<Item = Tensor>) {
        match &mut self.engine {
            Engine::F32(search) => load(&mut **search, &self.places, values),
            Engine::F64(search) => load(&mut **search, &self.places, values),
        }
    }

    /// Bytes of the vectors that are remembered now.
    pub fn state_bytes(&self) -> usize {
        fn vectors<A>(state: &SearchState<A>) -> usize {
            state.vectors.len() + state.histories.iter().map(|(_, rows)| rows.len()).sum::<usize>()
        }
        let n = self.places.last().map_or(0, |place| place.vector.end);
        match &self.engine {
            Engine::F32(search) => n * size_of::<f32>() * vectors(&search.save()),
            Engine::F64(search) => n * size_of::<f64>() * vectors(&search.save()),
        }
    }
}

impl Search {
    /// Bytes that an iteration moves.
    pub fn bytes_moved(&self, stepper: &dyn Stepper) -> usize {
        let n = self.places.last().map_or(0, |place| place.vector.end) as f64;
        let state = self.state_bytes() as f64 / n.max(1.0);
        (n * stepper.bytes_moved(self.dtype, state)) as usize
    }
}

/// The names of what has an entry for each of the history's.
fn growing<A>(search: &dyn Searching<A>) -> (Vec<&'static str>, Vec<&'static str>) {
    let SearchState { lists, histories, .. } = search.save();
    (
        lists.iter().map(|(name, _)| *name).collect(),
        histories.iter().map(|(name, _)| *name).collect(),
    )
}

fn save<'a, A: Float>(
    state: SearchState<A>,
    places: &'a [Place],
    tensors: &mut Vec<StreamedTensor<'a>>,
) {
    let named = |name: &str, of: &Place| format!("{name}.{}", of.name);
    let first = &places[0];
    for (name, number) in &state.numbers {
        tensors.push((named(name, first), Tensor::from_slice(&[*number], ())).into());
    }
    for (name, list) in &state.lists {
        tensors.push((named(name, first), Tensor::from_slice(list, list.len())).into());
    }
    for (name, vector) in state.vectors {
        for place in places {
            let vector = Arc::clone(&vector);
            let read = move |piece: Range<usize>| {
                let values = &vector[place.vector.clone()];
                Tensor::from_slice(&values[piece.clone()], piece.len())
            };
            tensors.push(StreamedTensor::new(named(name, place), place.shape, A::DTYPE, read));
        }
    }
    for (name, rows) in state.histories {
        for place in places {
            let (rows, len) = (rows.clone(), place.vector.len());
            let shape = place.shape.inserted(0, rows.len());
            let read = move |piece: Range<usize>| {
                let at = |i: usize| rows[i / len][place.vector.start + i % len];
                Tensor::from_slice(&piece.clone().map(at).collect::<Vec<A>>(), piece.len())
            };
            tensors.push(StreamedTensor::new(named(name, place), shape, A::DTYPE, read));
        }
    }
}

fn load<A: Float>(
    search: &mut dyn Searching<A>,
    places: &[Place],
    values: &mut impl Iterator<Item = Tensor>,
) {
    let mut next = || values.next().expect("as many as were checked");
    let mut state = search.save();
    state.numbers.iter_mut().for_each(|(_, number)| *number = next().item());
    state.lists.iter_mut().for_each(|(_, list)| *list = next().to_vec());
    for (_, vector) in &mut state.vectors {
        let all: Vec<A> = places.iter().flat_map(|_| next().to_vec::<A>()).collect();
        *vector = Arc::new(Vector::of(&all));
    }
    let entries = state.lists.first().map_or(0, |(_, list)| list.len());
    for (_, rows) in &mut state.histories {
        let mut cut: Vec<Vec<A>> = vec![Vec::new(); entries];
        for place in places {
            let all = next().to_vec::<A>();
            for (k, row) in cut.iter_mut().enumerate() {
                row.extend_from_slice(&all[k * place.vector.len()..(k + 1) * place.vector.len()]);
            }
        }
        *rows = cut.iter().map(|row| Arc::new(Vector::of(row))).collect();
    }
    search.load(state);
}
