//! Schedule-Free `AdamW`.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::schedule_free::{AVERAGE, Divisor, NUMBERS, Pace, Steps, check_betas, warming};
use crate::{Algorithm, Average, InvalidOption, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "schedule_free_adamw",
    summary: "z <- z - lr g(y) / (sqrt(v^) + eps); x <- (1 - c) x + c z; y <- (1 - beta1) z + beta1 x",
    reference: "schedulefree 1.4.1, AdamWScheduleFree; Defazio et al., \
                https://arxiv.org/abs/2405.15682",
    fields: <ScheduleFreeAdamW as crate::OptionSet>::FIELDS,
    build: Plan::build::<ScheduleFreeAdamW>,
};

crate::options! {
    /// Schedule-Free `AdamW`, as `AdamWScheduleFree` of `schedulefree` 1.4.1.
    ///
    /// [`ScheduleFreeSgd`](crate::ScheduleFreeSgd) with Adam's direction and `beta1` for its
    /// momentum: `v <- beta2 v + (1 - beta2) g^2`, `d = g / (sqrt(v / (1 - beta2^t)) + eps) +
    /// weight_decay y`, `z <- z - lr d`, `x <- (1 - c) x + c z`, `y <- (1 - beta1) z + beta1 x`. The
    /// weights of the average, the warm-up and how to get `x` are told there.
    ///
    /// ```
    /// use rappel_optim::ScheduleFreeAdamW;
    /// let rule = ScheduleFreeAdamW { warmup_steps: 100, ..Default::default() };
    /// assert!(rule.lr.is(0.0025) && rule.weight_lr_power.is(2.0));
    /// ```
    ///
    /// From [Defazio et al., 2024](https://arxiv.org/abs/2405.15682), algorithm 1.
    pub struct ScheduleFreeAdamW {
        /// learning rate
        lr: Schedule = "0.0025", scheduled(Range::from(0.0));
        /// nearness of the trained point to the average, in (0, 1), and decay rate of the squares
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// added to the direction, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// updates over which the learning rate grows from nothing
        warmup_steps: u64 = "0", Kind::int_from(0);
        /// later points weigh more in the average, by the count to this power
        r: Schedule = "0.0", scheduled(Range::FINITE);
        /// points weigh by the largest learning rate so far to this power
        weight_lr_power: Schedule = "2.0", scheduled(Range::FINITE);
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

impl Algorithm for ScheduleFreeAdamW {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }

    fn check(&self) -> Result<(), InvalidOption> {
        check_betas(&self.betas)
    }
}

impl ScheduleFreeAdamW {
    fn pace(&self, now: &Now) -> Pace {
        Pace {
            lr: now.lr(&self.lr) * warming(now, self.warmup_steps),
            beta: now.value(&self.betas[0]),
            r: now.value(&self.r),
            weight_lr_power: now.value(&self.weight_lr_power),
        }
    }
}

impl Rule<2> for ScheduleFreeAdamW {
    const STATE: [&'static str; 2] = ["z", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    const EXACT: [bool; 2] = [true, false];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const AVERAGE: Option<Average> = Some(AVERAGE);
    type Scalars = (Steps, Divisor);

    fn advance(&self, now: &mut Now) {
        self.pace(now).advance(now);
    }

    fn scalars(&self, now: &Now) -> Self::Scalars {
        let beta2 = now.value(&self.betas[1]);
        let divisor = Divisor {
            beta2,
            one_minus_beta2: 1.0 - beta2,
            unbias: now.bias_correction(beta2).sqrt().recip(),
            eps: now.value(&self.eps),
        };
        (self.pace(now).steps(now, now.value(&self.weight_decay)), divisor)
    }

    #[inline(always)]
    fn update<R: Real>(
        &self,
        (steps, divisor): &(Steps<R>, Divisor<R>),
        y: R,
        g: R,
        [z, v]: [R; 2],
    ) -> (R, [R; 2]) {
        let (g, v) = divisor.direction(g, v);
        let (y, z) = steps.take(y, z, g);
        (y, [z, v])
    }
}
