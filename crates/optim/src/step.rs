//! A step of one group: which members take it together, and what stands around the rule.

use std::sync::Arc;

use half::bf16;
use rappel_tensor::{
    ArenaLayout, Arenas, DType, Element, Grads, Key, OpenParam, Run, Runs, StateArena, StateKind,
    Tensor, Trained,
};

use crate::group::{Group, Member, Part, merged};
use crate::modifiers::{Modifiers, begin, pull, step_around};
use crate::stepper::{Job, Memory, Prepare, Views};
use crate::{Now, Stepper, with_views};

/// A step, before it is known which members it is for.
#[derive(Clone, Copy)]
pub(crate) struct Stride {
    pub now: Now,
    pub prepare: Prepare,
    /// What random rounding is drawn from.
    pub key: Key,
    /// Whether every parameter has a gradient.
    pub whole: bool,
}

/// What a group's parts are stepped with.
#[derive(Clone, Copy)]
struct Means<'a> {
    stepper: &'a dyn Stepper,
    modifiers: &'a Modifiers,
    now: Now,
    prepare: Prepare,
    rounding: Option<Key>,
}

/// Where the parameters of a step lie, and their gradients.
trait Ground {
    /// Those of one type, with state beside them.
    fn memory<'a>(&'a mut self, dtype: DType, state: &'a mut [StateArena]) -> Memory<'a>;
}

/// All parameters.
struct All<'a, 'b> {
    arenas: &'a mut Arenas<'b>,
    grads: &'a Grads,
}

impl Ground for All<'_, '_> {
    fn memory<'a>(&'a mut self, dtype: DType, state: &'a mut [StateArena]) -> Memory<'a> {
        memory(dtype, self.arenas, Some(self.grads), state)
    }
}

/// One parameter, which lies at position 0.
struct Alone<'a, 'b> {
    param: &'a mut OpenParam<'b>,
    grad: &'a Tensor,
}

impl Ground for Alone<'_, '_> {
    fn memory<'a>(&'a mut self, dtype: DType, state: &'a mut [StateArena]) -> Memory<'a> {
        let Self { param, grad } = self;
        match dtype {
            DType::F32 => {
                Memory::F32(Views { params: param.values(), grads: grad.as_slice(), state })
            }
            DType::F64 => {
                Memory::F64(Views { params: param.values(), grads: grad.as_slice(), state })
            }
            _ => Memory::Bf16(Views { params: param.values(), grads: grad.as_slice(), state }),
        }
    }
}

impl Group {
    /// The step as this group takes it: with its own factors of the learning rate.
    pub fn own(&self, now: Now) -> Now {
        Now { lr_factor: now.lr_factor * self.lr_factor.at(now.step) * self.lr_scale, ..now }
    }

    /// Updates member `k` of a part, alone, by its gradient.
    pub fn step_one(
        &mut self,
        stride: Stride,
        (part, k): (usize, usize),
        param: &mut OpenParam<'_>,
        grad: &Tensor,
    ) {
        let Stride { now, prepare, key, .. } = stride;
        let now = self.own(now);
        let prepare = prepare.turned(self.stepper.maximize());
        let rounding = self.stochastic_rounding.then_some(key.with(part as u64));
        let means =
            Means { stepper: &*self.stepper, modifiers: &self.modifiers, now, prepare, rounding };
        let part = &mut self.parts[part];
        let place = std::mem::replace(&mut part.members[k].run.param, 0);
        let runs = Runs::new(vec![part.members[k].run]);
        part.walk(means, &mut Alone { param, grad }, &runs, &[k]);
        part.members[k].run.param = place;
    }

    /// Updates the members that have gradients.
    pub fn step(&mut self, stride: Stride, arenas: &mut Arenas<'_>, grads: &Grads) {
        let Stride { now, prepare, key, whole } = stride;
        let now = self.own(now);
        let prepare = prepare.turned(self.stepper.maximize());
        for (k, part) in self.parts.iter_mut().enumerate() {
            let rounding = self.stochastic_rounding.then_some(key.with(k as u64));
            let (stepper, modifiers) = (&*self.stepper, &self.modifiers);
            let means = Means { stepper, modifiers, now, prepare, rounding };
            part.step(means, arenas, grads, whole);
        }
    }
}

