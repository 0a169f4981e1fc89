//! Optimizer state as named tensors.

use rappel_tensor::{DType, Run, STATE_BLOCK, Shape, StateKind, Tensor, TensorFile};

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
        let mut tensors = Vec::new();
        self.save_rules(&mut tensors);
        if let Some(average) = &self.average {
            average.save(&mut tensors);
        }
        tensors
    }

    fn save_rules(&self, tensors: &mut Vec<(String, Tensor)>) {
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
            tensors.into_iter().map(|(n, t)| (n, t.shape(), t.dtype())).collect();
        if let Some(search) = &self.search {
            search.grow(&mut wanted, file);
        }
        let held = WeightAverage::is_held_in(file);
        wanted.extend(self.average.iter().flat_map(|average| average.wanted(held)));
        file.check_exactly(wanted.iter().map(|(name, shape, _)| (name.as_str(), *shape)))?;
        let mut values = Vec::with_capacity(wanted.len());
        for (name, _, wanted) in wanted {
            let value = file.tensor(&name)?;
            if value.dtype() != wanted {
                let (path, found) = (file.path().to_owned(), value.dtype());
                return Err(OptimError::StateType { path, name, found, wanted });
            }
            values.push(value);
        }
        let mut values = values.into_iter();
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
    fn save(&self, stepper: &dyn Stepper, slots: &[Slot], tensors: &mut Vec<(String, Tensor)>) {
        for member in &self.members {
            let mut add =
                |name: &str, value| tensors.push((format!("{name}.{}", member.name), value));
            add(STEP, Tensor::from_slice(&[member.count as i64], ()));
            for ((name, _), value) in stepper.numbers().iter().zip(member.numbers) {
                add(name, Tensor::from_slice(&[value], ()));
            }
            for (slot, arena) in slots.iter().zip(&self.state) {
                add(slot.name, read(arena, member.run, member.shape));
                if let StateKind::Block8 { .. } = arena.kind() {
                    let scales = &arena.scales()[blocks(member.run)];
                    add(&format!("absmax.{}", slot.name), Tensor::from_slice(scales, scales.len()));
                }
            }
            for ((name, _), value) in stepper.tensors(member.shape).iter().zip(&member.tensors) {
                add(name, value.clone());
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
