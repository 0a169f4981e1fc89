//! Prodigy.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, BETA, Now, Plan, Schedule, Stepper, TwoPass, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "prodigy",
    summary: "Adam with lr d, where d grows to what <g, p0 - p> over |s|_1 says is the distance to go",
    reference: "prodigyopt 1.1.2; Mishchenko and Defazio, https://arxiv.org/abs/2306.06101",
    fields: <Prodigy as crate::OptionSet>::FIELDS,
    build: Plan::build::<Prodigy>,
};

crate::options! {
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
    pub struct Prodigy {
        /// factor of the rate that is found
        lr: Schedule = "1.0", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// decay rate of the sums that `d` is found from; the root of beta2 unless set
        beta3: Option<Schedule> = "", scheduled(BETA);
        /// added to the root, times d
        eps: Schedule = "1e-8", scheduled(Range::above(0.0));
        /// the share of a parameter that a step takes away, times the rate
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// shrink the parameter instead of adding to the gradient
        decouple: bool = "true", Kind::Bool;
        /// correct the averages for having begun at zero
        use_bias_correction: bool = "false", Kind::Bool;
        /// leave lr out of what `d` is divided by, for schedules with a warm-up
        safeguard_warmup: bool = "false", Kind::Bool;
        /// what `d` begins at
        d0: Schedule = "1e-6", scheduled(Range::above(0.0));
        /// factor of the estimate of `d`
        d_coef: Schedule = "1.0", scheduled(Range::above(0.0));
        /// `d` grows by no more than this factor in a step; inf: by any
        growth_rate: Schedule = "inf", scheduled(Range::above(0.0).or_infinite());
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of the first walk.
    pub struct Gathering {
        /// 1 at the first update, else 0.
        first,
        /// Coupled weight decay.
        weight_decay,
        /// Decay rate of the average of gradients.
        beta1,
        /// Weight of the gradient in it.
        weight1,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in it.
        weight2,
        /// Decay rate of the sums.
        beta3,
        /// Weight of the gradient in them.
        weight3,
    }
}

crate::scalars! {
    /// The numbers of the second walk.
    pub struct Moving {
        /// What is left of a parameter after decoupled weight decay.
        keep,
        /// The rate.
        rate,
        /// What keeps the divisor from 0.
        eps,
        /// The rate of the gradient itself, where no average of gradients is kept.
        plain,
        /// Coupled weight decay.
        weight_decay,
    }
}

impl Algorithm for Prodigy {
    fn stepper(&self) -> Box<dyn Stepper> {
        if self.betas[0].is(0.0) { two_pass::<3, 2, _>(self) } else { two_pass::<4, 2, _>(self) }
    }
}

impl Prodigy {
    /// `d` and the rate.
    fn rate(&self, now: &Now) -> (f64, f64) {
        // The number is 0 until it begins.
        let d = if now.numbers[0] == 0.0 { now.value(&self.d0) } else { now.numbers[0] };
        let correction = if self.use_bias_correction {
            let [beta1, beta2] = [0, 1].map(|i| now.value(&self.betas[i]));
            now.bias_correction(beta2).sqrt() / now.bias_correction(beta1)
        } else {
            1.0
        };
        (d, d * now.lr(&self.lr) * correction)
    }

    fn beta3(&self, now: &Now) -> f64 {
        let root = || now.value(&self.betas[1]).sqrt();
        self.beta3.as_ref().map_or_else(root, |beta3| now.value(beta3))
    }

    fn coupled(&self, now: &Now) -> f64 {
        if self.decouple { 0.0 } else { now.value(&self.weight_decay) }
    }

    fn left(&self, now: &Now) -> f64 {
        let decay = if self.decouple { now.value(&self.weight_decay) } else { 0.0 };
        1.0 - decay * self.rate(now).1
    }

    fn gathering(&self, now: &Now) -> Gathering {
        let first = if now.count == 1 { 1.0 } else { 0.0 };
        let weight_decay = self.coupled(now);
        if now.lr(&self.lr) == 0.0 {
            let (beta1, beta2, beta3) = (1.0, 1.0, 1.0);
            let (weight1, weight2, weight3) = (0.0, 0.0, 0.0);
            return Gathering {
                first,
                weight_decay,
                beta1,
                weight1,
                beta2,
                weight2,
                beta3,
                weight3,
            };
        }
        let [beta1, beta2] = [0, 1].map(|i| now.value(&self.betas[i]));
        let (d, rate) = self.rate(now);
        let share = if self.safeguard_warmup { d } else { rate };
        Gathering {
            first,
            weight_decay,
            beta1,
            weight1: d * (1.0 - beta1),
            beta2,
            weight2: d * d * (1.0 - beta2),
            beta3: self.beta3(now),
            weight3: d / now.value(&self.d0) * share,
        }
    }

    fn moving(&self, now: &mut Now, [ahead, size]: [f64; 2]) -> Moving {
        let (before, rate) = self.rate(now);
        let d0 = now.value(&self.d0);
        let weight_decay = self.coupled(now);
        let [_, d_max, numerator, ..] = now.numbers;
        let (mut d, d_max) = (before, if d_max == 0.0 { before } else { d_max });
        now.numbers[..2].copy_from_slice(&[d, d_max]);
        if now.lr(&self.lr) == 0.0 || size == 0.0 {
            let eps = now.value(&self.eps) * d;
            return Moving { keep: 1.0, rate: 0.0, eps, plain: 0.0, weight_decay };
        }
        let keep = self.left(now);
        let numerator = self.beta3(now) * numerator + before / d0 * rate * ahead;
        let found = now.value(&self.d_coef) * numerator / size;
        if d == d0 {
            d = d.max(found);
        }
        let d_max = d_max.max(found);
        d = d_max.min(d * now.value(&self.growth_rate));
        now.numbers[..3].copy_from_slice(&[d, d_max, numerator]);
        Moving { keep, rate, eps: d * now.value(&self.eps), plain: rate * d, weight_decay }
    }
}

/// What the rules with and without an average of gradients share.
#[inline(always)]
fn collect<R: Real>(h: &Gathering<R>, p: R, g: R, [s, p0, v]: [R; 3]) -> ([R; 3], [R; 2]) {
    let p0 = R::select(R::of(0.5).lt(h.first), p, p0);
    let s = s * h.beta3 + g * h.weight3;
    ([s, p0, v * h.beta2 + h.weight2 * g * g], [g * (p0 - p), s.abs()])
}

const NUMBERS: &[(&str, f64)] = &[("d", 0.0), ("d_max", 0.0), ("d_numerator", 0.0)];

impl TwoPass<3, 2> for Prodigy {
    const STATE: [&'static str; 3] = ["s", "p0", "exp_avg_sq"];
    const SIGNED: [bool; 3] = [true, true, false];
    const EXACT: [bool; 3] = [false, true, false];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const SHARED: bool = true;
    type First = Gathering;
    type Second = Moving;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn first(&self, now: &Now) -> Gathering {
        self.gathering(now)
    }

    fn second(&self, now: &mut Now, sums: [f64; 2], _: usize) -> Moving {
        self.moving(now, sums)
    }

    #[inline(always)]
    fn gather<R: Real>(&self, h: &Gathering<R>, p: R, g: R, state: [R; 3]) -> ([R; 3], [R; 2]) {
        collect(h, p, p.mul_add(h.weight_decay, g), state)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Moving<R>, p: R, g: R, state: [R; 3]) -> (R, [R; 3]) {
        let g = p.mul_add(h.weight_decay, g);
        (p * h.keep - h.plain * g / (state[2].sqrt() + h.eps), state)
    }
}

impl TwoPass<4, 2> for Prodigy {
    const STATE: [&'static str; 4] = ["s", "p0", "exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 4] = [true, true, true, false];
    const EXACT: [bool; 4] = [false, true, false, false];
    const NUMBERS: &'static [(&'static str, f64)] = NUMBERS;
    const SHARED: bool = true;
    type First = Gathering;
    type Second = Moving;

    fn keep(&self, now: &Now) -> f64 {
        self.left(now)
    }

    fn first(&self, now: &Now) -> Gathering {
        self.gathering(now)
    }

    fn second(&self, now: &mut Now, sums: [f64; 2], _: usize) -> Moving {
        self.moving(now, sums)
    }

    #[inline(always)]
    fn gather<R: Real>(
        &self,
        h: &Gathering<R>,
        p: R,
        g: R,
        [s, p0, m, v]: [R; 4],
    ) -> ([R; 4], [R; 2]) {
        let g = p.mul_add(h.weight_decay, g);
        let ([s, p0, v], sums) = collect(h, p, g, [s, p0, v]);
        ([s, p0, m * h.beta1 + g * h.weight1, v], sums)
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Moving<R>, p: R, _g: R, state: [R; 4]) -> (R, [R; 4]) {
        let [_, _, m, v] = state;
        (p * h.keep - h.rate * m / (v.sqrt() + h.eps), state)
    }
}
