//! A ramp, a plateau and a tail.

use std::f64::consts::PI;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Range, Words};

use crate::build::{Build, Ramp, Setting};
use crate::{Schedule, constant};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "warmup_stable_decay",
    summary: "ramp over warmup_steps, factor 1, then a tail of num_decay_steps to min_lr_ratio",
    reference: "Hu et al., MiniCPM, https://arxiv.org/abs/2404.06395; transformers get_wsd_schedule",
    fields: WarmupStableDecayOptions::FIELDS,
    build: Build::factors(build).about(ABOUT),
};

/// Its options.
#[derive(Debug, Options)]
struct WarmupStableDecayOptions {
    #[option(flatten)]
    ramp: Ramp,
    /// steps at factor 1; by default what warm-up and tail leave
    num_stable_steps: Option<u64>,
    /// steps of the tail
    num_decay_steps: u64,
    /// steps until the schedule's end, warm-up included; by default those of the run
    #[option(range = 1.., aka("total_steps", "max_steps"))]
    num_training_steps: Option<u64>,
    /// shape of the ramp
    #[option(default = Shape::Linear)]
    warmup_type: Shape,
    /// shape of the tail
    #[option(default = Shape::Cosine)]
    decay_type: Shape,
    /// where the ramp begins and the tail ends
    #[option(default = 0.0, range = 0.0..=1.0)]
    min_lr_ratio: f64,
    /// cosine waves until the end; 0.5 falls from 1 to 0 once
    #[option(default = 0.5, range = Range::above(0.0))]
    num_cycles: f64,
}

/// The values of `warmup_type` and `decay_type`.
#[derive(Debug, Clone, Copy, Words)]
enum Shape {
    Linear,
    Cosine,
    #[word("1-sqrt")]
    OneMinusSqrt,
}

const ABOUT: &str = "The ramp begins at `min_lr_ratio` at step 0 and reaches 1 at step `warmup_steps`. The tail is `1 - p`, \
    `(1 + cos(2 pi num_cycles p)) / 2` or `1 - sqrt(p)`, where `p` is the part of it that is over, lifted so that 0 \
    becomes `min_lr_ratio`; the ramp mirrors it.\n\nBefore the tail nothing depends on the length of the run. So any \
    checkpoint of the plateau can end: `rappel train CONFIG --from RUN/checkpoints/step-S --set train.steps=N`, where \
    the tail takes the steps from `S` to `N`, is to the bit the run that had planned it, while the plateau itself goes \
    on with more steps.";

fn build(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let own = WarmupStableDecayOptions::from_options(options)?;
    let (warmup, decay) = (own.ramp.warmup_steps, own.num_decay_steps);
    let total = own.num_training_steps.unwrap_or(setting.horizon.steps);
    let moving = warmup.saturating_add(decay);
    let Some(left) = total.checked_sub(moving) else {
        let reason = format!(
            "{warmup} steps of warm-up and {decay} of decay are more than the {total} of the schedule"
        );
        return Err(options.invalid("num_decay_steps", reason));
    };
    let stable = own.num_stable_steps.unwrap_or(left);
    if stable != left {
        let reason = format!(
            "{warmup} + {stable} + {decay} steps do not add up to the {total} of the schedule; \
             {left} would, or set num_training_steps"
        );
        return Err(options.invalid("num_stable_steps", reason));
    }
    let floor = own.min_lr_ratio;
    let cycles = own.num_cycles;
    let (rise, fall) = (up(own.warmup_type), down(own.decay_type, cycles));
    let ramp = over(warmup, 1.0, rise).floor(floor);
    let tail = over(decay, 0.0, fall).floor(floor);
    Ok(ramp.then(constant(1.0).lasting(stable)).then(tail))
}

/// A function of the part that is over, for this many steps, then a value.
fn over(steps: u64, after: f64, value: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Schedule {
    Schedule::from_fn(Some(steps), move |step| {
        if step < steps { value(step as f64 / steps as f64).max(0.0) } else { after }
    })
}

fn up(shape: Shape) -> fn(f64) -> f64 {
    match shape {
        Shape::Cosine => |part| 0.5 * (1.0 - (PI * part).cos()),
        Shape::OneMinusSqrt => |part| 1.0 - (1.0 - part).sqrt(),
        Shape::Linear => |part| part,
    }
}

fn down(shape: Shape, cycles: f64) -> Box<dyn Fn(f64) -> f64 + Send + Sync> {
    match shape {
        Shape::Cosine => Box::new(move |part| 0.5 * (1.0 + (PI * cycles * 2.0 * part).cos())),
        Shape::OneMinusSqrt => Box::new(|part| 1.0 - part.sqrt()),
        Shape::Linear => Box::new(|part| 1.0 - part),
    }
}
