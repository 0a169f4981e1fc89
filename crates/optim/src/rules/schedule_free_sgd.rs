//! Schedule-Free stochastic gradient descent.

use crate::rule::{
    Algorithm, Average, Descends, Options, Range, Real, Rule, RuleEntry, Schedule, Slot,
    StepContext, Stepper, elementwise, entry,
};
use crate::schedule_free::{AVERAGE, NUMBERS, Pace, warming};

pub(crate) const ENTRY: RuleEntry = entry::<ScheduleFreeSgd>(
    "schedule_free_sgd",
    "z <- z - lr g(y); x <- (1 - c) x + c z; y <- (1 - momentum) z + momentum x",
    "schedulefree 1.4.1, SGDScheduleFree; Defazio et al., \
                https://arxiv.org/abs/2405.15682",
);

/// Schedule-Free SGD, as `SGDScheduleFree` of `schedulefree` 1.4.1: an average in the place of a
/// schedule.
///
/// Gradients are those at `y`. `g <- g + weight_decay y`, `z <- z - lr g`,
/// `x <- (1 - c) x + c z`, `y <- (1 - momentum) z + momentum x`, where `c = w / sum(w)` and
/// `w = t^r lr_max^weight_lr_power`, with `lr_max` the largest rate so far. All begin at the
/// parameter. Over the first `warmup_steps` updates `lr` grows from nothing in a line; no
/// schedule is needed beside.
///
/// The parameter is `y` while training, and `x` is what to evaluate and keep:
/// [`Optimizer::eval`](crate::Optimizer::eval) and [`train`](crate::Optimizer::train) go from
/// one to the other. Only `z` is stored, always in full precision.
///
/// Where `momentum` is a curve, `x` stays the average that it is; the package has constants.
///
/// ```
/// use rappel_optim::{Optimizer, ScheduleFreeSgd};
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// let w = params.scope("").add("w", [1], Init::ONES);
/// let mut sgd = Optimizer::new(ScheduleFreeSgd::default(), &params)?;
/// for step in 0..2 {
///     let loss = w.tensor().sum();
///     sgd.step(step, &mut params, &loss.backward())?;
/// }
/// // z is at 0, then at -1: the average of both.
/// sgd.eval(&mut params)?;
/// assert!((w.tensor().to_vec::<f32>()[0] + 0.5).abs() < 1e-6);
/// # Ok::<(), rappel_optim::OptimError>(())
/// ```
///
/// From [Defazio et al., 2024](https://arxiv.org/abs/2405.15682), equations 3 to 5.
#[derive(Debug, Clone, Options, Descends)]
pub struct ScheduleFreeSgd {
    /// learning rate
    #[option(default = 1.0, range = 0.0..)]
    pub lr: Schedule,
    /// how near the trained point keeps to the average, in (0, 1)
    #[option(default = 0.9, range = Range::above(0.0).below(1.0))]
    pub momentum: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// updates over which the learning rate grows from nothing
    #[option(default = 0)]
    pub warmup_steps: u64,
    /// later points weigh more in the average, by the count to this power
    #[option(default = 0.0)]
    pub r: Schedule,
    /// points weigh by the largest learning rate so far to this power
    #[option(default = 2.0)]
    pub weight_lr_power: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for ScheduleFreeSgd {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl ScheduleFreeSgd {
    fn pace(&self, t: &StepContext) -> Pace {
        Pace {
            lr: t.lr(&self.lr) * warming(t, self.warmup_steps),
            beta: t.value(&self.momentum),
            r: t.value(&self.r),
            weight_lr_power: t.value(&self.weight_lr_power),
        }
    }
}

impl Rule<1> for ScheduleFreeSgd {
    const STATE: [Slot; 1] = [Slot::exact("z")];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const AVERAGE: Option<Average> = Some(AVERAGE);

    fn advance(&self, t: &mut StepContext) {
        self.pace(t).advance(t);
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let both = self.pace(t).steps(t, t.value(&self.weight_decay));
        #[inline(always)]
        move |y, g, [z]| {
            let (y, z) = both(y, z, g);
            (y, [z])
        }
    }
}
