//! Steps of rules that look at one element at a time.

use rappel_tensor::{Key, Piece, Real, Runs, Trained, Update, apply, walk};

use crate::rows::Touched;
use crate::rule::Lifted;
use crate::stepper::{Job, Mode, Prepare, Slot, Stepper, Views};
use crate::{Lift, Now, Rule, Schedule, with_views};

/// The stepper of an elementwise rule with `S` slots of state.
pub fn elementwise<const S: usize, A: Rule<S>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Elementwise::<S, A> { rule: rule.clone(), lazy: false })
}

/// The stepper of an elementwise rule that leaves alone the rows, parameter and state, whose
/// gradient is all zero: those of an embedding that no token named. A row is what the first
/// dimension counts; all of a parameter's rows are at the same count of updates. What a step moves is
/// told as if every row had a gradient.
pub fn lazy_rows<const S: usize, A: Rule<S>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Elementwise::<S, A> { rule: rule.clone(), lazy: true })
}

struct Elementwise<const S: usize, A> {
    rule: A,
    /// Whether rows without gradient are left alone.
    lazy: bool,
}

impl<const S: usize, A: Rule<S>> Stepper for Elementwise<S, A> {
    fn slots(&self) -> Vec<Slot> {
        slots(self.rule.names(), A::SIGNED, A::EXACT)
    }

    fn numbers(&self) -> &'static [(&'static str, f64)] {
        A::NUMBERS
    }

    fn lr(&self) -> &Schedule {
        self.rule.lr()
    }

    fn maximize(&self) -> bool {
        self.rule.maximize()
    }

    fn keep(&self, now: &Now) -> f64 {
        self.rule.keep(now)
    }

    fn step(&self, job: Job<'_>) {
        let Job { mut now, prepare, rounding, memory, runs, members, picked } = job;
        self.rule.advance(&mut now);
        let scalars = self.rule.scalars(&now);
        self.rule.settle(&mut now);
        for k in picked {
            members[*k].numbers = now.numbers;
        }
        let pass = Pass::<S, A> { rule: &self.rule, scalars, prepare };
        with_views!(memory, views => if self.lazy {
            let touched = Touched::find(&views, members, picked);
            pass.walk_touched(views, &touched, rounding);
        } else {
            pass.walk(views, runs, rounding);
        });
    }

    fn mode(&self) -> Option<usize> {
        A::AVERAGE.map(|average| average.mode)
    }

    fn turn(&self, job: Job<'_>, to: Mode) {
        let Some(average) = A::AVERAGE else { return };
        let Job { now, rounding, memory, runs, .. } = job;
        let beta = now.numbers[average.beta];
        let weight = if to == Mode::Eval { 1.0 - beta.recip() } else { 1.0 - beta };
        with_views!(memory, views => toward(views, runs, rounding, average.z, weight));
    }
}

/// `p <- p + weight (z - p)`, with `z` a slot of state.
fn toward<P: Trained>(
    views: Views<'_, P>,
    runs: &Runs,
    rounding: Option<Key>,
    z: usize,
    weight: f64,
) {
    let Views { params, state, .. } = views;
    let weight = P::Acc::of(weight);
    walk(runs, params, &[], &mut state[z..=z], rounding, &|piece: Piece<'_, '_, P::Acc>| {
        for (p, z) in piece.params.iter_mut().zip(&*piece.state[0]) {
            *p = weight.mul_add(*z - *p, *p);
        }
    });
}

/// What is said of slots, together.
pub(crate) fn slots<const S: usize>(
    names: [&'static str; S],
    signed: [bool; S],
    exact: [bool; S],
) -> Vec<Slot> {
    let slot = |i: usize| Slot { name: names[i], signed: signed[i], exact: exact[i] };
    (0..S).map(slot).collect()
}

/// The state of a piece as the array that a formula takes.
pub(crate) fn array<'a, const S: usize, T>(state: &'a mut [&mut [T]]) -> [&'a mut [T]; S] {
    let mut slots = state.iter_mut();
    std::array::from_fn(|_| &mut **slots.next().expect("an arena for each slot"))
}

/// A rule at one step.
struct Pass<'a, const S: usize, A: Rule<S>> {
    rule: &'a A,
    scalars: A::Scalars,
    prepare: Prepare,
}

impl<const S: usize, A: Rule<S>> Pass<'_, S, A> {
    fn walk<P: Trained>(&self, views: Views<'_, P>, runs: &Runs, rounding: Option<Key>) {
        let Views { params, grads, state } = views;
        walk(runs, params, grads, state, rounding, &|piece: Piece<'_, '_, P::Acc>| {
            apply(self, piece.params, piece.grads, array::<S, _>(piece.state));
        });
    }

    fn walk_touched<P: Trained>(
        &self,
        views: Views<'_, P>,
        touched: &Touched,
        rounding: Option<rappel_tensor::Key>,
    ) {
        let Views { params, grads, state } = views;
        walk(&touched.runs, params, grads, state, rounding, &|piece: Piece<'_, '_, P::Acc>| {
            for part in touched.within(piece.run) {
                let mut state = array::<S, _>(piece.state).map(|slot| &mut slot[part.clone()]);
                let (params, grads) = (&mut piece.params[part.clone()], &piece.grads[part]);
                apply(self, params, grads, state.each_mut().map(|slot| &mut **slot));
            }
        });
    }
}

impl<const S: usize, A: Rule<S>> Update<S> for Pass<'_, S, A> {
    type Scalars<R: Real> = (Lifted<A::Scalars, R>, Ready<R>);

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

/// [`Prepare`] in lanes.
#[derive(Clone, Copy)]
pub(crate) struct Ready<R> {
    scale: R,
    limit: Option<R>,
}

impl Prepare {
    #[inline(always)]
    pub(crate) fn lift<R: Real>(&self) -> Ready<R> {
        Ready { scale: R::of(self.scale), limit: self.limit.map(R::of) }
    }
}

impl<R: Real> Ready<R> {
    /// The gradient that the rule sees.
    #[inline(always)]
    pub(crate) fn gradient(&self, g: R) -> R {
        let mut g = g * self.scale;
        if let Some(limit) = self.limit {
            // Comparisons, not `min` and `max`: a NaN stays one.
            g = R::select(limit.lt(g), limit, g);
            g = R::select(g.lt(-limit), -limit, g);
        }
        g
    }
}
