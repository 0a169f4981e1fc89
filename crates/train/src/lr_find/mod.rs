//! Looking for a learning rate: the range test, and a sweep of short runs.

mod reading;
mod rehearsal;

use rappel_config::ConfigError;
use rappel_schedule::{Horizon, Schedule, ScheduleConfig};
use toml::{Table, Value};

use crate::parts::prepare;
use crate::tasks::Prepared;
use crate::{Config, Observer, Run, TrainError};
use reading::Smooth;

/// How a learning rate is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrFind {
    /// The learning rates that the range test goes from and to.
    pub range: [f64; 2],
    /// Steps of the range test.
    pub range_steps: u64,
    /// Runs of the sweep, before any that are added where the best is the first or the last.
    pub runs: usize,
    /// Steps of each.
    pub run_steps: u64,
}

/// One step of the range test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangePoint {
    /// The learning rate of the step.
    pub lr: f64,
    /// Training loss before it.
    pub loss: f64,
    /// The moving average of the losses so far.
    pub smoothed: f64,
}

/// One run of the sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What stands for the config's `optimizer.lr`.
    pub lr: f64,
    /// What is compared; none where the run diverged.
    pub loss: Option<f64>,
    /// The training loss of each step, as far as it went.
    pub losses: Vec<f64>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct LrFound {
    /// The range test.
    pub range: Vec<RangePoint>,
    /// Where its smoothed loss fell steepest.
    pub steepest: Option<f64>,
    /// Where it was lowest.
    pub lowest: Option<f64>,
    /// Whether it ended because the loss diverged.
    pub diverged: bool,
    /// The sweep, by rising learning rates.
    pub sweep: Vec<Trial>,
    /// What the losses of the sweep are: `validation loss`, or `training loss`.
    pub measure: &'static str,
    /// The learning rate of the best run.
    pub suggestion: f64,
    /// Why.
    pub reason: String,
}

/// Two runs of the sweep beside each other differ by this factor.
const SPACING: f64 = 3.162_277_660_168_379_5;
/// Runs that may be added where the best is the first or the last.
const MOST_ADDED: usize = 4;

/// Looks for a learning rate for the config's run, and writes nothing; none where the observer asked
/// to stop.
///
/// First the range test (Smith, <https://arxiv.org/abs/1506.01186>): the learning rate grows
/// exponentially from step to step, until the smoothed loss (a moving average with factor 0.9) is
/// four times its least or the range is over. Its reading is unreliable for transformers, whose early
/// steps say little of later ones, and for whatever follows a schedule. So it only sets the middle of a
/// sweep: runs from the same start on the same data, whose learning rates are half a decade apart, each
/// with the config's schedule drawn together to its length. The best one is suggested; where it is the
/// first or the last, the sweep continues in its direction.
///
/// Runs are compared by their validation loss, and without validation data by the mean training loss
/// of their last tenth. Learning rates of groups keep their ratio to `optimizer.lr`; other scheduled
/// hyperparameters keep the course of the whole run. Averages of weights are left out, for they would show
/// the start of a short run.
///
/// # Errors
/// What is wrong with the config; `optimizer.lr` missing, 0 or a schedule;
/// [`TrainError::NoLearningRate`] where all runs diverged.
///
/// # Panics
/// If the range does not rise from above 0, or a count is 0.
pub fn lr_find(
    config: &Config,
    plan: &LrFind,
    observer: &mut dyn Observer,
) -> Result<Option<LrFound>, TrainError> {
    let [from, to] = plan.range;
    assert!(0.0 < from && from < to && to.is_finite(), "a range from {from} to {to}");
    assert!(plan.range_steps > 0 && plan.runs > 0 && plan.run_steps > 0, "a count of 0");
    let given = check(config)?;
    let rehearsed = prepare(&rehearsed(config)?, observer)?;
    let first = Run::rehearse(&rehearsed, observer)?;
    // What is wrong with the schedule is an error before any step.
    let horizon = Horizon { steps: first.steps };
    let factors = Schedule::from_section(&config.run().schedule, horizon, given)?;
    observer.stage("range test")?;
    let Some((range, diverged)) = range_test(first, plan, observer)? else { return Ok(None) };
    let (steepest, lowest) = (reading::steepest(&range), reading::lowest(&range));
    // A tenth of the rate of the lowest loss is the custom; where the loss did not fall, what is given.
    let middle = steepest.and(lowest).map_or(given, |lowest| lowest / 10.0);
    let mut sweep = Sweep { factors, rehearsed: &rehearsed, plan, trials: Vec::new(), measure: "" };
    if !sweep.around(middle, observer)? {
        return Ok(None);
    }
    let Sweep { trials, measure, .. } = sweep;
    let best = best(&trials).ok_or_else(|| TrainError::NoLearningRate {
        from: trials[0].lr,
        to: trials[trials.len() - 1].lr,
    })?;
    let suggestion = trials[best].lr;
    let mut found = LrFound {
        range,
        steepest,
        lowest,
        diverged,
        sweep: trials,
        measure,
        suggestion,
        reason: String::new(),
    };
    found.reason = reason(&found, plan, best);
    Ok(Some(found))
}