impl Part {
    /// Updates the members that have gradients; all do where the gradients are `whole`.
    fn step(&mut self, means: Means<'_>, arenas: &mut Arenas<'_>, grads: &Grads, whole: bool) {
        let alike = |member: &Member, other: &Member| {
            member.count == other.count && member.numbers == other.numbers
        };
        if whole && self.members.iter().all(|member| alike(member, &self.members[0])) {
            let (runs, everyone) =
                (std::mem::take(&mut self.runs), std::mem::take(&mut self.everyone));
            self.walk(means, &mut All { arenas, grads }, &runs, &everyone);
            (self.runs, self.everyone) = (runs, everyone);
            return;
        }
        // Parameters that missed steps stand at other counts, and take a walk of their own.
        let layout = arenas.layout();
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        for (k, member) in self.members.iter().enumerate() {
            if grads.is_filled(&layout, member.index) {
                match clusters.iter_mut().find(|c| alike(&self.members[c[0]], member)) {
                    Some(cluster) => cluster.push(k),
                    None => clusters.push(vec![k]),
                }
            }
        }
        for picked in clusters {
            let runs = merged(&self.members, picked.iter().copied());
            self.walk(means, &mut All { arenas, grads }, &runs, &picked);
        }
    }

    /// Updates the picked members, which all stand at the same count.
    fn walk(&mut self, means: Means<'_>, ground: &mut dyn Ground, runs: &Runs, picked: &[usize]) {
        for k in picked {
            self.members[*k].count += 1;
        }
        let first = &self.members[picked[0]];
        let now = Now { count: first.count, numbers: first.numbers, ..means.now };
        let Means { stepper, modifiers, prepare, rounding, .. } = means;
        let (own, master) = (stepper.slots().len(), self.has_master());
        // The rule's own slots, then the master copy, then the slow weights.
        let (for_rule, beside) = (own + usize::from(master), own);
        if now.count == 1 {
            self.begin(modifiers, ground, runs, picked);
        }
        let memory = ground.memory(self.dtype, &mut self.state[..for_rule]);
        let members = &mut self.members;
        let job = Job { now, prepare, rounding, memory, runs, members, picked };
        if modifiers.leave_alone() {
            stepper.step(job);
        } else {
            step_around(stepper, modifiers, job);
        }
        if let Some(lookahead) = modifiers.lookahead.filter(|l| now.count.is_multiple_of(l.k)) {
            let mut memory = ground.memory(self.dtype, &mut []);
            let beside = &mut self.state[beside..];
            with_views!(&mut memory, views => pull(lookahead, views, beside, runs, rounding));
        }
    }

    /// Before the first step: copies of parameters are these.
    fn begin(
        &mut self,
        modifiers: &Modifiers,
        ground: &mut dyn Ground,
        runs: &Runs,
        picked: &[usize],
    ) {
        for slot in self.state.iter_mut().filter(|slot| slot.kind() == StateKind::Master) {
            let Memory::Bf16(Views { params, .. }) = ground.memory(self.dtype, &mut []) else {
                unreachable!("master copies are of bfloat16 parameters")
            };
            let copies = slot.as_slice_mut::<f32>();
            for Run { param, state, len } in picked.iter().map(|k| self.members[*k].run) {
                bf16::load(&params[param..param + len], &mut copies[state..state + len]);
            }
        }
        if modifiers.lookahead.is_some() {
            let slow = self.state.last_mut().map_or(&mut [][..], std::slice::from_mut);
            let mut memory = ground.memory(self.dtype, &mut []);
            with_views!(&mut memory, views => begin(views, slow, runs));
        }
    }
}

/// The arenas of one type; without gradients where there are none.
pub(crate) fn memory<'a>(
    dtype: DType,
    arenas: &'a mut Arenas<'_>,
    grads: Option<&'a Grads>,
    state: &'a mut [StateArena],
) -> Memory<'a> {
    fn of<'a, T: Element>(
        grads: Option<&'a Grads>,
        layout: &Arc<ArenaLayout>,
        dtype: DType,
    ) -> &'a [T] {
        grads.map_or(&[], |grads| grads.all(layout, dtype))
    }
    let layout = arenas.layout();
    match dtype {
        DType::F32 => {
            let (params, grads) = (arenas.all::<f32>(), of(grads, &layout, dtype));
            Memory::F32(Views { params, grads, state })
        }
        DType::F64 => {
            let (params, grads) = (arenas.all::<f64>(), of(grads, &layout, dtype));
            Memory::F64(Views { params, grads, state })
        }
        _ => {
            let (params, grads) = (arenas.all::<bf16>(), of(grads, &layout, dtype));
            Memory::Bf16(Views { params, grads, state })
        }
    }
}
