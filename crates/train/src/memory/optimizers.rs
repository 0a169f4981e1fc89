//! What training a model takes with each optimizer.

use rappel_config::Family;
use rappel_optim::{Footprint, OPTIMIZERS, OptimizerConfig};
use rappel_schedule::Horizon;
use rappel_tensor::{Entry, Params};
use toml::{Table, Value};

use crate::TrainError;

/// What training takes with an optimizer at its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingMemory {
    /// The optimizer's name.
    pub optimizer: &'static str,
    /// Bytes, beside activations: parameters, gradients, state, and what a step takes and gives back, at most.
    pub bytes: usize,
}

/// The optimizers by what training all of `params` takes with them, the least first. Allocates nothing.
pub(crate) fn by_optimizer(params: &Params) -> Result<Vec<TrainingMemory>, TrainError> {
    let gradient = |entry: &Entry| entry.dtype.size() + entry.dtype.accumulator().size();
    let entries = params.entries();
    let base: usize = entries.iter().map(|entry| entry.shape.count() * gradient(entry)).sum();
    let with = |optimizer: &'static str| {
        let mut given = Table::from_iter([("name".to_owned(), Value::from(optimizer))]);
        let fields = OPTIMIZERS.info(optimizer)?.fields;
        if fields.iter().any(|field| field.name == "lr") {
            given.insert("lr".to_owned(), 1e-3.into());
        }
        let options = OPTIMIZERS.resolve_options("optimizer", &given)?;
        let config = OptimizerConfig::from_section(&options, Horizon { steps: 1 }, 1.0)?;
        let Footprint { state, working, .. } = Footprint::of(&config, params)?;
        Ok(TrainingMemory { optimizer, bytes: base + state + working })
    };
    let names = OPTIMIZERS.names().into_iter();
    let mut found = names.map(with).collect::<Result<Vec<_>, TrainError>>()?;
    found.sort_by_key(|memory| memory.bytes);
    Ok(found)
}
