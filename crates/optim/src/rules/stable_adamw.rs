//! `AdamW` with update clipping.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, RuleEntry, Schedule, Slot, StepContext, Stepper,
    TwoPass, entry, lerp, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<StableAdamW>(
    "stable_adamw",
    "AdamW, lr over max(1, rms(g / sqrt(v))) per tensor",
    "pytorch_optimizer 4.1.0, StableAdamW; Wortsman et al., \
                https://arxiv.org/abs/2304.13013",
);

/// `AdamW` whose rate falls, for each tensor, where its gradients outgrow their average: update
/// clipping in place of gradient clipping; as `StableAdamW` of `pytorch_optimizer` 4.1.0.
///
/// With `b^ = beta (1 - beta^(t - 1)) / (1 - beta^t)` for each beta, which corrects the bias
/// within the averages: `m <- b1^ m + (1 - b1^) g`, `v <- b2^ v + (1 - b2^) g^2`,
/// `r = max(1, sqrt(mean(g^2 / max(v, eps^2))))` over the tensor,
/// `p <- (1 - lr weight_decay / r) p` (or, without `weight_decouple`,
/// `g <- g + weight_decay p` first), `p <- p - lr / r m / (sqrt(v) + eps)`.
///
/// The package's Kahan summation for half precision is not part of it: stochastic rounding
/// serves the same end.
///
/// ```
/// use rappel_optim::StableAdamW;
/// let rule = StableAdamW { lr: 1e-3.into(), ..Default::default() };
/// assert!(rule.betas[1].is(0.99) && rule.weight_decay.is(0.01));
/// ```
///
/// From [Wortsman et al., 2023](https://arxiv.org/abs/2304.13013), algorithm 2.
#[derive(Debug, Clone, Options, Descends)]
pub struct StableAdamW {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.99], range = BETA)]
    pub betas: [Schedule; 2],
    /// the share of a parameter that a step takes away, times the tensor's rate
    #[option(default = 0.01, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = true)]
    pub weight_decouple: bool,
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for StableAdamW {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<2, 1, _>(self)
    }
}

/// The decay rate that makes of a running average one of what it has seen alone.
fn debiased(t: &StepContext, beta: f64) -> f64 {
    let before = 1.0 - beta.powf(t.count as f64 - 1.0);
    beta * before / t.bias_correction(beta)
}

impl TwoPass<2, 1> for StableAdamW {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];
    const SHARED: bool = false;
    /// The tensor's rate.
    type Found = f64;

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> ([R; 2], [R; 1]) {
        let [beta1, beta2] = t.values(&self.betas).map(|beta| debiased(t, beta));
        let (coupled, eps) = (t.value(&self.weight_decay), t.value(&self.eps));
        let coupled = if self.weight_decouple { 0.0 } else { coupled };
        let [weight_decay, least] = [coupled, eps * eps].map(R::of);
        let [weight1, beta2, weight2] = [1.0 - beta1, beta2, 1.0 - beta2].map(R::of);
        #[inline(always)]
        move |p, g, [m, v]| {
            let g = p.mul_add(weight_decay, g);
            let m = lerp(m, g, weight1);
            let v = v * beta2 + weight2 * g * g;
            let share = g * g / R::select(v.lt(least), least, v);
            ([m, v], [share])
        }
    }

    fn find(&self, t: &mut StepContext, [shares]: [f64; 1], shape: Shape) -> f64 {
        t.lr(&self.lr) / (shares / shape.count() as f64).sqrt().max(1.0)
    }

    fn step<R: Real>(&self, t: &StepContext, lr: f64) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let decay = if self.weight_decouple { t.value(&self.weight_decay) } else { 0.0 };
        let [keep, lr, eps] = [1.0 - decay * lr, lr, t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, _, [m, v]| (p * keep - lr * m / (v.sqrt() + eps), [m, v])
    }
}
