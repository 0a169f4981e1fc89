//! Down when a metric stands still.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::Build;
use crate::feedback::{BELOW_ONE, Better, COOLDOWN, Follow, METRIC, MODE, PATIENCE};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "reduce_lr_on_plateau",
    summary: "times factor whenever a metric of the validations has not improved for patience of them",
    reference: "torch.optim.lr_scheduler.ReduceLROnPlateau",
    fields: &[
        METRIC,
        MODE,
        Field::new("factor", BELOW_ONE, "0.1", "what a reduction multiplies by"),
        PATIENCE,
        Field::new("threshold", Kind::Float(Range::FINITE), "1e-4", "improvements are larger"),
        Field::new(
            "threshold_mode",
            Kind::OneOf(&["rel", "abs"]),
            "\"rel\"",
            "threshold as a part of the best value, or as it is",
        ),
        COOLDOWN,
        Field::new(
            "min_lr",
            Kind::Float(Range::from(0.0)),
            "0.0",
            "lower bound of the learning rate",
        ),
        Field::new("eps", Kind::Float(Range::from(0.0)), "1e-8", "smaller reductions are left out"),
    ],
    build: Build::following(|options| {
        Box::new(Plateau {
            factor: options.f64("factor"),
            patience: options.u64("patience"),
            better: Better::from_options(options),
            cooldown: options.u64("cooldown"),
            min_lr: options.f64("min_lr"),
            eps: options.f64("eps"),
        })
    })
    .about(
        "No warm-up: chain `constant_with_warmup` to it. Steps count nothing, validations do: every `train.eval_every` \
         steps. The metric is the task's loss or another by its name; a value that is not finite improves nothing. \
         `min_lr` and `eps` are learning rates, as in PyTorch.",
    ),
};

#[derive(Debug)]
struct Plateau {
    factor: f64,
    patience: u64,
    better: Better,
    cooldown: u64,
    min_lr: f64,
    eps: f64,
}

impl Follow for Plateau {
    fn lr(&self, mut lr: f64, values: &[f64], maximize: bool) -> f64 {
        let mut best = Better::worst(maximize);
        let (mut bad, mut cooling) = (0, 0);
        for &value in values {
            if self.better.than(best, value, maximize) {
                best = value;
                bad = 0;
            } else {
                bad += 1;
            }
            if cooling > 0 {
                cooling -= 1;
                bad = 0;
            }
            if bad > self.patience {
                let lower = self.min_lr.max(lr * self.factor);
                lr = if lr - lower > self.eps { lower } else { lr };
                cooling = self.cooldown;
                bad = 0;
            }
        }
        lr
    }
}
