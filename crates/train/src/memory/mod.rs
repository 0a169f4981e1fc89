//! Whether a run fits into memory, counted before its first step.

mod limits;
mod optimizers;

use std::fmt;

use rappel_optim::{Footprint, OptimizerConfig};
use rappel_regularize::Regularization;
use rappel_telemetry::draws_histograms;
use rappel_tensor::{Entry, pool_stats};

use crate::config::RunOptions;
use crate::task::Task;
use crate::{Observer, TrainError};

pub use optimizers::TrainingMemory;
pub(crate) use optimizers::by_optimizer;

/// What the pool of tensors rounds sizes up by, at most: an eighth.
const ROUNDING: u64 = 8;

/// Copies of weights that penalties and other forms of weights keep for the backward pass, at most.
const WEIGHT_COPIES: usize = 4;

/// Bytes that a run takes, by what takes them; activations at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Parameters.
    pub parameters: u64,
    /// Their gradients, and copies of these that are kept beside them.
    pub gradients: u64,
    /// The optimizer's state.
    pub state: u64,
    /// The average of the weights.
    pub average: u64,
    /// The largest forward and backward pass of a step.
    pub activations: u64,
    /// What a step of the optimizer takes and gives back.
    pub working: u64,
    /// The trained parameters before a step, where histograms of its updates are drawn.
    pub copy: u64,
}

impl Needs {
    fn parts(&self) -> [(&'static str, u64); 7] {
        [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("optimizer state", self.state),
            ("average of the weights", self.average),
            ("activations, at most", self.activations),
            ("working memory, at most", self.working),
            ("a copy of the parameters for histograms", self.copy),
        ]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.parts().iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Those of a run whose largest step takes `samples` samples. Allocates nothing.
    pub(crate) fn of(
        run: &RunOptions,
        task: &dyn Task,
        samples: usize,
        optimizer: &OptimizerConfig,
        regularization: &Regularization,
    ) -> Result<Self, TrainError> {
        let train = &run.train;
        let Footprint { state, average, working } = Footprint::of(optimizer, task.params())?;
        let entries = task.params().entries();
        let all = |size: &dyn Fn(&Entry) -> usize| {
            entries.iter().map(size).fold(0, usize::saturating_add)
        };
        let gradient = |entry: &Entry| {
            // What is kept by rows is of those that a batch looks up, which its activations count.
            let whole = entry.trainable && !entry.by_rows;
            let len = if whole { entry.shape.count() } else { 0 };
            len.saturating_mul(entry.dtype.accumulator().size())
        };
        let gradients = match (train.update_in_backward, train.noise_scale) {
            (true, _) => entries.iter().map(gradient).max().unwrap_or(0),
            // The sum as it was before a part, and what the part added.
            (false, true) => all(&gradient).saturating_mul(3),
            (false, false) => all(&gradient),
        };
        let samples = samples.div_ceil(train.gradient_accumulation_steps);
        let r_drop = regularization.within_a_pass().any(|(options, _)| options.name() == "r_drop");
        let parameters = all(&|entry| entry.shape.count().saturating_mul(entry.dtype.size()));
        let parameters = parameters.saturating_add(task.params().quantized_bytes());
        let weights = if regularization.computes_with_weights() { WEIGHT_COPIES } else { 0 };
        let activations = task.activation_bytes(samples, r_drop);
        let activations = activations.saturating_add(parameters.saturating_mul(weights));
        let trained = |entry: &Entry| {
            let len = if entry.trainable { entry.shape.count() } else { 0 };
            len.saturating_mul(entry.dtype.size())
        };
        let draws = draws_histograms(&run.telemetry.sinks) && !train.update_in_backward;
        Ok(Self {
            copy: if draws { all(&trained) as u64 } else { 0 },
            parameters: parameters as u64,
            gradients: gradients as u64,
            state: state as u64,
            average: average as u64,
            activations: activations as u64,
            working: working as u64,
        })
    }
}

/// A run that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// What the run takes.
    pub needs: Needs,
    /// Bytes that are available.
    pub available: u64,
    /// Which limit says so, such as `free on this machine`.
    pub by: String,
}

impl std::error::Error for Shortage {}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needs, available, by } = self;
        let parts: Vec<String> = needs
            .parts()
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(what, bytes)| format!("{what} {}", human(bytes)))
            .collect();
        let (needed, available) = (human(needs.total()), human(*available));
        write!(
            f,
            "the run needs up to {needed} of memory ({}), but {available} are {by}",
            parts.join(", ")
        )
    }
}

/// Bytes as people read them: `1.5 GiB`.
fn human(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

/// Checks that a run fits into what is available; where it does not and the observer
/// [forces](Observer::forces) it, that is a note.
///
/// # Errors
/// [`TrainError::Memory`].
pub(crate) fn check(needs: Needs, observer: &mut dyn Observer) -> Result<(), TrainError> {
    let Some(limits::Available { bytes, by }) = limits::available() else { return Ok(()) };
    // What earlier runs of this process left is used again.
    let pool = pool_stats();
    let available = bytes.saturating_add((pool.reserved_bytes - pool.used_bytes) as u64);
    let total = needs.total();
    if total.saturating_add(total / ROUNDING) <= available {
        return Ok(());
    }
    let shortage = Shortage { needs, available, by };
    if observer.forces() {
        return Ok(observer.note(&format!("{shortage}; begun anyway"))?);
    }
    Err(TrainError::Memory(Box::new(shortage)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_each_part_and_the_limit() {
        let needs = Needs { parameters: 3 << 29, activations: 5 << 20, ..Needs::default() };
        let shortage =
            Shortage { needs, available: 1 << 30, by: "free on this machine".to_owned() };
        assert_eq!(
            shortage.to_string(),
            "the run needs up to 1.5 GiB of memory (parameters 1.5 GiB, activations, at most 5.0 MiB), but \
             1.0 GiB are free on this machine"
        );
    }
}
