//! Arithmetic modulo a number, learned from a part of its table.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{HeldOut, ModularArithmetic, ModularArithmeticOptions, Pairs};
use rappel_model::{ARCHITECTURES, Pretrained};

use super::{Prepared, TaskEntry};
use crate::objectives::Answer;
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "modular_arithmetic",
    summary: "a op b modulo p from a part of all pairs: where grokking is seen",
    reference: "Power et al., Grokking, https://arxiv.org/abs/2201.02177",
    fields: &[
        Field::table(
            "data",
            ModularArithmeticOptions::FIELDS,
            "which table, and how much of it is shown",
        ),
        Field::required("model", Kind::Section(&ARCHITECTURES), "what learns"),
    ],
    build: prepare,
};

/// Pairs of a validation's batch.
const VALIDATED: usize = 1024;

fn prepare(config: &Config, _: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let section = config.section("model");
    let options = ModularArithmeticOptions::from_options(config.section("data"))?;
    let [data, held_out] = ModularArithmetic::sides(&options, config.seed())?;
    let architecture = ARCHITECTURES.lookup_at("model.name", section.name())?.build;
    let sizes = (architecture.configure)(section, Some(data.modulus() + 1))?;
    if sizes.max_positions() < Pairs::TIME {
        let reason = format!("`a b =` takes {} positions; raise it", Pairs::TIME);
        return Err(section.invalid("n_positions", reason).into());
    }
    let completed = config.with("model", "vocab_size", sizes.vocab_size() as i64)?;
    let (data, held_out) = (std::sync::Arc::new(data), HeldOut::new(held_out, VALIDATED));
    Ok(Prepared::new(completed, move |config| {
        let mut params = config.params(sizes.dtype())?;
        let model = sizes.build(&mut params);
        let model = Pretrained::new(model, params, Vec::new());
        Ok(Learner::new(model, data.clone(), Answer).held_out(Some(held_out.clone())))
    }))
}
