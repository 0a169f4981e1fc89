//! The loss of a step's samples and its gradients, as the optimizer asks for them.

use rappel_data::Order;
use rappel_regularize::Regularization;
use rappel_tensor::{Grads, Params, Tensor};

use crate::histograms;
use crate::noise::{Meter, Squares};
use crate::precision::Precision;
use crate::task::Task;
use crate::{Pass, TrainError};

/// One forward and backward pass of a step.
pub(crate) struct MicroBatch {
    /// None where a step has fewer samples than micro-batches.
    pub samples: Vec<usize>,
    pub pass: Pass,
}

/// The micro-batches of a step, and what their losses are divided by.
pub(crate) struct StepBatch {
    pub step: u64,
    pub parts: Vec<MicroBatch>,
    pub weight: f64,
}

impl StepBatch {
    /// The batch of `step`, cut into `parts`.
    pub fn new(
        task: &dyn Task,
        order: &Order,
        step: u64,
        parts: usize,
        pass: impl Fn(usize) -> Pass,
    ) -> Self {
        let part = |part| MicroBatch { samples: order.part(step, part, parts), pass: pass(part) };
        let weight = task.weight(&mut order.samples(step));
        Self { step, parts: (0..parts).map(part).collect(), weight }
    }
}

/// The loss of one step's samples: the same each time that the step looks at it.
pub(crate) struct StepLoss<'a> {
    pub task: &'a mut dyn Task,
    pub regularization: &'a Regularization,
    pub precision: Precision,
    pub batch: &'a StepBatch,
    /// Its value where the step began.
    pub first: Option<Losses>,
    /// Whether the gradients' noise is to be measured there, and the result.
    pub measures: bool,
    pub squares: Option<Squares>,
    /// Whether histograms of the gradients are drawn there, and the result.
    pub draws: bool,
    pub gradients: histograms::Named,
}

/// The loss of a batch, and what is added to it.
#[derive(Clone, Copy)]
pub(crate) struct Losses {
    pub data: f64,
    pub penalty: Option<f64>,
}

impl StepLoss<'_> {
    /// What measures the noise of the gradients where the step begins, if anything does.
    fn meter(&self) -> Option<Meter> {
        let wanted = self.measures && self.first.is_none();
        let samples = || self.batch.parts.iter().map(|part| part.samples.len()).sum();
        wanted.then(|| Meter::new(self.task.params().layout(), samples()))
    }
}

impl rappel_optim::Objective for StepLoss<'_> {
    type Error = TrainError;

    fn params_mut(&mut self) -> &mut Params {
        self.task.params_mut()
    }

    fn evaluate(&mut self) -> Result<(f64, Grads), TrainError> {
        let mut grads = Grads::default();
        let mut data = 0.0;
        let mut penalty = None;
        let mut meter = self.meter();
        // The penalty's gradient does not come from a sample.
        let mut apart = None;
        let StepBatch { step, parts, weight } = self.batch;
        for MicroBatch { samples, pass } in parts.iter().filter(|part| !part.samples.is_empty()) {
            let of_part = self.precision.within(|| self.task.loss(samples, *weight, pass));
            data += of_part.item();
            // Once a step, and in one graph with a loss: as where updates are within the pass.
            let once = penalty.is_none().then(|| self.regularization.penalty(*step)).flatten();
            penalty = penalty.or(once.as_ref().map(Tensor::item));
            let Some(meter) = &mut meter else {
                with_penalty(of_part, once).backward_into(&mut grads);
                continue;
            };
            apart = apart.or(once);
            of_part.backward_into(&mut grads);
            meter.part(samples.len(), &grads);
        }
        self.squares = self.squares.take().or(meter.map(Meter::finish));
        if let Some(penalty) = apart {
            penalty.backward_into(&mut grads);
        }
        if self.draws && self.first.is_none() {
            self.gradients = histograms::gradients(&grads, &self.task.params().layout());
        }
        self.first.get_or_insert(Losses { data, penalty });
        Ok((data + penalty.unwrap_or(0.0), grads))
    }
}

/// The loss that is descended.
pub(crate) fn with_penalty(loss: Tensor, penalty: Option<Tensor>) -> Tensor {
    match penalty {
        Some(penalty) => loss + penalty,
        None => loss,
    }
}
