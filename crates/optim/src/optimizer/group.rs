//! Which rule gets which parameter, and where their state lies.

use glob::Pattern;
use rappel_schedule::Schedule;
use rappel_tensor::{
    ArenaLayout, DType, Entry, Run, Runs, STATE_BLOCK, Shape, StateArena, StateKind, Tensor,
};

use crate::config::ParamGroup;
use crate::context::{MAX_NUMBERS, StepContext};
use crate::error::OptimError;
use crate::kernels::{Member, Slot, StateDtype, Stepper};
use crate::wrappers::{SLOW, Wrappers};

/// Parameters that one rule updates.
pub(crate) struct Group {
    pub stepper: Box<dyn Stepper>,
    /// The factor of its rule's learning rate over the steps.
    pub schedule: Schedule,
    /// Multiplies the schedule, by the course of the run.
    pub scale: f64,
    pub wrappers: Wrappers,
    /// Whether what is stored in less precision rounds at random.
    pub stochastic_rounding: bool,
    /// One for each type of parameter, and kind of state, among them.
    pub parts: Vec<Part>,
}

/// The parameters of a group that lie in one arena and whose state is stored alike.
pub(crate) struct Part {
    pub dtype: DType,
    /// Whether it is one table whose gradient is kept by rows.
    pub by_rows: bool,
    /// In their order in memory.
    pub members: Vec<Member>,
    /// All positions among the members.
    pub everyone: Vec<usize>,
    /// Everything at once: what lies side by side is one run.
    pub runs: Runs,
    /// One arena for each slot of state.
    pub state: Vec<StateArena>,
}

/// State of different runs begins on cache lines of its own.
const STATE_STEP: usize = 16;

/// The types that can be trained, in the order in which a step takes them.
pub(crate) const TRAINED: [DType; 3] = [DType::F32, DType::F64, DType::BF16];

impl Group {
    /// Step `step` as this group takes it.
    pub fn context(&self, step: u64) -> StepContext {
        StepContext::new(step, self.schedule.at(step) * self.scale)
    }

    /// The learning rate at a step.
    pub fn lr(&self, step: u64) -> f64 {
        self.context(step).lr(self.stepper.lr())
    }
}

impl Part {
    /// `indices` are positions in `layout` of parameters of this type, in this group; `all` those
    /// of all trainable parameters of the type. Both in the order of memory.
    fn new(
        layout: &ArenaLayout,
        dtype: DType,
        indices: &[usize],
        all: &[usize],
        stepper: &dyn Stepper,
        kinds: &[StateKind],
    ) -> Self {
        let entries = layout.entries();
        // Blocks of codes begin with their parameter, which then has a run of its own.
        let blocks = kinds.iter().any(|kind| matches!(kind, StateKind::Block8 { .. }));
        let step = if blocks { STATE_BLOCK } else { STATE_STEP };
        let mut numbers = [0.0; MAX_NUMBERS];
        numbers.iter_mut().zip(stepper.numbers()).for_each(|(to, (_, first))| *to = *first);
        let mut members: Vec<Member> = Vec::with_capacity(indices.len());
        let mut end = 0;
        let mut all = all.iter().copied();
        for &index in indices {
            let entry = &entries[index];
            let skipped = all.by_ref().take_while(|other| *other != index).count();
            let before =
                members.last().filter(|_| skipped == 0 && !blocks).map(|member| member.run);
            // A neighbour keeps its distance, so that one run covers both.
            let state = before.map_or(end, |run| run.state + entry.offset - run.param);
            let run = Run { param: entry.offset, state, len: entry.shape.count() };
            end = (state + run.len).next_multiple_of(step);
            let zeros = |(_, shape)| Tensor::zeros(shape, dtype.accumulator());
            members.push(Member {
                name: entry.name.clone(),
                shape: entry.shape,
                index,
                run,
                follows: before.is_some(),
                count: 0,
                numbers,
                tensors: stepper.tensors(entry.shape).into_iter().map(zeros).collect(),
            });
        }
        Self {
            dtype,
            by_rows: indices.iter().any(|index| entries[*index].by_rows),
            runs: merged(&members, 0..members.len()),
            everyone: (0..members.len()).collect(),
            members,
            state: kinds.iter().map(|kind| StateArena::zeros(end, *kind)).collect(),
        }
    }
}

