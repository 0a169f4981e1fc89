//! MARS.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, RuleEntry, Schedule, Slot, StepContext, Stepper,
    TwoPass, Words, entry, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<Mars>(
    "mars",
    "AdamW or Lion on c = g + gamma beta1 / (1 - beta1) (g - g'), of norm at most 1",
    "AGI-Arena/MARS at 20c60c1; Yuan et al., https://arxiv.org/abs/2411.10438",
);

/// What [`Mars`] makes of a corrected gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum MarsType {
    /// A step of AdamW.
    #[word("mars-adamw")]
    AdamW,
    /// A step of Lion.
    #[word("mars-lion")]
    Lion,
}

/// MARS: variance reduction before Adam or Lion; as its authors' code (AGI-Arena/MARS,
/// `MARS/optimizers/mars.py` at 20c60c1).
///
/// Matrices (and with `optimize_1d` everything): with `g'` the gradient before, at first 0,
/// `c = g + gamma beta1 / (1 - beta1) (g - g')`, divided by its norm over the tensor where that
/// is above 1, `m <- beta1 m + (1 - beta1) c`, and for `mars-adamw`
/// `v <- beta2 v + (1 - beta2) c^2`, `p <- p - lr (weight_decay p + m^ / (sqrt(v^) + eps))`, for
/// `mars-lion` `p <- p - lr (weight_decay p + sign(m))`. Everything else takes `AdamW`'s step,
/// with `betas_1d`, `weight_decay_1d` and `lr lr_1d_factor`. `^` divides by `1 - beta^t`; with
/// `amsgrad` the largest `v` so far stands under the root.
///
/// `lr_1d_factor`, a name of `timm`'s, is the authors' `lr_1d / lr`, so that a schedule has one
/// rate. This is their approximate MARS, `is_approx`: the exact one computes the gradient
/// before again on the new batch. Their `mars-shampoo` is left to the matrix rules. `timm` and
/// `pytorch_optimizer` take tensors of more than two dimensions for matrices, too.
///
/// ```
/// use rappel_optim::Mars;
/// let mars = Mars { lr: 6e-3.into(), ..Default::default() };
/// assert!(mars.gamma.is(0.025) && mars.betas[0].is(0.95));
/// ```
///
/// From [Yuan et al., 2024](https://arxiv.org/abs/2411.10438), algorithms 3 and 4.
#[derive(Debug, Clone, Options, Descends)]
pub struct Mars {
    /// learning rate
    #[option(default = 3e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.95, 0.99], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a matrix that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// divide by the largest average of squares so far
    #[option(default = false)]
    pub amsgrad: bool,
    /// how much of the variance is reduced
    #[option(default = 0.025, range = 0.0..)]
    pub gamma: Schedule,
    /// what is done with the corrected gradient
    #[option(default = MarsType::AdamW)]
    pub mars_type: MarsType,
    /// correct the gradients of all tensors, not of matrices alone
    #[option(default = false)]
    pub optimize_1d: bool,
    /// factor of lr for tensors that are not matrices
    #[option(default = 1.0, range = 0.0..)]
    pub lr_1d_factor: Schedule,
    /// betas for tensors that are not matrices
    #[option(default = [0.9, 0.95], range = BETA)]
    pub betas_1d: [Schedule; 2],
    /// weight decay for tensors that are not matrices
    #[option(default = 0.1, range = 0.0..)]
    pub weight_decay_1d: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Mars {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.amsgrad { two_pass::<4, 1, _>(self) } else { two_pass::<3, 1, _>(self) }
    }
}

/// What the second pass needs of a tensor.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Whether the gradient is corrected: matrices alone, unless `optimize_1d`.
    corrected: bool,
    /// 1 over the norm of the corrected gradient, where that is above 1.
    scale: f64,
}

impl Mars {
    /// Weight of the difference of gradients.
    fn extra(&self, t: &StepContext) -> f64 {
        let beta1 = t.value(&self.betas[0]);
        t.value(&self.gamma) * (beta1 / (1.0 - beta1))
    }

    fn found(&self, square: f64, shape: Shape) -> Found {
        let (corrected, norm) = (self.optimize_1d || shape.rank() == 2, square.sqrt());
        Found { corrected, scale: if corrected && norm > 1.0 { norm.recip() } else { 1.0 } }
    }

