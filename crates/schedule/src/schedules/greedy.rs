//! Up while a metric improves, down when it stands still.

use std::collections::VecDeque;

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::Build;
use crate::feedback::{BELOW_ONE, Better, COOLDOWN, Follow, METRIC, MODE, PATIENCE};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "greedy",
    summary: "divided by factor while a metric of the validations improves, times factor when it does not",
    reference: "GreedyLR, https://arxiv.org/abs/2512.14527; transformers GreedyLR",
    fields: &[
        METRIC,
        MODE,
        Field::new("factor", BELOW_ONE, "0.95", "what multiplies or divides"),
        PATIENCE,
        Field::new("threshold", Kind::Float(Range::FINITE), "1e-6", "improvements are larger"),
        Field::new(
            "threshold_mode",
            Kind::OneOf(&["rel", "abs"]),
            "\"abs\"",
            "threshold as a part of the best value, or as it is",
        ),
        COOLDOWN,
        Field::new(
            "warmup",
            Kind::int_from(0),
            "0",
            "validations after a rise that do not count",
        ),
        Field::new(
            "min_lr",
            Kind::Float(Range::from(0.0)),
            "1e-3",
            "lower bound of the learning rate",
        ),
        Field::new(
            "max_lr",
            Kind::Float(Range::from(0.0)),
            "1.0",
            "upper bound of the learning rate",
        ),
        Field::new("eps", Kind::Float(Range::from(0.0)), "1e-8", "smaller changes are left out"),
        Field::new("smooth", Kind::Bool, "false", "look at means of the last values"),
        Field::new("window_size", Kind::int_from(1), "50", "how many of them"),
        Field::new(
            "reset_start",
            Kind::int_from(0),
            "500",
            "reductions at min_lr after which it begins again from the start",
        ),
    ],
    build: Build::following(|options| {
        Box::new(Greedy {
            factor: options.f64("factor"),
            patience: options.u64("patience"),
            better: Better::from_options(options),
            cooldown: options.u64("cooldown"),
            warmup: options.u64("warmup"),
            bounds: [options.f64("min_lr"), options.f64("max_lr")],
            eps: options.f64("eps"),
            window: options.bool("smooth").then(|| options.usize("window_size")),
            reset_start: options.u64("reset_start"),
        })
    })
    .about(
        "No warm-up of the rate (`warmup` is a pause): chain `constant_with_warmup` to it. Steps count nothing, \
         validations do: every `train.eval_every` steps. `min_lr`, `max_lr` and `eps` are learning rates, as in \
         transformers, where the default `min_lr` of 1e-3 stands above what large models are trained with: set it.",
    ),
};

#[derive(Debug)]
struct Greedy {
    factor: f64,
    patience: u64,
    better: Better,
    cooldown: u64,
    warmup: u64,
    /// Lower and upper.
    bounds: [f64; 2],
    eps: f64,
    /// Over how many values means are taken, if they are.
    window: Option<usize>,
    reset_start: u64,
}

/// How far it has come.
struct State {
    lr: f64,
    best: f64,
    bad: u64,
    good: u64,
    /// Values that are still passed over.
    pause: u64,
    /// Reductions at the lower bound that are left until it begins again.
    left: u64,
    window: VecDeque<f64>,
    sum: f64,
}

impl Greedy {
    fn begin(&self, lr: f64, maximize: bool) -> State {
        State {
            lr,
            best: Better::worst(maximize),
            bad: 0,
            good: 0,
            pause: 0,
            left: self.reset_start,
            window: VecDeque::new(),
            sum: 0.0,
        }
    }

    fn raise(&self, state: &mut State) {
        let higher = self.bounds[1].min(state.lr / self.factor);
        state.lr = if higher - state.lr > self.eps { higher } else { state.lr };
        state.left = self.reset_start;
        state.pause = self.warmup;
        state.good = 0;
    }

    fn lower(&self, state: &mut State, lr: f64, maximize: bool) {
        let lower = self.bounds[0].max(state.lr * self.factor);
        state.lr = if state.lr - lower > self.eps { lower } else { state.lr };
        if state.lr <= self.bounds[0] {
            state.left = state.left.saturating_sub(1);
            if state.left == 0 {
                *state = self.begin(lr, maximize);
            }
        }
        state.pause = self.cooldown;
        state.bad = 0;
    }
}

impl Follow for Greedy {
    fn lr(&self, lr: f64, values: &[f64], maximize: bool) -> f64 {
        let mut state = self.begin(lr, maximize);
        for &value in values {
            let value = self.window.map_or(value, |size| state.smooth(value, size));
            if state.pause > 0 {
                state.pause -= 1;
                (state.bad, state.good) = (0, 0);
                continue;
            }
            if self.better.than(state.best, value, maximize) {
                state.best = value;
                (state.bad, state.good) = (0, state.good + 1);
            } else {
                (state.bad, state.good) = (state.bad + 1, 0);
            }
            if state.good > self.patience {
                self.raise(&mut state);
            } else if state.bad > self.patience {
                self.lower(&mut state, lr, maximize);
            }
        }
        state.lr
    }
}

impl State {
    /// The mean of the last `size` values, this one included, summed as transformers does.
    fn smooth(&mut self, value: f64, size: usize) -> f64 {
        self.window.push_back(value);
        self.sum += value;
        if self.window.len() > size {
            self.sum -= self.window.pop_front().unwrap_or(0.0);
        }
        self.sum / self.window.len() as f64
    }
}
