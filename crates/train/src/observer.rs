//! What a run tells while it goes, and how it is asked to stop.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Metric, Shortage, Validation};

/// Who watches a run: a progress bar, a log, a test. Every method has a default that does nothing.
///
/// ```
/// use rappel_train::{Observer, Step};
/// #[derive(Default)]
/// struct Losses(Vec<f64>);
/// impl Observer for Losses {
///     fn step(&mut self, step: &Step) {
///         self.0.push(step.loss);
///     }
///     fn should_stop(&self) -> bool {
///         self.0.last().is_some_and(|loss| *loss < 0.1)
///     }
/// }
/// ```
pub trait Observer {
    /// Something is about to take time, such as reading the corpus.
    fn stage(&mut self, _what: &str) {}
    /// The run is ready for its first step.
    fn started(&mut self, _start: &Started) {}
    /// A step is done.
    fn step(&mut self, _step: &Step) {}
    /// What a validation found, and what it measured.
    fn evaluated(&mut self, _found: &Validation, _metrics: &[Metric]) {}
    /// A checkpoint is on the disk.
    fn saved(&mut self, _step: u64, _path: &Path) {}
    /// Something that the user should know.
    fn note(&mut self, _note: Note) {}
    /// Whether a run begins that memory may not suffice for.
    fn forces(&self) -> bool {
        false
    }
    /// Whether to stop: asked after each step. The run then saves a checkpoint and returns.
    fn should_stop(&self) -> bool {
        false
    }
}

/// An observer that looks away.
impl Observer for () {}

/// What a run is, before its first step.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// The run's directory.
    pub dir: PathBuf,
    /// Steps taken before: 0, or those of the checkpoint it goes on from.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Numbers that are trained.
    pub parameters: usize,
    /// What the data is, in a line.
    pub data: String,
    /// The instructions of matrix products of bfloat16, as `RAPPEL_BF16` names them, where the run has any.
    pub bf16_kernel: Option<&'static str>,
}

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Steps taken, this one included.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Training loss of this step's batch, before the step.
    pub loss: f64,
    /// What regularizers added to that loss; none where nothing does.
    pub penalty: Option<f64>,
    /// The learning rate that the step used.
    pub lr: f64,
    /// Global norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// What the loss is a mean over, in the plural, such as `tokens`.
    pub unit: &'static str,
    /// How many of these a second of this step took in.
    pub units_per_second: f64,
}

/// Something that the user should know and the run could go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The run ends before its last step.
    StoppedEarly {
        /// The steps taken.
        step: u64,
        /// What was watched.
        metric: &'static str,
        /// The step of its best value.
        best: u64,
    },
    /// A setting gave a section of the config another name, and so dropped keys.
    DroppedKeys {
        /// The section.
        section: String,
        /// What it names now.
        name: String,
        /// What it named before.
        old: String,
        /// The keys that the new one does not have.
        keys: Vec<String>,
    },
    /// The run was computed on another instruction set so far, which rounds otherwise.
    OtherSimd {
        /// That of the checkpoint.
        saved: String,
        /// That of this process.
        now: String,
    },
    /// What a sink found of the record of a run that is resumed.
    Record(String),
    /// A file of the model that was changed since the run wrote it.
    KeptFile {
        /// The file.
        path: PathBuf,
        /// Where what was there is now.
        kept: PathBuf,
    },
    /// The file system of a run's directory knows no locks.
    Unlocked {
        /// The directory.
        dir: PathBuf,
    },
    /// The run begins although it may need more memory than there is.
    ShortOfMemory(Shortage),
    /// A checkpoint that does not agree with its manifest.
    SkippedCheckpoint {
        /// Its folder.
        path: PathBuf,
        /// How it disagrees.
        reason: String,
    },
    /// The run began where other instructions multiply bfloat16 numbers, to other bits.
    OtherKernel {
        /// Those, as `RAPPEL_BF16` names them.
        before: String,
        /// These.
        here: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoppedEarly { step, metric, best } => write!(
                f,
                "stopped after step {step}: validation {metric} has not got better since step {best}"
            ),
            Self::DroppedKeys { section, name, old, keys } => write!(
                f,
                "{section}.name = \"{name}\" drops what the config gives to `{old}` alone: {}",
                keys.join(", ")
            ),
            Self::OtherSimd { saved, now } => write!(
                f,
                "the checkpoint was computed with {saved} instructions, the steps from here on with {now}, which \
                 round differently: not to the bit what the same machine would give; RAPPEL_SIMD={saved} \
                 keeps to {saved} where the machine has it"
            ),
            Self::Record(text) => f.write_str(text),
            Self::KeptFile { path, kept } => write!(
                f,
                "{} was changed since the run wrote it; what was there is now {}",
                path.display(),
                kept.display()
            ),
            Self::Unlocked { dir } => write!(
                f,
                "the file system of {} knows no locks: see to it that no other process trains this run",
                dir.display()
            ),
            Self::ShortOfMemory(shortage) => write!(f, "{shortage}; begun anyway"),
            Self::SkippedCheckpoint { path, reason } => {
                write!(f, "passed over {}, which is not whole: {reason}", path.display())
            }
            Self::OtherKernel { before, here } => write!(
                f,
                "the run's matrix products used the instructions `{before}` so far and use `{here}` here, so \
                 that rounding differs; RAPPEL_BF16={before} keeps it the same where those exist"
            ),
        }
    }
}
