//! Adam with Nesterov's momentum.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<NAdam>(
    "nadam",
    "m, v as adam; p <- p - lr (a g + b m) / (sqrt(v^) + eps), a and b by growing momentum",
    "torch.optim.NAdam; Dozat, 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ",
);

/// Adam with Nesterov's momentum, as `torch.optim.NAdam`.
///
/// At update `t`: `g <- g + weight_decay p` (or, `decoupled_weight_decay`,
/// `p <- (1 - lr weight_decay) p`), `m <- beta1 m + (1 - beta1) g`,
/// `v <- beta2 v + (1 - beta2) g^2`, `mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)`,
/// `M <- mu_t M` and
/// `p <- p - lr ((1 - mu_t) / (1 - M) g + mu_(t+1) / (1 - mu_(t+1) M) m) / (sqrt(v / (1 - beta2^t)) + eps)`.
///
/// The product `M` is kept as `mu_product`, in double precision (PyTorch: in its default type).
///
/// ```
/// use rappel_optim::NAdam;
/// let nadam = NAdam { lr: 1e-3.into(), decoupled_weight_decay: true, ..Default::default() };
/// assert!(nadam.momentum_decay.is(4e-3));
/// ```
///
/// PyTorch keeps `mu_product` in its default type, single precision unless `set_default_dtype` says
/// otherwise, whatever the parameters' type: of double-precision parameters its trajectory is then
/// up to 1e-8 off its own formula. Here numbers are always in double precision.
///
/// From [Dozat, 2016](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), whose averages take
/// `mu_t` in place of `beta1`, too.
#[derive(Debug, Clone, Options, Descends)]
pub struct NAdam {
    /// learning rate
    #[option(default = 2e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// how fast the momentum grows from beta1 / 2 to beta1
    #[option(default = 4e-3, range = 0.0..)]
    pub momentum_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient, as AdamW
    #[option(default = false)]
    pub decoupled_weight_decay: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for NAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl NAdam {
    /// The momentum at update `count`.
    fn mu(&self, t: &StepContext, count: u64) -> f64 {
        let decayed = 0.96_f64.powf(count as f64 * t.value(&self.momentum_decay));
        t.value(&self.betas[0]) * (1.0 - 0.5 * decayed)
    }
}

impl Rule<2> for NAdam {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];
    const NUMBERS: &'static [(&'static str, f64)] = &[("mu_product", 1.0)];

    fn advance(&self, t: &mut StepContext) {
        t.numbers[0] *= self.mu(t, t.count);
    }

    fn keep(&self, t: &StepContext) -> f64 {
        let decay = if self.decoupled_weight_decay { t.value(&self.weight_decay) } else { 0.0 };
        1.0 - t.lr(&self.lr) * decay
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let ([beta1, beta2], lr) = (t.values(&self.betas), t.lr(&self.lr));
        let (mu, next, product) = (self.mu(t, t.count), self.mu(t, t.count + 1), t.numbers[0]);
        let of_gradient = R::of(lr * (1.0 - mu) / (1.0 - product));
        let of_average = R::of(lr * next / (1.0 - product * next));
        let coupled = if self.decoupled_weight_decay { 0.0 } else { t.value(&self.weight_decay) };
        let [keep, weight_decay, eps] = [self.keep(t), coupled, t.value(&self.eps)].map(R::of);
        let unbias = R::of(t.bias_correction(beta2).sqrt().recip());
        let [weight1, beta2, weight2] = [1.0 - beta1, beta2, 1.0 - beta2].map(R::of);
        #[inline(always)]
        move |p, g, [m, v]| {
            let g = p.mul_add(weight_decay, g);
            let m = lerp(m, g, weight1);
            let v = (weight2 * g).mul_add(g, v * beta2);
            let step = (of_gradient * g + of_average * m) / (v.sqrt() * unbias + eps);
            (p * keep - step, [m, v])
        }
    }
}
