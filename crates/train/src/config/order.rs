//! In what portions samples are taken, and how long that is.

use std::sync::Arc;

use rappel_config::{ConfigError, OptionSet};
use rappel_data::{BatchSize, DataError, Dataset, Drawing, HeldOut, Order};
use rappel_schedule::{Horizon, ScheduleConfig};

use super::{BatchSizeConfig, Config};
use crate::TrainError;

/// The key of the portions.
const BATCH_SIZE: &str = "train.batch_size";

/// How long a run is.
#[derive(Clone, Copy)]
enum Length {
    Steps(u64),
    Epochs(f64),
}

impl Config {
    /// Which of a task's `samples` each step takes, as `train.batch_size`,
    /// `train.gradient_accumulation_steps` and the section `data` say, which has the options
    /// of [`Drawing`].
    ///
    /// A step takes `batch_size` samples for each of its forward passes; with `"all"`, its forward
    /// passes share all samples. A schedule is one over the steps of the run; where its length is given
    /// in epochs, the run is as long as it must be for a schedule of that length to pass over the data
    /// so often.
    ///
    /// # Errors
    /// A schedule that leaves the range at a step of the run; more than there is with `drop_last`.
    pub fn order(&self, samples: usize) -> Result<Order, TrainError> {
        let data = self.section("data");
        let drawing = Drawing { seed: self.seed(), ..Drawing::from_options(data)? };
        let with = |batch_size| match Order::new(samples, batch_size, drawing) {
            Err(error @ DataError::Unshuffled) => {
                Err(data.invalid("replacement", error.to_string()).into())
            }
            made => made.map_err(TrainError::from),
        };
        let of = |steps| {
            let batch_size = self.batch_size(Horizon { steps })?;
            if drawing.drop_last {
                check_fits(&batch_size, steps, samples)?;
            }
            with(batch_size)
        };
        match self.length() {
            Length::Steps(steps) => of(steps),
            Length::Epochs(epochs) if self.has_ramp() => shortest(epochs, samples, of),
            // The same in a run of any length.
            Length::Epochs(_) => of(1),
        }
    }

    /// The length of the run, whose samples are taken in this order.
    pub fn horizon(&self, order: &Order) -> Horizon {
        let steps = match self.length() {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => order.steps(epochs),
        };
        Horizon { steps }
    }

    /// The length of the run, where it is known without the data.
    pub(crate) fn known_horizon(&self) -> Option<Horizon> {
        self.run.train.steps.map(|steps| Horizon { steps })
    }

    /// Held-out data in batches of as many samples as the first forward pass of a run over `samples`
    /// samples, or with `batch_size = "all"` of all; at most `train.eval_batches`.
    pub(crate) fn held_out<D: Dataset>(
        &self,
        data: Option<D>,
        samples: usize,
    ) -> Result<Option<HeldOut<D>>, TrainError> {
        let Some(data) = data else { return Ok(None) };
        let train = &self.run.train;
        let batch_size = match train.batch_size {
            BatchSizeConfig::All => usize::MAX,
            BatchSizeConfig::Of(_) => {
                (self.order(samples)?.batch_size(0) / train.gradient_accumulation_steps).max(1)
            }
        };
        let held_out = HeldOut::new(data, batch_size);
        Ok(Some(match train.eval_batches {
            Some(batches) => held_out.at_most(batches),
            None => held_out,
        }))
    }

    /// Samples of each step of a run.
    pub(crate) fn batch_size(&self, horizon: Horizon) -> Result<BatchSize, TrainError> {
        let parts = self.run.train.gradient_accumulation_steps;
        match &self.run.train.batch_size {
            BatchSizeConfig::All => Ok(BatchSize::All),
            BatchSizeConfig::Of(ScheduleConfig::Number(size)) => {
                Ok((*size as usize).saturating_mul(parts).into())
            }
            BatchSizeConfig::Of(curve) => {
                let curve = curve.over(horizon)?;
                let size = move |step| (curve.at(step).round() as usize).saturating_mul(parts);
                Ok(BatchSize::Ramp(Arc::new(size)))
            }
        }
    }

    /// Whether the batch size changes from step to step.
    pub(crate) fn has_ramp(&self) -> bool {
        self.run.train.batch_size.curve().is_some()
    }

    fn length(&self) -> Length {
        match (self.run.train.steps, self.run.train.epochs) {
            (Some(steps), _) => Length::Steps(steps),
            (None, Some(epochs)) => Length::Epochs(epochs),
            (None, None) => unreachable!("steps or epochs: checked when parsed"),
        }
    }
}

/// With `drop_last` no step wants more samples than there are: it would drop them all.
fn check_fits(size: &BatchSize, steps: u64, samples: usize) -> Result<(), TrainError> {
    let BatchSize::Ramp(size) = size else { return Ok(()) };
    let Some(step) = (0..steps).find(|step| size(*step) > samples) else { return Ok(()) };
    let reason = format!(
        "step {step} takes {} samples, but there are {samples}, and drop_last = true drops what fills \
         no batch; lower the schedule, or set drop_last = false",
        size(step)
    );
    Err(ConfigError::invalid(BATCH_SIZE, reason).into())
}

/// The order of a run whose length `steps` is such that `of(steps)` passes over the data `epochs` times
/// in these steps, and that of a step less does not.
fn shortest(
    epochs: f64,
    samples: usize,
    of: impl Fn(u64) -> Result<Order, TrainError>,
) -> Result<Order, TrainError> {
    let reached =
        |steps: u64| of(steps).map(|order| (order.steps(epochs) <= steps).then_some(order));
    // A sample a step is the slowest that there is.
    let most = ((epochs.ceil() + 1.0) * samples as f64) as u64;
    let (mut short, mut long) = (0, 1);
    let mut found = loop {
        match reached(long) {
            Ok(Some(order)) => break order,
            // Such as a warm-up that is longer than the run.
            Err(error) if long >= most => return Err(error),
            _ => (short, long) = (long, long.saturating_mul(2)),
        }
    };
    while long - short > 1 {
        let middle = short + (long - short) / 2;
        match reached(middle) {
            Ok(Some(order)) => (long, found) = (middle, order),
            _ => short = middle,
        }
    }
    Ok(found)
}
