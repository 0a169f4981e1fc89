//! LAMB.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Schedule, Stepper, TwoPass, lerp, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "lamb",
    summary: "u <- m^ / (sqrt(v^) + eps) + weight_decay p; p <- p - lr (|p| / |u|) u, norms per tensor",
    reference: "timm 1.0.31, Lamb (as NVIDIA's FusedLAMB); You et al., \
                https://arxiv.org/abs/1904.00962",
    fields: <Lamb as crate::OptionSet>::FIELDS,
    build: Plan::build::<Lamb>,
};

crate::options! {
    /// LAMB: Adam's direction, as long as the tensor it moves; as `Lamb` of `timm` 1.0.31, which
    /// follows NVIDIA's `FusedLAMB`.
    ///
    /// `m <- beta1 m + (1 - beta1) g` (without `grad_averaging`, `beta1 m + g`),
    /// `v <- beta2 v + (1 - beta2) g^2`, `u = m^ / (sqrt(v^) + eps) + weight_decay p`,
    /// `p <- p - lr r u`. The ratio
    /// `r = |p| / |u|` is of each tensor's norms; it is 1 where either norm is 0, and where the
    /// weight decay is 0 unless `always_adapt`; `trust_clip` bounds it by 1. `^` divides by
    /// `1 - beta^t`, unless `bias_correction` is off.
    ///
    /// The reference's boolean `decoupled_decay` is the number `decoupled_decay` of any rule here, with
    /// `always_adapt` and no `weight_decay`. Its `max_grad_norm` of 1 is the optimizer's own clipping here, off by default:
    /// see [`Recipe::max_grad_norm`](crate::Recipe::max_grad_norm). The paper's first version bounds `|p|` by 10,
    /// as `pytorch_optimizer` does; this, like NVIDIA's, does not.
    ///
    /// ```
    /// use rappel_optim::Lamb;
    /// let lamb = Lamb { lr: 4e-3.into(), ..Default::default() };
    /// assert!(lamb.bias_correction && lamb.weight_decay.is(0.01));
    /// ```
    ///
    /// From [You et al., 2019](https://arxiv.org/abs/1904.00962), algorithm 2.
    pub struct Lamb {
        /// learning rate
        lr: Schedule = "1e-3", scheduled(Range::from(0.0));
        /// correct the averages for having begun at zero
        bias_correction: bool = "true", Kind::Bool;
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-6", scheduled(Range::from(0.0));
        /// added to the direction, times the parameter
        weight_decay: Schedule = "0.01", scheduled(Range::from(0.0));
        /// weigh a gradient by 1 - beta1 in its average, not by 1
        grad_averaging: bool = "true", Kind::Bool;
        /// bound the ratio of norms by 1
        trust_clip: bool = "false", Kind::Bool;
        /// take the ratio of norms without weight decay, too
        always_adapt: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of the averages.
    pub struct Averages {
        /// Decay rate of the average of gradients.
        beta1,
        /// Weight of the gradient in its average.
        weight,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in its average.
        one_minus_beta2,
    }
}

crate::scalars! {
    /// The numbers of the direction.
    pub struct Direction {
        /// Weight decay within the direction.
        weight_decay,
        /// 1 over the first bias correction.
        unbias1,
        /// 1 over the root of the second.
        unbias2,
        /// What keeps the divisor from 0.
        eps,
    }
}

crate::scalars! {
    /// How far the direction is followed.
    pub struct Length {
        /// Learning rate times the ratio of norms.
        step_size,
    }
}

impl<R: Real> Direction<R> {
    /// Where the parameter is to go.
    #[inline(always)]
    fn of(&self, p: R, m: R, v: R) -> R {
        let u = m * self.unbias1 / (v.sqrt() * self.unbias2 + self.eps);
        p.mul_add(self.weight_decay, u)
    }
}

impl Algorithm for Lamb {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<2, 2, _>(self)
    }
}

impl Lamb {
    fn direction(&self, now: &Now) -> Direction {
        let correction = |beta: &Schedule| {
            let beta = now.value(beta);
            if self.bias_correction { now.bias_correction(beta) } else { 1.0 }
        };
        Direction {
            weight_decay: now.value(&self.weight_decay),
            unbias1: correction(&self.betas[0]).recip(),
            unbias2: correction(&self.betas[1]).sqrt().recip(),
            eps: now.value(&self.eps),
        }
    }
}

impl TwoPass<2, 2> for Lamb {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    const SHARED: bool = false;
    type First = (Averages, Direction);
    type Second = (Direction, Length);

    fn first(&self, now: &Now) -> Self::First {
        let [beta1, beta2] = [now.value(&self.betas[0]), now.value(&self.betas[1])];
        let weight = if self.grad_averaging { 1.0 - beta1 } else { 1.0 };
        let averages = Averages { beta1, weight, beta2, one_minus_beta2: 1.0 - beta2 };
        (averages, self.direction(now))
    }

    #[inline(always)]
    fn gather<R: Real>(
        &self,
        (h, direction): &(Averages<R>, Direction<R>),
        p: R,
        g: R,
        [m, v]: [R; 2],
    ) -> ([R; 2], [R; 2]) {
        let m = if self.grad_averaging { lerp(m, g, h.weight) } else { m * h.beta1 + g };
        let v = v * h.beta2 + h.one_minus_beta2 * g * g;
        let u = direction.of(p, m, v);
        ([m, v], [p * p, u * u])
    }

    fn second(&self, now: &mut Now, [p, u]: [f64; 2], _: usize) -> Self::Second {
        let adapts = self.always_adapt || now.value(&self.weight_decay) != 0.0;
        let mut ratio = if adapts && p > 0.0 && u > 0.0 { p.sqrt() / u.sqrt() } else { 1.0 };
        if adapts && self.trust_clip {
            ratio = ratio.min(1.0);
        }
        (self.direction(now), Length { step_size: now.lr(&self.lr) * ratio })
    }

    #[inline(always)]
    fn update<R: Real>(
        &self,
        (direction, length): &(Direction<R>, Length<R>),
        p: R,
        _g: R,
        [m, v]: [R; 2],
    ) -> (R, [R; 2]) {
        let u = direction.of(p, m, v);
        (p - length.step_size * u, [m, v])
    }
}