    /// The square of the corrected gradient.
    fn square<R: Real>(&self, t: &StepContext) -> impl Fn(R, R) -> R {
        let extra = R::of(self.extra(t));
        #[inline(always)]
        move |g, before| ((g - before) * extra + g).square()
    }

    fn is_lion(&self, found: Found) -> bool {
        found.corrected && self.mars_type == MarsType::Lion
    }

    fn betas(&self, t: &StepContext, found: Found) -> [f64; 2] {
        t.values(if found.corrected { &self.betas } else { &self.betas_1d })
    }

    /// Both averages after a step.
    fn averages<R: Real>(&self, t: &StepContext, found: Found) -> impl Fn(R, R, R, R) -> (R, R) {
        let [beta1, beta2] = self.betas(t, found);
        let beta2 = if self.is_lion(found) { 1.0 } else { beta2 };
        let extra = if found.corrected { self.extra(t) } else { 0.0 };
        let [extra, scale] = [extra, found.scale].map(R::of);
        let [weight1, weight2] = [1.0 - beta1, 1.0 - beta2].map(R::of);
        let [beta1, beta2] = [beta1, beta2].map(R::of);
        #[inline(always)]
        move |g, before, m, v| {
            let c = ((g - before) * extra + g) * scale;
            (m * beta1 + c * weight1, v * beta2 + weight2 * c * c)
        }
    }

    /// The parameter after a step with the square `v` under the root.
    fn moved<R: Real>(&self, t: &StepContext, found: Found) -> impl Fn(R, R, R) -> R {
        let ([beta1, beta2], lion) = (self.betas(t, found), self.is_lion(found));
        let (lr, decay) = if found.corrected {
            (t.lr(&self.lr), &self.weight_decay)
        } else {
            (t.lr(&self.lr) * t.value(&self.lr_1d_factor), &self.weight_decay_1d)
        };
        let [bias1, unbias2] =
            [t.bias_correction(beta1), t.bias_correction(beta2).sqrt().recip()].map(R::of);
        let [lr, weight_decay, eps] = [lr, t.value(decay), t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, m, v| {
            let adam = m / ((v.sqrt() * unbias2 + eps) * bias1);
            p - lr * p.mul_add(weight_decay, if lion { m.sign() } else { adam })
        }
    }
}

impl TwoPass<3, 1> for Mars {
    const STATE: [Slot; 3] =
        [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq"), Slot::signed("last_grad")];
    const SHARED: bool = false;
    type Found = Found;

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> ([R; 3], [R; 1]) {
        let square = self.square(t);
        #[inline(always)]
        move |_, g, state| (state, [square(g, state[2])])
    }

    fn find(&self, _: &mut StepContext, [square]: [f64; 1], shape: Shape) -> Found {
        self.found(square, shape)
    }

    fn step<R: Real>(&self, t: &StepContext, found: Found) -> impl Fn(R, R, [R; 3]) -> (R, [R; 3]) {
        let (averages, moved) = (self.averages(t, found), self.moved(t, found));
        #[inline(always)]
        move |p, g, [m, v, before]| {
            let (m, v) = averages(g, before, m, v);
            (moved(p, m, v), [m, v, g])
        }
    }
}

impl TwoPass<4, 1> for Mars {
    const STATE: [Slot; 4] = [
        Slot::signed("exp_avg"),
        Slot::positive("exp_avg_sq"),
        Slot::signed("last_grad"),
        Slot::positive("max_exp_avg_sq"),
    ];
    const SHARED: bool = false;
    type Found = Found;

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 4]) -> ([R; 4], [R; 1]) {
        let square = self.square(t);
        #[inline(always)]
        move |_, g, state| (state, [square(g, state[2])])
    }

    fn find(&self, _: &mut StepContext, [square]: [f64; 1], shape: Shape) -> Found {
        self.found(square, shape)
    }

    fn step<R: Real>(&self, t: &StepContext, found: Found) -> impl Fn(R, R, [R; 4]) -> (R, [R; 4]) {
        let (averages, moved) = (self.averages(t, found), self.moved(t, found));
        #[inline(always)]
        move |p, g, [m, v, before, most]| {
            let (m, v) = averages(g, before, m, v);
            let most = R::select(most.lt(v), v, most);
            (moved(p, m, most), [m, v, g, most])
        }
    }
}
