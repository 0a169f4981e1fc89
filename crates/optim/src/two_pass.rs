//! Steps of rules that need a sum over a tensor, or over all of them, before they can update.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rappel_tensor::{
    Gather, Key, Piece, Real, Run, Runs, Shape, Trained, Update, apply, gather, walk,
};

use crate::elementwise::{Ready, array, slots};
use crate::rule::Lifted;
use crate::stepper::{Job, Prepare, Slot, Stepper, Views};
use crate::{Lift, Now, OptionSet, Schedule, with_views};

/// An update rule in two walks: the first updates state and adds up `K` numbers, the second updates
/// the parameter by what the sums say.
///
/// The sums are over each tensor, or over all tensors of the rule where they are
/// [`SHARED`](TwoPass::SHARED).
pub trait TwoPass<const S: usize, const K: usize>: OptionSet {
    /// The names of the state, as in the reference's `state_dict`.
    const STATE: [&'static str; S];
    /// Which of it may be below zero.
    const SIGNED: [bool; S] = [true; S];
    /// Which of it keeps full precision: see [`Slot::exact`](crate::Slot::exact).
    const EXACT: [bool; S] = [false; S];
    /// Numbers kept beside the state, at most [`MAX_NUMBERS`](crate::MAX_NUMBERS): names, first values.
    const NUMBERS: &'static [(&'static str, f64)] = &[];
    /// Whether sums and numbers are those of all tensors together.
    const SHARED: bool;
    /// The numbers of the first formula.
    type First: Lift;
    /// The numbers of the second.
    type Second: Lift;

    /// The numbers of the first formula, in double precision.
    fn first(&self, now: &Now) -> Self::First;

    /// The state after the first walk, and what is added to the sums.
    fn gather<R: Real>(
        &self,
        first: &Lifted<Self::First, R>,
        p: R,
        g: R,
        state: [R; S],
    ) -> ([R; S], [R; K]);

    /// The numbers of the second formula, from the sums over `count` elements; changes
    /// [`Now::numbers`] where the rule keeps some.
    fn second(&self, now: &mut Now, sums: [f64; K], count: usize) -> Self::Second;

    /// As [`second`](TwoPass::second), of one tensor: for rules that treat shapes differently.
    fn second_of(&self, now: &mut Now, sums: [f64; K], shape: Shape) -> Self::Second {
        self.second(now, sums, shape.count())
    }

    /// The parameter and its state after the second walk.
    fn update<R: Real>(
        &self,
        second: &Lifted<Self::Second, R>,
        p: R,
        g: R,
        state: [R; S],
    ) -> (R, [R; S]);

    /// What decoupled weight decay leaves of a parameter at a step.
    fn keep(&self, _now: &Now) -> f64 {
        1.0
    }
}

/// The stepper of a rule in two walks.
pub fn two_pass<const S: usize, const K: usize, A: TwoPass<S, K>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Twice::<S, K, A>(rule.clone()))
}

