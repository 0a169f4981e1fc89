//! LAMB.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, RuleEntry, Schedule, Slot, StepContext, Stepper,
    TwoPass, entry, lerp, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<Lamb>(
    "lamb",
    "u <- m^ / (sqrt(v^) + eps) + weight_decay p; p <- p - lr (|p| / |u|) u, norms per tensor",
    "timm 1.0.31, Lamb (as NVIDIA's FusedLAMB); You et al., \
                https://arxiv.org/abs/1904.00962",
);

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
/// see [`OptimizerConfig::max_grad_norm`](crate::OptimizerConfig::max_grad_norm). The paper's first version bounds `|p|` by 10,
/// as `pytorch_optimizer` does; this, like NVIDIA's, does not.
///
/// ```
/// use rappel_optim::Lamb;
/// let lamb = Lamb { lr: 4e-3.into(), ..Default::default() };
/// assert!(lamb.bias_correction && lamb.weight_decay.is(0.01));
/// ```
///
/// From [You et al., 2019](https://arxiv.org/abs/1904.00962), algorithm 2.
#[derive(Debug, Clone, Options, Descends)]
pub struct Lamb {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// correct the averages for having begun at zero
    #[option(default = true)]
    pub bias_correction: bool,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-6, range = 0.0..)]
    pub eps: Schedule,
    /// added to the direction, times the parameter
    #[option(default = 0.01, range = 0.0..)]
    pub weight_decay: Schedule,
    /// weigh a gradient by 1 - beta1 in its average, not by 1
    #[option(default = true)]
    pub grad_averaging: bool,
    /// bound the ratio of norms by 1
    #[option(default = false)]
    pub trust_clip: bool,
    /// take the ratio of norms without weight decay, too
    #[option(default = false)]
    pub always_adapt: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Lamb {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<2, 2, _>(self)
    }
}

impl Lamb {
    /// Where a parameter is to go.
    fn direction<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, R) -> R {
        let correction = |beta| if self.bias_correction { t.bias_correction(beta) } else { 1.0 };
        let [bias1, bias2] = t.values(&self.betas).map(correction);
        let [unbias1, unbias2] = [bias1.recip(), bias2.sqrt().recip()].map(R::of);
        let [weight_decay, eps] = [t.value(&self.weight_decay), t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, m, v| {
            let u = m * unbias1 / (v.sqrt() * unbias2 + eps);
            p.mul_add(weight_decay, u)
        }
    }
}

impl TwoPass<2, 2> for Lamb {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];
    const SHARED: bool = false;
    /// Learning rate times the ratio of norms.
    type Found = f64;

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> ([R; 2], [R; 2]) {
        let ([beta1, beta2], averages) = (t.values(&self.betas), self.grad_averaging);
        let [weight1, weight2] = [1.0 - beta1, 1.0 - beta2].map(R::of);
        let ([beta1, beta2], direction) = ([beta1, beta2].map(R::of), self.direction(t));
        #[inline(always)]
        move |p, g, [m, v]| {
            let m = if averages { lerp(m, g, weight1) } else { m * beta1 + g };
            let v = v * beta2 + weight2 * g * g;
            let u = direction(p, m, v);
            ([m, v], [p * p, u * u])
        }
    }

    fn find(&self, t: &mut StepContext, [p, u]: [f64; 2], _: Shape) -> f64 {
        let adapts = self.always_adapt || t.value(&self.weight_decay) != 0.0;
        let mut ratio = if adapts && p > 0.0 && u > 0.0 { p.sqrt() / u.sqrt() } else { 1.0 };
        if adapts && self.trust_clip {
            ratio = ratio.min(1.0);
        }
        t.lr(&self.lr) * ratio
    }

    fn step<R: Real>(
        &self,
        t: &StepContext,
        step_size: f64,
    ) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let (step_size, direction) = (R::of(step_size), self.direction(t));
        #[inline(always)]
        move |p, _, [m, v]| (p - step_size * direction(p, m, v), [m, v])
    }
}
