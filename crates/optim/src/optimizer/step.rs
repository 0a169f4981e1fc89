//! A step of one group: which members take it together, and what stands around the rule.

use rappel_tensor::{
    Arenas, DType, Grads, Key, Memory, OpenParam, Run, Runs, StateArena, TableRows, Tensor,
};

use super::group::{Group, Part, merged};
use crate::context::StepContext;
use crate::kernels::{GradTransform, Member, StepArgs, Stepper};
use crate::wrappers::{Wrappers, begin, pull, step_around};

/// A step, before it is known which members it is for.
#[derive(Clone, Copy)]
pub(super) struct GroupStep {
    pub step: u64,
    pub transform: GradTransform,
    /// What random rounding is drawn from.
    pub key: Key,
    /// Whether every parameter has a gradient.
    pub complete: bool,
}

/// What the parts of a group are stepped with.
#[derive(Clone, Copy)]
struct Around<'a> {
    stepper: &'a dyn Stepper,
    wrappers: &'a Wrappers,
    context: StepContext,
    grads: GradTransform,
    rounding: Option<Key>,
}

/// Where the parameters of a step lie, and their gradients.
trait Source {
    /// Those of one type, with state beside them.
    fn memory<'a>(&'a mut self, dtype: DType, state: &'a mut [StateArena]) -> Memory<'a>;
}

/// All parameters.
struct All<'a, 'b> {
    arenas: &'a mut Arenas<'b>,
    grads: &'a Grads,
}

impl Source for All<'_, '_> {
    fn memory<'a>(&'a mut self, dtype: DType, state: &'a mut [StateArena]) -> Memory<'a> {
        Memory::of_arenas(self.arenas, dtype, Some(self.grads), state)
    }
}

/// Rows of a table, side by side from position 0 on.
struct Rows<'a> {
    params: &'a mut StateArena,
    grads: &'a Tensor,
}

impl Source for Rows<'_> {
    fn memory<'a>(&'a mut self, _: DType, state: &'a mut [StateArena]) -> Memory<'a> {
        Memory::of_rows(self.params, self.grads, state)
    }
}

/// One parameter, which lies at position 0.
struct Alone<'a, 'b> {
    param: &'a mut OpenParam<'b>,
    grad: &'a Tensor,
}

impl Source for Alone<'_, '_> {
    fn memory<'a>(&'a mut self, _: DType, state: &'a mut [StateArena]) -> Memory<'a> {
        Memory::of_param(self.param, self.grad, state)
    }
}

impl Group {
    /// Updates member `k` of a part, alone, by its gradient.
    pub(super) fn step_one(
        &mut self,
        step: GroupStep,
        (part, k): (usize, usize),
        param: &mut OpenParam<'_>,
        grad: &Tensor,
    ) {
        let context = self.context(step.step);
        let around = around(&*self.stepper, &self.wrappers, context, step);
        let rounding = self.stochastic_rounding.then_some(step.key.with(part as u64));
        let part = &mut self.parts[part];
        let place = std::mem::replace(&mut part.members[k].run.param, 0);
        let runs = Runs::new(vec![part.members[k].run]);
        part.walk(Around { rounding, ..around }, &mut Alone { param, grad }, &runs, &[k]);
        part.members[k].run.param = place;
    }

    /// Updates the members that have gradients.
    pub(super) fn step(&mut self, step: GroupStep, arenas: &mut Arenas<'_>, grads: &Grads) {
        let context = self.context(step.step);
        for (k, part) in self.parts.iter_mut().enumerate() {
            let around = around(&*self.stepper, &self.wrappers, context, step);
            let rounding = self.stochastic_rounding.then_some(step.key.with(k as u64));
            part.step(Around { rounding, ..around }, arenas, grads, step.complete);
        }
    }
}

fn around<'a>(
    stepper: &'a dyn Stepper,
    wrappers: &'a Wrappers,
    context: StepContext,
    step: GroupStep,
) -> Around<'a> {
    let grads = step.transform.turned(stepper.maximize());
    Around { stepper, wrappers, context, grads, rounding: None }
}

