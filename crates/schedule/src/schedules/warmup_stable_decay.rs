//! A ramp, a plateau and a tail.

use std::f64::consts::PI;

use rappel_registry::{ConfigError, Entry, Field, Kind, Options, Range};

use super::cosine::NUM_CYCLES;
use crate::build::{Build, NUM_TRAINING_STEPS, Setting, WARMUP_STEPS};
use crate::{Schedule, constant};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "warmup_stable_decay",
    summary: "ramp over warmup_steps, factor 1, then a tail of num_decay_steps to min_lr_ratio",
    reference: "Hu et al., MiniCPM, https://arxiv.org/abs/2404.06395; transformers get_wsd_schedule",
    fields: &[
        WARMUP_STEPS,
        Field::optional(
            "num_stable_steps",
            Kind::int_from(0),
            "steps at factor 1; by default what warm-up and tail leave",
        ),
        Field::required("num_decay_steps", Kind::int_from(0), "steps of the tail"),
        NUM_TRAINING_STEPS,
        Field::new("warmup_type", Kind::OneOf(SHAPES), "\"linear\"", "shape of the ramp"),
        Field::new("decay_type", Kind::OneOf(SHAPES), "\"cosine\"", "shape of the tail"),
        Field::new(
            "min_lr_ratio",
            Kind::Float(Range::from(0.0).to(1.0)),
            "0.0",
            "where the ramp begins and the tail ends",
        ),
        NUM_CYCLES,
    ],
    build: Build::factors(build).about(ABOUT),
};

const SHAPES: &[&str] = &["linear", "cosine", "1-sqrt"];

const ABOUT: &str = "The ramp begins at `min_lr_ratio` at step 0 and reaches 1 at step `warmup_steps`. The tail is `1 - p`, \
    `(1 + cos(2 pi num_cycles p)) / 2` or `1 - sqrt(p)`, where `p` is the part of it that is over, lifted so that 0 \
    becomes `min_lr_ratio`; the ramp mirrors it.\n\nBefore the tail nothing depends on the length of the run. So any \
    checkpoint of the plateau can end: `rappel train CONFIG --from RUN/checkpoints/step-S --set train.steps=N`, where \
    the tail takes the steps from `S` to `N`, is to the bit the run that had planned it, while the plateau itself goes \
    on with more steps.";

fn build(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let (warmup, decay) = (options.u64("warmup_steps"), options.u64("num_decay_steps"));
    let total = options.opt_u64("num_training_steps").unwrap_or(setting.horizon.steps);
    let moving = warmup.saturating_add(decay);
    let Some(left) = total.checked_sub(moving) else {
        let reason = format!(
            "{warmup} steps of warm-up and {decay} of decay are more than the {total} of the schedule"
        );
        return Err(options.invalid("num_decay_steps", reason));
    };
    let stable = options.opt_u64("num_stable_steps").unwrap_or(left);
    if stable != left {
        let reason = format!(
            "{warmup} + {stable} + {decay} steps do not add up to the {total} of the schedule; \
             {left} would, or set num_training_steps"
        );
        return Err(options.invalid("num_stable_steps", reason));
    }
    let floor = options.f64("min_lr_ratio");
    let cycles = options.f64("num_cycles");
    let (rise, fall) = (up(options.str("warmup_type")), down(options.str("decay_type"), cycles));
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

fn up(shape: &str) -> fn(f64) -> f64 {
    match shape {
        "cosine" => |part| 0.5 * (1.0 - (PI * part).cos()),
        "1-sqrt" => |part| 1.0 - (1.0 - part).sqrt(),
        _ => |part| part,
    }
}

fn down(shape: &str, cycles: f64) -> Box<dyn Fn(f64) -> f64 + Send + Sync> {
    match shape {
        "cosine" => Box::new(move |part| 0.5 * (1.0 + (PI * cycles * 2.0 * part).cos())),
        "1-sqrt" => Box::new(|part| 1.0 - part.sqrt()),
        _ => Box::new(|part| 1.0 - part),
    }
}
