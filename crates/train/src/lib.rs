#![forbid(unsafe_code)]
//! Training runs: from a config to a trained model, by way of checkpoints that no kill can spoil.
//!
//! A [`Config`] is parsed, completed and checked; [`Run::create`] builds everything that it names
//! before it writes anything; [`Run::train`] descends. [`Run::resume`] continues from the newest whole
//! checkpoint to the same bits, for whatever is not in a checkpoint is a pure function of the config
//! and the step. What happens is an event, which the sinks of the config and an [`Observer`] take.
//!
//! The loop is in `descent.rs`. What is learned is a [`Learner`]: a dataset, a model and an [`Objective`]; the
//! tasks of a config wire them, one file each in `tasks/`.

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
mod histograms;
mod json;
mod learner;
mod length;
mod lr_find;
mod memory;
mod metrics;
mod model_dir;
mod models;
mod noise;
mod objectives;
mod observer;
mod origin;
mod own;
mod parts;
mod pass;
mod pictures;
mod precision;
mod replay;
mod report;
mod review;
mod run;
mod run_dir;
mod scheduled;
mod step_loss;
mod surface;
mod task;
mod tasks;

pub use config::{
    BatchSizeConfig, CheckpointOptions, Config, RunOptions, TelemetryOptions, TrainOptions, fields,
};
pub use early_stopping::EarlyStoppingOptions;
pub use error::TrainError;
pub use families::families;
pub use functions::{FUNCTIONS, Function};
pub use learner::{Frozen, Learner, Model};
pub use lr_find::{LrFind, LrFound, RangePoint, Trial, lr_find};
pub use memory::{Needs, Shortage, TrainingMemory};
pub use metrics::{Metric, Validation};
pub use models::{
    Candidates, Catalogue, Converted, Embedder, EmbedderOptions, Embeddings, EncoderSummary,
    Equation, EvaluateOptions, Evaluation, EvaluationOptions, GeneratedText, GenerationConfig,
    ImageClassifier, Importance, Importances, InitLora, KINDS, LanguageSummary, Loading,
    LoraOptions, MaskedLanguageModel, Merged, ModelKind, Output, Permuting, PredictOptions,
    Predictions, Pretrained, Prompt, QuantType, QuantizationOptions, RaterModel, RecommenderModel,
    RewardModel, Scores, Speed, TabularModel, Targets, TensorGroup, TextClassifier, TextOptions,
    TrainedModel, convert, load_adapted, load_language_model, load_model, load_with_adapters,
    merge, model_folder,
};
pub use objectives::{
    Answer, BatchOf, Distance, EmbeddingLoss, EmbeddingLossOptions, ImageClass, MaskedToken,
    NextToken, Objective, RatedOptions, RatedPairs, RatingCost, Recommended, RecommendedOptions,
    Sample, Show, Supervised, TableTarget, TextLabel, TextSimilarity,
};
pub use observer::{Notes, Observer};
pub use pass::Pass;

pub use rappel_files::{Destination, FileError};
pub use rappel_optim::{OPTIMIZERS, ScheduledValue};
pub use replay::{ReplayError, Replayed, replay};
pub use report::{Baseline, Ended, Report};
pub use review::{Newest, Verdict};
pub use run::Run;
pub use run_dir::RunDir;
pub use scheduled::{Varied, scheduled};
pub use surface::{Path, Surface};
pub use task::Task;
pub use tasks::{
    Prepare, Prepared, ShownImages, TASKS, TaskEntry, TuningData, shown_images, tuning_data,
};
