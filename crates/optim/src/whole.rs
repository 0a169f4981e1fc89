//! Steps of rules that look at whole tensors: matrices, their rows and columns.

use std::collections::BTreeMap;

use rappel_tensor::{Element, Key, Piece, Shape, Tensor, Trained, no_grad, walk};

use crate::stepper::{Job, Prepare, Slot, Stepper, Views, load};
use crate::{Now, OptionSet, Schedule, with_views};

/// An update rule over whole tensors, written with tensor operations.
pub trait TensorRule: OptionSet {
    /// The state of a parameter of `shape`: names, and shapes of tensors that begin at zero.
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)>;

    /// Numbers kept beside the state, at most [`MAX_NUMBERS`](crate::MAX_NUMBERS): names, first values.
    const NUMBERS: &'static [(&'static str, f64)] = &[];

    /// Updates parameters of one shape that have all had the same number of updates. Gradients are
    /// clipped already, and turned around where the step goes up. Never called for empty ones.
    fn update(&self, now: &Now, matrices: &mut [Whole]);

    /// Why a parameter of `shape` cannot be trained by the rule, if it cannot.
    fn refuses(&self, _shape: Shape) -> Option<String> {
        None
    }

    /// What decoupled weight decay leaves of a parameter at a step.
    fn keep(&self, _now: &Now) -> f64 {
        1.0
    }
}

/// A parameter in the type that steps are computed in: double precision, or single for all others.
pub struct Whole {
    /// The full name.
    pub name: String,
    /// The parameter, to replace.
    pub param: Tensor,
    /// Its gradient.
    pub grad: Tensor,
    /// Its state, in the order of [`TensorRule::state`], to replace.
    pub state: Vec<Tensor>,
    /// The numbers of [`TensorRule::NUMBERS`], to change.
    pub numbers: [f64; crate::MAX_NUMBERS],
}

/// The stepper of a rule over whole tensors.
pub fn whole<A: TensorRule>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Wholly(rule.clone()))
}

struct Wholly<A>(A);

/// Elements of parameters of one shape that are updated together: enough to fill the processor,
/// little enough that their copies don't count beside the model.
const TOGETHER: usize = 1 << 22;

impl<A: TensorRule> Stepper for Wholly<A> {
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn tensors(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        self.0.state(shape)
    }

    fn numbers(&self) -> &'static [(&'static str, f64)] {
        A::NUMBERS
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        self.0.refuses(shape)
    }

    fn lr(&self) -> &Schedule {
        self.0.lr()
    }

    fn maximize(&self) -> bool {
        self.0.maximize()
    }

    fn keep(&self, now: &Now) -> f64 {
        self.0.keep(now)
    }

    fn step(&self, job: Job<'_>) {
        let Job { now, prepare, rounding, memory, members, picked, .. } = job;
        let mut shapes: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        // What is empty has nothing to update, and no mean or norm either.
        for &k in picked.iter().filter(|&&k| members[k].run.len > 0) {
            shapes.entry(members[k].shape.to_vec()).or_default().push(k);
        }
        with_views!(memory, views => no_grad(|| {
            let mut views = views;
            for alike in shapes.values() {
                let each = members[alike[0]].run.len;
                for together in alike.chunks((TOGETHER / each).max(1)) {
                    self.update(&mut views, &now, prepare, rounding, members, together);
                }
            }
        }));
    }
}

impl<A: TensorRule> Wholly<A> {
    fn update<P: Trained>(
        &self,
        views: &mut Views<'_, P>,
        now: &Now,
        prepare: Prepare,
        rounding: Option<Key>,
        members: &mut [crate::group::Member],
        picked: &[usize],
    ) {
        let taken = |&k: &usize| {
            let member = &mut members[k];
            let range = member.run.param..member.run.param + member.run.len;
            // The only slot that a whole rule can have is the master copy of its parameters.
            let param = match views.state.first() {
                Some(master) => {
                    let run = member.run;
                    load(&master.as_slice::<f32>()[run.state..run.state + run.len], member.shape)
                }
                None => load(&views.params[range.clone()], member.shape),
            };
            Whole {
                name: member.name.clone(),
                param,
                grad: prepared(&views.grads[range], member.shape, prepare),
                state: std::mem::take(&mut member.tensors),
                numbers: member.numbers,
            }
        };
        let mut wholes: Vec<Whole> = picked.iter().map(taken).collect();
        self.0.update(now, &mut wholes);
        for (&k, whole) in picked.iter().zip(wholes) {
            let member = &mut members[k];
            assert!(
                whole.param.shape() == member.shape,
                "{}: the rule changed the shape",
                whole.name
            );
            let values = whole.param.to_vec::<P::Acc>();
            let (runs, start) = (rappel_tensor::Runs::new(vec![member.run]), member.run.param);
            let Views { params, grads, state } = &mut *views;
            walk(&runs, params, grads, state, rounding, &|piece: Piece<'_, '_, P::Acc>| {
                let from = piece.run.param - start;
                piece.params.copy_from_slice(&values[from..from + piece.run.len]);
            });
            member.tensors = whole.state;
            member.numbers = whole.numbers;
        }
    }
}

/// The gradient that the rule sees.
fn prepared<T: Element>(grads: &[T], shape: Shape, prepare: Prepare) -> Tensor {
    let mut grad = Tensor::from_slice(grads, shape);
    if prepare.scale != 1.0 {
        grad = grad * prepare.scale;
    }
    prepare.limit.map_or(grad.clone(), |limit| grad.clamp(-limit, limit))
}
