//! ADOPT.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adopt>(
    "adopt",
    "m <- lerp(clip(g / max(sqrt(v), eps)), m, beta1); p <- p - lr m; only then v <- lerp(g^2, v, beta2)",
    "timm 1.0.31, Adopt (after iShohei220/adopt); Taniguchi et al., \
                https://arxiv.org/abs/2411.02853",
);

/// ADOPT: Adam that divides by the squares of earlier gradients alone, and so converges with
/// any beta2; as `Adopt` of `timm` 1.0.31, with the authors' exponent.
///
/// The first update sets `v <- g^2` and moves nothing. After it, with `t` counted from 1 at the
/// second: `n = clamp(g / max(sqrt(v), eps), -t^clip_exp, t^clip_exp)`,
/// `m <- beta1 m + (1 - beta1) n`, `p <- p - lr m`, `v <- beta2 v + (1 - beta2) g^2`. Weight
/// decay is added to the gradient first, or, `decoupled`, `p <- (1 - lr weight_decay) p`.
///
/// The exponent is 1/4 in the paper and in the authors' code, 0.333 by default in `timm`;
/// `clip_exp = inf` clips nothing. `pytorch_optimizer` counts `t` from 2.
///
/// ```
/// use rappel_optim::Adopt;
/// let adopt = Adopt { decoupled: true, weight_decay: 0.1.into(), ..Default::default() };
/// assert!(adopt.clip_exp.is(0.25));
/// ```
///
/// From [Taniguchi et al., 2024](https://arxiv.org/abs/2411.02853), algorithm 2 with the
/// clipping of its later version.
#[derive(Debug, Clone, Options, Descends)]
pub struct Adopt {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of normed gradient and square, each in [0, 1)
    #[option(default = [0.9, 0.9999], range = BETA)]
    pub betas: [Schedule; 2],
    /// the least divisor
    #[option(default = 1e-6, range = 0.0..)]
    pub eps: Schedule,
    /// a normed gradient is at most the count of updates to this power; inf: no bound
    #[option(default = 0.25, range = Range::from(0.0).or_infinite())]
    pub clip_exp: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = false)]
    pub decoupled: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Adopt {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Adopt {
    /// The largest normed gradient; 0 at the first update.
    fn clip(&self, t: &StepContext) -> f64 {
        let exponent = t.value(&self.clip_exp);
        match t.count {
            1 => 0.0,
            _ if exponent.is_infinite() => f64::INFINITY,
            count => ((count - 1) as f64).powf(exponent),
        }
    }
}

impl Rule<2> for Adopt {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];

    fn keep(&self, t: &StepContext) -> f64 {
        let decays = self.decoupled && !t.is_first();
        1.0 - t.lr(&self.lr) * if decays { t.value(&self.weight_decay) } else { 0.0 }
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let [beta1, beta2] = t.values(&self.betas);
        // The first update only takes the squares in.
        let (lr, beta2) = if t.is_first() { (0.0, 0.0) } else { (t.lr(&self.lr), beta2) };
        let coupled = if self.decoupled { 0.0 } else { t.value(&self.weight_decay) };
        let [keep, weight_decay, lr] = [self.keep(t), coupled, lr].map(R::of);
        let [eps, clip] = [t.value(&self.eps), self.clip(t)].map(R::of);
        let [weight1, beta2, weight2] = [1.0 - beta1, beta2, 1.0 - beta2].map(R::of);
        #[inline(always)]
        move |p, g, [m, v]| {
            let g = p.mul_add(weight_decay, g);
            let root = v.sqrt();
            let normed = g / R::select(root.lt(eps), eps, root);
            // Comparisons, not `min` and `max`: a NaN stays one.
            let normed = R::select(clip.lt(normed), clip, normed);
            let normed = R::select(normed.lt(-clip), -clip, normed);
            let m = lerp(m, normed, weight1);
            (p * keep - lr * m, [m, v * beta2 + weight2 * g * g])
        }
    }
}
