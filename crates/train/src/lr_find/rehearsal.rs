//! Steps of a run that writes nothing.

use rappel_telemetry::{Event, Start, Step};

use crate::origin::origin;
use crate::parts::Parts;
use crate::tasks::Prepared;
use crate::{Observer, Run, RunDir, TrainError};

impl Run {
    /// A run that writes nothing, for steps whose learning rate is set from outside.
    pub(super) fn rehearse(
        prepared: &Prepared,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let (config, origin) = origin(&prepared.config, observer)?;
        let mut parts = Parts::of(&config, prepared.learner()?, observer)?;
        let state = parts.begin(origin.as_ref())?;
        Self::open(RunDir::nowhere(), parts, state, Start::Fresh, observer)
    }

    /// One optimizer step with a learning rate of `lr`, and its loss; none where that diverged.
    pub(super) fn step_at(
        &mut self,
        lr: f64,
        steps: u64,
        observer: &mut dyn Observer,
    ) -> Result<Option<f64>, TrainError> {
        self.optimizer.scale_schedule(&|_| 1.0);
        let scale = lr / self.optimizer.lr(self.state.step);
        self.optimizer.scale_schedule(&|_| scale);
        match self.descend(false) {
            Ok((step, _)) => {
                self.emit(observer, &Event::Step(Step { steps, ..step }))?;
                Ok(Some(step.loss).filter(|loss| loss.is_finite()))
            }
            Err(TrainError::NonFinite { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The loss on the validation data, if there is any.
    pub(super) fn validation_loss(&mut self) -> Result<Option<f64>, TrainError> {
        Ok(self.validate()?.map(|values| values[0]))
    }
}
