//! What a rule knows of the step that it takes.

use rappel_schedule::Schedule;

/// The most numbers that a rule keeps beside the state.
pub const MAX_NUMBERS: usize = 6;

/// The step that a rule takes: where schedules stand, and how many updates there were.
#[derive(Debug, Clone, Copy)]
pub struct StepContext {
    /// The optimizer step, counted from 0: where schedules stand.
    pub step: u64,
    /// How many updates these elements have had, this one included: 1 at the first. It corrects
    /// the bias of averages that began at zero.
    pub count: u64,
    /// The schedule's factor of the rule's learning rate.
    pub lr_factor: f64,
    /// The numbers that the rule keeps beside the state, as the update before left them.
    pub numbers: [f64; MAX_NUMBERS],
}

impl StepContext {
    /// Step `step` of elements that have had no update.
    pub(crate) fn new(step: u64, lr_factor: f64) -> Self {
        Self { step, count: 0, lr_factor, numbers: [0.0; MAX_NUMBERS] }
    }

    /// A hyperparameter's value.
    pub fn value(&self, schedule: &Schedule) -> f64 {
        schedule.at(self.step)
    }

    /// The values of several hyperparameters.
    pub fn values<const N: usize>(&self, schedules: &[Schedule; N]) -> [f64; N] {
        schedules.each_ref().map(|schedule| schedule.at(self.step))
    }

    /// The learning rate: the rule's, times the schedule's factor.
    pub fn lr(&self, lr: &Schedule) -> f64 {
        lr.at(self.step) * self.lr_factor
    }

    /// `1 - beta^count`: the weight that an average of decay `beta` has gathered since zero.
    pub fn bias_correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.count as f64)
    }

    /// Whether it is the first update of these elements.
    pub fn is_first(&self) -> bool {
        self.count == 1
    }
}
