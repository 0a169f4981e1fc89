//! Triangles between two values.

use rappel_registry::{ConfigError, Entry, Field, Kind, Options, Range};

use crate::build::{Build, Setting};
use crate::{Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cyclic",
    summary: "straight lines from base_lr up to max_lr and back, again and again",
    reference: "Smith, Cyclical Learning Rates, https://arxiv.org/abs/1506.01186; \
                torch.optim.lr_scheduler.CyclicLR",
    fields: &[
        Field::required("base_lr", Kind::Float(Range::FINITE), "where cycles start"),
        Field::required("max_lr", Kind::Float(Range::FINITE), "where they turn"),
        Field::new("step_size_up", Kind::int_from(1), "2000", "steps from base_lr to max_lr"),
        Field::optional("step_size_down", Kind::int_from(1), "steps back; by default as many"),
        Field::new(
            "mode",
            Kind::OneOf(&["triangular", "triangular2", "exp_range"]),
            "\"triangular\"",
            "height of the triangles: all the same; half after each; gamma ** step",
        ),
        Field::new("gamma", Kind::Float(Range::above(0.0)), "1.0", "of exp_range"),
    ],
    build: Build::values(build).about(ABOUT),
};

const ABOUT: &str = "No warm-up: step 0 has `base_lr`, and step `step_size_up` is the first with `max_lr`. `base_lr + (max_lr - base_lr) h s`, where `h` goes from 0 to 1 and back in each cycle and `s` \
    is 1 for triangular, `2 ** -n` in the n-th cycle from 0 for triangular2, `gamma ** step` for exp_range.\n\n\
    PyTorch cycles the momentum too, from `max_momentum` to `base_momentum` and back. Here that is a schedule \
    of the momentum, with `base_lr = max_momentum` and `max_lr = base_momentum`.";

#[allow(clippy::unnecessary_wraps)] // The type of all builders.
fn build(options: &Options, _: Setting) -> Result<Schedule, ConfigError> {
    let up = options.u64("step_size_up");
    let down = options.opt_u64("step_size_down").unwrap_or(up);
    Ok(Schedule::new(Cyclic {
        base: options.f64("base_lr"),
        height: options.f64("max_lr") - options.f64("base_lr"),
        total: up as f64 + down as f64,
        rise: up as f64 / (up as f64 + down as f64),
        scale: match options.str("mode") {
            "triangular2" => Scale::Halves,
            "exp_range" => Scale::Power(options.f64("gamma")),
            _ => Scale::Same,
        },
    }))
}

/// How high the triangles are.
#[derive(Debug)]
enum Scale {
    Same,
    Halves,
    Power(f64),
}

#[derive(Debug)]
struct Cyclic {
    base: f64,
    height: f64,
    /// Steps of a cycle.
    total: f64,
    /// The part of a cycle that goes up.
    rise: f64,
    scale: Scale,
}

impl ScheduleFn for Cyclic {
    fn at(&self, step: u64) -> f64 {
        // The order of the operations is PyTorch's, so that the roundings agree.
        let cycle = (1.0 + step as f64 / self.total).floor();
        let part = 1.0 + step as f64 / self.total - cycle;
        let height =
            if part <= self.rise { part / self.rise } else { (part - 1.0) / (self.rise - 1.0) };
        let scale = match self.scale {
            Scale::Same => 1.0,
            Scale::Halves => 1.0 / 2_f64.powf(cycle - 1.0),
            Scale::Power(gamma) => gamma.powf(step as f64),
        };
        self.base + self.height * height * scale
    }

    fn length(&self) -> Option<u64> {
        None
    }
}
