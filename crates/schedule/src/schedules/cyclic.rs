//! Triangles between two values.

use rappel_config::{ConfigError, Entry, OptionSet, Options, Range, Words};

use crate::build::{Build, Setting};
use crate::{Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cyclic",
    summary: "straight lines from base_lr up to max_lr and back, again and again",
    reference: "Smith, Cyclical Learning Rates, https://arxiv.org/abs/1506.01186; \
                torch.optim.lr_scheduler.CyclicLR",
    fields: CyclicOptions::FIELDS,
    build: Build::values(build).about(ABOUT),
};

/// Its options.
#[derive(Debug, Options)]
struct CyclicOptions {
    /// where cycles start
    base_lr: f64,
    /// where they turn
    max_lr: f64,
    /// steps from base_lr to max_lr
    #[option(default = 2000, range = 1..)]
    step_size_up: u64,
    /// steps back; by default as many
    #[option(range = 1..)]
    step_size_down: Option<u64>,
    /// height of the triangles: all the same; half after each; gamma ** step
    #[option(default = Mode::Triangular)]
    mode: Mode,
    /// of exp_range
    #[option(default = 1.0, range = Range::above(0.0))]
    gamma: f64,
}

const ABOUT: &str = "No warm-up: step 0 has `base_lr`, and step `step_size_up` is the first with `max_lr`. `base_lr + (max_lr - base_lr) h s`, where `h` goes from 0 to 1 and back in each cycle and `s` \
    is 1 for triangular, `2 ** -n` in the n-th cycle from 0 for triangular2, `gamma ** step` for exp_range.\n\n\
    PyTorch cycles the momentum too, from `max_momentum` to `base_momentum` and back. Here that is a schedule \
    of the momentum, with `base_lr = max_momentum` and `max_lr = base_momentum`.";

#[allow(clippy::unnecessary_wraps)] // The type of all builders.
fn build(options: &Options, _: Setting) -> Result<Schedule, ConfigError> {
    let own = CyclicOptions::from_options(options)?;
    let up = own.step_size_up;
    let down = own.step_size_down.unwrap_or(up);
    Ok(Schedule::new(Cyclic {
        base: own.base_lr,
        height: own.max_lr - own.base_lr,
        total: up as f64 + down as f64,
        rise: up as f64 / (up as f64 + down as f64),
        scale: match own.mode {
            Mode::Triangular => Scale::Same,
            Mode::Triangular2 => Scale::Halves,
            Mode::ExpRange => Scale::Power(own.gamma),
        },
    }))
}

/// The values of `mode`.
#[derive(Debug, Clone, Copy, Words)]
enum Mode {
    Triangular,
    Triangular2,
    ExpRange,
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
