//! The section `train`.

use rappel_config::{
    Checked, ConfigError, InvalidOption, Kind, OptionAs, OptionValue, Options, Place, Range,
};
use rappel_schedule::{Horizon, Schedule, ScheduleConfig, counted};
use rappel_tensor::MatmulPrecision;
use toml::Value;

/// How long a run is, in what portions, and what is done to gradients.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct TrainOptions {
    /// optimizer steps; give either this or epochs
    #[option(range = 1.., aka("max_steps", "num_steps", "iterations"))]
    pub steps: Option<u64>,
    /// passes over the training data
    #[option(range = Range::above(0.0), aka("num_train_epochs"))]
    pub epochs: Option<f64>,
    /// samples of one forward pass; "all": all samples in each step, 1: stochastic descent; a schedule is
    /// rounded
    #[option(default = 8, aka("per_device_train_batch_size", "micro_batch_size"))]
    pub batch_size: BatchSizeConfig,
    /// forward passes of one optimizer step; gradients are averaged over all their tokens
    #[option(default = 1, range = 1..=1_000_000)]
    #[option(aka("grad_accum_steps", "accumulate_grad_batches"))]
    pub gradient_accumulation_steps: usize,
    /// longer gradients, all as one vector, are scaled down to this norm; 0: never
    #[option(default = 1.0, range = 0.0..)]
    #[option(aka("grad_clip", "clip_grad_norm", "gradient_clip_val"))]
    pub max_grad_norm: ScheduleConfig,
    /// each element of each gradient is moved into -clip_value..=clip_value
    #[option(range = Range::above(0.0), aka("clip_grad_value"))]
    pub clip_value: Option<f64>,
    /// what the model's matrix products round single precision to, sums and all else staying single: highest:
    /// nothing; medium: bfloat16, twice as fast or more where the processor multiplies it faster, else slower; high: TF32,
    /// which no processor has, so that it is highest
    #[option(default = MatmulPrecision::Highest, with = PrecisionName, aka("float32_matmul_precision"))]
    pub matmul_precision: MatmulPrecision,
    /// each parameter is updated as soon as its gradient is whole, which then is freed: memory for
    /// the largest gradient instead of all, and the same result; needs max_grad_norm = 0
    #[option(default = false, changeable)]
    pub update_in_backward: bool,
    /// measure the gradient noise scale: the samples beyond which larger batches save few steps; needs
    /// gradient_accumulation_steps >= 2, and memory for two more gradients
    #[option(default = false, aka("gradient_noise_scale"))]
    pub noise_scale: bool,
    /// steps between scalars; 1 logs every step
    #[option(default = 10, range = 1.., aka("logging_steps", "log_interval"), changeable)]
    pub log_every: u64,
    /// steps between validation losses; 0: only at the end
    #[option(default = 0, aka("eval_steps", "eval_interval"))]
    pub eval_every: u64,
    /// batches of a validation; unset: all
    #[option(range = 1.., aka("eval_iters"))]
    pub eval_batches: Option<usize>,
}

impl TrainOptions {
    /// What excludes each other.
    fn check(&self) -> Result<(), InvalidOption> {
        let wrong = |option, reason: &str| Err(InvalidOption::new(option, reason));
        match (self.steps, self.epochs) {
            (Some(_), Some(_)) => return wrong("epochs", "steps are given too; give one"),
            (None, None) => return wrong("steps", "missing; give steps or epochs"),
            _ => {}
        }
        if self.noise_scale && self.gradient_accumulation_steps < 2 {
            let reason = "it is measured between the parts of a step; set gradient_accumulation_steps to 2 or \
                          more, with a batch_size as much smaller";
            return wrong("noise_scale", reason);
        }
        if self.update_in_backward && self.gradient_accumulation_steps > 1 {
            let reason = "gradients that are used in the backward pass cannot be added up; set it to 1, \
                          or update_in_backward to false";
            return wrong("gradient_accumulation_steps", reason);
        }
        if self.update_in_backward && self.max_grad_norm.number() != Some(0.0) {
            let reason = "gradients that are used in the backward pass have no norm together; set it to \
                          0, or update_in_backward to false";
            return wrong("max_grad_norm", reason);
        }
        Ok(())
    }
}

/// The norm that gradients are clipped to, if they are: 0 stands for never, at one step or at all.
pub(crate) fn clipping(
    max_grad_norm: &ScheduleConfig,
    horizon: Horizon,
) -> Result<Option<Schedule>, ConfigError> {
    if let Some(norm) = max_grad_norm.number() {
        return Ok((norm > 0.0).then(|| norm.into()));
    }
    let curve = max_grad_norm.over(horizon)?;
    let never = |norm: f64| if norm == 0.0 { f64::INFINITY } else { norm };
    Ok(Some(Schedule::from_fn(None, move |step| never(curve.at(step)))))
}

/// How many samples a forward pass takes.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchSizeConfig {
    /// All that there are.
    All,
    /// So many, rounded.
    Of(ScheduleConfig),
}

impl BatchSizeConfig {
    /// The curve, where it is one.
    pub(crate) fn curve(&self) -> Option<&ScheduleConfig> {
        match self {
            Self::Of(size @ ScheduleConfig::Table(..)) => Some(size),
            _ => None,
        }
    }
}

impl From<u32> for BatchSizeConfig {
    fn from(samples: u32) -> Self {
        Self::Of(f64::from(samples).into())
    }
}

impl OptionValue for BatchSizeConfig {
    const KIND: Kind = counted(1, &["all"]);

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        match value {
            Checked::Value(Value::String(_)) => Ok(Self::All),
            _ => ScheduleConfig::read(value, place).map(Self::Of),
        }
    }

    fn write(&self) -> Option<Value> {
        match self {
            Self::All => Some("all".into()),
            Self::Of(ScheduleConfig::Number(samples)) => Some((*samples as i64).into()),
            Self::Of(curve) => curve.write(),
        }
    }
}

/// The option `matmul_precision`, by PyTorch's names.
struct PrecisionName;

impl OptionAs<MatmulPrecision> for PrecisionName {
    const KIND: Kind = Kind::OneOf(&MatmulPrecision::NAMES);

    fn read(value: &Checked, place: &Place<'_>) -> Result<MatmulPrecision, ConfigError> {
        String::read(value, place)?.parse().map_err(|reason: String| place.invalid(reason))
    }

    fn write(precision: &MatmulPrecision) -> Option<Value> {
        precision.to_string().write()
    }
}
