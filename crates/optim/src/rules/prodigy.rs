//! Prodigy.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, RuleEntry, Schedule, Slot, StepContext,
    Stepper, TwoPass, entry, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<Prodigy>(
    "prodigy",
    "Adam with lr d, where d grows to what <g, p0 - p> over |s|_1 says is the distance to go",
    "prodigyopt 1.1.2; Mishchenko and Defazio, https://arxiv.org/abs/2306.06101",
);

/// Prodigy: Adam that finds its learning rate, as `prodigyopt` 1.1.2. Leave `lr` at 1; a
/// schedule multiplies it.
///
/// With `d` begun at `d0`, `e = d lr` (times `sqrt(1 - beta2^t) / (1 - beta1^t)` with
/// `use_bias_correction`), and sums over all parameters of the rule:
/// `r <- beta3 r + d / d0 e sum(g (p0 - p))`, `m <- beta1 m + (1 - beta1) d g`,
/// `v <- beta2 v + (1 - beta2) d^2 g^2`, `s <- beta3 s + d / d0 e g` (with `safeguard_warmup` `d`
/// for `e`), `h = d_coef r / sum(|s|)`. Then `d_max <- max(d_max, h)`,
/// `d <- min(d_max, growth_rate d)` (`d` first goes to `h` where that is more and it is still
/// `d0`), and `p <- (1 - e weight_decay) p - e m / (sqrt(v) + d eps)`, `e` as it was before, `d`
/// as it is now. Without `decouple`, `weight_decay p` is added to the gradient.
///
/// `betas[0] = 0` keeps no `m`: `d g` stands for it, with `d` as it is now.
///
/// A step whose learning rate is 0, or before any gradient that is not, changes nothing. `p0`
/// is where a parameter began, kept in full precision. Parameters of several groups have a `d`
/// for each group, where the package shares it. Its `slice_p`, which saves memory by looking at
/// every p-th number, is not part of this.
///
/// ```
/// use rappel_optim::Prodigy;
/// let prodigy = Prodigy { use_bias_correction: true, safeguard_warmup: true, ..Default::default() };
/// assert!(prodigy.lr.is(1.0) && prodigy.decouple && prodigy.beta3.is_none());
/// ```
///
/// From [Mishchenko and Defazio, 2023](https://arxiv.org/abs/2306.06101), algorithm 4.
#[derive(Debug, Clone, Options, Descends)]
pub struct Prodigy {
    /// factor of the rate that is found
    #[option(default = 1.0, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// decay rate of the sums that `d` is found from; the root of beta2 unless set
    #[option(range = BETA)]
    pub beta3: Option<Schedule>,
    /// added to the root, times d
    #[option(default = 1e-8, range = Range::above(0.0))]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times the rate
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = true)]
    pub decouple: bool,
    /// correct the averages for having begun at zero
    #[option(default = false)]
    pub use_bias_correction: bool,
    /// leave lr out of what `d` is divided by, for schedules with a warm-up
    #[option(default = false)]
    pub safeguard_warmup: bool,
    /// what `d` begins at
    #[option(default = 1e-6, range = Range::above(0.0))]
    pub d0: Schedule,
    /// factor of the estimate of `d`
    #[option(default = 1.0, range = Range::above(0.0))]
    pub d_coef: Schedule,
    /// `d` grows by no more than this factor in a step; inf: by any
    #[option(default = f64::INFINITY.into(), range = Range::above(0.0).or_infinite())]
    pub growth_rate: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Prodigy {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.betas[0].is(0.0) { two_pass::<3, 2, _>(self) } else { two_pass::<4, 2, _>(self) }
    }
}

/// How the second pass moves a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// What is left of it after decoupled weight decay.
    keep: f64,
    /// The rate; 0 where no step is taken.
    rate: f64,
    d: f64,
}

impl Prodigy {
    /// `d` and the rate.
    fn rate(&self, t: &StepContext) -> (f64, f64) {
        // The number is 0 until it begins.
        let d = if t.numbers[0] == 0.0 { t.value(&self.d0) } else { t.numbers[0] };
        let correction = if self.use_bias_correction {
            let [beta1, beta2] = t.values(&self.betas);
            t.bias_correction(beta2).sqrt() / t.bias_correction(beta1)
        } else {
            1.0
        };
        (d, d * t.lr(&self.lr) * correction)
    }

    fn beta3(&self, t: &StepContext) -> f64 {
        let root = || t.value(&self.betas[1]).sqrt();
        self.beta3.as_ref().map_or_else(root, |beta3| t.value(beta3))
    }

    fn left(&self, t: &StepContext) -> f64 {
        let decay = if self.decouple { t.value(&self.weight_decay) } else { 0.0 };
        1.0 - decay * self.rate(t).1
    }

