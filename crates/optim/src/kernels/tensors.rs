//! Rules that look at whole tensors: matrices, their rows and columns.

use std::collections::BTreeMap;

use rappel_schedule::Schedule;
use rappel_tensor::{Shape, Tensor, no_grad};

use super::stepper::{GradTransform, Slot, StepArgs, Stepper};
use crate::context::StepContext;
use crate::options::RuleOptions;

/// An update rule over whole tensors, written with tensor operations.
pub trait TensorRule: RuleOptions {
    /// The state of a parameter of `shape`: names, and shapes of tensors that begin at zero.
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)>;

    /// Numbers kept beside the state, at most [`MAX_NUMBERS`](crate::context::MAX_NUMBERS): names, first values.
    const NUMBERS: &'static [(&'static str, f64)] = &[];

    /// Updates parameters of one shape that have all had the same number of updates. Gradients are
    /// clipped already, and turned around where the step goes up. Never called for empty ones.
    fn update(&self, t: &StepContext, params: &mut [ParamTensors]);

    /// Why a parameter of `shape` cannot be trained by the rule, if it cannot.
    fn refuses(&self, _shape: Shape) -> Option<String> {
        None
    }

    /// What decoupled weight decay leaves of a parameter at a step.
    fn keep(&self, _t: &StepContext) -> f64 {
        1.0
    }
}

/// A parameter in the type that steps are computed in: double precision, or single for all others.
#[derive(Debug)]
pub struct ParamTensors {
    /// The full name.
    pub name: String,
    /// The parameter, to replace.
    pub param: Tensor,
    /// Its gradient.
    pub grad: Tensor,
    /// Its state, in the order of [`TensorRule::state`], to replace.
    pub state: Vec<Tensor>,
    /// The numbers of [`TensorRule::NUMBERS`], to change.
    pub numbers: [f64; crate::context::MAX_NUMBERS],
}

/// The stepper of a rule over whole tensors.
pub fn tensors<A: TensorRule>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Wholly(rule.clone()))
}

#[derive(Debug)]
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

    fn keep(&self, t: &StepContext) -> f64 {
        self.0.keep(t)
    }

    fn step(&self, mut args: StepArgs<'_>) {
        let StepArgs { members, picked, .. } = &args;
        let mut shapes: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        // What is empty has nothing to update, and no mean or norm either.
        for &k in picked.iter().filter(|&&k| members[k].run.len > 0) {
            shapes.entry(members[k].shape.to_vec()).or_default().push(k);
        }
        no_grad(|| {
            for alike in shapes.values() {
                let each = args.members[alike[0]].run.len;
                for together in alike.chunks((TOGETHER / each).max(1)) {
                    self.update(&mut args, together);
                }
            }
        });
    }
}

impl<A: TensorRule> Wholly<A> {
    fn update(&self, args: &mut StepArgs<'_>, picked: &[usize]) {
        let StepArgs { context, grads, rounding, memory, members, .. } = args;
        let take = |&k: &usize| {
            let member = &mut members[k];
            let (param, grad) = memory.tensors(member.run, member.shape);
            let (name, numbers) = (member.name.clone(), member.numbers);
            let (grad, state) = (seen(grad, *grads), std::mem::take(&mut member.tensors));
            ParamTensors { name, param, grad, state, numbers }
        };
        let mut all: Vec<ParamTensors> = picked.iter().map(take).collect();
        self.0.update(context, &mut all);
        for (&k, ParamTensors { name, param, state, numbers, .. }) in picked.iter().zip(all) {
            let member = &mut members[k];
            assert!(param.shape() == member.shape, "{name}: the rule changed the shape");
            memory.put(member.run, &param, *rounding);
            (member.tensors, member.numbers) = (state, numbers);
        }
    }
}

/// The gradient that the rule sees.
fn seen(mut grad: Tensor, GradTransform { scale, limit }: GradTransform) -> Tensor {
    if scale != 1.0 {
        grad = grad * scale;
    }
    limit.map_or(grad.clone(), |limit| grad.clamp(-limit, limit))
}
