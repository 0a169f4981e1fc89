//! What a run needs to continue, saved so that no moment can lose it.
//!
//! `checkpoints/step-N/` holds `params.safetensors`, `optimizer.safetensors`, `state.json` and
//! `manifest.json`, which lists size and checksum of the others. A checkpoint is written under a
//! hidden name, synced to the disk and then renamed, so a folder with a visible name was whole once;
//! the manifest says whether it still is.

mod manifest;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use rappel_files::{FileError, fresh_folder, move_over, publish, remove};
use rappel_optim::Optimizer;
use rappel_tensor::{Params, StreamedTensor, TensorFile, write_tensors_to};
use serde::{Deserialize, Serialize};

use crate::noise::NoiseScale;
use crate::{Frozen, Observer, TrainError, Validation};

use manifest::{Manifest, create_summed};
pub(crate) use manifest::{sha256, sha256_of_file};

const PARAMS: &str = "params.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const FORMAT: u32 = 2;

/// Named tensors, read while they are written.
pub(crate) type Named<'a> = Vec<StreamedTensor<'a>>;

/// The little that a run must remember beside its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The layout of checkpoints, so that a later version knows an earlier one's.
    pub format: u32,
    /// The version that wrote it.
    pub version: String,
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps that were planned.
    pub steps: u64,
    /// SHA-256 of what of the config decides the numbers.
    pub config: String,
    /// Print of the data.
    pub data: String,
    /// The instruction set that the newest steps were computed on: each rounds in its own way.
    pub simd: String,
    /// A hash of the files that hold the parameters which are not here, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Events that were logged.
    pub events: u64,
    /// The instructions of the run's products of bfloat16, where it has any: its bits depend on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16_kernel: Option<String>,
    /// The newest training losses, oldest first.
    #[serde(with = "crate::json::numbers")]
    pub losses: VecDeque<f64>,
    /// Figures of the same steps beside the loss, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// Every validation, in order.
    pub history: Vec<Validation>,
    /// The gradient noise scale, where it is measured.
    #[serde(default)]
    pub noise: NoiseScale,
}

/// Newest values of a figure of a task's steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    /// What it is, such as `rewards/margins`.
    pub name: String,
    /// Oldest first.
    #[serde(with = "crate::json::numbers")]
    pub values: VecDeque<f64>,
}

impl State {
    /// Before the first step.
    pub fn new(config: String, data: String, steps: u64) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            step: 0,
            steps,
            config,
            data,
            simd: rappel_tensor::level().to_string(),
            base: None,
            events: 0,
            bf16_kernel: None,
            losses: VecDeque::new(),
            figures: Vec::new(),
            history: Vec::new(),
            noise: NoiseScale::default(),
        }
    }
}

/// The folder of a run's checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    keep: usize,
    /// The step of one that is kept, however old.
    pub spare: Option<u64>,
}

/// A checkpoint that agrees with its manifest.
#[derive(Debug)]
pub(crate) struct Whole {
    pub path: PathBuf,
    pub state: State,
}

impl Whole {
    /// Puts what was saved into the parameters and the optimizer that it was saved from.
    pub fn restore(
        &self,
        params: &mut Params,
        optimizer: &mut Optimizer,
        frozen: Option<&Frozen>,
    ) -> Result<(), TrainError> {
        let found = frozen.map(|frozen| frozen.sha256.as_str());
        if let Some(wanted) = self.state.base.as_deref().filter(|wanted| Some(*wanted) != found) {
            let (path, wanted) = (self.path.clone(), wanted.to_owned());
            return Err(TrainError::OtherBase { path, wanted, found: found.map(str::to_owned) });
        }
        let known = |name: &str| frozen.is_some_and(|frozen| frozen.names.contains(name));
        params.load_without(&self.params()?, &known)?;
        Ok(optimizer.load_state(&self.optimizer()?)?)
    }

    /// SHA-256 of its manifest, which lists those of its files.
    pub fn sha256(&self) -> Result<String, TrainError> {
        manifest::sha256_of(&self.path)
    }

    fn params(&self) -> Result<TensorFile, TrainError> {
        Ok(TensorFile::open(self.path.join(PARAMS))?)
    }

    fn optimizer(&self) -> Result<TensorFile, TrainError> {
        Ok(TensorFile::open(self.path.join(OPTIMIZER))?)
    }
}

