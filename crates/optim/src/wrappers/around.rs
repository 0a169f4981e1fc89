//! A rule's step with wrappers around it.

use rappel_tensor::{
    DType, Float, Key, Real, Run, Runs, STATE_BLOCK, Stored, Update, Wrap, Wrapping, apply,
};

use super::cautious::{Cautious, finish};
use super::options::Wrappers;
use super::own::OwnWrapper;
use crate::context::StepContext;
use crate::kernels::{GradTransform, Member, StepArgs, Stepper};

/// Elements that a cautious step takes together, unless one tensor has more: they stay in a cache.
const TOGETHER: usize = 1 << 20;

/// The step of `stepper` with `wrappers` around it.
pub(crate) fn step_around(stepper: &dyn Stepper, wrappers: &Wrappers, args: StepArgs<'_>) {
    match args.memory.accumulator() {
        DType::F64 => step_typed::<f64>(stepper, wrappers, args, |wrap| Wrapping::F64(wrap)),
        _ => step_typed::<f32>(stepper, wrappers, args, |wrap| Wrapping::F32(wrap)),
    }
}

fn step_typed<T: Wrapped>(
    stepper: &dyn Stepper,
    wrappers: &Wrappers,
    args: StepArgs<'_>,
    wrapping: impl for<'w> Fn(&'w dyn Wrap<T>) -> Wrapping<'w>,
) {
    let StepArgs { context, grads, rounding, mut memory, members, picked, .. } = args;
    let slots = stepper.slots().len();
    let all = memory.state().len();
    let mut left = picked;
    while !left.is_empty() {
        let mut elements = 0;
        let fits = |k: &&usize| {
            elements += members[**k].run.len;
            elements <= TOGETHER
        };
        let fitting = left.iter().take_while(fits).count().max(1);
        let together = !wrappers.cautious || stepper.shares_numbers();
        let (these, rest) = left.split_at(if together { left.len() } else { fitting });
        left = rest;
        let t = StepContext { numbers: members[these[0]].numbers, ..context };
        let rows = |member: &Member| match &member.shape[..] {
            [_, rest @ ..] if !rest.is_empty() => rest.iter().product(),
            _ => 0,
        };
        let places: Vec<Place> = these
            .iter()
            .map(|k| {
                let member = &members[*k];
                let (run, width) = (member.run, rows(member));
                let seen = |g| grads.of::<f64>(g);
                let means = wrappers.gradient_centralization && width > 0;
                let means = if means { memory.row_means(run, width, seen) } else { Vec::new() };
                Place { run, width, means, index: member.index }
            })
            .collect();
        let runs = Runs::new(places.iter().map(|place| place.run).collect());
        let keep = stepper.keep(&t);
        let around = Around::new(wrappers, places, t, t.lr(stepper.lr()), grads);
        let mut step = |wrapping| {
            let (context, grads, runs) = (t, GradTransform::NOTHING, &runs);
            let memory = memory.of_slots(0..all).wrapped(Some(wrapping));
            let members = &mut *members;
            stepper.step(StepArgs {
                context,
                grads,
                rounding,
                memory,
                runs,
                members,
                picked: these,
            });
        };
        if wrappers.cautious {
            let cautious = Cautious::new(&around, keep);
            step(wrapping(&cautious));
            let masked = cautious.masked();
            // The master copy comes last, and is the parameters' own.
            let memory = memory.of_slots(slots..all).wrapped(Some(wrapping(&masked)));
            finish(&runs, memory, rounding);
        } else {
            step(wrapping(&around));
        }
    }
}

/// A type that steps are computed in.
pub(super) trait Wrapped: Stored + Real + Float {
    fn before(wrapper: &dyn OwnWrapper, t: &StepContext, params: &mut [Self], grads: &mut [Self]);
    fn after(
        wrapper: &dyn OwnWrapper,
        t: &StepContext,
        old: &mut [Self],
        grads: &[Self],
        new: &mut [Self],
    );
}

macro_rules! wrapped {
    ($t:ty, $before:ident, $after:ident) => {
        impl Wrapped for $t {
            fn before(
                wrapper: &dyn OwnWrapper,
                t: &StepContext,
                params: &mut [$t],
                grads: &mut [$t],
            ) {
                wrapper.$before(t, params, grads);
            }
            fn after(
                wrapper: &dyn OwnWrapper,
                t: &StepContext,
                old: &mut [$t],
                grads: &[$t],
                new: &mut [$t],
            ) {
                wrapper.$after(t, old, grads, new);
            }
        }
    };
}
wrapped!(f32, before_f32, after_f32);
wrapped!(f64, before_f64, after_f64);

/// A tensor of the step.
struct Place {
    run: Run,
    /// Elements of a row; 0 where it has no rows to speak of.
    width: usize,
    /// The mean of each row of the gradient, as the rule sees it; nothing where it is not wanted.
    means: Vec<f64>,
    /// The parameter's position in the layout.
    index: usize,
}

