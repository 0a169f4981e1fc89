//! Rules that look at one element at a time: one pass over memory.

use rappel_schedule::Schedule;
use rappel_tensor::{Real, Run, Update, update, update_rows};

use super::stepper::{GradTransform, Mode, Slot, StepArgs, Stepper};
use crate::context::StepContext;
use crate::options::RuleOptions;

/// An update rule that looks at one element at a time, with `S` numbers of state beside it.
///
/// The formula is written once, over [`Real`]. In training it runs on vector registers in one pass
/// over memory. A type may be a rule for several `S`, where options add state.
pub trait Rule<const S: usize>: RuleOptions {
    /// The state, named as in PyTorch's `state_dict`.
    const STATE: [Slot; S];
    /// Numbers kept beside the state, at most [`MAX_NUMBERS`](crate::context::MAX_NUMBERS): names and first values.
    /// What is a function of the step needs none; a product of values of a schedule does.
    const NUMBERS: &'static [(&'static str, f64)] = &[];
    /// Where the rule trains one point and hands out another, their average.
    const AVERAGE: Option<Average> = None;

    /// The state, where options decide what a slot holds.
    fn state(&self) -> [Slot; S] {
        Self::STATE
    }

    /// Moves [`StepContext::numbers`] on, before [`step`](Rule::step) reads them.
    fn advance(&self, _t: &mut StepContext) {}

    /// Moves [`StepContext::numbers`] on after [`step`](Rule::step) has read them, for the next update.
    fn settle(&self, _t: &mut StepContext) {}

    /// What decoupled weight decay leaves of a parameter at a step, if the rule has it: cautious
    /// masks leave it alone.
    fn keep(&self, _t: &StepContext) -> f64 {
        1.0
    }

    /// The formula of a step: parameter and state after it, from parameter, gradient and state.
    ///
    /// The numbers of the step are computed before the closure, in double precision, once for many
    /// elements. The closure must be `#[inline(always)]`, or it will not be compiled for the machine's
    /// vector registers.
    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; S]) -> (R, [R; S]);
}

/// Where a rule keeps what leads from the point `y` that it trains to the average `x` that it hands
/// out: `y = beta x + (1 - beta) z`.
#[derive(Debug, Clone, Copy)]
pub struct Average {
    /// The slot of `z`.
    pub z: usize,
    /// The number that is 1 while parameters are the average, else 0.
    pub mode: usize,
    /// The number that is `beta` as of the last update.
    pub beta: usize,
}

/// PyTorch's `lerp`: `a + w (b - a)` where `w < 1/2`, else `b - (1 - w)(b - a)`, so that a weight
/// of 1 gives `b` itself whatever `a` is.
#[inline(always)]
pub fn lerp<R: Real>(a: R, b: R, w: R) -> R {
    let d = b - a;
    R::select(w.lt(R::of(0.5)), w.mul_add(d, a), b - d * (R::of(1.0) - w))
}

/// The stepper of an elementwise rule with `S` slots of state.
pub fn elementwise<const S: usize, A: Rule<S>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Elementwise::<S, A> { rule: rule.clone(), lazy: false })
}

/// The stepper of an elementwise rule that leaves alone the rows, parameter and state, whose
/// gradient is all zero: those of an embedding that no token named. A row is what the first
/// dimension counts; all of a parameter's rows are at the same count of updates. What a step moves is
/// reported as if every row had a gradient.
pub fn lazy_rows<const S: usize, A: Rule<S>>(rule: &A) -> Box<dyn Stepper> {
    Box::new(Elementwise::<S, A> { rule: rule.clone(), lazy: true })
}

#[derive(Debug)]
struct Elementwise<const S: usize, A> {
    rule: A,
    /// Whether rows without gradient are left alone.
    lazy: bool,
}

impl<const S: usize, A: Rule<S>> Stepper for Elementwise<S, A> {
    fn slots(&self) -> Vec<Slot> {
        self.rule.state().to_vec()
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

    fn keep(&self, t: &StepContext) -> f64 {
        self.rule.keep(t)
    }

    fn step(&self, args: StepArgs<'_>) {
        let StepArgs { context: mut t, grads, rounding, mut memory, runs, members, picked } = args;
        self.rule.advance(&mut t);
        let pass = Pass::<S, A> { rule: &self.rule, t, grads };
        if self.lazy {
            let run = |k: &usize| members[*k].run;
            let rows = |k: &usize| members[*k].shape.first().copied().unwrap_or(1).max(1);
            let runs: Vec<Run> = picked.iter().map(run).collect();
            let widths: Vec<usize> = picked.iter().map(|k| run(k).len / rows(k)).collect();
            update_rows::<S, _>(&runs, &widths, &mut memory, rounding, &pass);
        } else {
            update::<S, _>(runs, &mut memory, rounding, &pass);
        }
        self.rule.settle(&mut t);
        for k in picked {
            members[*k].numbers = t.numbers;
        }
    }

    #[cfg(test)]
    fn traced(
        &self,
        mut t: StepContext,
        grads: GradTransform,
        arrays: &mut [Vec<f32>],
    ) -> Option<rappel_tensor::Program> {
        self.rule.advance(&mut t);
        let pass = Pass::<S, A> { rule: &self.rule, t, grads };
        let [params, grads, state @ ..] = arrays else { panic!("parameters and gradients") };
        let mut slots = state.iter_mut();
        let state = std::array::from_fn(|_| slots.next().expect("a slot each").as_mut_slice());
        rappel_tensor::apply::<S, f32, _>(&pass, params, grads, state);
        Some(rappel_tensor::trace(2 + S, |x| {
            let formula = Update::<S>::formula(&pass);
            let (p, state) = formula(x[0], x[1], std::array::from_fn(|k| x[2 + k]));
            std::iter::once(p).chain(state).collect()
        }))
    }

    fn mode(&self) -> Option<usize> {
        A::AVERAGE.map(|average| average.mode)
    }

    fn turn(&self, args: StepArgs<'_>, to: Mode) {
        let Some(average) = A::AVERAGE else { return };
        let StepArgs { context, rounding, mut memory, runs, .. } = args;
        let beta = context.numbers[average.beta];
        let weight = if to == Mode::Eval { 1.0 - beta.recip() } else { 1.0 - beta };
        let mut memory = memory.of_slots(average.z..average.z + 1);
        update(runs, &mut memory, rounding, &Toward(weight));
    }
}

/// `p <- p + weight (z - p)`, with `z` a slot of state.
struct Toward(f64);

impl Update<1> for Toward {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let weight = R::of(self.0);
        #[inline(always)]
        move |p, _, [z]| (weight.mul_add(z - p, p), [z])
    }
}

/// A rule at one step.
struct Pass<'a, const S: usize, A: Rule<S>> {
    rule: &'a A,
    t: StepContext,
    grads: GradTransform,
}

impl<const S: usize, A: Rule<S>> Update<S> for Pass<'_, S, A> {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; S]) -> (R, [R; S]) {
        let (step, seen) = (self.rule.step::<R>(&self.t), self.grads.formula::<R>());
        #[inline(always)]
        move |p, g, state| step(p, seen(g), state)
    }
}
