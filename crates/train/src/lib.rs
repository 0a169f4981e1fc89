#![forbid(unsafe_code)]
//! Training runs: from a config to a trained model, by way of checkpoints that no kill can spoil.
//!
//! A [`Config`] is parsed, completed and checked; [`Run::create`] builds everything that it names
//! before it writes anything; [`Run::train`] descends. [`Run::resume`] goes on from the newest whole
//! checkpoint to the same bits, for whatever is not in a checkpoint is a pure function of the config
//! and the step. An [`Observer`] watches, and may ask to stop: this library never prints.
//!
//! The loop is in `descent.rs`; what is learned stands behind [`Task`], one file each in `tasks/`.

mod checkpoint;
mod config;
mod descent;
mod early_stopping;
mod ending;
mod error;
mod events;
mod families;
mod follower;
mod functions;
mod guards;
mod json;
mod length;
mod lr_find;
mod memory;
mod metrics;
mod model_dir;
mod noise;
mod objective;
mod observer;
mod origin;
mod parts;
mod pass;
mod precision;
mod pretrained;
mod replay;
mod report;
mod run;
mod run_dir;
mod scheduled;
mod sound;
mod summary;
mod surface;
mod tabular;
mod tasks;

pub use config::{
    BatchSizeConfig, CheckpointOptions, Config, RunOptions, TelemetryOptions, TrainOptions, fields,
};
pub use early_stopping::EarlyStoppingOptions;
pub use error::TrainError;
pub use families::families;
pub use functions::{FUNCTIONS, Function};
pub use lr_find::{LrFind, LrFound, RangePoint, Trial, lr_find};
pub use memory::{Needs, Shortage};
pub use metrics::{Metric, Validation};
pub use observer::{Note, Observer, Started, Step};
pub use pass::Pass;
pub use pretrained::{Evaluation, Pretrained, model_folder};

pub use rappel_files::{Destination, FileError};
pub use rappel_optim::ScheduledValue;
pub use replay::{ReplayError, Replayed, replay};
pub use report::{Baseline, Ended, Report};
pub use run::{Console, Run};
pub use run_dir::RunDir;
pub use scheduled::{Varied, scheduled};
pub use summary::{LanguageSummary, TensorGroup};
pub use surface::{Path, Surface};
pub use tabular::{
    Equation, Importance, Importances, Permuting, Predictions, Scores, TabularModel,
};
pub use tasks::{Build, TASKS, Task, TaskEntry};
