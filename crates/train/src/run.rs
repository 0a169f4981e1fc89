//! A run: built, gone on with, brought to its end.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rappel_data::Order;
use rappel_files::Lock;
use rappel_optim::Optimizer;
use rappel_regularize::Regularization;
use rappel_telemetry::{Moment, Opening, Sink, Sinks, Start, open};

use crate::checkpoint::{Checkpoints, State, Whole};
use crate::early_stopping::EarlyStopping;
use crate::follower::Follower;
use crate::length::check_length;
use crate::origin::origin;
use crate::parts::Parts;
use crate::precision::Precision;
use crate::task::Task;
use crate::{Config, Observer, RunDir, TrainError};

/// A training run: what the config says, built, and how far it has come.
///
/// ```no_run
/// use rappel_train::{Config, Ended, Run};
/// let config = Config::parse(&std::fs::read_to_string("configs/quickstart.toml").unwrap(), &[])?;
/// let mut run = Run::create(&config, "quickstart", &mut ())?;
/// match run.train(&mut ())? {
///     Ended::Finished(report) => println!("{:?}", report.validation_loss()),
///     Ended::Stopped { step, .. } => println!("stopped after step {step}"),
/// }
/// # Ok::<(), rappel_train::TrainError>(())
/// ```
pub struct Run {
    pub(crate) dir: RunDir,
    pub(crate) config: Config,
    pub(crate) task: Box<dyn Task>,
    /// Which samples each step takes.
    pub(crate) order: Order,
    pub(crate) optimizer: Optimizer,
    pub(crate) regularization: Arc<Regularization>,
    pub(crate) sinks: Sinks,
    pub(crate) checkpoints: Checkpoints,
    /// How far it has come.
    pub(crate) state: State,
    /// The step of the newest checkpoint; 0 where there is none.
    pub(crate) saved: u64,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) precision: Precision,
    pub(crate) steps: u64,
    follower: Follower,
    /// The step at which this process took it up.
    pub(crate) opened_at: u64,
    /// Keeps other processes from the run's directory.
    lock: Option<Lock>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut debug = f.debug_struct("Run");
        debug.field("dir", &self.dir).field("saved", &self.saved).field("steps", &self.steps);
        debug.finish_non_exhaustive()
    }
}

impl Run {
    /// Builds a run, then makes its directory: the config's `out`, else the first free
    /// `runs/<name>-<n>`.
    ///
    /// # Errors
    /// Whatever is wrong with the config, the data or the directory; then nothing was written.
    pub fn create(
        config: &Config,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        Self::create_with(config, name, observer, Parts::build)
    }

    /// As [`create`](Self::create), of parts that `build` makes.
    pub(crate) fn create_with(
        config: &Config,
        name: &str,
        observer: &mut dyn Observer,
        build: impl FnOnce(&Config, &mut dyn Observer) -> Result<Parts, TrainError>,
    ) -> Result<Self, TrainError> {
        let config = config.with_absolute_paths()?;
        let out = config.run().out.as_deref().map(Path::new);
        RunDir::check_place(out)?;
        let (pinned, origin) = origin(&config, observer)?;
        let mut parts = build(&pinned, observer)?;
        let state = parts.begin(origin.as_ref())?;
        let (dir, lock) = RunDir::create(out, name, &parts.config, observer)?;
        let mut run = Self::open(dir, parts, state, Start::Fresh, observer)?;
        run.lock = lock;
        run.save_origin()?;
        Ok(run)
    }

    /// Resumes the run in `dir` from its newest complete checkpoint, or from the start where it
    /// has none. Settings `key=value` may change what does not affect its numbers: where files are
    /// (the data is compared), what is logged and saved how often, and a length that leaves the steps
    /// taken as they are.
    ///
    /// # Errors
    /// A directory that is not a run, or one that another process trains; checkpoints of which none is whole; a
    /// config or data that changed since.
    pub fn resume(
        dir: &Path,
        settings: &[&str],
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        Self::resume_with(dir, settings, observer, Parts::build)
    }

    /// As [`resume`](Self::resume), of parts that `build` makes.
    pub(crate) fn resume_with(
        dir: &Path,
        settings: &[&str],
        observer: &mut dyn Observer,
        build: impl FnOnce(&Config, &mut dyn Observer) -> Result<Parts, TrainError>,
    ) -> Result<Self, TrainError> {
        let dir = RunDir::open(dir)?;
        let lock = dir.lock(observer)?;
        let config = resumed_config(&dir.config()?, settings, observer)?;
        observer.stage("checking the checkpoints")?;
        let newest = Checkpoints::new(dir.checkpoints(), 1).newest_whole(observer)?;
        let (config, origin) =
            if newest.is_none() { origin(&config, observer)? } else { (config, None) };
        let mut parts = build(&config, observer)?;
        let (state, saved) = match newest {
            None => (parts.begin(origin.as_ref())?, 0),
            Some(whole) => {
                let state = take_up(&dir, whole, &mut parts, observer)?;
                let saved = state.step;
                (state, saved)
            }
        };
        if !settings.is_empty() {
            dir.put_config(&parts.config)?;
        }
        let start = Start::Resume { last_step: state.step, events: state.events };
        let mut run = Self::open(dir, parts, state, start, observer)?;
        run.lock = lock;
        for note in run.sinks.notes() {
            observer.note(&note)?;
        }
        run.saved = saved;
        run.save_origin()?;
        // A run killed while it tidied may be at its end, and never save again.
        run.checkpoints.prune(run.state.step)?;
        Ok(run)
    }