impl Part {
    /// Whether parameters have a copy in single precision.
    pub fn has_master(&self) -> bool {
        self.state.iter().any(|slot| slot.kind() == StateKind::Master)
    }

    /// Numbers in the parameters.
    fn elements(&self) -> usize {
        self.members.iter().map(|member| member.run.len).sum()
    }

    /// Bytes of state.
    pub fn state_bytes(&self) -> usize {
        let slots: usize = self.state.iter().map(|slot| self.slot_bytes(slot.kind())).sum();
        let tensors = self.members.iter().flat_map(|member| &member.tensors);
        slots + tensors.map(|t| t.count() * t.dtype().size()).sum::<usize>()
    }

    fn slot_bytes(&self, kind: StateKind) -> usize {
        self.members.iter().map(|member| kind.bytes(member.run.len)).sum()
    }

    /// Bytes that a step moves, at the least.
    pub fn bytes_moved(&self, stepper: &dyn Stepper) -> usize {
        let elements = self.elements() as f64;
        if elements == 0.0 {
            return 0;
        }
        let state = self.state_bytes() as f64 / elements;
        (elements * stepper.bytes_moved(self.dtype, state)) as usize
    }
}

/// The slots of state as large as the parameter: the rule's, then the wrappers'.
///
/// What stands around a rule comes last: a walk that serves only that takes the end of the list.
pub(crate) fn slots(stepper: &dyn Stepper, wrappers: &Wrappers, master: bool) -> Vec<Slot> {
    let mut slots = stepper.slots();
    slots.extend(master.then_some(MASTER));
    slots.extend(wrappers.lookahead.map(|_| SLOW));
    slots
}

/// The slot of single-precision copies of bfloat16 parameters.
pub(crate) const MASTER: Slot = Slot::exact("master_param");

/// The runs of the `picked` members, in order; neighbours in memory become one.
pub(crate) fn merged(members: &[Member], picked: impl Iterator<Item = usize>) -> Runs {
    let mut runs: Vec<Run> = Vec::new();
    let mut before = None;
    for k in picked {
        let Member { run, follows, .. } = members[k];
        match runs.last_mut() {
            Some(last) if follows && before == k.checked_sub(1) => {
                last.len = run.param + run.len - last.param;
            }
            _ => runs.push(run),
        }
        before = Some(k);
    }
    Runs::new(runs)
}

/// Every trainable parameter in its group.
pub(crate) fn assign(
    layout: &ArenaLayout,
    default: ParamGroup,
    groups: Vec<(Vec<String>, ParamGroup)>,
    schedule: &Schedule,
) -> Result<Vec<Group>, OptimError> {
    let group_of = group_of(layout.entries(), &groups)?;
    let plans = std::iter::once(default).chain(groups.into_iter().map(|(_, plan)| plan));
    let group = |(group, plan): (usize, ParamGroup)| {
        let mine = |i: usize| group_of[i] == group;
        let mut parts = Vec::new();
        for dtype in TRAINED {
            parts.extend(parts_of(layout, dtype, &mine, &plan)?);
        }
        let ParamGroup { stepper, schedule: own, wrappers, stochastic_rounding, .. } = plan;
        let schedule = schedule.clone() * own;
        if stepper.shares_numbers() && parts.len() > 1 {
            return Err(OptimError::Mixed { group: group.checked_sub(1) });
        }
        Ok(Group { stepper, schedule, scale: 1.0, wrappers, stochastic_rounding, parts })
    };
    plans.enumerate().map(group).collect()
}