struct Twice<const S: usize, const K: usize, A>(A);

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Stepper for Twice<S, K, A> {
    fn slots(&self) -> Vec<Slot> {
        slots(A::STATE, A::SIGNED, A::EXACT)
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

    fn keep(&self, now: &Now) -> f64 {
        self.0.keep(now)
    }

    fn step(&self, job: Job<'_>) {
        let Job { now, prepare, rounding, memory, members, picked, .. } = job;
        let tensors: Vec<(Run, Shape)> =
            picked.iter().map(|k| (members[*k].run, members[*k].shape)).collect();
        with_views!(memory, views => {
            let after = self.walk(views, now, prepare, rounding, &tensors);
            for (k, numbers) in picked.iter().zip(after) {
                members[*k].numbers = numbers;
            }
        });
    }
}

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Twice<S, K, A> {
    /// Both walks; returns the numbers of each tensor after them.
    fn walk<P: Trained>(
        &self,
        views: Views<'_, P>,
        now: Now,
        prepare: Prepare,
        rounding: Option<Key>,
        tensors: &[(Run, Shape)],
    ) -> Vec<[f64; crate::MAX_NUMBERS]> {
        let Views { params, grads, state } = views;
        // Of tensors each by itself: a piece must not reach over two, nor over what lies between.
        let runs = Runs::new(tensors.iter().map(|(run, _)| *run).collect());
        let found = Mutex::new(BTreeMap::new());
        let first = First::<S, K, A> { rule: &self.0, scalars: self.0.first(&now), prepare };
        walk(&runs, params, grads, state, rounding, &|piece: Piece<'_, '_, P::Acc>| {
            let sums = gather(&first, piece.params, piece.grads, array::<S, _>(piece.state));
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(piece.run.param, sums);
        });
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let add = |range: std::ops::Range<usize>| {
            found
                .range(range)
                .fold([0.0; K], |sums, (_, more)| std::array::from_fn(|k| sums[k] + more[k]))
        };
        let mut numbers = Vec::with_capacity(tensors.len());
        let mut second = |decide: &dyn Fn(&mut Now) -> A::Second| {
            let mut now = now;
            let second = decide(&mut now);
            numbers.push(now.numbers);
            Second::<S, K, A> { rule: &self.0, scalars: second, prepare }
        };
        let seconds: Vec<_> = if A::SHARED {
            vec![second(&|now| self.0.second(now, add(0..usize::MAX), runs.total()))]
        } else {
            let of = |(run, shape): &(Run, Shape)| {
                let sums = add(run.param..run.param + run.len);
                second(&|now| self.0.second_of(now, sums, *shape))
            };
            tensors.iter().map(of).collect()
        };
        let of = |run: Run| match seconds.len() {
            1 => &seconds[0],
            _ => &seconds[tensors.partition_point(|(t, _)| t.param + t.len <= run.param)],
        };
        walk(&runs, params, grads, state, rounding, &|piece: Piece<'_, '_, P::Acc>| {
            apply(of(piece.run), piece.params, piece.grads, array::<S, _>(piece.state));
        });
        numbers.resize(tensors.len(), numbers.first().copied().unwrap_or_default());
        numbers
    }
}

struct First<'a, const S: usize, const K: usize, A: TwoPass<S, K>> {
    rule: &'a A,
    scalars: A::First,
    prepare: Prepare,
}

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Gather<S, K> for First<'_, S, K, A> {
    type Scalars<R: Real> = (Lifted<A::First, R>, Ready<R>);

    #[inline(always)]
    fn scalars<R: Real>(&self) -> Self::Scalars<R> {
        (self.scalars.lift(), self.prepare.lift())
    }

    #[inline(always)]
    fn gather<R: Real>(
        &self,
        (scalars, ready): &Self::Scalars<R>,
        p: R,
        g: R,
        state: [R; S],
    ) -> ([R; S], [R; K]) {
        self.rule.gather(scalars, p, ready.gradient(g), state)
    }
}

struct Second<'a, const S: usize, const K: usize, A: TwoPass<S, K>> {
    rule: &'a A,
    scalars: A::Second,
    prepare: Prepare,
}

impl<const S: usize, const K: usize, A: TwoPass<S, K>> Update<S> for Second<'_, S, K, A> {
    type Scalars<R: Real> = (Lifted<A::Second, R>, Ready<R>);

    #[inline(always)]
    fn scalars<R: Real>(&self) -> Self::Scalars<R> {
        (self.scalars.lift(), self.prepare.lift())
    }

    #[inline(always)]
    fn update<R: Real>(
        &self,
        (scalars, ready): &Self::Scalars<R>,
        p: R,
        g: R,
        state: [R; S],
    ) -> (R, [R; S]) {
        self.rule.update(scalars, p, ready.gradient(g), state)
    }
}
