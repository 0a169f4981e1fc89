//! Stochastic gradient descent with D-Adaptation.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, BETA, Now, Plan, Schedule, Stepper, TwoPass, two_pass};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "dadapt_sgd",
    summary: "s <- s + e g, e = d lr / |g0|; p <- momentum p + (1 - momentum) (p0 - s); d as found",
    reference: "dadaptation 3.2, DAdaptSGD; Defazio and Mishchenko, \
                https://arxiv.org/abs/2301.07733",
    fields: <DAdaptSgd as crate::OptionSet>::FIELDS,
    build: Plan::build::<DAdaptSgd>,
};

crate::options! {
    /// Stochastic gradient descent with D-Adaptation, which finds its learning rate; as `DAdaptSGD`
    /// of `dadaptation` 3.2. Leave `lr` at 1; a schedule multiplies it.
    ///
    /// With `d` begun at `d0`, `n` the norm of the first gradients, `e = d lr / n`, and sums over
    /// all parameters of the rule: `g <- g + weight_decay p`, `r <- r + e sum(g s)`, `s <- s + e g`,
    /// `d <- max(d, min(2 r / sqrt(sum(s^2)), growth_rate d))`,
    /// `p <- momentum p + (1 - momentum) (p0 - s)`.
    ///
    /// `p0` is where a parameter began; it and `s` are kept in full precision. The package keeps
    /// `z = p0 - s` beside. As there, `n` is taken before weight decay. A step whose learning rate
    /// is 0, or before any gradient that is not, changes nothing; the package divides by zero.
    ///
    /// ```
    /// use rappel_optim::DAdaptSgd;
    /// let rule = DAdaptSgd { momentum: 0.9.into(), ..Default::default() };
    /// assert!(rule.lr.is(1.0) && rule.d0.is(1e-6));
    /// ```
    ///
    /// From [Defazio and Mishchenko, 2023](https://arxiv.org/abs/2301.07733), algorithm 4.
    pub struct DAdaptSgd {
        /// factor of the rate that is found
        lr: Schedule = "1.0", scheduled(Range::from(0.0));
        /// how near a parameter keeps to where it is
        momentum: Schedule = "0.0", scheduled(BETA);
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// what `d` begins at
        d0: Schedule = "1e-6", scheduled(Range::above(0.0));
        /// `d` grows by no more than this factor in a step; inf: by any
        growth_rate: Schedule = "inf", scheduled(Range::above(0.0).or_infinite());
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of the first walk.
    pub struct Gathering {
        /// 1 until there was a gradient, then 0.
        first,
        /// Weight decay.
        weight_decay,
        /// Weight of the gradient in the sum; 1 at the first, whose norm is not known yet.
        weight,
    }
}

crate::scalars! {
    /// The numbers of the second walk.
    pub struct Moving {
        /// What the sum is multiplied by: the weight that the first gradient lacked.
        scale,
        /// How much of a parameter stays.
        keep,
        /// How far it goes to the point that the sum leads to.
        toward,
    }
}

impl Algorithm for DAdaptSgd {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<2, 3, _>(self)
    }
}

impl DAdaptSgd {
    fn d(&self, now: &Now) -> f64 {
        // The number is 0 until it begins.
        if now.numbers[0] == 0.0 { now.value(&self.d0) } else { now.numbers[0] }
    }
}

impl TwoPass<2, 3> for DAdaptSgd {
    const STATE: [&'static str; 2] = ["s", "x0"];
    const EXACT: [bool; 2] = [true; 2];
    const NUMBERS: &'static [(&'static str, f64)] =
        &[("d", 0.0), ("numerator_weighted", 0.0), ("g0_norm", 0.0)];
    const SHARED: bool = true;
    type First = Gathering;
    type Second = Moving;

    fn first(&self, now: &Now) -> Gathering {
        let (lr, norm) = (now.lr(&self.lr), now.numbers[2]);
        let weight = match norm {
            _ if lr == 0.0 => 0.0,
            0.0 => 1.0,
            norm => self.d(now) * lr / norm,
        };
        let first = if norm == 0.0 { 1.0 } else { 0.0 };
        Gathering { first, weight_decay: now.value(&self.weight_decay), weight }
    }

    #[inline(always)]
    fn gather<R: Real>(&self, h: &Gathering<R>, p: R, g: R, [s, x0]: [R; 2]) -> ([R; 2], [R; 3]) {
        let x0 = R::select(R::of(0.5).lt(h.first), p, x0);
        let decayed = p.mul_add(h.weight_decay, g);
        let (ahead, s) = (decayed * s, s + h.weight * decayed);
        ([s, x0], [ahead, s * s, g * g])
    }

    fn second(&self, now: &mut Now, [ahead, size, square]: [f64; 3], _: usize) -> Moving {
        let (lr, d, begun) = (now.lr(&self.lr), self.d(now), now.numbers[2] != 0.0);
        let norm = if begun { now.numbers[2] } else { square.sqrt() };
        let rate = if norm == 0.0 { 0.0 } else { d * lr / norm };
        let scale = if begun { 1.0 } else { rate };
        let size = scale * size.sqrt();
        if lr == 0.0 || size == 0.0 {
            return Moving { scale, keep: 1.0, toward: 0.0 };
        }
        let numerator = now.numbers[1] + rate * ahead;
        let found = 2.0 * numerator / size;
        let d = d.max(found.min(d * now.value(&self.growth_rate)));
        now.numbers[..3].copy_from_slice(&[d, numerator, norm]);
        let toward = 1.0 - now.value(&self.momentum);
        Moving { scale, keep: 1.0 - toward, toward }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Moving<R>, p: R, _g: R, [s, x0]: [R; 2]) -> (R, [R; 2]) {
        let s = s * h.scale;
        (p * h.keep + (x0 - s) * h.toward, [s, x0])
    }
}