/// The group of each parameter: 0 for what no pattern takes, else one more than the pattern's.
pub(super) fn group_of(
    entries: &[Entry],
    groups: &[(Vec<String>, ParamGroup)],
) -> Result<Vec<usize>, OptimError> {
    let globs = groups
        .iter()
        .enumerate()
        .flat_map(|(group, (globs, _))| globs.iter().map(move |glob| (group, glob)));
    let pattern = |(group, glob): (usize, &String)| {
        let pattern = Pattern::new(glob).map_err(|error| OptimError::Pattern {
            group,
            pattern: glob.clone(),
            reason: error.to_string(),
        })?;
        Ok((group, pattern))
    };
    let patterns = globs.map(pattern).collect::<Result<Vec<_>, OptimError>>()?;
    let trainable: Vec<(usize, &Entry)> =
        entries.iter().enumerate().filter(|(_, entry)| entry.trainable).collect();
    let Some((_, example)) = trainable.first() else { return Err(OptimError::NothingToTrain) };
    let mut taken = vec![false; patterns.len()];
    let mut group_of = vec![0; entries.len()];
    for (index, entry) in &trainable {
        if let Some(k) = patterns.iter().position(|(_, pattern)| pattern.matches(&entry.name)) {
            taken[k] = true;
            group_of[*index] = patterns[k].0 + 1;
        }
    }
    if let Some(k) = taken.iter().position(|taken| !taken) {
        let (group, pattern) = &patterns[k];
        let matches = trainable.iter().any(|(_, entry)| pattern.matches(&entry.name));
        let why = if matches {
            "matches only what earlier patterns took"
        } else {
            "matches no trainable parameter"
        };
        let (pattern, example) = (pattern.to_string(), example.name.clone());
        return Err(OptimError::Unmatched { group: *group, pattern, why, example });
    }
    Ok(group_of)
}

/// Why a rule that trains one point and hands out another keeps no master copy.
const NO_MASTER: &str = "the rule moves the parameters between two points, which a master copy would \
                         not follow; leave out `master_weights`, or train float32 parameters";

/// The trainable parameters of `dtype` that are `mine`: those whose state is stored alike together.
fn parts_of(
    layout: &ArenaLayout,
    dtype: DType,
    mine: &dyn Fn(usize) -> bool,
    plan: &ParamGroup,
) -> Result<Vec<Part>, OptimError> {
    let entries = layout.entries();
    let mut all: Vec<usize> =
        (0..entries.len()).filter(|&i| entries[i].trainable && entries[i].dtype == dtype).collect();
    // Empty parameters share their offset with the next one, and come before it.
    all.sort_by_key(|&i| (entries[i].offset, entries[i].shape.count()));
    // A table of rows is a part of its own.
    let mut alike: Vec<(Vec<StateKind>, bool, Vec<usize>)> = Vec::new();
    for i in all.iter().copied().filter(|&i| mine(i)) {
        let Entry { name, shape, by_rows, .. } = &entries[i];
        let refused = |reason| OptimError::Refused { name: name.clone(), reason };
        plan.stepper.refuses(*shape).map_or(Ok(()), |reason| Err(refused(reason)))?;
        plan.state_dtype.suits(dtype, *shape).map_err(refused)?;
        if plan.keeps_master(dtype) && plan.stepper.mode().is_some() {
            return Err(refused(NO_MASTER.to_owned()));
        }
        if plan.state_dtype != StateDtype::Full && !plan.stepper.tensors(*shape).is_empty() {
            return Err(refused(OTHER_SHAPES.to_owned()));
        }
        let kinds = plan.kinds(dtype, shape.count());
        if let Some(what) = whole_table(plan, *shape, &kinds).filter(|_| *by_rows) {
            return Err(refused(format!("its gradient is kept by rows, but {what}; {NO_ROWS}")));
        }
        match alike.iter_mut().find(|(other, rows, _)| *other == kinds && !rows && !by_rows) {
            Some((.., indices)) => indices.push(i),
            None => alike.push((kinds, *by_rows, vec![i])),
        }
    }
    let part = |(kinds, _, indices): &(Vec<StateKind>, bool, Vec<usize>)| {
        Part::new(layout, dtype, indices, &all, &*plan.stepper, kinds)
    };
    Ok(alike.iter().map(part).collect())
}

