//! Schedule-Free `RAdam`.

use crate::rule::{
    Algorithm, Average, BETA, Descends, InvalidOption, Options, Real, Rule, RuleEntry, Schedule,
    Slot, StepContext, Stepper, elementwise, entry,
};
use crate::schedule_free::{AVERAGE, NUMBERS, Pace, adam_direction, check_betas};

pub(crate) const ENTRY: RuleEntry = entry::<ScheduleFreeRAdam>(
    "schedule_free_radam",
    "schedule_free_adamw with RAdam's rectified rate in the place of a warm-up",
    "schedulefree 1.4.1, RAdamScheduleFree; Defazio et al., \
                https://arxiv.org/abs/2405.15682; Liu et al., https://arxiv.org/abs/1908.03265",
);

/// Schedule-Free `RAdam`, as `RAdamScheduleFree` of `schedulefree` 1.4.1: no warm-up to choose.
///
/// [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW), its rate multiplied by
/// `sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))`, where
/// `rho_inf = 2 / (1 - beta2) - 1` and `rho = rho_inf - 2 t beta2^t / (1 - beta2^t)`. While `rho`
/// is 4 or less (five updates with the default beta2) nothing moves but the average of
/// squares, or, without `silent_sgd_phase`, the direction is the gradient itself.
///
/// ```
/// use rappel_optim::ScheduleFreeRAdam;
/// let rule = ScheduleFreeRAdam::default();
/// assert!(rule.silent_sgd_phase && rule.lr.is(0.0025));
/// ```
///
/// From [Defazio et al., 2024](https://arxiv.org/abs/2405.15682) and
/// [Liu et al., 2019](https://arxiv.org/abs/1908.03265).
#[derive(Debug, Clone, Options, Descends)]
#[options(check = Self::check)]
pub struct ScheduleFreeRAdam {
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
    /// later points weigh more in the average, by the count to this power
    #[option(default = 0.0)]
    pub r: Schedule,
    /// points weigh by the largest learning rate so far to this power
    #[option(default = 2.0)]
    pub weight_lr_power: Schedule,
    /// stand still, not step by plain gradients, until the squares can be trusted
    #[option(default = true)]
    pub silent_sgd_phase: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for ScheduleFreeRAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl ScheduleFreeRAdam {
    fn check(&self) -> Result<(), InvalidOption> {
        check_betas(&self.betas)
    }
}

impl ScheduleFreeRAdam {
    /// What the rate is multiplied by, once the squares can be trusted.
    fn rectification(&self, t: &StepContext) -> Option<f64> {
        let beta2 = t.value(&self.betas[1]);
        let gone = beta2.powf(t.count as f64);
        let most = 2.0 / (1.0 - beta2) - 1.0;
        let rho = most - 2.0 * t.count as f64 * gone / (1.0 - gone);
        let square = (rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho);
        (rho > 4.0).then(|| square.sqrt())
    }

    fn pace(&self, t: &StepContext) -> Pace {
        let plain = if self.silent_sgd_phase { 0.0 } else { 1.0 };
        Pace {
            lr: t.lr(&self.lr) * self.rectification(t).unwrap_or(plain),
            beta: t.value(&self.betas[0]),
            r: t.value(&self.r),
            weight_lr_power: t.value(&self.weight_lr_power),
        }
    }
}

impl Rule<2> for ScheduleFreeRAdam {
    const STATE: [Slot; 2] = [Slot::exact("z"), Slot::positive("exp_avg_sq")];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const AVERAGE: Option<Average> = Some(AVERAGE);

    fn advance(&self, t: &mut StepContext) {
        self.pace(t).advance(t);
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let both = self.pace(t).steps(t, t.value(&self.weight_decay));
        let beta2 = t.value(&self.betas[1]);
        // Until then the gradient is taken as it is.
        let (unbias, eps) = match self.rectification(t) {
            Some(_) => (t.bias_correction(beta2).sqrt().recip(), t.value(&self.eps)),
            None => (0.0, 1.0),
        };
        let direction = adam_direction::<R>(beta2, unbias, eps);
        #[inline(always)]
        move |y, g, [z, v]| {
            let (g, v) = direction(g, v);
            let (y, z) = both(y, z, g);
            (y, [z, v])
        }
    }
}
