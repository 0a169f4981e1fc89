//! Rules that need a sum over a tensor, or over all of them, before they can update.

use rappel_schedule::Schedule;
use rappel_tensor::{
    Key, Memory, Real, Reduce, Run, Runs, Shape, Update, reduce_all, reduce_each, update,
    update_each,
};

use super::stepper::{GradTransform, Slot, StepArgs, Stepper};
use crate::context::{MAX_NUMBERS, StepContext};
use crate::options::RuleOptions;

/// An update rule in two passes: the first updates state and adds up `K` numbers, the second updates
/// the parameter by what the sums say.
///
/// The sums are over each tensor, or over all tensors of the rule where they are
/// [`SHARED`](TwoPass::SHARED).
pub trait TwoPass<const S: usize, const K: usize>: RuleOptions {
    /// The state, named as in the reference's `state_dict`.
    const STATE: [Slot; S];
    /// Numbers kept beside the state, at most [`MAX_NUMBERS`]: names, first values.
    const NUMBERS: &'static [(&'static str, f64)] = &[];
    /// Whether sums and numbers are those of all tensors together.
    const SHARED: bool;
    /// What the second pass needs of the sums.
    type Found: Copy + Send + Sync;

    /// The first pass: state after it, and what is added to the sums, from parameter, gradient and state.
    /// As in `Rule::step`, the closure must be `#[inline(always)]`.
    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; S]) -> ([R; S], [R; K]);

    /// What the sums over a tensor of `shape` (of all tensors' count, where they are shared) say; changes
    /// [`StepContext::numbers`] where the rule keeps some.
    fn find(&self, t: &mut StepContext, sums: [f64; K], shape: Shape) -> Self::Found;

    /// The second pass: parameter and state after it. `t` is as it was before
    /// [`find`](TwoPass::find).
    fn step<R: Real>(
        &self,
        t: &StepContext,
        found: Self::Found,
    ) -> impl Fn(R, R, [R; S]) -> (R, [R; S]);

    /// What decoupled weight decay leaves of a parameter at a step.
    fn keep(&self, _t: &StepContext) -> f64 {
        1.0
    }
}

/// The stepper of a rule in two passes.
pub fn two_pass<const S: usize, const K: usize, A: TwoPass<S, K>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Twice::<S, K, A>(rule.clone()))
}

#[derive(Debug)]
struct Twice<const S: usize, const K: usize, A>(A);

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Stepper for Twice<S, K, A> {
    fn slots(&self) -> Vec<Slot> {
        A::STATE.to_vec()
    }

    fn numbers(&self) -> &'static [(&'static str, f64)] {
        A::NUMBERS
    }

    fn shares_numbers(&self) -> bool {
        A::SHARED
    }

    fn needs_all(&self) -> Option<&'static str> {
        Some(if A::SHARED {
            "its rule adds up numbers over all parameters"
        } else {
            "its rule adds up numbers over tensors, in pieces that are cut across all of them"
        })
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

    fn step(&self, args: StepArgs<'_>) {
        let StepArgs { context: t, grads, rounding, mut memory, members, picked, .. } = args;
        let tensors: Vec<(Run, Shape)> =
            picked.iter().map(|k| (members[*k].run, members[*k].shape)).collect();
        // Of tensors each by itself: a piece must not reach over two, nor over what lies between.
        let runs = Runs::new(tensors.iter().map(|(run, _)| *run).collect());
        let pass = Pass::<S, K, A> { rule: &self.0, t, grads, found: () };
        let shapes: Vec<Shape> = tensors.iter().map(|(_, shape)| *shape).collect();
        let numbers = if A::SHARED {
            pass.shared(&runs, &mut memory, rounding)
        } else {
            pass.each(&runs, &mut memory, rounding, &shapes)
        };
        for (i, k) in picked.iter().enumerate() {
            members[*k].numbers = numbers[if A::SHARED { 0 } else { i }];
        }
    }
}

/// A rule at one step; in its second pass with what it found.
struct Pass<'a, const S: usize, const K: usize, A: TwoPass<S, K>, F = ()> {
    rule: &'a A,
    t: StepContext,
    grads: GradTransform,
    found: F,
}

impl<'a, const S: usize, const K: usize, A: TwoPass<S, K>> Pass<'a, S, K, A> {
    /// What the sums say, and the numbers after it.
    fn find(
        &self,
        sums: [f64; K],
        shape: Shape,
    ) -> (Pass<'a, S, K, A, A::Found>, [f64; MAX_NUMBERS]) {
        let mut after = self.t;
        let found = self.rule.find(&mut after, sums, shape);
        let Self { rule, t, grads, .. } = *self;
        (Pass { rule, t, grads, found }, after.numbers)
    }

    /// Both passes with sums over all tensors; returns the numbers after them.
    fn shared(
        &self,
        runs: &Runs,
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
    ) -> Vec<[f64; MAX_NUMBERS]> {
        let sums = reduce_all::<S, K, _>(runs, memory, rounding, self);
        let (second, numbers) = self.find(sums, runs.total().into());
        update::<S, _>(runs, memory, rounding, &second);
        vec![numbers]
    }

    /// Both passes with sums over each tensor; returns the numbers of each after them.
    fn each(
        &self,
        runs: &Runs,
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
        shapes: &[Shape],
    ) -> Vec<[f64; MAX_NUMBERS]> {
        let sums = reduce_each::<S, K, _>(runs, memory, rounding, self);
        let found = sums.into_iter().zip(shapes).map(|(sums, shape)| self.find(sums, *shape));
        let (seconds, numbers): (Vec<_>, Vec<_>) = found.unzip();
        update_each::<S, _>(runs, memory, rounding, &seconds);
        numbers
    }
}

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Reduce<S, K> for Pass<'_, S, K, A> {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; S]) -> ([R; S], [R; K]) {
        let (reduce, seen) = (self.rule.reduce::<R>(&self.t), self.grads.formula::<R>());
        #[inline(always)]
        move |p, g, state| reduce(p, seen(g), state)
    }
}

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Update<S> for Pass<'_, S, K, A, A::Found> {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; S]) -> (R, [R; S]) {
        let (step, seen) = (self.rule.step::<R>(&self.t, self.found), self.grads.formula::<R>());
        #[inline(always)]
        move |p, g, state| step(p, seen(g), state)
    }
}
