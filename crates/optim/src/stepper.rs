//! Rules behind one door: what an optimizer needs of them, whatever their state and options.

use half::bf16;
use rappel_tensor::{DType, Real, Runs, StateArena, Trained, Update, update};

use crate::rule::Lifted;
use crate::{Lift, Now, Rule, Scalar};

/// What is done to a gradient before the rule sees it: `scale * g`, then clamped to
/// `-limit..=limit`.
#[derive(Debug, Clone, Copy)]
pub struct Prepare {
    /// The factor: clipping by norm, averaging over tokens, the sign of `maximize`.
    pub scale: f64,
    /// The largest magnitude.
    pub limit: Option<f64>,
}

/// Arenas of one type of parameter.
pub struct Views<'a, P: Trained> {
    /// Parameters.
    pub params: &'a mut [P],
    /// Their gradients, at the same positions.
    pub grads: &'a [P::Acc],
    /// Their state, a slot each, at positions that the runs give.
    pub state: &'a mut [StateArena],
}

/// Arenas of any type of parameter.
pub enum Memory<'a> {
    /// Single precision.
    F32(Views<'a, f32>),
    /// Double precision.
    F64(Views<'a, f64>),
    /// bfloat16, with gradients and state in single precision.
    Bf16(Views<'a, bf16>),
}

/// Takes steps: a rule whatever its kind, its options filled in.
pub trait Stepper: Send + Sync {
    /// The names of the slots of state.
    fn state_names(&self) -> &'static [&'static str];
    /// The learning rate, before the run's schedule.
    fn lr(&self) -> &Scalar;
    /// Updates parameters and state in place, those of `runs` alone.
    fn step(&self, now: &Now, prepare: Prepare, memory: Memory<'_>, runs: &Runs);

    /// Bytes of state for each parameter stored as `dtype`.
    fn state_bytes(&self, dtype: DType) -> usize {
        self.state_names().len() * dtype.accumulator().size()
    }

    /// Bytes that a step moves for each parameter stored as `dtype`: reads of parameter, gradient
    /// and state, writes of parameter and state.
    fn bytes_moved(&self, dtype: DType) -> usize {
        2 * dtype.size() + dtype.accumulator().size() + 2 * self.state_bytes(dtype)
    }
}

/// The stepper of an elementwise rule with `S` slots of state.
pub fn elementwise<const S: usize, A: Rule<S>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Elementwise::<S, A>(rule.clone()))
}

struct Elementwise<const S: usize, A>(A);

impl<const S: usize, A: Rule<S>> Stepper for Elementwise<S, A> {
    fn state_names(&self) -> &'static [&'static str] {
        const { &A::STATE }
    }

    fn lr(&self) -> &Scalar {
        self.0.lr()
    }

    fn step(&self, now: &Now, mut prepare: Prepare, memory: Memory<'_>, runs: &Runs) {
        if self.0.maximize() {
            prepare.scale = -prepare.scale;
        }
        let pass = Pass::<S, A> { rule: &self.0, scalars: self.0.scalars(now), prepare };
        match memory {
            Memory::F32(views) => pass.walk(views, runs),
            Memory::F64(views) => pass.walk(views, runs),
            Memory::Bf16(views) => pass.walk(views, runs),
        }
    }
}

/// A rule at one step.
struct Pass<'a, const S: usize, A: Rule<S>> {
    rule: &'a A,
    scalars: A::Scalars,
    prepare: Prepare,
}

impl<const S: usize, A: Rule<S>> Pass<'_, S, A> {
    fn walk<P: Trained>(&self, views: Views<'_, P>, runs: &Runs) {
        let Views { params, grads, state } = views;
        let mut slots = state.iter_mut();
        let state: [&mut [P::Acc]; S] =
            std::array::from_fn(|_| slots.next().expect("an arena for each slot").as_slice_mut());
        update(self, runs, params, grads, state);
    }
}

impl<const S: usize, A: Rule<S>> Update<S> for Pass<'_, S, A> {
    type Scalars<R: Real> = (Lifted<A::Scalars, R>, R, Option<R>);

    #[inline(always)]
    fn scalars<R: Real>(&self) -> Self::Scalars<R> {
        (self.scalars.lift(), R::of(self.prepare.scale), self.prepare.limit.map(R::of))
    }

    #[inline(always)]
    fn update<R: Real>(
        &self,
        (scalars, scale, limit): &Self::Scalars<R>,
        p: R,
        g: R,
        state: [R; S],
    ) -> (R, [R; S]) {
        let mut g = g * *scale;
        if let Some(limit) = *limit {
            // Comparisons, not `min` and `max`: a NaN stays one.
            g = R::select(limit.lt(g), limit, g);
            g = R::select(g.lt(-limit), -limit, g);
        }
        self.rule.update(scalars, p, g, state)
    }
}