/// Some tensors at one step.
pub(super) struct Around<'a> {
    wrappers: &'a Wrappers,
    t: StepContext,
    /// In the order of memory.
    places: Vec<Place>,
    before: Before,
    threshold: f64,
    /// The deviation of the noise on gradients, and what it is drawn from.
    noise: Option<(f64, Key)>,
}

impl<'a> Around<'a> {
    fn new(
        wrappers: &'a Wrappers,
        places: Vec<Place>,
        t: StepContext,
        lr: f64,
        grads: GradTransform,
    ) -> Self {
        let before = Before {
            scale: grads.scale,
            limit: grads.limit.unwrap_or(f64::INFINITY),
            mean: 0.0,
            l1: t.value(&wrappers.l1),
            l2: t.value(&wrappers.l2),
            left: 1.0 - lr * t.value(&wrappers.decoupled_decay),
        };
        let noise = wrappers.gradient_noise.as_ref().map(|noise| noise.at(&t));
        let threshold = lr * t.value(&wrappers.l1_proximal);
        Self { wrappers, t, places, before, threshold, noise }
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The number of the tensor that holds position `at`, and the position within it.
    pub fn tensor(&self, at: usize) -> (usize, usize) {
        let tensor = self.places.partition_point(|place| place.run.param + place.run.len <= at);
        (tensor, at - self.places[tensor].run.param)
    }

    /// Where a tensor lies.
    pub fn run(&self, tensor: usize) -> Run {
        self.places[tensor].run
    }

    /// The share of a parameter that the rule sees.
    pub fn left(&self) -> f64 {
        self.before.left
    }

    pub fn see<T: Wrapped>(&self, at: usize, params: &mut [T], grads: &mut [T]) {
        if params.is_empty() {
            return;
        }
        let (tensor, start) = self.tensor(at);
        let Place { width, means, index, .. } = &self.places[tensor];
        let mut noise = [T::from_f64(0.0); STATE_BLOCK];
        let blocks = params.chunks_mut(STATE_BLOCK).zip(grads.chunks_mut(STATE_BLOCK));
        for (block, (params, grads)) in blocks.enumerate() {
            let start = start + block * STATE_BLOCK;
            let noise = &mut noise[..params.len()];
            if let Some((std, key)) = self.noise {
                key.with(*index as u64).fill_normal_from(start, noise, 0.0, std);
            }
            let mut done = 0;
            while done < params.len() {
                let (mut before, mut end) = (self.before, params.len());
                if !means.is_empty() {
                    end = end.min(done + width - (start + done) % width);
                    before.mean = means[(start + done) / width];
                }
                let part = done..end;
                apply(&before, &mut params[part.clone()], &noise[part.clone()], [&mut grads[part]]);
                done = end;
            }
        }
        for wrapper in &self.wrappers.own {
            T::before(&**wrapper, &self.t, params, grads);
        }
    }

    /// What parameters become, from what the rule, and a mask, made of them.
    pub fn become_of<T: Wrapped>(&self, params: &mut [T], grads: &[T], new: &mut [T]) {
        for wrapper in self.wrappers.own.iter().rev() {
            T::after(&**wrapper, &self.t, params, grads, new);
        }
        if self.threshold > 0.0 {
            apply(&Shrink(self.threshold), params, grads, [new]);
        } else {
            params.copy_from_slice(new);
        }
    }
}

impl<T: Wrapped> Wrap<T> for Around<'_> {
    fn before(&self, at: usize, params: &mut [T], grads: &mut [T]) {
        self.see(at, params, grads);
    }

    fn after(&self, _at: usize, params: &mut [T], grads: &[T], new: &mut [T]) {
        self.become_of(params, grads, new);
    }
}

/// What the rule is to see of a parameter and its gradient.
#[derive(Clone, Copy)]
struct Before {
    scale: f64,
    limit: f64,
    mean: f64,
    l1: f64,
    l2: f64,
    left: f64,
}

impl Update<1> for Before {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let Self { scale, limit, mean, l1, l2, left } = *self;
        let [scale, limit, mean, l1, l2, left] = [scale, limit, mean, l1, l2, left].map(R::of);
        #[inline(always)]
        move |p, noise, [g]| {
            let x = g * scale;
            let x = R::select(limit.lt(x), limit, x);
            let x = R::select(x.lt(-limit), -limit, x);
            let seen = l1.mul_add(p.sign(), l2.mul_add(p, x - mean + noise));
            (p * left, [seen])
        }
    }
}

/// `p <- sign(new) max(|new| - threshold, 0)`
struct Shrink(f64);

impl Update<1> for Shrink {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let threshold = R::of(self.0);
        #[inline(always)]
        move |_, _, [new]| (new.sign() * (new.abs() - threshold).max(R::of(0.0)), [new])
    }
}
