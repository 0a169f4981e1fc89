//! Supervised fine-tuning of a language model.

use std::sync::Arc;

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{Dataset, RowsConfig, Sft, SftConfig, SftModel, SftSamples};

use super::{Prepared, TaskEntry};
use crate::models::{Base, MODELS};
use crate::objectives::Supervised;
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "sft",
    summary: "supervised fine-tuning: a pretrained model learns the answers of conversations, prompts or texts",
    reference: "Ouyang et al., Training language models to follow instructions with human feedback, 2022",
    fields: &[
        Field::required("data", Kind::Table(SftConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let data = SftConfig::from_options(config.section("data"))?;
    let base = open_base(config, &data.rows, observer)?;
    observer.stage("reading the rows")?;
    let found = base.rows(config, &data)?;
    let skipped = skipped(&found.skipped);
    let Sft { training, held_out, eos, .. } = found;
    let notes = [Some(described(&training)), skipped].into_iter().flatten().collect();
    let training = Arc::new(training.with_details(notes));
    let completed = config.with("model", "sha256", base.sha256())?;
    let completed = completed.with("model", "pretrained", base.absolute_path()?)?;
    let held_out = completed.held_out(held_out, training.len())?;
    let is_new = data.rows.eos_token.is_some();
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(completed, move |config| {
        let mut model = base.load(config.params(base.config().dtype())?)?;
        if is_new {
            model.set_eos(eos);
        }
        Ok(Learner::new(model, training.clone(), Supervised).held_out(held_out.clone()))
    }))
}

/// A note of rows that were left out, if there are some.
pub(super) fn skipped(skipped: &[String]) -> Option<String> {
    let first = skipped.first()?;
    Some(format!("{} rows are left out, the first: {first}", skipped.len()))
}

/// The base of a config, before any of its rows is read.
pub(super) fn open_base(
    config: &Config,
    data: &RowsConfig,
    observer: &mut dyn Observer,
) -> Result<Base, TrainError> {
    let section = config.section("model");
    if !Base::is_in(section) {
        let reason = "fine-tuning begins at a model that was trained before; give model.pretrained in its place";
        return Err(section.invalid("name", reason).into());
    }
    observer.stage("reading the pretrained model")?;
    let mut base = Base::open(section, None, observer)?;
    let positions = base.config().max_positions();
    if let Some(length) = data.max_length.filter(|length| *length > positions) {
        let reason = format!(
            "samples of {length} tokens are longer than the model's {positions} positions; lower it"
        );
        return Err(config.section("data").invalid("max_length", reason).into());
    }
    if let Some(path) = &data.chat_template {
        let source = std::fs::read_to_string(path).map_err(TrainError::io("read", path))?;
        base.set_chat_template(source);
    }
    Ok(base)
}

impl Base {
    /// The rows that a section `data` names, as this model reads them.
    pub(crate) fn rows(&self, config: &Config, data: &SftConfig) -> Result<Sft, TrainError> {
        let stops = self.eos_token_id()?;
        let model = SftModel {
            tokenizer: self.tokenizer(),
            stops: &stops,
            positions: self.config().max_positions(),
        };
        Ok(Sft::build(data, config.seed(), &model)?)
    }
}

/// The rows, how much of them is trained, and how many are cut.
fn described(samples: &SftSamples) -> String {
    let rows = samples.rows();
    let count = rows.len();
    let (mut trained, mut all, mut cut) = (0, 0, 0);
    for row in rows {
        trained += row.weights.iter().filter(|weight| **weight > 0.0).count();
        all += row.ids.len();
        cut += usize::from(row.cut > 0);
    }
    let share = 100.0 * trained as f64 / all as f64;
    let packed = if samples.len() == count {
        String::new()
    } else {
        format!(", packed into {} samples", samples.len())
    };
    let cuts = match cut {
        0 => String::new(),
        _ => format!(", {cut} cut to {} tokens", samples.max_length()),
    };
    format!("{count} rows, {share:.1}% of their tokens trained{packed}{cuts}")
}
