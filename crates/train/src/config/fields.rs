//! The sections and keys of a config.

use std::path::PathBuf;

use rappel_config::{Field, InvalidOption, Kind, OptionSet, Options};
use rappel_optim::{AVERAGES, OPTIMIZERS};
use rappel_regularize::REGULARIZERS;
use rappel_schedule::SCHEDULES;
use rappel_telemetry::{SINKS, check_sections};

use super::train::TrainOptions;
use crate::early_stopping::EarlyStoppingOptions;
use crate::tasks::TaskEntry;

/// What a config says, whatever is learned; see [`fields`] for all keys of a task's.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct RunOptions {
    /// what is learned; see `rappel list tasks`
    #[option(default = super::DEFAULT_TASK.to_owned())]
    pub task: String,
    /// chooses all random numbers and the order of data
    #[option(default = 0)]
    pub seed: u64,
    /// where the model is trained: "cpu", "cuda:0" (the first NVIDIA GPU, experimental), or "auto", a GPU where one works, else
    /// the processor; see `rappel devices`
    #[option(default = "cpu".to_owned(), changeable)]
    pub device: String,
    /// directory of the run; unset: `runs/<config name>-<n>`
    pub out: Option<String>,
    /// run, or checkpoint of one, whose parameters, optimizer state and step this run continues from
    pub from: Option<PathBuf>,
    /// SHA-256 of the manifest.json of the checkpoint `from`; the run's own config.toml holds it
    pub from_sha256: Option<String>,
    /// how it learns
    #[option(kind = Kind::Section(&OPTIMIZERS))]
    pub optimizer: Options,
    /// factor of the learning rate, by step
    #[option(kind = Kind::Section(&SCHEDULES), default_name = "constant")]
    pub schedule: Options,
    /// techniques that reduce overfitting; see `rappel list regularizers`
    #[option(kind = Kind::Sections(&REGULARIZERS), default)]
    #[option(aka("regularization", "regularizers"))]
    pub regularize: Vec<Options>,
    /// the average of the weights that is validated, and kept in the end
    #[option(kind = Kind::Section(&AVERAGES))]
    pub average: Option<Options>,
    /// how long, and in what portions
    #[option(default)]
    pub train: TrainOptions,
    /// when validation no longer gets better; the best model is kept
    pub early_stopping: Option<EarlyStoppingOptions>,
    /// what a killed run continues from
    #[option(default)]
    pub checkpoint: CheckpointOptions,
    /// where events are written
    #[option(default)]
    pub telemetry: TelemetryOptions,
}

impl RunOptions {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.from_sha256.is_some() && self.from.is_none() {
            return Err(InvalidOption::new(
                "from_sha256",
                "there is no `from` that it could be of",
            ));
        }
        if self.early_stopping.is_some() && self.train.eval_every == 0 {
            let reason = "early_stopping watches validations, and 0 means one at the end; set it to the \
                          steps between two";
            return Err(InvalidOption::new("train.eval_every", reason));
        }
        Ok(())
    }
}

/// Every key of a task's config, in the order in which a resolved one is written: its own sections
/// stand before that of the optimizer.
pub fn fields(task: &TaskEntry) -> Vec<Field> {
    let all = RunOptions::FIELDS;
    let own = all.iter().position(|field| matches!(field.kind, Kind::Section(_)));
    let (run, descent) = all.split_at(own.unwrap_or(all.len()));
    [run, task.fields, descent].concat()
}

/// The section `checkpoint`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct CheckpointOptions {
    /// steps between checkpoints
    #[option(default = 1000, range = 1.., aka("save_steps", "save_every"), changeable)]
    pub every: u64,
    /// how many of the newest are kept
    #[option(default = 2, range = 1.., aka("save_total_limit"), changeable)]
    pub keep: usize,
}

/// The section `telemetry`.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct TelemetryOptions {
    /// where events are written: names, or tables with a name and options; see `rappel list sinks`
    #[option(kind = Kind::Sections(&SINKS), default = standard_sinks())]
    #[option(aka("report_to"), changeable)]
    pub sinks: Vec<Options>,
}

/// The sinks of a run whose config names none.
fn standard_sinks() -> Vec<Options> {
    let section = |name: &str| {
        let named = [("name".to_owned(), name.into())].into_iter().collect();
        SINKS.resolve("telemetry.sinks", &named).expect("a sink that needs no options").1
    };
    ["jsonl", "tensorboard"].map(section).to_vec()
}

impl TelemetryOptions {
    /// The sinks are opened only when the run's directory is made, so they are checked here.
    fn check(&self) -> Result<(), InvalidOption> {
        check_sections(&self.sinks).map_err(|reason| InvalidOption::new("sinks", reason))
    }
}
