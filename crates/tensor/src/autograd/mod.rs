//! Define-by-run differentiation.
//!
//! An operation on tensors that need gradients leaves a [`Node`] in its result: its inputs' nodes
//! and a closure from the result's gradient to theirs. Nodes are numbered as they are made, so the
//! numbers alone are a topological order: the walk always takes the highest one left.

mod checkpoint;
mod engine;
mod sink;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::params::Slot;
use crate::tensor::Tensor;

pub use checkpoint::checkpoint;
pub(crate) use sink::{Sink, Target, owned_target};

/// A place in the graph that gradients flow to.
pub(crate) struct Node {
    pub id: u64,
    pub kind: Kind,
}

pub(crate) enum Kind {
    /// A parameter: its gradient goes to the arena.
    Param(Slot),
    /// A tensor that `requires_grad` marked.
    Leaf,
    /// An operation's result; emptied by the backward pass that goes through it.
    Operation(Mutex<Option<Operation>>),
}

pub(crate) struct Operation {
    pub inputs: Vec<Option<Arc<Node>>>,
    pub backward: Backward,
}

pub(crate) type Backward = Box<dyn FnOnce(Tensor, &mut Sink<'_>) + Send>;

impl Node {
    pub fn new(kind: Kind) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), kind })
    }

    /// Takes the operation out, so that what it saved is freed as soon as it was used.
    pub fn take(&self) -> Option<Operation> {
        match &self.kind {
            Kind::Operation(operation) => {
                operation.lock().unwrap_or_else(PoisonError::into_inner).take()
            }
            Kind::Param(_) | Kind::Leaf => None,
        }
    }

    /// Lets `look` see the inputs of an operation that was not walked yet.
    pub fn with_inputs(&self, look: impl FnOnce(&[Option<Arc<Node>>])) {
        if let Kind::Operation(operation) = &self.kind
            && let Some(operation) = &*operation.lock().unwrap_or_else(PoisonError::into_inner)
        {
            look(&operation.inputs);
        }
    }
}

/// Long chains must not overflow the stack when they are dropped without a backward pass.
impl Drop for Node {
    fn drop(&mut self) {
        let Some(operation) = self.take() else { return };
        let mut left: Vec<Arc<Node>> = operation.inputs.into_iter().flatten().collect();
        while let Some(node) = left.pop() {
            if let Some(node) = Arc::into_inner(node)
                && let Some(operation) = node.take()
            {
                left.extend(operation.inputs.into_iter().flatten());
            }
        }
    }
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
    static TOUCHED: RefCell<Option<Vec<Arc<Node>>>> = const { RefCell::new(None) };
}

/// Runs `f` without recording operations: nothing in it can be differentiated, and nothing is kept
/// for a backward pass.
///
/// ```
/// use rappel_tensor::{DType, Tensor, no_grad};
/// let x = Tensor::ones([3], DType::F32).requires_grad();
/// assert!(!no_grad(|| &x * 2.0).needs_grad());
/// ```
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    with_recording(false, f)
}

/// Whether operations are being recorded on this thread.
pub fn is_recording() -> bool {
    RECORDING.get()
}

fn with_recording<T>(on: bool, f: impl FnOnce() -> T) -> T {
    /// Puts the flag back even where `f` panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
    f()
}

/// Runs `f` unrecorded, and returns which parameters it read.
fn touching<T>(f: impl FnOnce() -> T) -> (T, Vec<Arc<Node>>) {
    let outer = TOUCHED.replace(Some(Vec::new()));
    let result = no_grad(f);
    let touched = TOUCHED.replace(outer).unwrap_or_default();
    TOUCHED.with_borrow_mut(|outer| {
        if let Some(outer) = outer {
            outer.extend(touched.iter().cloned());
        }
    });
    (result, touched)
}

/// The node that a read of a parameter carries, if operations are recorded.
pub(crate) fn read_param(node: &Arc<Node>) -> Option<Arc<Node>> {
    TOUCHED.with_borrow_mut(|touched| {
        if let Some(touched) = touched {
            touched.push(node.clone());
        }
    });
    is_recording().then(|| node.clone())
}

impl Tensor {
    /// Marks a tensor whose gradient is wanted; read it with [`Grads::of`](crate::Grads::of).
    ///
    /// # Panics
    /// Where the elements are not floating-point numbers.
    #[track_caller]
    #[must_use]
    pub fn requires_grad(&self) -> Self {
        assert!(self.dtype.is_float(), "requires_grad: {} has no gradient", self.dtype);
        Self { node: Some(Node::new(Kind::Leaf)), ..self.clone() }
    }

    /// Notes that this tensor was made from `inputs`, and how its gradient becomes theirs. Does
    /// nothing where no input needs a gradient.
    pub(crate) fn record(
        self,
        inputs: &[&Tensor],
        backward: impl FnOnce(Tensor, &mut Sink<'_>) + Send + 'static,
    ) -> Self {
        if !is_recording() || inputs.iter().all(|input| input.node.is_none()) {
            return self;
        }
        let inputs = inputs.iter().map(|input| input.node.clone()).collect();
        self.record_nodes(inputs, backward)
    }

    fn record_nodes(
        mut self,
        inputs: Vec<Option<Arc<Node>>>,
        backward: impl FnOnce(Tensor, &mut Sink<'_>) + Send + 'static,
    ) -> Self {
        let operation = Operation { inputs, backward: Box::new(backward) };
        self.node = Some(Node::new(Kind::Operation(Mutex::new(Some(operation)))));
        self
    }
}