/// The config's learning rate, which must be a number to be scaled.
fn check(config: &Config) -> Result<f64, ConfigError> {
    let optimizer = config.section("optimizer");
    let given = if optimizer.declares("lr") { optimizer.get("lr")? } else { None };
    let reason = match given {
        Some(ScheduleConfig::Number(lr)) if lr > 0.0 => return Ok(lr),
        Some(ScheduleConfig::Number(_)) => {
            "0 has no multiples to try; give any other learning rate"
        }
        Some(ScheduleConfig::Table(..)) => {
            "a schedule is not a single value to search for; give a number here, and the schedule as [schedule]"
        }
        None => "missing, and that is what is looked for; give any number to begin with",
    };
    Err(optimizer.invalid("lr", reason))
}

/// The config of runs whose learning rate is set from outside, and which nobody hears of.
fn rehearsed(config: &Config) -> Result<Config, TrainError> {
    let mut table = config.options().to_toml();
    let constant = Table::from_iter([("name".to_owned(), Value::from("constant"))]);
    table.insert("schedule".to_owned(), constant.into());
    let nobody = Table::from_iter([("sinks".to_owned(), Value::Array(Vec::new()))]);
    table.insert("telemetry".to_owned(), nobody.into());
    table.remove("average");
    table.remove("early_stopping");
    Config::from_table(&table)
}

/// The points, and whether the loss diverged; none where the observer asked to stop.
fn range_test(
    mut run: Run,
    plan: &LrFind,
    observer: &mut dyn Observer,
) -> Result<Option<(Vec<RangePoint>, bool)>, TrainError> {
    let [from, to] = plan.range;
    let last = (plan.range_steps - 1).max(1) as f64;
    let (mut points, mut smooth) = (Vec::new(), Smooth::default());
    for step in 0..plan.range_steps {
        if observer.should_stop() {
            return Ok(None);
        }
        let lr = from * (to / from).powf(step as f64 / last);
        let Some(loss) = run.step_at(lr, plan.range_steps, observer)? else {
            return Ok(Some((points, true)));
        };
        let smoothed = smooth.add(loss);
        points.push(RangePoint { lr, loss, smoothed });
        if smooth.diverged(smoothed) {
            return Ok(Some((points, true)));
        }
    }
    Ok(Some((points, false)))
}

/// The place of the lowest loss.
fn best(trials: &[Trial]) -> Option<usize> {
    let finite = trials.iter().enumerate().filter_map(|(i, trial)| Some((i, trial.loss?)));
    finite.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
}

struct Sweep<'a> {
    /// The config's schedule.
    factors: Schedule,
    /// The data, read once for all runs.
    rehearsed: &'a Prepared,
    plan: &'a LrFind,
    /// By rising learning rates.
    trials: Vec<Trial>,
    measure: &'static str,
}