    /// A run that begins at another one's checkpoint has it as its first own, and needs the other no
    /// longer.
    fn save_origin(&mut self) -> Result<(), TrainError> {
        if self.state.step > self.saved { self.save(&mut ()) } else { Ok(()) }
    }

    pub(crate) fn open(
        dir: RunDir,
        parts: Parts,
        state: State,
        start: Start,
        observer: &dyn Observer,
    ) -> Result<Self, TrainError> {
        let Parts {
            config,
            task,
            order,
            optimizer,
            follower,
            regularization,
            early_stopping,
            precision,
            steps,
        } = parts;
        let keep = config.run().checkpoint.keep;
        let opened_at = state.step;
        let checkpoints = Checkpoints::new(dir.checkpoints(), keep);
        let sinks = open_sinks(&dir, &config, start, observer)?;
        let mut run = Self {
            checkpoints,
            saved: 0,
            dir,
            config,
            task,
            order,
            optimizer,
            regularization,
            sinks,
            state,
            early_stopping,
            precision,
            steps,
            follower,
            opened_at,
            lock: None,
        };
        run.checkpoints.spare = run.best_step();
        run.follow();
        Ok(run)
    }

    /// What the validations so far make of the learning rate.
    pub(crate) fn follow(&mut self) {
        let (follower, history) = (&self.follower, &self.state.history);
        self.optimizer.scale_schedule(&|lr| follower.factor(lr, history));
    }

    /// The run's directory.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }
}

/// The config of a run that continues, with settings that do not change its numbers.
fn resumed_config(
    text: &str,
    settings: &[&str],
    observer: &mut dyn Observer,
) -> Result<Config, TrainError> {
    let old = Config::parse(text, &[])?;
    if settings.is_empty() {
        return Ok(old);
    }
    let new = Config::parse_noting(text, settings, observer)?;
    let new = new.with_absolute_paths()?;
    new.check_changes(&old)?;
    Ok(new)
}

/// Takes a run's own checkpoint up, after comparing all that it was made with.
fn take_up(
    dir: &RunDir,
    whole: Whole,
    parts: &mut Parts,
    observer: &mut dyn Observer,
) -> Result<State, TrainError> {
    let now = parts.state();
    check_same(dir, &whole.state, &now)?;
    check_length(dir, &parts.config, &whole.state, now.steps)?;
    if whole.state.simd != now.simd {
        let (saved, now) = (&whole.state.simd, &now.simd);
        observer.note(&format!(
            "the checkpoint was computed with {saved} instructions, the steps from here on with {now}, which \
             round differently: the numbers will not be those of the same machine to the bit; \
             RAPPEL_SIMD={saved} keeps to {saved} where the machine has it"
        ))?;
    }
    if let (Some(before), Some(here)) = (&whole.state.bf16_kernel, &now.bf16_kernel)
        && before != here
    {
        observer.note(&format!(
            "the run's matrix products used the instructions `{before}` so far and use `{here}` here, so \
             that rounding differs; RAPPEL_BF16={before} keeps it the same where those exist"
        ))?;
    }
    observer.stage("loading the checkpoint")?;
    parts.load(&whole)?;
    let mut state = whole.state;
    state.lengthen(now.steps, parts.config.run().train.eval_every);
    Ok(State { simd: now.simd, bf16_kernel: now.bf16_kernel, base: now.base, ..state })
}

/// A checkpoint continues only with what it was made with.
fn check_same(dir: &RunDir, saved: &State, now: &State) -> Result<(), TrainError> {
    let changed =
        |what, advice| Err(TrainError::Changed { dir: dir.path().to_owned(), what, advice });
    if saved.data != now.data {
        return changed("the training data", "bring the old files back, or begin a new run");
    }
    if saved.config != now.config {
        return changed("config.toml", "bring the old one back, or begin a new run");
    }
    Ok(())
}

fn open_sinks(
    dir: &RunDir,
    config: &Config,
    start: Start,
    observer: &dyn Observer,
) -> Result<Sinks, TrainError> {
    let wall_time = Moment::now(0).wall_time;
    let opening = Opening { dir: dir.path(), start, wall_time, console: &|| observer.console() };
    Ok(open(&config.run().telemetry.sinks, &opening)?)
}
