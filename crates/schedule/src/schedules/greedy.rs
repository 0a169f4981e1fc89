//! Up while a metric improves, down when it stands still.

use std::collections::VecDeque;

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::build::Build;
use crate::feedback::{Better, Follow, ThresholdMode, Watched};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "greedy",
    summary: "divided by factor while a metric of the validations improves, times factor when it does not",
    reference: "GreedyLR, https://arxiv.org/abs/2512.14527; transformers GreedyLR",
    fields: GreedyOptions::FIELDS,
    build: Build::following(|options| {
        let own = GreedyOptions::from_options(options)?;
        Ok((own.watched, Box::new(Greedy {
            factor: own.factor,
            patience: own.patience,
            better: Better { threshold: own.threshold, mode: own.threshold_mode },
            cooldown: own.cooldown,
            warmup: own.warmup,
            bounds: [own.min_lr, own.max_lr],
            eps: own.eps,
            window: own.smooth.then_some(own.window_size),
            reset_start: own.reset_start,
        })))
    })
    .about(
        "No warm-up of the rate (`warmup` is a pause): chain `constant_with_warmup` to it. Steps count nothing, \
         validations do: every `train.eval_every` steps. `min_lr`, `max_lr` and `eps` are learning rates, as in \
         transformers, where the default `min_lr` of 1e-3 stands above what large models are trained with: set it.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct GreedyOptions {
    #[option(flatten)]
    watched: Watched,
    /// what multiplies or divides
    #[option(default = 0.95, range = Range::above(0.0).below(1.0))]
    factor: f64,
    /// validations in a row that change nothing; the one after them does
    #[option(default = 10)]
    patience: u64,
    /// improvements are larger
    #[option(default = 1e-6)]
    threshold: f64,
    /// threshold as a part of the best value, or as it is
    #[option(default = ThresholdMode::Abs)]
    threshold_mode: ThresholdMode,
    /// validations after a reduction that do not count
    #[option(default = 0)]
    cooldown: u64,
    /// validations after a rise that do not count
    #[option(default = 0)]
    warmup: u64,
    /// lower bound of the learning rate
    #[option(default = 1e-3, range = 0.0..)]
    min_lr: f64,
    /// upper bound of the learning rate
    #[option(default = 1.0, range = 0.0..)]
    max_lr: f64,
    /// smaller changes are left out
    #[option(default = 1e-8, range = 0.0..)]
    eps: f64,
    /// look at means of the last values
    #[option(default = false)]
    smooth: bool,
    /// how many of them
    #[option(default = 50, range = 1..)]
    window_size: usize,
    /// reductions at min_lr after which it begins again from the start
    #[option(default = 500)]
    reset_start: u64,
}

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
