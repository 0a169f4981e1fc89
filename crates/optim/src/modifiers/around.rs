//! A rule's step on copies of its parameters and gradients.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rappel_tensor::{Element, Key, Piece, Real, Run, Runs, StateArena, StateKind, Trained, walk};

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
    fn before<T: Real + Element>(&self, piece: Piece<'_, '_, T>, means: &[Vec<f64>]) {
        let Piece { run, params, grads, state: [p, g, old] } = piece else {
            unreachable!("three copies")
        };
        let Numbers { l1, l2, left, .. } = self.numbers;
        let tensor = self.tensor(run);
        let (row, start) = (self.rows[tensor], run.state - self.places[tensor].state);
        let (scale, [l1, l2, left]) = (T::of(self.prepare.scale), [l1, l2, left].map(T::of));
        let noise = self.noise.as_ref().map(|(std, keys)| {
            let mut noise = vec![T::of(0.0); params.len()];
            keys[tensor].fill_normal_from(start, &mut noise, 0.0, *std);
            noise
        });
        for i in 0..params.len() {
            let mut x = grads[i] * scale;
            if let Some(limit) = self.prepare.limit {
                x = T::select(T::of(limit).lt(x), T::of(limit), x);
                x = T::select(x.lt(T::of(-limit)), T::of(-limit), x);
            }
            if let Some(means) = means.get(tensor).filter(|means| !means.is_empty()) {
                x = x - T::of(means[(start + i) / row]);
            }
            if let Some(noise) = &noise {
                x = x + noise[i];
            }
            g[i] = l1.mul_add(params[i].sign(), l2.mul_add(params[i], x));
            p[i] = params[i] * left;
            old[i] = p[i];
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
    fn scales<T: Trained<Acc = T> + Real>(
        &self,
        params: &mut [T],
        grads: &[T],
        old: &mut [StateArena],
        places: &[Run],
    ) -> Vec<f64> {
        let counts = Mutex::new(BTreeMap::<usize, u64>::new());
        walk(&Runs::new(places.to_vec()), params, grads, old, None, &|piece: Piece<'_, '_, T>| {
            let kept =
                |i: usize| self.goes_down(piece.params[i], piece.grads[i], piece.state[0][i]);
            let count = (0..piece.params.len()).filter(|i| kept(*i)).count() as u64;
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(self.tensor(piece.run)).or_default() += count;
        });
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let scale = |(tensor, place): (usize, &Run)| {
            let mean = counts.get(&tensor).copied().unwrap_or(0) as f64 / place.len.max(1) as f64;
            mean.max(LEAST_MEAN).recip()
        };
        places.iter().enumerate().map(scale).collect()
    }

    /// Whether an element's update goes down its gradient.
    fn goes_down<T: Real + Element>(&self, new: T, grad: T, old: T) -> bool {
        ((T::of(self.keep) * old - new) * grad).to_f64() > 0.0
    }

    /// The parameter after the step.
    fn after<T: Real + Element>(&self, piece: Piece<'_, '_, T>, scales: Option<&[f64]>) {
        let Piece { run, params, state: [p, g, old], .. } = piece else {
            unreachable!("three copies")
        };
        let (keep, threshold) = (T::of(self.keep), T::of(self.numbers.threshold));
        let scale = scales.map(|scales| T::of(scales[self.tensor(run)]));
        for i in 0..params.len() {
            let mut x = p[i];
            if let Some(scale) = scale {
                let update = keep * old[i] - x;
                let kept = self.goes_down(x, g[i], old[i]);
                x = if kept { keep * old[i] - update * scale } else { keep * old[i] };
            }
            let shrunk = (x.abs() - threshold).max(T::of(0.0));
            params[i] = if self.numbers.threshold > 0.0 { x.sign() * shrunk } else { x };
        }
    }
}
