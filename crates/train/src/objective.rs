//! The loss of a step's batch and its gradients, as the optimizer asks for them.

use rappel_optim::Objective;
use rappel_regularize::Regularization;
use rappel_tensor::{Grads, Params, Tensor};

use crate::noise::{Meter, Squares};
use crate::precision::Precision;
use crate::tasks::Task;
use crate::{Pass, TrainError};

/// The loss of one step's samples: the same each time that the step looks at it.
pub(crate) struct Batch<'a> {
    pub task: &'a mut dyn Task,
    pub regularization: &'a Regularization,
    pub precision: Precision,
    pub step: u64,
    pub passes: &'a [Pass],
    /// What it came to where the step began.
    pub first: Option<Losses>,
    /// Whether the gradients' noise is to be measured there, and what came of it.
    pub measures: bool,
    pub squares: Option<Squares>,
}

impl Batch<'_> {
    /// What measures the noise of the gradients where the step begins, if anything does.
    fn meter(&self) -> Option<Meter> {
        let wanted = self.measures && self.first.is_none();
        let samples = || self.task.order().batch_size(self.step);
        wanted.then(|| Meter::new(self.task.params().layout(), samples()))
    }
}

/// The loss of a batch, and what is added to it.
#[derive(Clone, Copy)]
pub(crate) struct Losses {
    pub data: f64,
    pub penalty: Option<f64>,
}

impl Objective for Batch<'_> {
    type Error = TrainError;

    fn params_mut(&mut self) -> &mut Params {
        self.task.params_mut()
    }

    fn evaluate(&mut self) -> Result<(f64, Grads), TrainError> {
        let mut grads = Grads::default();
        let mut data = 0.0;
        let mut penalty = None;
        let mut meter = self.meter();
        // Its gradient is no sample's.
        let mut apart = None;
        for pass in self.passes {
            let of_part = self.precision.within(|| self.task.loss(pass));
            let Some(of_part) = of_part else { continue };
            data += of_part.item();
            // Once a step, and in one graph with a loss: as where updates are within the pass.
            let once = penalty.is_none().then(|| self.regularization.penalty(self.step)).flatten();
            penalty = penalty.or(once.as_ref().map(Tensor::item));
            let Some(meter) = &mut meter else {
                with_penalty(of_part, once).backward_into(&mut grads);
                continue;
            };
            apart = apart.or(once);
            of_part.backward_into(&mut grads);
            let samples = self.task.order().part(self.step, pass.part, self.passes.len());
            meter.part(samples.len(), &grads);
        }
        self.squares = self.squares.take().or(meter.map(Meter::finish));
        if let Some(penalty) = apart {
            penalty.backward_into(&mut grads);
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
