//! A rule's step on copies of its parameters and gradients.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rappel_tensor::{
    Element, Gather, Key, Piece, Real, Run, Runs, StateArena, StateKind, Stored, Trained, Update,
    apply, gather, walk,
};

use super::{Modifiers, Numbers};
use crate::Now;
use crate::group::Member;
use crate::stepper::{Job, Memory, Prepare, Stepper, Views};

/// Elements whose copies are made at a time, unless one tensor has more.
const TOGETHER: usize = 1 << 24;

/// The least share of an update that a cautious mask is scaled up by.
const LEAST_MEAN: f64 = 1e-3;

/// The step of `stepper` with `modifiers` around it.
pub(crate) fn step_around(stepper: &dyn Stepper, modifiers: &Modifiers, job: Job<'_>) {
    let Job { now, prepare, rounding, mut memory, members, picked, .. } = job;
    // A master copy is walked beside the others, which then lie as it does, all at once.
    let master = matches!(&memory, Memory::Bf16(views) if has_master(views.state));
    let mut left = picked;
    while !left.is_empty() {
        let mut elements = 0;
        let fits = |k: &&usize| {
            elements += members[**k].run.len;
            elements <= TOGETHER
        };
        let fitting = left.iter().take_while(fits).count().max(1);
        let all = stepper.shares_numbers() || master;
        let (these, rest) = left.split_at(if all { left.len() } else { fitting });
        left = rest;
        let now = Now { numbers: members[these[0]].numbers, ..now };
        let around = Around::new(modifiers, stepper, &now, prepare, (members, these), master);
        match &mut memory {
            Memory::F32(views) => around.step(views, members, rounding, |params, grads, state| {
                Memory::F32(Views { params, grads, state })
            }),
            Memory::F64(views) => around.step(views, members, rounding, |params, grads, state| {
                Memory::F64(Views { params, grads, state })
            }),
            Memory::Bf16(views) => around.step(views, members, rounding, |params, grads, state| {
                Memory::F32(Views { params, grads, state })
            }),
        }
    }
}

/// Whether the last slot is a master copy of the parameters.
fn has_master(state: &[StateArena]) -> bool {
    state.last().is_some_and(|slot| slot.kind() == StateKind::Master)
}

/// Some tensors at one step.
struct Around<'a> {
    modifiers: &'a Modifiers,
    stepper: &'a dyn Stepper,
    now: Now,
    prepare: Prepare,
    numbers: Numbers,
    /// What the rule's own decay leaves of a parameter.
    keep: f64,
    picked: &'a [usize],
    /// Where each tensor lies: `param` in the arenas, `state` among the copies.
    places: Vec<Run>,
    /// Elements of a row of each tensor; 0 where it has no rows to speak of.
    rows: Vec<usize>,
    /// Elements of the copies.
    len: usize,
    /// The deviation of the noise on gradients, and what that of each tensor is drawn from.
    noise: Option<(f64, Vec<Key>)>,
}

