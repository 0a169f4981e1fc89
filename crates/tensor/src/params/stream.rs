//! Gradients handed out one by one, as soon as each is whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::grads::GradStore;
use super::layout::{ArenaLayout, Slot};
use crate::autograd::{Kind, Node, Target, owned_target};
use crate::tensor::Tensor;

/// Counts how often each parameter is read in the graph, and hands its gradient out after the last
/// of these reads was passed.
pub(crate) struct Streamed<'a> {
    /// The set whose gradients are wanted; `None`: all.
    only: Option<&'a Arc<ArenaLayout>>,
    finished: &'a mut dyn FnMut(usize, Tensor),
    reads: HashMap<(usize, usize), usize>,
    sums: HashMap<(usize, usize), (usize, Tensor)>,
}

impl<'a> Streamed<'a> {
    pub fn new(
        only: Option<&'a Arc<ArenaLayout>>,
        finished: &'a mut dyn FnMut(usize, Tensor),
    ) -> Self {
        Self { only, finished, reads: HashMap::new(), sums: HashMap::new() }
    }

    /// Hands out what is left: parameters that also feed a part of the graph that no gradient
    /// reached.
    pub fn finish(&mut self) {
        let mut left: Vec<_> = self.sums.drain().collect();
        left.sort_by_key(|((_, index), _)| *index);
        for (id, (index, grad)) in left {
            self.hand_out(id, index, grad);
        }
    }

    fn hand_out(&mut self, (set, _): (usize, usize), index: usize, grad: Tensor) {
        if self.only.is_none_or(|layout| Arc::as_ptr(layout) as usize == set) {
            (self.finished)(index, grad);
        }
    }
}

impl GradStore for Streamed<'_> {
    fn write(&mut self, slot: &Slot, write: &mut dyn FnMut(&mut Target<'_>)) {
        let entry = slot.entry();
        let mut accumulate = true;
        let (_, sum) = self.sums.entry(slot.id()).or_insert_with(|| {
            accumulate = false;
            (slot.index, Tensor::uninit(entry.shape, entry.dtype.accumulator()))
        });
        write(&mut owned_target(sum, accumulate));
    }

    fn passed(&mut self, inputs: &[Option<Arc<Node>>]) {
        for node in inputs.iter().flatten() {
            let Kind::Param(slot) = &node.kind else { continue };
            let left = self.reads.entry(slot.id()).or_insert(1);
            *left -= 1;
            if *left == 0
                && let Some((index, grad)) = self.sums.remove(&slot.id())
            {
                self.hand_out(slot.id(), index, grad);
            }
        }
    }

    fn expect(&mut self, root: &Tensor) {
        each_read(root, &mut |slot| *self.reads.entry(slot.id()).or_insert(0) += 1);
    }
}

/// Calls `look` for each read of a parameter by an operation in the graph behind `root`.
fn each_read(root: &Tensor, look: &mut dyn FnMut(&Slot)) {
    let mut seen = HashSet::new();
    let mut left: Vec<Arc<Node>> = root.node.iter().cloned().collect();
    while let Some(node) = left.pop() {
        if !seen.insert(node.id) {
            continue;
        }
        node.with_inputs(|inputs| {
            for input in inputs.iter().flatten() {
                if let Kind::Param(slot) = &input.kind {
                    look(slot);
                } else {
                    left.push(input.clone());
                }
            }
        });
    }
}

impl Tensor {
    /// Which parameters of the set with `layout` this was computed from, by their position: only to
    /// these can a backward pass send a gradient.
    pub fn reads(&self, layout: &Arc<ArenaLayout>) -> Vec<bool> {
        let mut read = vec![false; layout.entries().len()];
        let mut look = |slot: &Slot| {
            if Arc::ptr_eq(&slot.layout, layout) {
                read[slot.index] = true;
            }
        };
        if let Some(Kind::Param(slot)) = self.node.as_ref().map(|node| &node.kind) {
            look(slot);
        }
        each_read(self, &mut look);
        read
    }
}