    /// The gradient with coupled weight decay.
    fn decayed<R: Real>(&self, t: &StepContext) -> impl Fn(R, R) -> R {
        let weight_decay = R::of(if self.decouple { 0.0 } else { t.value(&self.weight_decay) });
        #[inline(always)]
        move |p, g| p.mul_add(weight_decay, g)
    }

    /// What the rules with and without an average of gradients share in the first pass.
    fn collect<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> ([R; 3], [R; 2]) {
        let (d, rate) = self.rate(t);
        let (beta2, share) =
            (t.value(&self.betas[1]), if self.safeguard_warmup { d } else { rate });
        let numbers = if t.lr(&self.lr) == 0.0 {
            [1.0, 0.0, 1.0, 0.0]
        } else {
            let weight3 = d / t.value(&self.d0) * share;
            [beta2, d * d * (1.0 - beta2), self.beta3(t), weight3]
        };
        let ([beta2, weight2, beta3, weight3], first) = (numbers.map(R::of), t.is_first());
        #[inline(always)]
        move |p, g, [s, p0, v]| {
            let p0 = if first { p } else { p0 };
            let s = s * beta3 + g * weight3;
            ([s, p0, v * beta2 + weight2 * g * g], [g * (p0 - p), s.abs()])
        }
    }

    fn found(&self, t: &mut StepContext, [ahead, size]: [f64; 2]) -> Found {
        let ((before, rate), d0) = (self.rate(t), t.value(&self.d0));
        let [_, d_max, numerator, ..] = t.numbers;
        let (mut d, d_max) = (before, if d_max == 0.0 { before } else { d_max });
        t.numbers[..2].copy_from_slice(&[d, d_max]);
        if t.lr(&self.lr) == 0.0 || size == 0.0 {
            return Found { keep: 1.0, rate: 0.0, d };
        }
        let keep = self.left(t);
        let numerator = self.beta3(t) * numerator + before / d0 * rate * ahead;
        let found = t.value(&self.d_coef) * numerator / size;
        if d == d0 {
            d = d.max(found);
        }
        let d_max = d_max.max(found);
        d = d_max.min(d * t.value(&self.growth_rate));
        t.numbers[..3].copy_from_slice(&[d, d_max, numerator]);
        Found { keep, rate, d }
    }
}

const NUMBERS: &[(&str, f64)] = &[("d", 0.0), ("d_max", 0.0), ("d_numerator", 0.0)];

impl TwoPass<3, 2> for Prodigy {
    const STATE: [Slot; 3] = [Slot::signed("s"), Slot::exact("p0"), Slot::positive("exp_avg_sq")];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const SHARED: bool = true;
    type Found = Found;

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 3]) -> ([R; 3], [R; 2]) {
        let (decayed, collect) = (self.decayed(t), self.collect(t));
        #[inline(always)]
        move |p, g, state| collect(p, decayed(p, g), state)
    }

    fn find(&self, t: &mut StepContext, sums: [f64; 2], _: Shape) -> Found {
        self.found(t, sums)
    }

    fn step<R: Real>(
        &self,
        t: &StepContext,
        Found { keep, rate, d }: Found,
    ) -> impl Fn(R, R, [R; 3]) -> (R, [R; 3]) {
        let decayed = self.decayed(t);
        let [keep, plain, eps] = [keep, rate * d, d * t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, g, state| (p * keep - plain * decayed(p, g) / (state[2].sqrt() + eps), state)
    }
}

impl TwoPass<4, 2> for Prodigy {
    const STATE: [Slot; 4] = [
        Slot::signed("s"),
        Slot::exact("p0"),
        Slot::signed("exp_avg"),
        Slot::positive("exp_avg_sq"),
    ];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const SHARED: bool = true;
    type Found = Found;

    fn keep(&self, t: &StepContext) -> f64 {
        self.left(t)
    }

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 4]) -> ([R; 4], [R; 2]) {
        let (decayed, collect) = (self.decayed(t), self.collect(t));
        let (beta1, d) = (t.value(&self.betas[0]), self.rate(t).0);
        let stays = t.lr(&self.lr) == 0.0;
        let numbers = if stays { [1.0, 0.0] } else { [beta1, d * (1.0 - beta1)] };
        let [beta1, weight1] = numbers.map(R::of);
        #[inline(always)]
        move |p, g, [s, p0, m, v]| {
            let g = decayed(p, g);
            let ([s, p0, v], sums) = collect(p, g, [s, p0, v]);
            ([s, p0, m * beta1 + g * weight1, v], sums)
        }
    }

    fn find(&self, t: &mut StepContext, sums: [f64; 2], _: Shape) -> Found {
        self.found(t, sums)
    }

    fn step<R: Real>(
        &self,
        t: &StepContext,
        Found { keep, rate, d }: Found,
    ) -> impl Fn(R, R, [R; 4]) -> (R, [R; 4]) {
        let [keep, rate, eps] = [keep, rate, d * t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, _, [s, p0, m, v]| (p * keep - rate * m / (v.sqrt() + eps), [s, p0, m, v])
    }
}