impl<'a> Around<'a> {
    fn new(
        modifiers: &'a Modifiers,
        stepper: &'a dyn Stepper,
        now: &Now,
        prepare: Prepare,
        (members, picked): (&[Member], &'a [usize]),
        master: bool,
    ) -> Self {
        let mut len = 0;
        let place = |k: &usize| {
            let own = members[*k].run;
            let run = if master { own } else { Run { state: len, ..own } };
            len = (run.state + run.len).next_multiple_of(rappel_tensor::STATE_BLOCK);
            run
        };
        let places = picked.iter().map(place).collect();
        let rows = |k: &usize| match &members[*k].shape[..] {
            [_, rest @ ..] if !rest.is_empty() => rest.iter().product(),
            _ => 0,
        };
        let numbers = modifiers.at(now, now.lr(stepper.lr()));
        let noise = modifiers.gradient_noise.as_ref().map(|noise| noise.at(now));
        let keys = |key: Key| picked.iter().map(|k| key.with(members[*k].index as u64)).collect();
        Self {
            noise: noise.map(|(std, key)| (std, keys(key))),
            rows: picked.iter().map(rows).collect(),
            keep: stepper.keep(now),
            now: *now,
            modifiers,
            stepper,
            prepare,
            numbers,
            picked,
            places,
            len,
        }
    }

    fn step<P: Trained>(
        &self,
        views: &mut Views<'_, P>,
        members: &mut [Member],
        rounding: Option<rappel_tensor::Key>,
        memory: impl for<'m> Fn(&'m mut [P::Acc], &'m [P::Acc], &'m mut [StateArena]) -> Memory<'m>,
    ) {
        let copy = || StateArena::zeros(self.len, StateKind::Number(P::Acc::DTYPE));
        let mut copies = vec![copy(), copy(), copy()];
        // The master copy comes last; it walks with the copies, and is no slot of the rule's.
        let own = views.state.len() - usize::from(has_master(views.state));
        let nothing = || StateArena::zeros(0, StateKind::Master);
        copies.extend(views.state[own..].iter_mut().map(|slot| std::mem::replace(slot, nothing())));
        let runs = Runs::new(self.places.clone());
        let means = self.means::<P>(views.grads);
        walk(&runs, views.params, views.grads, &mut copies, None, &|piece| {
            self.before(piece, &means);
        });
        let [params, grads, old, ..] = &mut copies[..] else { unreachable!("three copies") };
        let inner: Vec<Run> =
            self.places.iter().map(|run| Run { param: run.state, ..*run }).collect();
        for (k, run) in self.picked.iter().zip(&inner) {
            members[*k].run.param = run.param;
        }
        let states = self.picked.iter().zip(&inner);
        let states = states.map(|(k, run)| Run { state: members[*k].run.state, ..*run }).collect();
        self.stepper.step(Job {
            now: self.now,
            prepare: Prepare::NOTHING,
            rounding,
            memory: memory(params.as_slice_mut(), grads.as_slice(), &mut views.state[..own]),
            runs: &Runs::new(states),
            members,
            picked: self.picked,
        });
        for (k, place) in self.picked.iter().zip(&self.places) {
            members[*k].run.param = place.param;
        }
        let scales = self.modifiers.cautious.then(|| {
            let old = std::slice::from_mut(old);
            self.scales(params.as_slice_mut::<P::Acc>(), grads.as_slice::<P::Acc>(), old, &inner)
        });
        walk(&runs, views.params, views.grads, &mut copies, rounding, &|piece| {
            self.after(piece, scales.as_deref());
        });
        views.state[own..].iter_mut().zip(copies.drain(3..)).for_each(|(slot, copy)| *slot = copy);
    }

    /// The tensor that a piece belongs to.
    fn tensor(&self, run: Run) -> usize {
        self.places.partition_point(|place| place.state + place.len <= run.state)
    }

    /// Copies: the parameter as the rule sees it, its gradient, and the parameter again.
    fn before<T: Real + Stored>(&self, piece: Piece<'_, '_, T>, means: &[Vec<f64>]) {
        let Piece { run, params, grads, state: [p, g, old] } = piece else {
            unreachable!("three copies")
        };
        let Numbers { l1, l2, left, .. } = self.numbers;
        let Prepare { scale, limit } = self.prepare;
        let before =
            Before { scale, limit: limit.unwrap_or(f64::INFINITY), mean: 0.0, l1, l2, left };
        let tensor = self.tensor(run);
        let start = run.state - self.places[tensor].state;
        // The copy of the gradient, all zeros yet, brings the noise.
        if let Some((std, keys)) = &self.noise {
            keys[tensor].fill_normal_from(start, g, 0.0, *std);
        }
        let Some(means) = means.get(tensor).filter(|means| !means.is_empty()) else {
            apply(&before, params, grads, [p, g, old]);
            return;
        };
        let row = self.rows[tensor];
        let mut at = 0;
        while at < params.len() {
            let end = params.len().min(at + row - (start + at) % row);
            let before = Before { mean: means[(start + at) / row], ..before };
            let copies = [&mut p[at..end], &mut g[at..end], &mut old[at..end]];
            apply(&before, &mut params[at..end], &grads[at..end], copies);
            at = end;
        }
    }

    /// The mean of each row of each gradient, as the rule sees it; nothing where it is not wanted.
    fn means<P: Trained>(&self, grads: &[P::Acc]) -> Vec<Vec<f64>> {
        if !self.modifiers.gradient_centralization {
            return Vec::new();
        }
        let Prepare { scale, limit } = self.prepare;
        let limit = limit.unwrap_or(f64::INFINITY);
        let seen = |g: &P::Acc| (g.to_f64() * scale).clamp(-limit, limit);
        let mean = |row: &[P::Acc]| row.iter().map(seen).sum::<f64>() / row.len() as f64;
        let of = |(place, row): (&Run, &usize)| match row {
            0 => Vec::new(),
            row => grads[place.param..place.param + place.len].chunks(*row).map(mean).collect(),
        };
        self.places.iter().zip(&self.rows).map(of).collect()
    }

