//! What a run is built from, by its config, before anything is written.

use std::sync::Arc;

use rappel_config::ConfigError;
use rappel_data::Order;
use rappel_optim::{AVERAGES, Optimizer, OptimizerConfig};
use rappel_regularize::Regularization;
use rappel_schedule::Horizon;
use rappel_tensor::Device;

use crate::checkpoint::{State, Whole};
use crate::config::clipping;
use crate::early_stopping::EarlyStopping;
use crate::follower::Follower;
use crate::memory::{self, Needs};
use crate::origin::FROM;
use crate::precision::Precision;
use crate::task::Task;
use crate::tasks::Prepared;
use crate::{Config, Observer, TrainError};

/// What is built before anything is written.
pub(crate) struct Parts {
    pub config: Config,
    pub task: Box<dyn Task>,
    pub order: Order,
    pub optimizer: Optimizer,
    pub early_stopping: Option<EarlyStopping>,
    pub follower: Follower,
    pub regularization: Arc<Regularization>,
    pub precision: Precision,
    pub steps: u64,
}

impl Parts {
    /// Builds all that the config names.
    pub fn build(config: &Config, observer: &mut dyn Observer) -> Result<Self, TrainError> {
        let prepared = prepare(config, observer)?;
        Self::of(&prepared.config, prepared.learner()?, observer)
    }

    /// Builds all that the config names around a learner.
    pub fn of(
        config: &Config,
        task: Box<dyn Task>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let order = config.order(task.samples())?;
        let horizon = config.horizon(&order);
        let mut regularization = regularization(config, horizon)?;
        regularization.bind(task.params())?;
        let mut recipe = recipe(config, horizon, &regularization)?;
        for (pattern, factor) in task.lr_factors() {
            let (optimizer, schedule) = (&config.run().optimizer, &config.run().schedule);
            recipe = recipe.with_lr_factor([pattern], factor, optimizer, schedule, horizon)?;
        }
        let regularization = Arc::new(regularization);
        let shared = regularization.clone();
        let recipe = recipe.after_step(move |step, params, lr| {
            shared.after_step(step, params, lr)?;
            params.refresh()
        });
        let samples = order.largest_batch(horizon.steps);
        let needs = Needs::of(config.run(), task.as_ref(), samples, &recipe, &regularization)?;
        memory::check(needs, observer)?;
        let optimizer = Optimizer::new(recipe, task.params())?;
        let follower = Follower::new(config, task.as_ref())?;
        let within = config.run().train.update_in_backward;
        if let Some(what) = optimizer.needs_all().filter(|_| within) {
            let reason = format!("{what}; set it to false, or leave that out");
            return Err(ConfigError::invalid("train.update_in_backward", reason).into());
        }
        check_moves(&regularization, &optimizer)?;
        for (options, on) in regularization.within_a_pass() {
            task.honours(on).map_err(|reason| options.invalid("name", reason))?;
        }
        let early_stopping = early_stopping(config, task.as_ref())?;
        let precision = Precision::new(config, task.as_ref())?;
        Ok(Self {
            config: config.clone(),
            task,
            order,
            optimizer,
            follower,
            regularization,
            early_stopping,
            precision,
            steps: horizon.steps,
        })
    }

    /// That of a run before its first step.
    pub fn state(&self) -> State {
        let bf16_kernel = self.precision.kernel.map(str::to_owned);
        let new = State::new(self.config.sha256(), self.task.fingerprint(), self.steps);
        let base = self.task.frozen().map(|frozen| frozen.sha256.clone());
        State { base, bf16_kernel, ..new }
    }

    /// The state that the run begins in: from nothing, or at the step of another run's checkpoint.
    pub fn begin(&mut self, origin: Option<&Whole>) -> Result<State, TrainError> {
        let Some(whole) = origin else { return Ok(self.state()) };
        let step = whole.state.step;
        if step >= self.steps {
            let reason = format!(
                "{} is at step {step}, and the run ends at {}; give more steps than that in train.steps",
                whole.path.display(),
                self.steps
            );
            return Err(ConfigError::invalid(FROM, reason).into());
        }
        self.load(whole)?;
        Ok(State { step, ..self.state() })
    }

    /// Takes up a checkpoint.
    pub fn load(&mut self, whole: &Whole) -> Result<(), TrainError> {
        let frozen = self.task.frozen();
        whole.restore(self.task.params_mut(), &mut self.optimizer, frozen.as_deref())
    }
}

/// Reads the data of the config's task, after what can be known before that.
pub(crate) fn prepare(
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<Prepared, TrainError> {
    note_device(config, observer)?;
    // With epochs the length is known only when the data is.
    if let Some(horizon) = config.known_horizon() {
        recipe(config, horizon, &regularization(config, horizon)?)?;
        config.batch_size(horizon)?;
    }
    (config.task().build)(config, observer)
}

/// Says where a run is computed, where its config does not.
fn note_device(config: &Config, observer: &mut dyn Observer) -> Result<(), TrainError> {
    let (device, refused) = config.device()?;
    let on = |device: Device| match device.hardware() {
        Some(name) => format!("{device}, {name}"),
        None => "the processor".to_owned(),
    };
    match refused {
        Some(reason) => {
            observer.note(&format!("device = \"auto\" trains on {}: {reason}", on(device)))?;
        }
        None if config.run().device == "auto" => {
            observer.note(&format!("device = \"auto\" trains on {}", on(device)))?;
        }
        None => {}
    }
    Ok(())
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
    let Some(section) = &config.run().early_stopping else { return Ok(None) };
    if !task.validates() {
        let reason = "there is no validation data to watch; give some, or leave early_stopping out";
        return Err(ConfigError::invalid("early_stopping.metric", reason).into());
    }
    Ok(Some(EarlyStopping::new(section, task.metrics())?))
}

/// What the list `regularize` says.
fn regularization(config: &Config, horizon: Horizon) -> Result<Regularization, TrainError> {
    Ok(Regularization::from_sections(&config.run().regularize, horizon)?)
}

/// What the sections `optimizer`, `schedule` and `train`, and regularizers of gradients, say of a
/// step.
fn recipe(
    config: &Config,
    horizon: Horizon,
    regularization: &Regularization,
) -> Result<OptimizerConfig, TrainError> {
    let run = config.run();
    let mut recipe = OptimizerConfig::from_sections(&run.optimizer, &run.schedule, horizon)?;
    if recipe.searches() && run.train.gradient_accumulation_steps > 1 {
        let reason = "the optimizer evaluates the loss many times in a step, so that its batch must be one; \
                      set it to 1, and raise batch_size instead";
        return Err(ConfigError::invalid("train.gradient_accumulation_steps", reason).into());
    }
    if let Some(norm) = clipping(&run.train.max_grad_norm, horizon)? {
        recipe = recipe.max_grad_norm(norm);
    }
    if let Some(limit) = run.train.clip_value {
        recipe = recipe.clip_value(limit);
    }
    if let Some(section) = &run.average {
        let average = AVERAGES.lookup(section.name())?.build;
        recipe = recipe.boxed_average(average(section)?);
    }
    if let Some(variance) = regularization.gradient_noise() {
        recipe = recipe.gradient_noise(variance.clone());
    }
    Ok(recipe.seed(config.seed()))
}
