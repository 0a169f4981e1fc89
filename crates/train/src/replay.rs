//! An optimizer applied to gradients from a file: how anybody checks it against another's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rappel_config::{ConfigError, Field, Kind, OptionSet, Options, Range};
use rappel_files::Destination;
use rappel_optim::{OPTIMIZERS, Optimizer, OptimizerConfig};
use rappel_regularize::REGULARIZERS;
use rappel_schedule::{Horizon, SCHEDULES, ScheduleConfig};
use rappel_tensor::{
    DType, Device, Grads, Init, Param, Params, Shape, Tensor, TensorFile, write_tensors_to,
};
use thiserror::Error;
use toml::Table;

use crate::config::{BatchSizeConfig, clipping, fields};
use crate::scheduled::Variable;
use crate::{Config, Notes, TASKS, TrainError};

/// Why gradients could not be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A tensor of the input has a name that is neither `param.NAME` nor `grad.STEP.NAME`.
    #[error("{}: tensor `{name}`: expected `param.NAME` or `grad.STEP.NAME`, STEP counted from 0", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The input lacks something.
    #[error("{}: {what}", path.display())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// A tensor is of a type or shape that it cannot be of.
    #[error("{}: tensor `{name}` is {found}; {wanted}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type and shape.
        found: String,
        /// What it should be.
        wanted: String,
    },
}

/// What was replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The optimizer's name.
    pub optimizer: String,
    /// How many steps.
    pub steps: u64,
    /// How many parameters, as tensors.
    pub tensors: usize,
    /// Bytes of optimizer state.
    pub state_bytes: usize,
    /// What the settings did beyond what they say.
    pub notes: Vec<String>,
}

/// The sections of a config that say what an optimizer does.
#[derive(Debug, Options)]
pub(crate) struct OptimizerSections {
    /// chooses random rounding
    #[option(default = 0)]
    seed: u64,
    /// the optimizer
    #[option(kind = Kind::Section(&OPTIMIZERS))]
    optimizer: Options,
    /// factor of lr
    #[option(kind = Kind::Section(&SCHEDULES), default_name = "constant")]
    schedule: Options,
    /// clipping, and the length of schedules
    #[option(default)]
    pub train: Clipping,
    /// regularizers: drawn with the other schedules
    #[option(kind = Kind::Sections(&REGULARIZERS), default)]
    regularize: Vec<Options>,
}

/// What of the section `train` counts.
#[derive(Debug, Options)]
pub(crate) struct Clipping {
    /// the length of schedules; unset: the file's
    #[option(range = 1..)]
    pub steps: Option<u64>,
    /// clips by norm; 0: never
    #[option(range = 0.0..)]
    max_grad_norm: Option<ScheduleConfig>,
    /// clips by value
    #[option(range = Range::above(0.0))]
    clip_value: Option<f64>,
    /// drawn with the other schedules
    #[option(default = 8)]
    batch_size: BatchSizeConfig,
}

impl OptimizerSections {
    /// The options that may follow a schedule.
    pub fn variable(&self) -> Variable<'_> {
        Variable {
            optimizer: &self.optimizer,
            schedule: &self.schedule,
            regularize: &self.regularize,
            max_grad_norm: self.train.max_grad_norm.as_ref(),
            batch_size: &self.train.batch_size,
        }
    }
}

/// Applies the optimizer of a config to the tensors `param.NAME` with the gradients
/// `grad.STEP.NAME` (STEP from 0) of the safetensors file `input`, and writes `param.STEP.NAME` after
/// each step to `output`. It computes in the type of each parameter.
///
/// Of the config only `[optimizer]` must be there; `[schedule]`, and the clipping that `[train]`
/// names, are applied; its other sections are passed over. A parameter without gradient at a
/// step is left alone, as PyTorch does.
///
/// # Errors
/// A wrong key; a file that lacks tensors or holds others; what the optimizer refuses. Then nothing
/// is written.
pub fn replay(
    config: &str,
    settings: &[&str],
    device: Device,
    input: &Path,
    output: &Destination,
) -> Result<Replayed, TrainError> {
    let mut notes = Notes::default();
    let options = sections(&Config::table(config, settings, &mut notes)?)?;
    let gradients = Gradients::open(input)?;
    let recipe = recipe(&options, gradients.steps)?;
    let mut params = Params::new(0).on(device);
    let held = gradients.register(&mut params);
    for (param, name) in held.iter().zip(&gradients.params) {
        params.set(param, &gradients.file.tensor(&format!("param.{name}"))?)?;
    }
    let mut optimizer = Optimizer::new(recipe, &params)?;
    let mut written: Vec<(String, Tensor)> = Vec::new();
    for step in 0..gradients.steps {
        let grads = gradients.at(step, &held)?;
        optimizer.step(step, &mut params, &grads)?;
        let after = params.tensors().into_iter();
        written.extend(after.map(|(name, value)| (format!("param.{step}.{name}"), value.copied())));
    }
    output.write(|out| write_tensors_to(out, written, &BTreeMap::new()))?;
    Ok(Replayed {
        optimizer: options.optimizer.name().to_owned(),
        steps: gradients.steps,
        tensors: held.len(),
        state_bytes: optimizer.state_bytes(),
        notes: notes.0,
    })
}

