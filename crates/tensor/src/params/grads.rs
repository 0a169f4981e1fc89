//! The gradients of one backward pass, or of several added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layout::{ArenaLayout, FLOATS, Slot, dtype_of, float_index};
use super::row_grad::RowGrad;
use super::{Param, read, write};
use crate::autograd::{Node, Target};
use crate::cuda::Gpu;
use crate::dtype::{DType, Element};
use crate::kernels;
use crate::kernels::args::AddedRows;
use crate::memory::Buffer;
use crate::tensor::Tensor;
use crate::with_float;

/// Takes the gradients of parameters during a backward pass.
pub(crate) trait GradStore {
    /// Lets `write` put, or add, the gradient of `slot`.
    fn write(&mut self, slot: &Slot, write: &mut dyn FnMut(&mut Target<'_>));
    /// Adds to the gradient of the rows `ids` of `slot`, which keeps it by rows.
    fn write_rows(&mut self, slot: &Slot, ids: &Tensor, added: AddedRows<'_>) {
        let shape = slot.entry().shape;
        let dims = [1, shape[0], shape[1]];
        self.write(slot, &mut |target| kernels::index::add_taken(added, dims, ids, target));
    }
    /// An operation with these inputs has given all that it had.
    fn passed(&mut self, _inputs: &[Option<Arc<Node>>]) {}
    /// The graph behind `root` is about to be walked.
    fn expect(&mut self, _root: &Tensor) {}
}

/// Gradients of parameters, in arenas of the parameters' layout, and of other marked tensors.
///
/// Gradients of bfloat16 parameters are kept in single precision.
#[derive(Debug, Default)]
pub struct Grads {
    sets: Vec<GradSet>,
    leaves: BTreeMap<u64, Tensor>,
}

#[derive(Debug)]
struct GradSet {
    layout: Arc<ArenaLayout>,
    arenas: [Option<Buffer>; FLOATS],
    /// The gradients of those that are kept by rows.
    rows: BTreeMap<usize, RowGrad>,
    filled: Vec<bool>,
}

impl GradSet {
    fn new(layout: Arc<ArenaLayout>) -> Self {
        let arenas = std::array::from_fn(|i| {
            let dtype = dtype_of(i);
            let bytes = layout.dense_len(dtype) * dtype.accumulator().size();
            let of = |e: &super::Entry| e.trainable && !e.by_rows && e.dtype == dtype;
            let some = layout.entries().iter().any(of);
            some.then(|| {
                let mut arena = Buffer::uninit(bytes);
                arena.on_mut(layout.device());
                arena
            })
        });
        let (rows, filled) = (BTreeMap::new(), vec![false; layout.entries().len()]);
        let mut set = Self { layout, arenas, rows, filled };
        set.clear_gaps();
        set
    }

    /// Zeros between parameters, so that walks over whole runs find numbers there.
    fn clear_gaps(&mut self) {
        let layout = self.layout.clone();
        let mut ends = [0; FLOATS];
        let mut trainable: Vec<_> =
            layout.entries().iter().filter(|e| e.trainable && !e.by_rows).collect();
        trainable.sort_by_key(|entry| entry.offset);
        let mut clear = |i: usize, gap: std::ops::Range<usize>| {
            let size = dtype_of(i).accumulator().size();
            if let Some(arena) = &mut self.arenas[i] {
                arena.clear(gap.start * size..gap.end * size);
            }
        };
        for entry in trainable {
            let i = float_index(entry.dtype);
            clear(i, ends[i]..entry.offset);
            ends[i] = entry.range().end;
        }
        for (i, end) in ends.into_iter().enumerate() {
            clear(i, end..layout.dense_len(dtype_of(i)));
        }
    }
}

impl GradStore for Grads {
    fn write(&mut self, slot: &Slot, write: &mut dyn FnMut(&mut Target<'_>)) {
        let set = self.set_mut(&slot.layout);
        let entry = slot.entry();
        let accumulate = std::mem::replace(&mut set.filled[slot.index], true);
        if entry.by_rows {
            let rows = set.rows.entry(slot.index).or_insert_with(|| RowGrad::none(entry));
            return write(&mut rows.whole(entry.shape, accumulate));
        }
        let arena = set.arenas[float_index(entry.dtype)].as_mut().expect("trainable");
        write(&mut Target::new(arena, entry.range(), entry.dtype.accumulator(), accumulate));
    }

    fn write_rows(&mut self, slot: &Slot, ids: &Tensor, added: AddedRows<'_>) {
        let set = self.set_mut(&slot.layout);
        set.filled[slot.index] = true;
        let entry = slot.entry();
        let rows = set.rows.entry(slot.index).or_insert_with(|| RowGrad::none(entry));
        rows.add(ids, added);
    }
}

impl Grads {
    fn set_mut(&mut self, layout: &Arc<ArenaLayout>) -> &mut GradSet {
        let found = self.sets.iter().position(|set| Arc::ptr_eq(&set.layout, layout));
        let index = found.unwrap_or_else(|| {
            self.sets.push(GradSet::new(layout.clone()));
            self.sets.len() - 1
        });
        &mut self.sets[index]
    }

    fn set(&self, layout: &Arc<ArenaLayout>) -> Option<&GradSet> {
        self.sets.iter().find(|set| Arc::ptr_eq(&set.layout, layout))
    }

    pub(crate) fn add_leaves(&mut self, leaves: BTreeMap<u64, Tensor>) {
        for (id, grad) in leaves {
            match self.leaves.entry(id) {
                std::collections::btree_map::Entry::Vacant(empty) => {
                    empty.insert(grad);
                }
                std::collections::btree_map::Entry::Occupied(mut sum) => {
                    let total = sum.get() + &grad;
                    sum.insert(total);
                }
            }
        }
    }

    /// The gradient of a tensor that [`requires_grad`](Tensor::requires_grad) marked; `None` where
    /// nothing flowed to it.
    pub fn of(&self, tensor: &Tensor) -> Option<&Tensor> {
        self.leaves.get(&tensor.node.as_ref()?.id)
    }

    /// Adds a gradient that came from elsewhere to that of a parameter.
    ///
    /// ```
    /// use rappel_tensor::{DType, Grads, Init, Params, Tensor};
    /// let mut params = Params::new(0);
    /// let w = params.scope("").add("w", [2], Init::ONES);
    /// let mut grads = Grads::default();
    /// grads.add(&w, &Tensor::ones([2], DType::F32));
    /// assert_eq!(grads.param(&w).unwrap().to_vec::<f32>(), [1.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// Where the shape is not the parameter's, or the type not that of its gradients.
    #[track_caller]
    pub fn add(&mut self, param: &Param, grad: &Tensor) {
        let layout = write(&param.shared).build().layout.clone();
        let entry = &layout.entries()[param.index()];
        let (shape, dtype) = (entry.shape, entry.dtype.accumulator());
        assert!(
            grad.shape() == shape && grad.dtype() == dtype && entry.trainable,
            "gradient {} {} given to `{}`, which has {shape} {dtype}",
            grad.shape(),
            grad.dtype(),
            entry.name
        );
        let slot = Slot { layout: layout.clone(), index: param.index() };
        self.write(&slot, &mut |target| target.put(&grad.detach()));
    }

    /// A copy of the gradient of a parameter; `None` where nothing flowed to it.
    pub fn param(&self, param: &Param) -> Option<Tensor> {
        let layout = read(&param.shared).built.as_ref()?.layout.clone();
        self.tensor(&layout, param.index())
    }

    /// A copy of the gradient of parameter `index` of `layout`.
    pub fn tensor(&self, layout: &Arc<ArenaLayout>, index: usize) -> Option<Tensor> {
        let set = self.set(layout)?;
        let entry = &layout.entries()[index];
        if let Some(rows) = set.rows.get(&index) {
            return Some(rows.dense(entry.shape));
        }
        set.filled[index].then(|| {
            let arena = set.arenas[float_index(entry.dtype)].as_ref().expect("trainable");
            with_float!(entry.dtype.accumulator(), "grads", T => {
                Tensor::from_slice(&arena.as_slice::<T>()[entry.range()], entry.shape)
            })
        })
    }

    /// The gradient of parameter `index` of `layout`, where it is kept by rows and anything flowed to it: the rows in their
    /// order, each once, and their gradients `[rows, width]`.
    pub fn rows(&self, layout: &Arc<ArenaLayout>, index: usize) -> Option<(&[u32], &Tensor)> {
        self.set(layout)?.rows.get(&index).map(|rows| (rows.rows(), rows.values()))
    }

    /// Whether anything flowed to parameter `index` of `layout`.
    pub fn is_filled(&self, layout: &Arc<ArenaLayout>, index: usize) -> bool {
        self.set(layout).is_some_and(|set| set.filled[index])
    }

    /// Trainable parameters of `layout` that nothing flowed to.
    pub fn missing<'a>(&self, layout: &'a Arc<ArenaLayout>) -> Vec<&'a str> {
        let entries = layout.entries().iter().enumerate();
        entries
            .filter(|(i, entry)| entry.trainable && !self.is_filled(layout, *i))
            .map(|(_, entry)| entry.name.as_str())
            .collect()
    }

    /// The gradients of the parameters of type `dtype`, by the offsets of `layout`. `T` is the
    /// type's accumulator. What belongs to an unfilled parameter holds anything.
    pub fn all<T: Element>(&self, layout: &Arc<ArenaLayout>, dtype: DType) -> &[T] {
        assert!(T::DTYPE == dtype.accumulator(), "gradients of {dtype} are not {}", T::DTYPE);
        let arena = self.set(layout).and_then(|set| set.arenas[float_index(dtype)].as_ref());
        arena.map_or(&[], |arena| arena.as_slice())
    }

    /// Where the gradients of the parameters of type `dtype` begin on a GPU; `None` where there are none.
    pub(crate) fn address(
        &self,
        layout: &Arc<ArenaLayout>,
        dtype: DType,
        gpu: &Gpu,
    ) -> Option<u64> {
        self.set(layout)?.arenas[float_index(dtype)].as_ref()?.on(gpu.device())
    }

    /// The gradients of the parameters of type `dtype`, to change.
    pub fn all_mut<T: Element>(&mut self, layout: &Arc<ArenaLayout>, dtype: DType) -> &mut [T] {
        assert!(T::DTYPE == dtype.accumulator(), "gradients of {dtype} are not {}", T::DTYPE);
        match &mut self.set_mut(layout).arenas[float_index(dtype)] {
            Some(arena) => arena.as_slice_mut(),
            None => &mut [],
        }
    }

    /// The square root of the sum of the squares of all gradients of `layout`: PyTorch's global
    /// norm. Summed in fixed pieces, in double precision between them.
    pub fn norm(&self, layout: &Arc<ArenaLayout>) -> f64 {
        let Some(set) = self.set(layout) else { return 0.0 };
        let mut squares = vec![0.0; layout.entries().len()];
        for (i, arena) in set.arenas.iter().enumerate() {
            let Some(arena) = arena else { continue };
            let dtype = dtype_of(i);
            let here = |(k, entry): &(usize, &super::Entry)| {
                entry.trainable && !entry.by_rows && entry.dtype == dtype && set.filled[*k]
            };
            let (which, ranges): (Vec<_>, Vec<_>) = layout
                .entries()
                .iter()
                .enumerate()
                .filter(here)
                .map(|(k, entry)| (k, entry.range()))
                .unzip();
            let found = kernels::reduce::squares_of(arena, dtype.accumulator(), &ranges);
            which.into_iter().zip(found).for_each(|(k, square)| squares[k] = square);
        }
        for (k, rows) in &set.rows {
            squares[*k] = rows.values().sum_of_squares();
        }
        squares.into_iter().sum::<f64>().sqrt()
    }
}
