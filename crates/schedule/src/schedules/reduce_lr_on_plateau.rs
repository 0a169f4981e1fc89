//! Down when a metric stands still.

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::build::Build;
use crate::feedback::{Better, Follow, ThresholdMode, Watched};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "reduce_lr_on_plateau",
    summary: "times factor whenever a metric of the validations has not improved for patience of them",
    reference: "torch.optim.lr_scheduler.ReduceLROnPlateau",
    fields: ReduceLrOnPlateauOptions::FIELDS,
    build: Build::following(|options| {
        let own = ReduceLrOnPlateauOptions::from_options(options)?;
        Ok((own.watched, Box::new(Plateau {
            factor: own.factor,
            patience: own.patience,
            better: Better { threshold: own.threshold, mode: own.threshold_mode },
            cooldown: own.cooldown,
            min_lr: own.min_lr,
            eps: own.eps,
        })))
    })
    .about(
        "No warm-up: chain `constant_with_warmup` to it. Steps count nothing, validations do: every `train.eval_every` \
         steps. The metric is the task's loss or another by its name; a value that is not finite improves nothing. \
         `min_lr` and `eps` are learning rates, as in PyTorch.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct ReduceLrOnPlateauOptions {
    #[option(flatten)]
    watched: Watched,
    /// what a reduction multiplies by
    #[option(default = 0.1, range = Range::above(0.0).below(1.0))]
    factor: f64,
    /// validations in a row that change nothing; the one after them does
    #[option(default = 10)]
    patience: u64,
    /// improvements are larger
    #[option(default = 1e-4)]
    threshold: f64,
    /// threshold as a part of the best value, or as it is
    #[option(default = ThresholdMode::Rel)]
    threshold_mode: ThresholdMode,
    /// validations after a reduction that do not count
    #[option(default = 0)]
    cooldown: u64,
    /// lower bound of the learning rate
    #[option(default = 0.0, range = 0.0..)]
    min_lr: f64,
    /// smaller reductions are left out
    #[option(default = 1e-8, range = 0.0..)]
    eps: f64,
}

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