    /// What the cautious update of each tensor is multiplied by.
    fn scales<T: Trained<Acc = T> + Real + Stored>(
        &self,
        params: &mut [T],
        grads: &[T],
        old: &mut [StateArena],
        places: &[Run],
    ) -> Vec<f64> {
        let counts = Mutex::new(BTreeMap::<usize, u64>::new());
        let keep = self.keep;
        walk(&Runs::new(places.to_vec()), params, grads, old, None, &|piece: Piece<'_, '_, T>| {
            let [old] = piece.state else { unreachable!("one copy") };
            let [count] = gather(&Kept { keep }, piece.params, piece.grads, [old]);
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(self.tensor(piece.run)).or_default() += count as u64;
        });
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let scale = |(tensor, place): (usize, &Run)| {
            let mean = counts.get(&tensor).copied().unwrap_or(0) as f64 / place.len.max(1) as f64;
            mean.max(LEAST_MEAN).recip()
        };
        places.iter().enumerate().map(scale).collect()
    }

    /// The parameter after the step.
    fn after<T: Real + Stored>(&self, piece: Piece<'_, '_, T>, scales: Option<&[f64]>) {
        let Piece { run, params, grads, state: [p, g, old] } = piece else {
            unreachable!("three copies")
        };
        let scale = scales.map(|scales| scales[self.tensor(run)]);
        let after = After { keep: self.keep, scale, threshold: self.numbers.threshold };
        apply(&after, params, grads, [p, g, old]);
    }
}

/// Whether an element's update goes down its gradient.
#[inline(always)]
fn goes_down<R: Real>(keep: R, new: R, grad: R, old: R) -> R::Mask {
    R::of(0.0).lt((keep * old - new) * grad)
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

impl Update<3> for Before {
    type Scalars<R: Real> = [R; 6];

    fn scalars<R: Real>(&self) -> [R; 6] {
        let Self { scale, limit, mean, l1, l2, left } = *self;
        [scale, limit, mean, l1, l2, left].map(R::of)
    }

    #[inline(always)]
    fn update<R: Real>(&self, numbers: &[R; 6], p: R, g: R, [_, noise, _]: [R; 3]) -> (R, [R; 3]) {
        let [scale, limit, mean, l1, l2, left] = *numbers;
        let mut x = g * scale;
        x = R::select(limit.lt(x), limit, x);
        x = R::select(x.lt(-limit), -limit, x);
        let seen = l1.mul_add(p.sign(), l2.mul_add(p, x - mean + noise));
        (p, [p * left, seen, p * left])
    }
}

/// How many updates go down their gradient.
struct Kept {
    keep: f64,
}

impl Gather<1, 1> for Kept {
    type Scalars<R: Real> = R;

    fn scalars<R: Real>(&self) -> R {
        R::of(self.keep)
    }

    #[inline(always)]
    fn gather<R: Real>(&self, keep: &R, new: R, grad: R, [old]: [R; 1]) -> ([R; 1], [R; 1]) {
        let kept = goes_down(*keep, new, grad, old);
        ([old], [R::select(kept, R::of(1.0), R::of(0.0))])
    }
}

/// What the step comes to: masked where it is cautious, then shrunk.
struct After {
    keep: f64,
    scale: Option<f64>,
    threshold: f64,
}

impl Update<3> for After {
    type Scalars<R: Real> = [R; 3];

    fn scalars<R: Real>(&self) -> [R; 3] {
        [self.keep, self.scale.unwrap_or(1.0), self.threshold].map(R::of)
    }

    #[inline(always)]
    fn update<R: Real>(&self, numbers: &[R; 3], _: R, _: R, [p, g, old]: [R; 3]) -> (R, [R; 3]) {
        let [keep, scale, threshold] = *numbers;
        let mut x = p;
        if self.scale.is_some() {
            let (kept, still) = (goes_down(keep, x, g, old), keep * old);
            x = R::select(kept, still - (still - x) * scale, still);
        }
        if self.threshold > 0.0 {
            x = x.sign() * (x.abs() - threshold).max(R::of(0.0));
        }
        (x, [p, g, old])
    }
}