impl Part {
    /// Updates the members that have gradients; all do where the gradients are `complete`.
    fn step(&mut self, around: Around<'_>, arenas: &mut Arenas<'_>, grads: &Grads, complete: bool) {
        if self.by_rows {
            return self.step_rows(around, arenas, grads);
        }
        let alike = |member: &Member, other: &Member| {
            member.count == other.count && member.numbers == other.numbers
        };
        if complete && self.members.iter().all(|member| alike(member, &self.members[0])) {
            let (runs, everyone) =
                (std::mem::take(&mut self.runs), std::mem::take(&mut self.everyone));
            self.walk(around, &mut All { arenas, grads }, &runs, &everyone);
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
            self.walk(around, &mut All { arenas, grads }, &runs, &picked);
        }
    }

    /// Updates the rows of a table that have a gradient: these are copied side by side, with their state, and back.
    fn step_rows(&mut self, around: Around<'_>, arenas: &mut Arenas<'_>, grads: &Grads) {
        let layout = arenas.layout();
        let Some((rows, grads)) = grads.rows(&layout, self.members[0].index) else { return };
        let (place, shape) = (self.members[0].run, self.members[0].shape);
        let [of_params, of_state] =
            [place.param, place.state].map(|start| TableRows { start, width: shape[1], rows });
        let mut params = StateArena::of_parameters(arenas, self.dtype, of_params);
        let few = self.state.iter().map(|slot| slot.gathered(of_state)).collect();
        let whole = std::mem::replace(&mut self.state, few);
        let run = Run { param: 0, state: 0, len: rows.len() * shape[1] };
        (self.members[0].run, self.members[0].shape) = (run, [rows.len(), shape[1]].into());
        let source = &mut Rows { params: &mut params, grads };
        self.walk(around, source, &Runs::new(vec![run]), &[0]);
        (self.members[0].run, self.members[0].shape) = (place, shape);
        let few = std::mem::replace(&mut self.state, whole);
        for (slot, few) in self.state.iter_mut().zip(&few) {
            slot.put_rows(of_state, few);
        }
        params.put_parameters(arenas, of_params);
    }

    /// Updates the picked members, which all stand at the same count.
    fn walk(&mut self, around: Around<'_>, source: &mut dyn Source, runs: &Runs, picked: &[usize]) {
        for k in picked {
            self.members[*k].count += 1;
        }
        let first = &self.members[picked[0]];
        let context = StepContext { count: first.count, numbers: first.numbers, ..around.context };
        let Around { stepper, wrappers, grads, rounding, .. } = around;
        let (own, master) = (stepper.slots().len(), self.has_master());
        // The rule's own slots, then the master copy, then the slow weights.
        let (for_rule, beside) = (own + usize::from(master), own);
        if context.is_first() {
            self.begin(wrappers, source, runs, picked);
        }
        let memory = source.memory(self.dtype, &mut self.state[..for_rule]);
        let members = &mut self.members[..];
        let args = StepArgs { context, grads, rounding, memory, runs, members, picked };
        if wrappers.leave_alone() {
            stepper.step(args);
        } else {
            step_around(stepper, wrappers, args);
        }
        if let Some(lookahead) = wrappers.lookahead.filter(|l| context.count.is_multiple_of(l.k)) {
            let mut memory = source.memory(self.dtype, &mut self.state[beside..]);
            pull(lookahead, &mut memory, runs, rounding);
        }
    }

    /// Before the first step: copies of parameters are these.
    fn begin(
        &mut self,
        wrappers: &Wrappers,
        source: &mut dyn Source,
        runs: &Runs,
        picked: &[usize],
    ) {
        if self.has_master() {
            let runs: Vec<Run> = picked.iter().map(|k| self.members[*k].run).collect();
            source.memory(self.dtype, &mut self.state).begin_master(&runs);
        }
        if wrappers.lookahead.is_some() {
            let slow = self.state.last_mut().map_or(&mut [][..], std::slice::from_mut);
            begin(&mut source.memory(self.dtype, slow), runs);
        }
    }
}
