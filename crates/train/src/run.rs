//! A run: built, gone on with, brought to its end.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rappel_optim::{AVERAGES, Optimizer, Recipe};
use rappel_regularize::Regularization;
use rappel_schedule::Horizon;
use rappel_telemetry::{Opening, Sinks, Start, open};

use crate::checkpoint::{Checkpoints, State, Whole};
use crate::early_stopping::EarlyStopping;
use crate::follower::Follower;
use crate::origin::{FROM, origin};
use crate::scheduled::max_grad_norm;
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

/// What is built before anything is written.
struct Parts {
    config: Config,
    task: Box<dyn Task>,
    optimizer: Optimizer,
    early_stopping: Option<EarlyStopping>,
    follower: Follower,
    regularization: Arc<Regularization>,
    steps: u64,
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

    /// A run that writes nothing, for steps whose learning rate is set from outside.
    pub(crate) fn rehearse(
        config: &Config,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let origin = origin(config, observer)?;
        let mut parts = Parts::build(config, observer)?;
        let state = parts.begin(origin.as_ref())?;
        Self::open(RunDir::nowhere(), parts, state, Start::Fresh, &|| Box::new(std::io::sink()))
    }

    fn open(
        dir: RunDir,
        parts: Parts,
        state: State,
        start: Start,
        console: Console,
    ) -> Result<Self, TrainError> {
        let Parts { config, task, optimizer, follower, regularization, early_stopping, steps } =
            parts;
        let keep = config.section("checkpoint").usize("keep");
        let mut checkpoints = Checkpoints::new(dir.checkpoints(), keep);
        checkpoints.spare = best_step(early_stopping.as_ref(), &state);
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

impl Parts {
    fn build(config: &Config, observer: &mut dyn Observer) -> Result<Self, TrainError> {
        // With epochs the length is known only when the data is.
        if let Some(horizon) = config.known_horizon() {
            recipe(config, horizon, &regularization(config, horizon)?)?;
            config.batch_size(horizon)?;
        }
        let (task, config) = (config.task().build)(config, observer)?;
        let horizon = config.horizon(task.order());
        let mut regularization = regularization(&config, horizon)?;
        regularization.bind(task.params())?;
        let recipe = recipe(&config, horizon, &regularization)?;
        let regularization = Arc::new(regularization);
        let shared = regularization.clone();
        let recipe = recipe.after_step(move |step, params, lr| {
            shared.after_step(step, params, lr)?;
            params.refresh()
        });
        let optimizer = Optimizer::new(recipe, task.params())?;
        let follower = Follower::new(&config, task.as_ref())?;
        let train = config.section("train");
        if let Some(what) = optimizer.needs_all().filter(|_| train.bool("update_in_backward")) {
            let reason = format!("{what}; set it to false, or leave that out");
            return Err(train.invalid("update_in_backward", reason).into());
        }
        check_moves(&regularization, &optimizer)?;
        for options in regularization.within_a_pass() {
            task.honours(options.str("name")).map_err(|reason| options.invalid("name", reason))?;
        }
        let early_stopping = early_stopping(&config, task.as_ref())?;
        Ok(Self {
            config,
            task,
            optimizer,
            follower,
            regularization,
            early_stopping,
            steps: horizon.steps,
        })
    }
}

impl Parts {
    /// That of a run before its first step.
    fn state(&self) -> State {
        State::new(self.config.sha256(), self.task.fingerprint())
    }

    /// The state that the run begins in: from nothing, or at the step of another run's checkpoint.
    fn begin(&mut self, origin: Option<&Whole>) -> Result<State, TrainError> {
        let Some(whole) = origin else { return Ok(self.state()) };
        let step = whole.state.step;
        if step >= self.steps {
            let reason = format!(
                "{} is at step {step}, and the run ends at {}; give more steps than that in train.steps",
                whole.path.display(),
                self.steps
            );
            return Err(self.config.options().invalid(FROM, reason).into());
        }
        self.load(whole)?;
        Ok(State { step, ..self.state() })
    }

    fn load(&mut self, whole: &Whole) -> Result<(), TrainError> {
        self.task.params_mut().load(&whole.params()?)?;
        self.optimizer.load_state(&whole.optimizer()?)?;
        Ok(())
    }
}

/// Nobody changes parameters behind the back of an optimizer that remembers them.
fn check_moves(regularization: &Regularization, optimizer: &Optimizer) -> Result<(), TrainError> {
    match (regularization.moves_parameters(), optimizer.remembers_parameters()) {
        (Some(options), Some(why)) => {
            let reason =
                format!("it changes parameters after a step, but {why}; leave one of them out");
            Err(options.invalid("name", reason).into())
        }
        _ => Ok(()),
    }
}

/// What the section `early_stopping` says, if there is one.
fn early_stopping(config: &Config, task: &dyn Task) -> Result<Option<EarlyStopping>, TrainError> {
    let Some(section) = config.options().opt_table("early_stopping") else { return Ok(None) };
    if !task.validates() {
        let reason = "there is no validation data to watch; give some, or leave early_stopping out";
        return Err(section.invalid("metric", reason).into());
    }
    let train = config.section("train");
    if train.u64("eval_every") == 0 {
        let reason = "early_stopping watches validations, and 0 means one at the end; set it to the \
                      steps between two";
        return Err(train.invalid("eval_every", reason).into());
    }
    Ok(Some(EarlyStopping::from_section(section, task.metrics())?))
}

/// The step whose model the run keeps in the end; none where that is the last one.
pub(crate) fn best_step(early_stopping: Option<&EarlyStopping>, state: &State) -> Option<u64> {
    let stopping = early_stopping.filter(|stopping| stopping.restore_best)?;
    stopping.best(&state.history).map(|best| best.step)
}

/// What the list `regularize` says.
fn regularization(config: &Config, horizon: Horizon) -> Result<Regularization, TrainError> {
    Ok(Regularization::from_sections(config.options().tables("regularize"), horizon)?)
}

/// What the sections `optimizer`, `schedule` and `train`, and regularizers of gradients, say of a
/// step.
fn recipe(
    config: &Config,
    horizon: Horizon,
    regularization: &Regularization,
) -> Result<Recipe, TrainError> {
    let (optimizer, schedule) = (config.section("optimizer"), config.section("schedule"));
    let mut recipe = Recipe::from_sections(optimizer, schedule, horizon)?;
    let train = config.section("train");
    if recipe.searches() && train.usize("gradient_accumulation_steps") > 1 {
        let reason = "the optimizer evaluates the loss many times in a step, so that its batch must be one; \
                      set it to 1, and raise batch_size instead";
        return Err(train.invalid("gradient_accumulation_steps", reason).into());
    }
    if train.bool("noise_scale") && train.usize("gradient_accumulation_steps") < 2 {
        let reason = "it is measured between the parts of a step; set gradient_accumulation_steps to 2 or \
                      more, with a batch_size as much smaller";
        return Err(train.invalid("noise_scale", reason).into());
    }
    let clipped = max_grad_norm(train, horizon)?;
    if train.bool("update_in_backward") {
        if train.usize("gradient_accumulation_steps") > 1 {
            let reason = "gradients that are used in the backward pass cannot be added up; set it to 1, \
                          or update_in_backward to false";
            return Err(train.invalid("gradient_accumulation_steps", reason).into());
        }
        if clipped.is_some() {
            let reason = "gradients that are used in the backward pass have no norm together; set it to \
                          0, or update_in_backward to false";
            return Err(train.invalid("max_grad_norm", reason).into());
        }
    }
    if let Some(norm) = clipped {
        recipe = recipe.max_grad_norm(norm);
    }
    if let Some(limit) = train.opt_f64("clip_value") {
        recipe = recipe.clip_value(limit);
    }
    if let Some(section) = config.options().opt_table("average") {
        let average = AVERAGES.lookup(section.str("name"))?.build;
        recipe = recipe.boxed_average(average(section)?);
    }
    if let Some(variance) = regularization.gradient_noise() {
        recipe = recipe.gradient_noise(variance.clone());
    }
    Ok(recipe.seed(config.seed()))
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
