//! A run: built, gone on with, brought to its end.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rappel_optim::Optimizer;
use rappel_regularize::Regularization;
use rappel_telemetry::{Opening, Sinks, Start, open};

use crate::checkpoint::{Checkpoints, State};
use crate::early_stopping::EarlyStopping;
use crate::follower::Follower;
use crate::origin::origin;
use crate::parts::Parts;
use crate::tasks::Task;
use crate::{Config, Observer, RunDir, TrainError};

/// Where console sinks write; see [`Opening::console`](rappel_telemetry::Opening).
pub type Console<'a> = &'a dyn Fn() -> Box<dyn Write + Send>;

/// A training run: what the config says, built, and how far it has come.
///
/// ```no_run
/// use rappel_train::{Config, Ended, Run};
/// let config = Config::parse(&std::fs::read_to_string("configs/quickstart.toml").unwrap(), &[])?;
/// let mut run = Run::create(&config, "quickstart", &|| Box::new(std::io::stderr()), &mut ())?;
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
    pub(crate) optimizer: Optimizer,
    pub(crate) regularization: Arc<Regularization>,
    pub(crate) sinks: Sinks,
    pub(crate) checkpoints: Checkpoints,
    /// How far it has come.
    pub(crate) state: State,
    /// The step of the newest checkpoint; 0 where there is none.
    pub(crate) saved: u64,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) steps: u64,
    follower: Follower,
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
        console: Console,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let config = config.with_absolute_paths()?;
        let out = config.options().opt_str("out").map(Path::new);
        out.map_or(Ok(()), RunDir::check_free)?;
        let origin = origin(&config, observer)?;
        let mut parts = Parts::build(&config, observer)?;
        let state = parts.begin(origin.as_ref())?;
        let dir = RunDir::create(out, name, &parts.config)?;
        Self::open(dir, parts, state, Start::Fresh, console)
    }

    /// Goes on with the run in `dir` from its newest whole checkpoint, or from the start where it
    /// has none.
    ///
    /// # Errors
    /// A directory that is no run; checkpoints of which none is whole; a config or data that changed
    /// since.
    pub fn resume(
        dir: &Path,
        console: Console,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let (dir, config) = RunDir::open(dir)?;
        let newest =
            Checkpoints::new(dir.checkpoints(), 1).newest_whole(&mut |note| observer.note(note))?;
        let origin = if newest.is_none() { origin(&config, observer)? } else { None };
        let mut parts = Parts::build(&config, observer)?;
        let Some(whole) = newest else {
            let state = parts.begin(origin.as_ref())?;
            let start = Start::Resume { last_step: state.step };
            return Self::open(dir, parts, state, start, console);
        };
        check_same(&dir, &whole.state, &parts.state())?;
        parts.load(&whole)?;
        let last_step = whole.state.step;
        let mut run = Self::open(dir, parts, whole.state, Start::Resume { last_step }, console)?;
        run.saved = last_step;
        // A run killed while it tidied may be at its end, and never save again.
        run.checkpoints.prune(last_step)?;
        Ok(run)
    }

    pub(crate) fn open(
        dir: RunDir,
        parts: Parts,
        state: State,
        start: Start,
        console: Console,
    ) -> Result<Self, TrainError> {
        let Parts { config, task, optimizer, follower, regularization, early_stopping, steps } =
            parts;
        let keep = config.section("checkpoint").usize("keep");
        let checkpoints = Checkpoints::new(dir.checkpoints(), keep);
        let sinks = open_sinks(&dir, &config, start, console)?;
        let mut run = Self {
            checkpoints,
            saved: 0,
            dir,
            config,
            task,
            optimizer,
            regularization,
            sinks,
            state,
            early_stopping,
            steps,
            follower,
        };
        run.checkpoints.spare = run.best_step();
        run.follow();
        Ok(run)
    }

    /// What the validations so far make of the learning rate.
    pub(crate) fn follow(&mut self) {
        let (follower, history) = (&self.follower, &self.state.history);
        self.optimizer.follow(&|lr| follower.factor(lr, history));
    }

    /// The run's directory.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }
}

/// A checkpoint goes on only with what it was made with.
fn check_same(dir: &RunDir, saved: &State, now: &State) -> Result<(), TrainError> {
    let changed =
        |what, advice| Err(TrainError::Changed { dir: dir.path().to_owned(), what, advice });
    if saved.config != now.config {
        return changed("config.toml", "bring the old one back, or begin a new run");
    }
    if saved.data != now.data {
        return changed("the training data", "bring the old files back, or begin a new run");
    }
    Ok(())
}

fn open_sinks(
    dir: &RunDir,
    config: &Config,
    start: Start,
    console: Console,
) -> Result<Sinks, TrainError> {
    let names = config.section("telemetry").strings("sinks");
    Ok(open(&names, &Opening { dir: dir.path(), start, wall_time: wall_time(), console })?)
}

/// Seconds since 1970-01-01 UTC.
pub(crate) fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
