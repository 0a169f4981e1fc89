//! MARS.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::{Real, Shape};

use super::Build;
use crate::{Algorithm, InvalidOption, Now, Plan, Schedule, Stepper, TwoPass, one_of, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "mars",
    summary: "AdamW or Lion on c = g + gamma beta1 / (1 - beta1) (g - g'), of norm at most 1",
    reference: "AGI-Arena/MARS at 20c60c1; Yuan et al., https://arxiv.org/abs/2411.10438",
    fields: <Mars as crate::OptionSet>::FIELDS,
    build: Plan::build::<Mars>,
};

/// The values of `mars_type`.
const TYPES: &[&str] = &["mars-adamw", "mars-lion"];

crate::options! {
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
    pub struct Mars {
        /// learning rate
        lr: Schedule = "3e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.95, 0.99]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// the share of a matrix that a step takes away, times lr
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// divide by the largest average of squares so far
        amsgrad: bool = "false", Kind::Bool;
        /// how much of the variance is reduced
        gamma: Schedule = "0.025", scheduled(Range::from(0.0));
        /// what is done with the corrected gradient
        mars_type: String = "\"mars-adamw\"", Kind::OneOf(TYPES);
        /// correct the gradients of all tensors, not of matrices alone
        optimize_1d: bool = "false", Kind::Bool;
        /// factor of lr for tensors that are no matrices
        lr_1d_factor: Schedule = "1.0", scheduled(Range::from(0.0));
        /// betas for tensors that are no matrices
        betas_1d: [Schedule; 2] = "[0.9, 0.95]", Kind::Raw;
        /// weight decay for tensors that are no matrices
        weight_decay_1d: Schedule = "0.1", scheduled(Range::from(0.0));
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The number of the correction.
    pub struct Correction {
        /// Weight of the difference of gradients.
        extra,
    }
}

crate::scalars! {
    /// The numbers of a tensor's step.
    pub struct Scalars {
        /// Weight of the difference of gradients; 0 for what is no matrix.
        extra,
        /// 1 over the norm of the corrected gradient, where that is above 1.
        scale,
        /// 1 for a step by signs, else 0.
        lion,
        /// Learning rate.
        lr,
        /// Weight decay.
        weight_decay,
        /// Decay rate of the average of gradients.
        beta1,
        /// Weight of the gradient in it.
        one_minus_beta1,
        /// Decay rate of the average of squares; 1 for a step by signs.
        beta2,
        /// Weight of the square in it.
        one_minus_beta2,
        /// The first bias correction.
        bias1,
        /// 1 over the root of the second.
        unbias2,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for Mars {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.amsgrad { two_pass::<4, 1, _>(self) } else { two_pass::<3, 1, _>(self) }
    }

    fn check(&self) -> Result<(), InvalidOption> {
        one_of("mars_type", &self.mars_type, TYPES)
    }
}

impl Mars {
    fn correction(&self, now: &Now) -> Correction {
        let beta1 = now.value(&self.betas[0]);
        Correction { extra: now.value(&self.gamma) * (beta1 / (1.0 - beta1)) }
    }

    fn numbers(&self, now: &Now, square: f64, shape: Shape) -> Scalars {
        let corrected = self.optimize_1d || shape.rank() == 2;
        let lion = corrected && self.mars_type == "mars-lion";
        let betas = if corrected { &self.betas } else { &self.betas_1d };
        let [beta1, beta2] = [0, 1].map(|i| now.value(&betas[i]));
        let lr = now.lr(&self.lr);
        let (lr, decay) = if corrected {
            (lr, &self.weight_decay)
        } else {
            (lr * now.value(&self.lr_1d_factor), &self.weight_decay_1d)
        };
        let norm = square.sqrt();
        let kept = if lion { 1.0 } else { beta2 };
        Scalars {
            extra: if corrected { self.correction(now).extra } else { 0.0 },
            scale: if corrected && norm > 1.0 { norm.recip() } else { 1.0 },
            lion: if lion { 1.0 } else { 0.0 },
            lr,
            weight_decay: now.value(decay),
            beta1,
            one_minus_beta1: 1.0 - beta1,
            beta2: kept,
            one_minus_beta2: 1.0 - kept,
            bias1: now.bias_correction(beta1),
            unbias2: now.bias_correction(beta2).sqrt().recip(),
            eps: now.value(&self.eps),
        }
    }
}

/// Both averages after a step.
#[inline(always)]
fn averages<R: Real>(h: &Scalars<R>, g: R, before: R, m: R, v: R) -> (R, R) {
    let c = ((g - before) * h.extra + g) * h.scale;
    (m * h.beta1 + c * h.one_minus_beta1, v * h.beta2 + h.one_minus_beta2 * c * c)
}

/// The parameter after a step with the square `v` under the root.
#[inline(always)]
fn step<R: Real>(h: &Scalars<R>, p: R, m: R, v: R) -> R {
    let adam = m / ((v.sqrt() * h.unbias2 + h.eps) * h.bias1);
    let direction = R::select(R::of(0.5).lt(h.lion), m.sign(), adam);
    p - h.lr * p.mul_add(h.weight_decay, direction)
}

/// The square of the corrected gradient.
#[inline(always)]
fn square<R: Real>(h: &Correction<R>, g: R, before: R) -> R {
    ((g - before) * h.extra + g).square()
}

impl TwoPass<3, 1> for Mars {
    const STATE: [&'static str; 3] = ["exp_avg", "exp_avg_sq", "last_grad"];
    const SIGNED: [bool; 3] = [true, false, true];
    const SHARED: bool = false;
    type First = Correction;
    type Second = Scalars;

    fn first(&self, now: &Now) -> Correction {
        self.correction(now)
    }

    #[inline(always)]
    fn gather<R: Real>(&self, h: &Correction<R>, _p: R, g: R, state: [R; 3]) -> ([R; 3], [R; 1]) {
        (state, [square(h, g, state[2])])
    }

    fn second(&self, now: &mut Now, [square]: [f64; 1], count: usize) -> Scalars {
        self.numbers(now, square, count.into())
    }

    fn second_of(&self, now: &mut Now, [square]: [f64; 1], shape: Shape) -> Scalars {
        self.numbers(now, square, shape)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, v, before]: [R; 3]) -> (R, [R; 3]) {
        let (m, v) = averages(h, g, before, m, v);
        (step(h, p, m, v), [m, v, g])
    }
}

impl TwoPass<4, 1> for Mars {
    const STATE: [&'static str; 4] = ["exp_avg", "exp_avg_sq", "last_grad", "max_exp_avg_sq"];
    const SIGNED: [bool; 4] = [true, false, true, false];
    const SHARED: bool = false;
    type First = Correction;
    type Second = Scalars;

    fn first(&self, now: &Now) -> Correction {
        self.correction(now)
    }

    #[inline(always)]
    fn gather<R: Real>(&self, h: &Correction<R>, _p: R, g: R, state: [R; 4]) -> ([R; 4], [R; 1]) {
        (state, [square(h, g, state[2])])
    }

    fn second(&self, now: &mut Now, [square]: [f64; 1], count: usize) -> Scalars {
        self.numbers(now, square, count.into())
    }

    fn second_of(&self, now: &mut Now, [square]: [f64; 1], shape: Shape) -> Scalars {
        self.numbers(now, square, shape)
    }

    #[inline(always)]
    fn update<R: Real>(
        &self,
        h: &Scalars<R>,
        p: R,
        g: R,
        [m, v, before, most]: [R; 4],
    ) -> (R, [R; 4]) {
        let (m, v) = averages(h, g, before, m, v);
        let most = R::select(most.lt(v), v, most);
        (step(h, p, m, most), [m, v, g, most])
    }
}
