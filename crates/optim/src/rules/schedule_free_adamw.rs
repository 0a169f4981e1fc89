//! Schedule-Free `AdamW`.

use crate::rule::{
    Algorithm, Average, BETA, Descends, InvalidOption, Options, Real, Rule, RuleEntry, Schedule,
    Slot, StepContext, Stepper, elementwise, entry,
};
use crate::schedule_free::{AVERAGE, NUMBERS, Pace, adam_direction, check_betas, warming};

pub(crate) const ENTRY: RuleEntry = entry::<ScheduleFreeAdamW>(
    "schedule_free_adamw",
    "z <- z - lr g(y) / (sqrt(v^) + eps); x <- (1 - c) x + c z; y <- (1 - beta1) z + beta1 x",
    "schedulefree 1.4.1, AdamWScheduleFree; Defazio et al., \
                https://arxiv.org/abs/2405.15682",
);

/// Schedule-Free `AdamW`, as `AdamWScheduleFree` of `schedulefree` 1.4.1.
///
/// [`ScheduleFreeSgd`](crate::ScheduleFreeSgd) with Adam's direction and `beta1` for its
/// momentum: `v <- beta2 v + (1 - beta2) g^2`, `d = g / (sqrt(v / (1 - beta2^t)) + eps) +
/// weight_decay y`, `z <- z - lr d`, `x <- (1 - c) x + c z`, `y <- (1 - beta1) z + beta1 x`. The
/// weights of the average, the warm-up and how to get `x` are described there.
///
/// ```
/// use rappel_optim::ScheduleFreeAdamW;
/// let rule = ScheduleFreeAdamW { warmup_steps: 100, ..Default::default() };
/// assert!(rule.lr.is(0.0025) && rule.weight_lr_power.is(2.0));
/// ```
///
/// From [Defazio et al., 2024](https://arxiv.org/abs/2405.15682), algorithm 1.
#[derive(Debug, Clone, Options, Descends)]
#[options(check = Self::check)]
pub struct ScheduleFreeAdamW {
    /// learning rate
    #[option(default = 0.0025, range = 0.0..)]
    pub lr: Schedule,
    /// nearness of the trained point to the average, in (0, 1), and decay rate of the squares
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// added to the direction, times the parameter
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

impl Algorithm for ScheduleFreeAdamW {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl ScheduleFreeAdamW {
    fn check(&self) -> Result<(), InvalidOption> {
        check_betas(&self.betas)
    }
}

impl ScheduleFreeAdamW {
    fn pace(&self, t: &StepContext) -> Pace {
        Pace {
            lr: t.lr(&self.lr) * warming(t, self.warmup_steps),
            beta: t.value(&self.betas[0]),
            r: t.value(&self.r),
            weight_lr_power: t.value(&self.weight_lr_power),
        }
    }
}

impl Rule<2> for ScheduleFreeAdamW {
    const STATE: [Slot; 2] = [Slot::exact("z"), Slot::positive("exp_avg_sq")];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const AVERAGE: Option<Average> = Some(AVERAGE);

    fn advance(&self, t: &mut StepContext) {
        self.pace(t).advance(t);
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let both = self.pace(t).steps(t, t.value(&self.weight_decay));
        let beta2 = t.value(&self.betas[1]);
        let unbias = t.bias_correction(beta2).sqrt().recip();
        let direction = adam_direction::<R>(beta2, unbias, t.value(&self.eps));
        #[inline(always)]
        move |y, g, [z, v]| {
            let (g, v) = direction(g, v);
            let (y, z) = both(y, z, g);
            (y, [z, v])
        }
    }
}
