//! The walk backwards through the graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Kind, Node, Sink, is_recording};
use crate::params::{ArenaLayout, GradStore, Grads, Streamed};
use crate::tensor::Tensor;

/// What is still to be visited, by number.
#[derive(Default)]
pub(super) struct PendingNodes(BTreeMap<u64, Pending>);

/// A node on the way, with the gradient collected so far.
pub(super) struct Pending {
    node: Arc<Node>,
    pub grad: Option<Tensor>,
}

impl PendingNodes {
    pub fn at(&mut self, node: &Arc<Node>) -> &mut Pending {
        self.0.entry(node.id).or_insert_with(|| Pending { node: node.clone(), grad: None })
    }
}

/// Walks from `root`, whose gradient is `grad`. Gradients of parameters go to `store`; those of
/// other leaves come back, by the number of their node.
#[track_caller]
fn run(root: &Tensor, grad: Tensor, store: &mut dyn GradStore) -> BTreeMap<u64, Tensor> {
    let mut leaves = BTreeMap::new();
    let Some(node) = root.node.clone() else { return leaves };
    let mut pending = PendingNodes::default();
    if let Kind::Param(slot) = &node.kind {
        store.write(slot, &mut |target| target.put(&grad));
        return leaves;
    }
    pending.at(&node).grad = Some(grad);
    while let Some((id, Pending { node, grad })) = pending.0.pop_last() {
        let Some(grad) = grad else { continue };
        if matches!(node.kind, Kind::Leaf) {
            leaves.insert(id, grad);
            continue;
        }
        // No closure: the panic is the caller's.
        let Some(operation) = node.take() else {
            panic!(
                "backward: an earlier backward pass went through this graph and freed it; run the \
                 forward pass again, or add the losses up and call backward once"
            );
        };
        let mut sink =
            Sink { inputs: &operation.inputs, pending: &mut pending, store: &mut *store };
        (operation.backward)(grad, &mut sink);
        store.passed(&operation.inputs);
    }
    leaves
}

/// [`run`] inside another walk; gives the gradients of `leaves`, in their order.
pub(super) fn nested(
    root: &Tensor,
    grad: Tensor,
    leaves: &[Tensor],
    store: &mut dyn GradStore,
) -> Vec<Option<Tensor>> {
    store.expect(root);
    let mut found = run(root, grad, store);
    leaves.iter().map(|leaf| found.remove(&leaf.node.as_ref()?.id)).collect()
}

impl Tensor {
    /// The gradient of this scalar with respect to every parameter and every tensor marked by
    /// [`requires_grad`](Tensor::requires_grad) that it was computed from.
    ///
    /// The graph is taken apart on the way, so that memory is freed as early as possible; a second
    /// pass needs a second forward pass.
    ///
    /// # Panics
    /// Where the tensor is not a scalar, or was not computed from anything that needs a gradient.
    ///
    /// ```
    /// use rappel_tensor::{DType, Tensor};
    /// let x = Tensor::full([2], 3.0, DType::F64).requires_grad();
    /// let grads = (&x * &x).sum().backward();
    /// assert_eq!(grads.of(&x).unwrap().to_vec::<f64>(), [6.0, 6.0]);
    /// ```
    #[track_caller]
    pub fn backward(&self) -> Grads {
        let mut grads = Grads::default();
        self.backward_into(&mut grads);
        grads
    }

    /// [`backward`](Tensor::backward), adding to gradients that are there already.
    #[track_caller]
    pub fn backward_into(&self, grads: &mut Grads) {
        let seed = self.seed_gradient();
        let leaves = run(self, seed, grads);
        grads.add_leaves(leaves);
    }

    /// [`backward`](Tensor::backward) that hands each parameter's gradient to `finished` as soon as
    /// no more can come, and then frees it: no more than a few are in memory at once.
    ///
    /// `finished` gets the parameter's position in its [`Params`](crate::Params) and the gradient.
    #[track_caller]
    pub fn backward_each(&self, finished: &mut dyn FnMut(usize, Tensor)) {
        self.stream(None, finished);
    }

    /// [`backward_each`](Tensor::backward_each) for the parameters of the set with `layout`; the
    /// gradients of others are dropped.
    ///
    /// By the time that `finished` gets a gradient, nothing on the way back needs the graph's reads of
    /// that parameter any more: unless a tensor outside, or a detached copy that is still to come,
    /// views it, it can be changed there and then by
    /// [`Params::update_one`](crate::Params::update_one).
    #[track_caller]
    pub fn backward_each_of(
        &self,
        layout: &Arc<ArenaLayout>,
        finished: &mut dyn FnMut(usize, Tensor),
    ) {
        self.stream(Some(layout), finished);
    }

    #[track_caller]
    fn stream(&self, only: Option<&Arc<ArenaLayout>>, finished: &mut dyn FnMut(usize, Tensor)) {
        let seed = self.seed_gradient();
        let mut store = Streamed::new(only, finished);
        store.expect(self);
        run(self, seed, &mut store);
        store.finish();
    }

    #[track_caller]
    fn seed_gradient(&self) -> Tensor {
        assert!(self.count() == 1, "backward: needs a scalar, got shape {}", self.shape());
        assert!(
            self.needs_grad(),
            "backward: nothing that this was computed from needs a gradient{}",
            if is_recording() { "" } else { " (inside no_grad)" }
        );
        Tensor::ones(self.shape(), self.dtype())
    }
}
