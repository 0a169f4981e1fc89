//! Pictures of a run, for sinks that show them.

use rappel_draw::{Axis, Curve, PALETTE, Picture, plot, png, sampled};
use rappel_telemetry::{Detail, Event, Moment, Sink};

use crate::{Observer, Run, TrainError};

/// As wide as TensorBoard shows it: letters of a wider one would be made smaller.
const SIZE: [usize; 2] = [344, 220];

impl Run {
    /// The learning rate over all steps, as far as it is known before them.
    pub(crate) fn picture_schedule(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        if !self.wants(observer, Detail::Pictures, 0, self.steps) {
            return Ok(());
        }
        let [width, height] = SIZE;
        let mut picture = Picture::new(width, height);
        let points = sampled(self.steps, width as u64, |step| self.optimizer.lr(step));
        let x = Axis::around("step", false, points.iter().map(|[x, _]| *x));
        let y = Axis::around("", false, points.iter().map(|[_, y]| *y).chain([0.0]));
        let curve = Curve { name: String::new(), points, color: PALETTE[0] };
        plot(&mut picture, [0.0, height as f64], "learning rate", [x, y], &[curve]);
        let name = "schedule/learning_rate";
        self.emit(observer, &Event::Image { name, size: SIZE, png: &png(&picture) })
    }

    /// What is trained on, before the first step.
    pub(crate) fn picture_training(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        if self.state.step > 0 || !self.wants(observer, Detail::Pictures, 0, self.steps) {
            return Ok(());
        }
        let Self { sinks, task, config, .. } = self;
        let at = Moment::now(0);
        task.show_training(config.seed(), &mut |event| {
            sinks.log(at, event)?;
            Ok(observer.log(at, event)?)
        })
    }

    /// What the objective shows of the held-out data beside metrics. The parameters must be those that are
    /// validated.
    pub(crate) fn show(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let Self { sinks, task, precision, state, .. } = self;
        let at = Moment::now(state.step);
        precision.within(|| {
            task.show(&mut |event| {
                sinks.log(at, event)?;
                Ok(observer.log(at, event)?)
            })
        })
    }
}