impl Checkpoints {
    /// Those in `folder`, of which saving leaves the newest `keep`.
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep, spare: None }
    }

    /// Saves one, then removes the oldest beyond those kept. If the system refuses, the earlier ones
    /// are all still there.
    pub fn save(
        &self,
        state: &State,
        params: Named,
        optimizer: Named,
    ) -> Result<PathBuf, TrainError> {
        let path = self.at(state.step);
        let beside = self.hidden(state.step, "partial");
        let saved = write(&beside, state, params, optimizer).and_then(|()| {
            // What stands there did not agree with its manifest, or the run had gone on from it.
            remove(&path)?;
            Ok(publish(&beside, &path)?)
        });
        if let Err(error) = saved {
            // The first error tells; half a checkpoint would only take room.
            let _ = remove(&beside);
            return Err(error);
        }
        self.prune(state.step)?;
        Ok(path)
    }

    /// The newest checkpoint that is whole, if there is any checkpoint; each one that had to be
    /// passed over is noted.
    pub fn newest_whole(&self, observer: &mut dyn Observer) -> Result<Option<Whole>, TrainError> {
        let mut steps = self.steps()?;
        let found = !steps.is_empty();
        while let Some(step) = steps.pop() {
            let path = self.at(step);
            match open(&path, step) {
                Ok(state) => return Ok(Some(Whole { path, state })),
                Err(Flaw::Torn(reason)) => {
                    let path = path.display();
                    observer
                        .note(&format!("passed over {path}, which is not complete: {reason}"))?;
                }
                Err(Flaw::Unreadable(error)) => return Err(error.into()),
            }
        }
        if found {
            return Err(TrainError::NoWholeCheckpoint { folder: self.folder.clone() });
        }
        Ok(None)
    }

    /// The checkpoint of `step`.
    pub fn of(&self, step: u64) -> Result<Whole, TrainError> {
        let path = self.at(step);
        match open(&path, step) {
            Ok(state) => Ok(Whole { path, state }),
            Err(Flaw::Torn(reason)) => Err(TrainError::Torn { path, reason }),
            Err(Flaw::Unreadable(error)) => Err(error.into()),
        }
    }

    /// Where the checkpoint of `step` is.
    pub fn at(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    fn hidden(&self, step: u64, what: &str) -> PathBuf {
        self.folder.join(format!(".step-{step}.{what}"))
    }

    /// The steps with a checkpoint, rising.
    fn steps(&self) -> Result<Vec<u64>, TrainError> {
        let number = |name: &str| name.strip_prefix("step-")?.parse().ok();
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|name| number(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn names(&self) -> Result<Vec<String>, TrainError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(TrainError::io("read", &self.folder))?,
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            Ok(entry.map_err(TrainError::io("read", &self.folder))?.file_name())
        };
        let names = entries.map(name).collect::<Result<Vec<_>, TrainError>>()?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Removes what is older than the newest `keep` up to `step`, and leftovers of killed runs.
    pub fn prune(&self, step: u64) -> Result<(), TrainError> {
        let steps = self.steps()?;
        let older: Vec<u64> = steps.into_iter().filter(|other| *other <= step).collect();
        for old in older.iter().rev().skip(self.keep).filter(|old| self.spare != Some(**old)) {
            // Renamed first, so that a kill leaves no visible checkpoint with files missing.
            let gone = self.hidden(*old, "gone");
            remove(&gone)?;
            move_over(&self.at(*old), &gone)?;
        }
        for name in self.names()?.iter().filter(|name| name.starts_with(".step-")) {
            remove(&self.folder.join(name))?;
        }
        Ok(())
    }
}

fn write(folder: &Path, state: &State, params: Named, optimizer: Named) -> Result<(), TrainError> {
    fresh_folder(folder)?;
    let tensors = |name, tensors: Named| {
        create_summed(folder, name, |out| write_tensors_to(out, tensors, &BTreeMap::new()))
    };
    let json = serde_json::to_vec_pretty(state).expect("JSON with texts for keys");
    // Summing up takes about as long as the disk: both files at once keep the disk busy.
    let (params, optimizer) = thread::scope(|scope| {
        let params = scope.spawn(|| tensors(PARAMS, params));
        let optimizer = tensors(OPTIMIZER, optimizer);
        (params.join().unwrap_or_else(|panic| resume_unwind(panic)), optimizer)
    });
    let state = create_summed(folder, STATE, |out| out.write_all(&json))?;
    Manifest::write(folder, [(PARAMS, params?), (OPTIMIZER, optimizer?), (STATE, state)])
}

/// Why a checkpoint cannot be resumed from.
enum Flaw {
    /// Its files are not those that were written.
    Torn(String),
    /// The system does not let them be read now, which says nothing about what they hold.
    Unreadable(FileError),
}

impl From<String> for Flaw {
    fn from(reason: String) -> Self {
        Self::Torn(reason)
    }
}

impl Flaw {
    /// For a file of a checkpoint that could not be read.
    fn of(folder: &Path, name: &str, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                Self::Torn(format!("{name}: {error}"))
            }
            _ => Self::Unreadable(FileError::new("read", &folder.join(name))(error)),
        }
    }
}

/// The state of the checkpoint in `folder`, or why it cannot be resumed from.
fn open(folder: &Path, step: u64) -> Result<State, Flaw> {
    manifest::verify(folder, &[PARAMS, OPTIMIZER, STATE])?;
    let json = fs::read(folder.join(STATE)).map_err(|error| Flaw::of(folder, STATE, error))?;
    let state: State =
        serde_json::from_slice(&json).map_err(|error| format!("{STATE}: {error}"))?;
    if state.format != FORMAT {
        return Err(format!("its format is {}, this version reads {FORMAT}", state.format).into());
    }
    if state.step != step {
        return Err(format!("{STATE} is of step {}", state.step).into());
    }
    Ok(state)
}

#[cfg(test)]
mod tests;
