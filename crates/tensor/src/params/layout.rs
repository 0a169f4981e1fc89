//! Who lies where in the arenas.

use std::ops::Range;
use std::sync::Arc;

use super::Init;
use crate::device::Device;
use crate::dtype::DType;
use crate::memory::ALIGNMENT;
use crate::shape::Shape;

/// How many types of arena there are.
pub(crate) const FLOATS: usize = 3;

/// The arena of a type.
pub(crate) fn float_index(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 0,
        DType::F64 => 1,
        DType::BF16 => 2,
        other => panic!("params: {other} cannot be trained"),
    }
}

pub(super) const fn dtype_of(index: usize) -> DType {
    [DType::F32, DType::F64, DType::BF16][index]
}

/// One parameter.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The full name, as in checkpoints.
    pub name: String,
    /// The sizes of the dimensions.
    pub shape: Shape,
    /// The type of the elements.
    pub dtype: DType,
    /// Whether it gets gradients.
    pub trainable: bool,
    /// Whether its gradient is kept as the rows that a batch looked up.
    pub by_rows: bool,
    /// Its first element's position in the arena of its type.
    pub offset: usize,
    pub(super) init: Init,
    /// The name that its initial values are drawn for.
    pub(super) drawn_as: String,
}

impl Entry {
    pub(super) fn new(name: String, shape: Shape, dtype: DType, init: Init) -> Self {
        let (trainable, by_rows) = (true, false);
        Self { drawn_as: name.clone(), name, shape, dtype, trainable, by_rows, offset: 0, init }
    }

    /// Its positions in the arena of its type.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.shape.count()
    }
}

/// Where each parameter lies in the arenas, which gradients and optimizer state share.
#[derive(Debug)]
pub struct ArenaLayout {
    entries: Vec<Entry>,
    lens: [usize; FLOATS],
    trainable: [usize; FLOATS],
    dense: [usize; FLOATS],
    device: Device,
}

impl ArenaLayout {
    pub(super) fn new(mut entries: Vec<Entry>, device: Device) -> Self {
        let mut lens = [0; FLOATS];
        let mut place = |entry: &mut Entry| {
            let len = &mut lens[float_index(entry.dtype)];
            entry.offset = *len;
            *len += entry.shape.count();
            // Every element type divides the alignment, so counting in elements is enough.
            *len = len.next_multiple_of(ALIGNMENT / entry.dtype.size());
        };
        // What has no arena of gradients comes behind what has.
        let is_dense = |entry: &&mut Entry| entry.trainable && !entry.by_rows;
        entries.iter_mut().filter(is_dense).for_each(&mut place);
        entries.iter_mut().filter(|e| e.trainable && e.by_rows).for_each(&mut place);
        let (mut trainable, mut dense) = ([0; FLOATS], [0; FLOATS]);
        for entry in entries.iter().filter(|entry| entry.trainable) {
            let end = entry.range().end.next_multiple_of(ALIGNMENT / entry.dtype.size());
            let of = float_index(entry.dtype);
            trainable[of] = end.max(trainable[of]);
            if !entry.by_rows {
                dense[of] = end.max(dense[of]);
            }
        }
        entries.iter_mut().filter(|entry| !entry.trainable).for_each(&mut place);
        Self { entries, lens, trainable, dense, device }
    }

    /// The parameters in the order of registration.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the arenas lie.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Elements in the arena of `dtype`, with the gaps between parameters.
    pub fn len(&self, dtype: DType) -> usize {
        self.lens[float_index(dtype)]
    }

    /// Elements at the start of the arena of `dtype` whose gradients are kept whole.
    pub fn dense_len(&self, dtype: DType) -> usize {
        self.dense[float_index(dtype)]
    }

    /// Elements at the start of the arena of `dtype` that belong to trainable parameters: what a
    /// slot of optimizer state covers.
    pub fn trainable_len(&self, dtype: DType) -> usize {
        self.trainable[float_index(dtype)]
    }

    pub(super) fn arena_len(&self, index: usize) -> usize {
        self.lens[index]
    }
}

/// A parameter as a leaf of the graph.
#[derive(Clone)]
pub(crate) struct Slot {
    pub layout: Arc<ArenaLayout>,
    pub index: usize,
}

impl Slot {
    pub fn entry(&self) -> &Entry {
        &self.layout.entries[self.index]
    }

    /// A number that no parameter of another set has.
    pub fn id(&self) -> (usize, usize) {
        (Arc::as_ptr(&self.layout) as usize, self.index)
    }
}
