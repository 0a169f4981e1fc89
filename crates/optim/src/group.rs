//! Which rule gets which parameter, and where their state lies.

use glob::Pattern;
use rappel_tensor::{ArenaLayout, DType, Entry, Run, Runs, StateArena};

use crate::{OptimError, Stepper};

/// Parameters that one rule updates.
pub(crate) struct Group {
    pub stepper: Box<dyn Stepper>,
    /// One for each type of parameter among them.
    pub parts: Vec<Part>,
}

/// The parameters of a group that lie in one arena, and their state.
pub(crate) struct Part {
    pub dtype: DType,
    /// In their order in memory.
    pub members: Vec<Member>,
    /// Everything at once: what lies side by side is one run.
    pub runs: Runs,
    /// One arena for each slot of state.
    pub state: Vec<StateArena>,
}

/// One parameter.
pub(crate) struct Member {
    /// Its position in the layout.
    pub index: usize,
    /// Its place in the arenas.
    pub run: Run,
    /// Whether nothing but padding lies between the member before and this one.
    pub follows: bool,
    /// How many updates it has had.
    pub count: u64,
}

/// State of different runs begins on cache lines of its own.
const STATE_STEP: usize = 16;

/// The types that can be trained, in the order in which a step takes them.
const TRAINED: [DType; 3] = [DType::F32, DType::F64, DType::BF16];

impl Part {
    /// `indices` are positions in `layout` of parameters of this type, in this group; `all` those
    /// of all trainable parameters of the type. Both in the order of memory.
    fn new(
        layout: &ArenaLayout,
        dtype: DType,
        indices: &[usize],
        all: &[usize],
        slots: usize,
    ) -> Self {
        let entries = layout.entries();
        let mut members: Vec<Member> = Vec::with_capacity(indices.len());
        let mut end = 0;
        let mut all = all.iter().copied();
        for &index in indices {
            let entry = &entries[index];
            let skipped = all.by_ref().take_while(|other| *other != index).count();
            let before = members.last().filter(|_| skipped == 0).map(|member| member.run);
            // A neighbour keeps its distance, so that one run covers both.
            let state = before.map_or(end, |run| run.state + entry.offset - run.param);
            let run = Run { param: entry.offset, state, len: entry.shape.count() };
            end = (state + run.len).next_multiple_of(STATE_STEP);
            members.push(Member { index, run, follows: before.is_some(), count: 0 });
        }
        let state = (0..slots).map(|_| StateArena::zeros(end, dtype.accumulator())).collect();
        Self { dtype, runs: merged(&members, 0..members.len()), members, state }
    }
}

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
    default: Box<dyn Stepper>,
    groups: Vec<(Vec<String>, Box<dyn Stepper>)>,
) -> Result<Vec<Group>, OptimError> {
    let mut steppers = vec![default];
    let mut patterns = Vec::new();
    for (group, (globs, stepper)) in groups.into_iter().enumerate() {
        for glob in globs {
            let pattern = Pattern::new(&glob).map_err(|error| OptimError::Pattern {
                group,
                pattern: glob,
                reason: error.to_string(),
            })?;
            patterns.push((group, pattern));
        }
        steppers.push(stepper);
    }
    let trainable: Vec<(usize, &Entry)> =
        layout.entries().iter().enumerate().filter(|(_, entry)| entry.trainable).collect();
    let Some((_, example)) = trainable.first() else { return Err(OptimError::NothingToTrain) };

    let mut taken = vec![false; patterns.len()];
    let mut group_of = vec![0; layout.entries().len()];
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
    let parts: Vec<Vec<Part>> = steppers
        .iter()
        .enumerate()
        .map(|(group, stepper)| {
            let (slots, mine) = (stepper.state_names().len(), |i: usize| group_of[i] == group);
            TRAINED.iter().filter_map(|&dtype| part(layout, dtype, &mine, slots)).collect()
        })
        .collect();
    Ok(steppers.into_iter().zip(parts).map(|(stepper, parts)| Group { stepper, parts }).collect())
}

/// The trainable parameters of `dtype` that are `mine`, if any.
fn part(
    layout: &ArenaLayout,
    dtype: DType,
    mine: &dyn Fn(usize) -> bool,
    slots: usize,
) -> Option<Part> {
    let entries = layout.entries();
    let mut all: Vec<usize> =
        (0..entries.len()).filter(|&i| entries[i].trainable && entries[i].dtype == dtype).collect();
    // Empty parameters share their offset with the next one, and come before it.
    all.sort_by_key(|&i| (entries[i].offset, entries[i].shape.count()));
    let indices: Vec<usize> = all.iter().copied().filter(|&i| mine(i)).collect();
    (!indices.is_empty()).then(|| Part::new(layout, dtype, &indices, &all, slots))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, Algorithm};
    use rappel_tensor::{Init, Params};

    fn groups(names: &[&str], patterns: &[&str]) -> Vec<Group> {
        let mut params = Params::with_dtype(0, DType::F64);
        for name in names {
            params.scope("").add(name, [1], Init::ONES);
        }
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let stepper = || AdamW::default().stepper();
        let more = if patterns.is_empty() { vec![] } else { vec![(patterns, stepper())] };
        assign(&params.layout(), stepper(), more).unwrap()
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