/// The sections that count, completed; the others' names are checked, not what they hold.
pub(crate) fn sections(given: &Table) -> Result<OptimizerSections, ConfigError> {
    let counts = |key: &str| OptimizerSections::FIELDS.iter().any(|field| field.name == key);
    let known: Vec<Field> = TASKS.entries.iter().flat_map(fields).collect();
    let passed_over = |key: &str| !counts(key) && known.iter().any(|field| field.name == key);
    let mut given = given.clone();
    given.retain(|key, _| !passed_over(key));
    if let Some(toml::Value::Table(train)) = given.get_mut("train") {
        train.retain(|key, _| Clipping::FIELDS.iter().any(|field| field.name == key));
    }
    OptimizerSections::from_toml("", &given)
}

fn recipe(options: &OptimizerSections, steps: u64) -> Result<OptimizerConfig, TrainError> {
    let train = &options.train;
    let horizon = Horizon { steps: train.steps.unwrap_or(steps) };
    let mut recipe =
        OptimizerConfig::from_sections(&options.optimizer, &options.schedule, horizon)?;
    let norm = train.max_grad_norm.as_ref().map(|norm| clipping(norm, horizon)).transpose()?;
    if let Some(norm) = norm.flatten() {
        recipe = recipe.max_grad_norm(norm);
    }
    if let Some(limit) = train.clip_value {
        recipe = recipe.clip_value(limit);
    }
    Ok(recipe.seed(options.seed).allow_missing())
}

/// What a file of parameters and gradients holds.
struct Gradients {
    file: TensorFile,
    params: Vec<String>,
    steps: u64,
}

impl Gradients {
    fn open(path: &Path) -> Result<Self, TrainError> {
        let file = TensorFile::open(path)?;
        let (mut params, mut grads) = (Vec::new(), BTreeMap::<u64, Vec<String>>::new());
        for full in file.names() {
            let grad = |rest: &str| {
                let (step, name) = rest.split_once('.')?;
                Some((step.parse().ok()?, name.to_owned()))
            };
            if let Some(name) = full.strip_prefix("param.") {
                params.push(name.to_owned());
            } else if let Some((step, name)) = full.strip_prefix("grad.").and_then(grad) {
                grads.entry(step).or_default().push(name);
            } else {
                return Err(ReplayError::Name { path: path.to_owned(), name: full }.into());
            }
        }
        let steps = grads.len() as u64;
        let gradients = Self { file, params, steps };
        gradients.check(&grads)?;
        Ok(gradients)
    }

    /// Whether every step from 0 has gradients, each like its parameter.
    fn check(&self, grads: &BTreeMap<u64, Vec<String>>) -> Result<(), ReplayError> {
        let path = self.file.path();
        let lacks = |what: String| ReplayError::Lacks { path: path.to_owned(), what };
        if self.params.is_empty() {
            return Err(lacks("holds no tensor `param.NAME` to begin with".to_owned()));
        }
        let mut kinds = BTreeMap::new();
        for name in &self.params {
            let full = format!("param.{name}");
            let kind = (self.file.dtype(&full), self.file.shape(&full));
            if !kind.0.is_some_and(DType::is_float) {
                let (found, wanted) = (told(kind), "wanted in f64, f32 or bf16".to_owned());
                return Err(ReplayError::Unfit {
                    path: path.to_owned(),
                    name: full,
                    found,
                    wanted,
                });
            }
            kinds.insert(name, kind);
        }
        if let Some(step) = (0..self.steps.max(1)).find(|step| !grads.contains_key(step)) {
            return Err(lacks(format!("holds no gradient `grad.{step}.NAME`; steps count from 0")));
        }
        for (step, name) in
            grads.iter().flat_map(|(step, names)| names.iter().map(move |n| (step, n)))
        {
            let full = format!("grad.{step}.{name}");
            let Some(wanted) = kinds.get(name) else {
                return Err(lacks(format!("holds `{full}` without `param.{name}`")));
            };
            let found = (self.file.dtype(&full), self.file.shape(&full));
            if found != *wanted {
                let (found, wanted) = (told(found), format!("its parameter is {}", told(*wanted)));
                return Err(ReplayError::Unfit {
                    path: path.to_owned(),
                    name: full,
                    found,
                    wanted,
                });
            }
        }
        Ok(())
    }

    /// Registers all parameters, each in its own type.
    fn register(&self, params: &mut Params) -> Vec<Param> {
        let add = |name: &String| {
            let value = self.file.tensor(&format!("param.{name}")).expect("it was read before");
            params.scope("").dtype(value.dtype()).add(name, value.shape(), Init::ZEROS)
        };
        self.params.iter().map(add).collect()
    }

    fn at(&self, step: u64, params: &[Param]) -> Result<Grads, TrainError> {
        let mut grads = Grads::default();
        for (param, name) in params.iter().zip(&self.params) {
            let full = format!("grad.{step}.{name}");
            if self.file.shape(&full).is_some() {
                let grad = self.file.tensor(&full)?;
                let dtype = grad.dtype().accumulator();
                grads.add(param, &grad.to_dtype(dtype));
            }
        }
        Ok(grads)
    }
}

/// A tensor's type and shape, in words.
fn told((dtype, shape): (Option<DType>, Option<Shape>)) -> String {
    let text = |part: Option<String>| part.unwrap_or_default();
    format!("{} {}", text(dtype.map(|d| d.to_string())), text(shape.map(|s| s.to_string())))
}
