//! Up to a maximum and down far below the start.

use std::f64::consts::PI;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Range, Words};

use crate::build::{Build, Setting};
use crate::{Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "one_cycle",
    summary: "from max_lr / div_factor up to max_lr, and down to a final_div_factor-th of the start",
    reference: "Smith and Topin, Super-Convergence, https://arxiv.org/abs/1708.07120; \
                torch.optim.lr_scheduler.OneCycleLR",
    fields: OneCycleOptions::FIELDS,
    build: Build::values(build).about(ABOUT),
};

/// Its options.
#[derive(Debug, Options)]
struct OneCycleOptions {
    /// the peak
    max_lr: f64,
    /// steps in all; by default those of the run
    #[option(range = 1..)]
    total_steps: Option<u64>,
    /// the part of the steps that goes up
    #[option(default = 0.3, range = 0.0..=1.0)]
    pct_start: f64,
    /// how it goes
    #[option(default = Anneal::Cos)]
    anneal_strategy: Anneal,
    /// peak over start
    #[option(default = 25.0, range = Range::above(0.0))]
    div_factor: f64,
    /// start over end
    #[option(default = 1e4, range = Range::above(0.0))]
    final_div_factor: f64,
    /// come down to the start in as many steps as went up, then on to the end
    #[option(default = false)]
    three_phase: bool,
}

const ABOUT: &str = "The warm-up is the first phase: step 0 has `max_lr / div_factor`, and the peak is at `pct_start total_steps - 1`, so that it is \
    one step shorter than its part of the steps. Between the ends of a phase, `end + (start - end) (1 + cos(pi p)) / 2` or a straight line, \
    where `p` is the part of the phase that is over. The phases end at the steps \
    `pct_start total_steps - 1` and `total_steps - 1`; with three_phase, at \
    `pct_start total_steps - 1`, `2 pct_start total_steps - 2` and `total_steps - 1`.\n\n\
    PyTorch cycles the momentum too, from `max_momentum` to `base_momentum` and back. Here that is a schedule \
    of the momentum: `max_lr = base_momentum`, `div_factor = base_momentum / max_momentum`, \
    `final_div_factor = 1`.";

fn build(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let own = OneCycleOptions::from_options(options)?;
    let run = setting.horizon.steps;
    let total = own.total_steps.unwrap_or(run).max(1);
    if total < run {
        let reason = format!("the cycle of {total} steps is over before the run of {run} steps");
        return Err(options.invalid("total_steps", reason + "; give as many, or leave it out"));
    }
    let (length, part) = (total as f64, own.pct_start);
    let peak = own.max_lr;
    let start = peak / own.div_factor;
    let end = start / own.final_div_factor;
    let (up, last) = (part * length - 1.0, length - 1.0);
    let phases = if own.three_phase {
        let down = 2.0 * part * length - 2.0;
        if down > last {
            let reason = format!("{part} up and as much down leaves no steps of {total} to end in");
            return Err(
                options.invalid("pct_start", reason + "; with three_phase it must be at most 0.5")
            );
        }
        vec![(up, start, peak), (down, peak, start), (last, start, end)]
    } else {
        vec![(up, start, peak), (last, peak, end)]
    };
    let cosine = matches!(own.anneal_strategy, Anneal::Cos);
    Ok(Schedule::new(OneCycle { phases, cosine, total }))
}

/// The values of `anneal_strategy`.
#[derive(Debug, Clone, Copy, Words)]
enum Anneal {
    Cos,
    Linear,
}

#[derive(Debug)]
struct OneCycle {
    /// The step where each ends, and the values that it goes from and to.
    phases: Vec<(f64, f64, f64)>,
    cosine: bool,
    total: u64,
}

impl ScheduleFn for OneCycle {
    fn at(&self, step: u64) -> f64 {
        let step = step.min(self.total - 1) as f64;
        let mut begin = 0.0;
        let mut value = f64::NAN;
        for &(end, from, to) in &self.phases {
            // A phase without steps is over at once.
            let part = if end > begin { (step - begin) / (end - begin) } else { 1.0 };
            value = if self.cosine {
                to + (from - to) / 2.0 * ((PI * part).cos() + 1.0)
            } else {
                (to - from) * part + from
            };
            if step <= end {
                break;
            }
            begin = end;
        }
        value
    }

    fn length(&self) -> Option<u64> {
        Some(self.total)
    }
}