impl Sweep<'_> {
    /// Tries rates around `middle`, and more where the best is at an end; false where the observer
    /// asked to stop.
    fn around(&mut self, middle: f64, observer: &mut dyn Observer) -> Result<bool, TrainError> {
        let runs = self.plan.runs as i32;
        for place in 0..runs {
            let lr = rounded(middle * SPACING.powi(place - runs / 2));
            let Some(trial) = self.run(lr, observer)? else { return Ok(false) };
            self.trials.push(trial);
        }
        for _ in 0..MOST_ADDED {
            let last = self.trials.len() - 1;
            let (at, lr) = match best(&self.trials) {
                Some(best) if best == last => (last + 1, self.trials[last].lr * SPACING),
                Some(0) | None => (0, self.trials[0].lr / SPACING),
                Some(_) => break,
            };
            let Some(trial) = self.run(rounded(lr), observer)? else { return Ok(false) };
            self.trials.insert(at, trial);
        }
        Ok(true)
    }

    /// A short run; none where the observer asked to stop.
    fn run(&mut self, lr: f64, observer: &mut dyn Observer) -> Result<Option<Trial>, TrainError> {
        observer.stage(&format!("run with lr {lr:e}"))?;
        let mut run = Run::rehearse(self.rehearsed, observer)?;
        // Of a run that continues from another, what is left.
        let (begun, left) = (run.state.step, run.steps - run.state.step);
        let steps = self.plan.run_steps.min(left);
        let mut losses = Vec::new();
        for step in 0..steps {
            if observer.should_stop() {
                return Ok(None);
            }
            let place = begun + (step as f64 * left as f64 / steps as f64).round() as u64;
            match run.step_at(lr * self.factors.at(place), steps, observer)? {
                Some(loss) => losses.push(loss),
                None => return Ok(Some(Trial { lr, loss: None, losses })),
            }
        }
        let (measure, loss) = if let Some(loss) = run.validation_loss()? {
            ("validation loss", loss)
        } else {
            let last = &losses[losses.len() - losses.len().div_ceil(10)..];
            ("training loss", last.iter().sum::<f64>() / last.len() as f64)
        };
        self.measure = measure;
        Ok(Some(Trial { lr, loss: Some(loss).filter(|loss| loss.is_finite()), losses }))
    }
}

/// The nearest number of two digits: what is suggested is no more exact than that.
fn rounded(lr: f64) -> f64 {
    format!("{lr:.1e}").parse().expect("a number that was just written")
}

fn reason(found: &LrFound, plan: &LrFind, best: usize) -> String {
    let LrFound { sweep, measure, suggestion, .. } = found;
    let (runs, steps) = (sweep.len(), sweep[best].losses.len());
    let loss =
        |trial: &Trial| trial.loss.map_or("diverged".to_owned(), |loss| format!("{loss:.4}"));
    let beside = [best.checked_sub(1), Some(best + 1)].into_iter().flatten();
    let beside: Vec<_> = beside
        .filter_map(|i| sweep.get(i))
        .map(|trial| format!("; {:e}: {}", trial.lr, loss(trial)))
        .collect();
    let edge = if best == 0 || best + 1 == runs {
        "; none was tried beyond it, so that more may be gained there"
    } else {
        ""
    };
    let reading = match (found.steepest, found.lowest) {
        (Some(steepest), Some(lowest)) => format!(
            "The range test alone, which is unreliable for transformers, would say {steepest:.1e} \
             (the steepest fall) or {:.1e} (a tenth of where the loss was lowest)",
            lowest / 10.0
        ),
        _ => "In the range test the loss did not fall".to_owned(),
    };
    let end = found.range.last().map_or(plan.range[0], |point| point.lr);
    let did = if found.diverged { "diverged at" } else { "did not diverge up to" };
    format!(
        "of {runs} runs of {steps} steps with the config's schedule, the one with lr {suggestion:e} has the \
         lowest {measure} ({}{}){edge}. {reading}; its loss {did} {end:.1e}.",
        loss(&sweep[best]),
        beside.concat(),
    )
}
