//! Optimizer state as named tensors.

use rappel_tensor::{
    DType, Run, STATE_BLOCK, Shape, StateKind, StreamedTensor, Tensor, TensorFile,
};

use super::averaging::WeightAverage;
use super::core::Optimizer;
use super::group::{Part, slots};
use super::saved::{read, write};
use crate::error::OptimError;
use crate::kernels::{Slot, Stepper};

/// The name of the count of updates, as in PyTorch's `state_dict`.
const STEP: &str = "step";

impl Optimizer {
    /// All state: `<slot>.<parameter>` of the parameter's shape, such as `exp_avg.wte.weight`;
    /// `step.<parameter>`, how many updates the parameter has had; and the numbers that the rule
    /// keeps, `<name>.<parameter>`. A slot in eight bits is two tensors: its codes, of the parameter's
    /// shape, and `absmax.<slot>.<parameter>`, the scale of each block of 256. L-BFGS keeps
    /// `old_dirs` and `old_stps` with one more dimension in front, the entries of its history, and
    /// what belongs to no parameter under the name of the first, as PyTorch does.
    pub fn state_tensors(&self) -> Vec<(String, Tensor)> {
        self.streamed_state().into_iter().map(StreamedTensor::into_tensor).collect()
    }

    /// The same as [`state_tensors`](Optimizer::state_tensors), each to be read a piece at a time where it
    /// lies: writing it needs no second copy of the state.
    pub fn streamed_state(&self) -> Vec<StreamedTensor<'_>> {
        let mut tensors = Vec::new();
        self.save_rules(&mut tensors);
        if let Some(average) = &self.average {
            average.save(&mut tensors);
        }
        tensors
    }

    fn save_rules<'a>(&'a self, tensors: &mut Vec<StreamedTensor<'a>>) {
        for group in &self.groups {
            for part in &group.parts {
                let (stepper, master) = (&*group.stepper, part.has_master());
                part.save(stepper, &slots(stepper, &group.wrappers, master), tensors);
            }
        }
        if let Some(search) = &self.search {
            search.save(tensors);
        }
    }

    /// Replaces all state by that in `file`, which must hold exactly what
    /// [`state_tensors`](Optimizer::state_tensors) gives: the next step is then the one that the
    /// saved optimizer would have taken, bit for bit.
    ///
    /// # Errors
    /// A tensor that only one side has, or another shape or type; then nothing was changed.
    pub fn load_state(&mut self, file: &TensorFile) -> Result<(), OptimError> {
        let mut tensors = Vec::new();
        self.save_rules(&mut tensors);
        let mut wanted: Vec<(String, Shape, DType)> =
            tensors.iter().map(|t| (t.name().to_owned(), t.shape(), t.dtype())).collect();
        drop(tensors);
        if let Some(search) = &self.search {
            search.grow(&mut wanted, file);
        }
        let held = WeightAverage::is_held_in(file);
        wanted.extend(self.average.iter().flat_map(|average| average.wanted(held)));
        file.check_exactly(wanted.iter().map(|(name, shape, _)| (name.as_str(), *shape)))?;
        for (name, _, wanted) in &wanted {
            let found = file.dtype(name).expect("the file has it, as was checked");
            if found != *wanted {
                let (path, name) = (file.path().to_owned(), name.clone());
                return Err(OptimError::StateType { path, name, found, wanted: *wanted });
            }
        }
        // One at a time: there is no second copy of the state.
        let read = |(name, ..): (String, Shape, DType)| file.tensor(&name).expect("it has it");
        let mut values = wanted.into_iter().map(read);
        for group in &mut self.groups {
            for part in &mut group.parts {
                part.load(&*group.stepper, &mut values);
            }
        }
        if let Some(search) = &mut self.search {
            search.load(&mut values);
        }
        if let Some(average) = &mut self.average {
            average.load(held, &mut values);
        }
        Ok(())
    }
}

impl Part {
    /// Adds the state of all members, in the order in which [`load`](Part::load) takes it.
    fn save<'a>(
        &'a self,
        stepper: &dyn Stepper,
        slots: &[Slot],
        tensors: &mut Vec<StreamedTensor<'a>>,
    ) {
        for member in &self.members {
            let named = |name: &str| format!("{name}.{}", member.name);
            let mut add = |name: &str, value: Tensor| tensors.push((named(name), value).into());
            add(STEP, Tensor::from_slice(&[member.count as i64], ()));
            for ((name, _), value) in stepper.numbers().iter().zip(member.numbers) {
                add(name, Tensor::from_slice(&[value], ()));
            }
            for (slot, arena) in slots.iter().zip(&self.state) {
                tensors.push(read(named(slot.name), arena, member.run, member.shape));
                if let StateKind::Block8 { .. } = arena.kind() {
                    let scales = &arena.scales()[blocks(member.run)];
                    let scales = Tensor::from_slice(scales, scales.len());
                    tensors.push((named(&format!("absmax.{}", slot.name)), scales).into());
                }
            }
            for ((name, _), value) in stepper.tensors(member.shape).iter().zip(&member.tensors) {
                tensors.push((named(name), value.clone()).into());
            }
        }
    }

    fn load(&mut self, stepper: &dyn Stepper, values: &mut impl Iterator<Item = Tensor>) {
        let mut next = || values.next().expect("as many as were checked");
        for member in &mut self.members {
            member.count = next().item() as u64;
            for (number, _) in member.numbers.iter_mut().zip(stepper.numbers()) {
                *number = next().item();
            }
            for arena in &mut self.state {
                write(arena, member.run, &next());
                if let StateKind::Block8 { .. } = arena.kind() {
                    let scales = next().to_vec::<f32>();
                    arena.scales_mut()[blocks(member.run)].copy_from_slice(&scales);
                }
            }
            for tensor in &mut member.tensors {
                *tensor = next();
            }
        }
    }
}

/// Where the scales of a run lie, which begins with a block.
fn blocks(run: Run) -> std::ops::Range<usize> {
    run.state / STATE_BLOCK..(run.state + run.len).div_ceil(STATE_BLOCK)
}
