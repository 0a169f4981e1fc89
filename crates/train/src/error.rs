//! What can go wrong with a run.

use std::io;
use std::path::{Path, PathBuf};

use rappel_config::ConfigError;
use rappel_data::DataError;
use rappel_files::{FileError, advice};
use rappel_model::{FilesError, GenerateError};
use rappel_optim::OptimError;
use rappel_telemetry::TelemetryError;
use rappel_tensor::{ParamsError, StorageError};
use thiserror::Error;

use crate::Shortage;

/// Why a run did not begin or continue: what, where, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A config that is not valid TOML.
    #[error("{origin}: {reason}")]
    Toml {
        /// The file, or the override.
        origin: String,
        /// What is wrong and where.
        reason: String,
    },
    /// A config key is wrong.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The data.
    #[error(transparent)]
    Data(Box<DataError>),
    /// Parameters that cannot be changed or loaded.
    #[error(transparent)]
    Params(Box<ParamsError>),
    /// A file of tensors.
    #[error(transparent)]
    Storage(Box<StorageError>),
    /// The optimizer.
    #[error(transparent)]
    Optim(Box<OptimError>),
    /// A model's files.
    #[error(transparent)]
    Model(Box<FilesError>),
    /// A text that cannot be generated.
    #[error(transparent)]
    Generate(Box<GenerateError>),
    /// A generation_config.json that cannot be followed.
    #[error("{path}: {reason}")]
    GenerationConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A run that does not fit into memory.
    #[error(
        "{0}; lower train.batch_size, with more train.gradient_accumulation_steps for the same step, set \
         model.gradient_checkpointing where the model has it, take an optimizer with less state or \
         state_dtype = \"8bit\", or begin anyway with --force"
    )]
    Memory(Box<Shortage>),
    /// The record of the run.
    #[error(transparent)]
    Telemetry(Box<TelemetryError>),
    /// Gradients that cannot be replayed.
    #[error(transparent)]
    Replay(Box<crate::ReplayError>),
    /// The system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a model that cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that TOML and JSON cannot hold.
    #[error("{:?} is not UTF-8, which config and records could not hold; rename it", path)]
    Name {
        /// The path.
        path: PathBuf,
    },
    /// A new run where something is already.
    #[error(
        "{0} is not empty; resume the run there with `rappel train --resume {0}`, or give \
         another --out",
        dir.display()
    )]
    RunExists {
        /// The directory.
        dir: PathBuf,
    },
    /// A model that is neither a path nor to be had from the hub.
    #[error(
        "there is no folder or file `{name}`, so it was looked for on the Hugging Face Hub: {source}"
    )]
    Hub {
        /// What was given.
        name: String,
        /// Why the hub did not give it.
        source: Box<rappel_hub::HubError>,
    },
    /// A model that is to be written where something is already.
    #[error("{} is there already; give another path, or remove it", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A type that a model cannot be written in.
    #[error("`{name}` is not a type of numbers in {place}; expected one of {known}")]
    NumberType {
        /// What was given.
        name: String,
        /// Where it is not: a folder, a GGUF file.
        place: &'static str,
        /// What is there.
        known: &'static str,
    },
    /// Nothing to resume.
    #[error("{} is not a run: it has no config.toml; give a directory that `rappel train` made", dir.display())]
    NoRun {
        /// The directory.
        dir: PathBuf,
    },
    /// A run that has no model yet.
    #[error(
        "{0} is a run that has not written its model yet; bring it to its end by `rappel train --resume {0}`",
        run.display()
    )]
    NoModel {
        /// The run's directory.
        run: PathBuf,
    },
    /// Another process trains the run.
    #[error(
        "{} is being trained by {holder}; wait for its end or stop it, then resume",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, its machine, and since when.
        holder: String,
    },
    /// A checkpoint that does without the parameters of another model.
    #[error(
        "{} holds what was trained of the pretrained model with SHA-256 {wanted}, and not the rest of it; {}",
        path.display(),
        found.as_ref().map_or(
            "here no parameter stays as a pretrained model has it".to_owned(),
            |found| format!("here model.pretrained is another one, with SHA-256 {found}")
        )
    )]
    OtherBase {
        /// The checkpoint.
        path: PathBuf,
        /// The hash of the model that it was made with.
        wanted: String,
        /// That of the model here.
        found: Option<String>,
    },
    /// A run that can learn nothing.
    #[error("step {step}: {reason}")]
    Hopeless {
        /// The step, counted from 1.
        step: u64,
        /// Why, and what to do.
        reason: String,
    },
    /// All checkpoints are torn or corrupt.
    #[error(
        "no checkpoint in {} is complete; bring one back from a copy, or remove the folder to begin \
         the run again",
        folder.display()
    )]
    NoWholeCheckpoint {
        /// The folder of checkpoints.
        folder: PathBuf,
    },
    /// The checkpoint that the run needs is torn or corrupt.
    #[error(
        "{} is not complete: {reason}; bring it back from a copy, or remove the later checkpoints and \
         resume, so that the run comes by it again",
        path.display()
    )]
    Torn {
        /// Its folder.
        path: PathBuf,
        /// How it disagrees with its manifest.
        reason: String,
    },
    /// A checkpoint that could not be saved.
    #[error(
        "cannot save the checkpoint of step {step}: {source}; earlier ones are as they were: once \
         that is mended, `rappel train --resume {}`",
        dir.display()
    )]
    Save {
        /// The step.
        step: u64,
        /// The run's directory.
        dir: PathBuf,
        /// Why not.
        source: Box<TrainError>,
    },
    /// What a checkpoint was made from is not what is there now.
    #[error("{}: {what} is not what the checkpoint was made with; {advice}", dir.display())]
    Changed {
        /// The run's directory.
        dir: PathBuf,
        /// What changed.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A model that does not know all of its tokenizer's tokens.
    #[error(
        "{}: the tokenizer has {tokens} tokens, the model {model_size}; give the tokenizer that the \
         model was trained with",
        folder.display()
    )]
    Vocabulary {
        /// The model's folder.
        folder: PathBuf,
        /// Of the tokenizer.
        tokens: usize,
        /// Of the model.
        model_size: usize,
    },
    /// A window or stride that cannot be.
    #[error("{what} {value} is out of range; expected 1 to {most}")]
    Window {
        /// Which of both.
        what: &'static str,
        /// What was given.
        value: usize,
        /// The largest that can be.
        most: usize,
    },
    /// A text in which nothing can be predicted.
    #[error("the text has {tokens} tokens; give one of at least 2, for the first is only read")]
    ShortText {
        /// Of the text.
        tokens: usize,
    },
    /// A text for an encoder that has no tokens.
    #[error("{text}: an empty text, for which the tokenizer makes no token; leave it out")]
    EmptyText {
        /// Where it stands.
        text: String,
    },
    /// An encoder without a way to make embeddings.
    #[error(
        "{}: has no modules.json, which says how embeddings are made of the states of tokens; choose with --pooling \
         mean or --pooling cls",
        folder.display()
    )]
    NoPooling {
        /// The model.
        folder: PathBuf,
    },
    /// A metric that the task does not measure, or that is not defined for the rows of a table.
    #[error("{reason}")]
    Metric {
        /// What is wrong with it.
        reason: String,
    },
    /// A run that only the program which began it can continue.
    #[error(
        "the dataset, model and objective of task \"own\" are those of a program; continue the run with that"
    )]
    OwnTask,
    /// A model that was asked for something that only others can do.
    #[error("this is {is}: {advice}")]
    Kind {
        /// What it is, with its article.
        is: &'static str,
        /// What to do.
        advice: String,
    },
    /// Data of a file that a model cannot be used on.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its data.
        source: Box<TrainError>,
    },
    /// The taker of generated text refused.
    #[error("cannot write the text: {0}")]
    Output(#[source] io::Error),
    /// A number that is NaN or infinite. No parameter was changed by the step.
    #[error(
        "step {step}: {what}; the first non-finite tensor is {tensor}; the batch has \
         the samples {}; lower the learning rate, or look at those samples",
        listed(samples)
    )]
    NonFinite {
        /// The step, counted from 1.
        step: u64,
        /// The loss, or the norm of the gradient.
        what: String,
        /// The tensor by name, with the position.
        tensor: String,
        /// The samples of the batch, by their number in the training data.
        samples: Vec<usize>,
    },
    /// Parameters or state that a step left with a NaN or an infinity: neither a checkpoint nor a model
    /// is made of them.
    #[error(
        "step {step} left {tensor} not finite, so nothing is saved of it; {}",
        back_to(kept.as_deref())
    )]
    Spoiled {
        /// The step, counted from 1.
        step: u64,
        /// The first tensor that is not finite, with the position.
        tensor: String,
        /// The newest checkpoint, if there is one.
        kept: Option<PathBuf>,
    },
    /// A search for a learning rate that found none.
    #[error(
        "every run diverged, with learning rates from {from:e} to {to:e}: look for what is wrong with the model or \
         the data, or try a smaller optimizer.lr"
    )]
    NoLearningRate {
        /// The smallest that was tried.
        from: f64,
        /// The largest.
        to: f64,
    },
    /// Parameters that the loss does not depend on.
    #[error(
        "step {step}: no gradient came to the parameter {name}{}; each trainable tensor must take \
         part in the loss: freeze what must not, or mend the model",
        and_others(*others)
    )]
    NoGradient {
        /// The step, counted from 1.
        step: u64,
        /// The first of them.
        name: String,
        /// How many others.
        others: usize,
    },
}

/// Boxed, so that results of steps that went well stay small.
macro_rules! from_boxed {
    ($($variant:ident($error:ty)),* $(,)?) => {$(
        impl From<$error> for TrainError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )*};
}

from_boxed! {
    Config(ConfigError),
    Data(DataError),
    Params(ParamsError),
    Storage(StorageError),
    Optim(OptimError),
    Model(FilesError),
    Generate(GenerateError),
    Telemetry(TelemetryError),
    Replay(crate::ReplayError),
}

impl From<FileError> for TrainError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

impl TrainError {
    pub(crate) fn in_file(path: &Path, source: Self) -> Self {
        Self::InFile { path: path.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// As many as tell something.
fn listed(samples: &[usize]) -> String {
    const MOST: usize = 16;
    let shown: Vec<_> = samples.iter().take(MOST).map(usize::to_string).collect();
    let more = samples.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

fn back_to(kept: Option<&Path>) -> String {
    match kept {
        Some(path) => format!(
            "the newest checkpoint is {0}: lower the learning rate from there on, by `rappel train CONFIG --from {0}`",
            path.display()
        ),
        None => {
            "there is no earlier checkpoint: lower the learning rate and begin again".to_owned()
        }
    }
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        n => format!(" and {n} more"),
    }
}