/// What to do where rows cannot be updated alone.
const NO_ROWS: &str = "give it a group with another optimizer, or keep its gradient whole";

/// What of a group reads or changes the whole of a table, if anything does.
fn whole_table(plan: &ParamGroup, shape: Shape, kinds: &[StateKind]) -> Option<&'static str> {
    if !plan.stepper.tensors(shape).is_empty() {
        return Some("the rule keeps state of other shapes");
    }
    if plan.stepper.mode().is_some() {
        return Some("the rule moves all parameters between two points");
    }
    if plan.stepper.search(DType::F32, 1).is_some() {
        return Some("the rule evaluates the loss itself");
    }
    let wrappers = &plan.wrappers;
    if !wrappers.leave_alone() || wrappers.lookahead.is_some() || wrappers.sam.is_some() {
        return Some("something that stands around the rule changes all rows");
    }
    if kinds.iter().any(|kind| matches!(kind, StateKind::Block8 { .. } | StateKind::Master)) {
        return Some("its state is kept in eight bits, or beside a master copy");
    }
    None
}

impl ParamGroup {
    fn keeps_master(&self, dtype: DType) -> bool {
        self.master_weights && dtype == DType::BF16
    }

    /// What each slot of state of a parameter of `dtype` with `len` elements holds.
    pub(super) fn kinds(&self, dtype: DType, len: usize) -> Vec<StateKind> {
        let kind = |slot: Slot| match slot {
            slot if slot == MASTER => StateKind::Master,
            slot if slot.exact => StateKind::Number(dtype.accumulator()),
            slot => self.state_dtype.kind(dtype, len, slot),
        };
        let slots = slots(&*self.stepper, &self.wrappers, self.keeps_master(dtype));
        slots.into_iter().map(kind).collect()
    }
}

const OTHER_SHAPES: &str = "its rule keeps state of shapes of its own, in full precision; leave \
                            `state_dtype` out, or give it a group with another optimizer";

impl StateDtype {
    /// Why state of this precision cannot belong to such a parameter.
    fn suits(self, dtype: DType, shape: Shape) -> Result<(), String> {
        let name = match self {
            Self::Full => return Ok(()),
            Self::Bf16 => "bfloat16",
            Self::Block8 { .. } => "8bit",
        };
        if dtype == DType::F64 {
            return Err(format!(
                "`state_dtype = \"{name}\"` is for parameters in single precision or less, this one \
                 is {dtype}; leave it out"
            ));
        }
        if name == "8bit" && shape.rank() == 0 {
            return Err(
                "a single number has no block to share a scale with, so `state_dtype = \"8bit\"` \
                 cannot be; give it a group with `state_dtype = \"float32\"`"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AdamW;
    use rappel_tensor::{Init, Params};

    fn groups(names: &[&str], patterns: &[&str]) -> Vec<Group> {
        let mut params = Params::with_dtype(0, DType::F64);
        for name in names {
            params.scope("").add(name, [1], Init::ONES);
        }
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let plan = || ParamGroup::from(AdamW::default());
        let more = if patterns.is_empty() { vec![] } else { vec![(patterns, plan())] };
        assign(&params.layout(), plan(), more, &1.0.into()).unwrap()
    }

    #[test]
    fn many_tensors_of_one_group_are_one_run() {
        let names: Vec<String> = (0..10_000).map(|i| format!("p{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(groups(&names, &[])[0].parts[0].runs.as_slice().len(), 1);
    }

    #[test]
    fn runs_never_cover_what_lies_between_members() {
        let groups = groups(&["a0", "b0", "a1", "a2", "b1"], &["b*"]);
        let lens = |group: &Group| -> Vec<usize> {
            group.parts[0].runs.as_slice().iter().map(|run| run.len).collect()
        };
        // a1 and a2 are neighbours: 8 places of a cache line, then one.
        assert_eq!((lens(&groups[0]), lens(&groups[1])), (vec![1, 9], vec![1, 1]));
        let some = merged(&groups[0].parts[0].members, [0, 2].into_iter());
        assert_eq!(some.total(), 2);
    }
}
