//! Optimizer state as named tensors.

use rappel_tensor::{DType, Shape, Tensor, TensorFile};

use crate::OptimError;
use crate::Optimizer;
use crate::group::{Member, Part};

/// The name of the count of updates, as in PyTorch's `state_dict`.
const STEP: &str = "step";

impl Optimizer {
    /// All state: `<slot>.<parameter>` of the parameter's shape, such as `exp_avg.wte.weight`, and
    /// `step.<parameter>`, how many updates the parameter has had.
    pub fn state_tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for group in &self.groups {
            for part in &group.parts {
                for member in &part.members {
                    let entry = &self.layout.entries()[member.index];
                    let count = Tensor::from_slice(&[member.count as i64], ());
                    tensors.push((format!("{STEP}.{}", entry.name), count));
                    for (slot, name) in group.stepper.state_names().iter().enumerate() {
                        let value = part.read(slot, member, entry.shape);
                        tensors.push((format!("{name}.{}", entry.name), value));
                    }
                }
            }
        }
        tensors
    }

    /// Replaces all state by that in `file`, which must hold exactly what
    /// [`state_tensors`](Optimizer::state_tensors) gives: the next step is then the one that the
    /// saved optimizer would have taken, bit for bit.
    ///
    /// # Errors
    /// A tensor that only one side has, or another shape or type; then nothing was changed.
    pub fn load_state(&mut self, file: &TensorFile) -> Result<(), OptimError> {
        let wanted: Vec<(String, Shape, DType)> =
            self.state_tensors().into_iter().map(|(n, t)| (n, t.shape(), t.dtype())).collect();
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
                let Part { dtype, members, state, .. } = part;
                for member in members {
                    member.count = values.next().expect("checked").item() as u64;
                    for slot in state.iter_mut() {
                        let value = values.next().expect("checked");
                        let range = member.run.state..member.run.state + member.run.len;
                        match dtype.accumulator() {
                            DType::F64 => {
                                slot.as_slice_mut()[range].copy_from_slice(&value.to_vec::<f64>());
                            }
                            _ => {
                                slot.as_slice_mut()[range].copy_from_slice(&value.to_vec::<f32>());
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Part {
    fn read(&self, slot: usize, member: &Member, shape: Shape) -> Tensor {
        let range = member.run.state..member.run.state + member.run.len;
        match self.state[slot].dtype() {
            DType::F64 => Tensor::from_slice(&self.state[slot].as_slice::<f64>()[range], shape),
            _ => Tensor::from_slice(&self.state[slot].as_slice::<f32>()[range], shape),
        }
    }
}
