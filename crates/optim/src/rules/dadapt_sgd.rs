//! Stochastic gradient descent with D-Adaptation.

use rappel_tensor::Shape;

use crate::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, RuleEntry, Schedule, Slot, StepContext,
    Stepper, TwoPass, entry, two_pass,
};

pub(crate) const ENTRY: RuleEntry = entry::<DAdaptSgd>(
    "dadapt_sgd",
    "s <- s + e g, e = d lr / |g0|; p <- momentum p + (1 - momentum) (p0 - s); d as found",
    "dadaptation 3.2, DAdaptSGD; Defazio and Mishchenko, \
                https://arxiv.org/abs/2301.07733",
);

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
#[derive(Debug, Clone, Options, Descends)]
pub struct DAdaptSgd {
    /// factor of the rate that is found
    #[option(default = 1.0, range = 0.0..)]
    pub lr: Schedule,
    /// how near a parameter keeps to where it is
    #[option(default = 0.0, range = BETA)]
    pub momentum: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// what `d` begins at
    #[option(default = 1e-6, range = Range::above(0.0))]
    pub d0: Schedule,
    /// `d` grows by no more than this factor in a step; inf: by any
    #[option(default = f64::INFINITY.into(), range = Range::above(0.0).or_infinite())]
    pub growth_rate: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for DAdaptSgd {
    fn stepper(&self) -> Box<dyn Stepper> {
        two_pass::<2, 3, _>(self)
    }
}

impl DAdaptSgd {
    fn d(&self, t: &StepContext) -> f64 {
        // The number is 0 until it begins.
        if t.numbers[0] == 0.0 { t.value(&self.d0) } else { t.numbers[0] }
    }
}

/// How the second pass moves a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// What the sum is multiplied by: the weight that the first gradient lacked.
    scale: f64,
    /// How much of a parameter stays.
    keep: f64,
    /// How far it goes to the point that the sum leads to.
    toward: f64,
}

impl TwoPass<2, 3> for DAdaptSgd {
    const STATE: [Slot; 2] = [Slot::exact("s"), Slot::exact("x0")];
    const NUMBERS: &'static [(&'static str, f64)] =
        &[("d", 0.0), ("numerator_weighted", 0.0), ("g0_norm", 0.0)];
    const SHARED: bool = true;
    type Found = Found;

    fn reduce<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> ([R; 2], [R; 3]) {
        let (lr, norm) = (t.lr(&self.lr), t.numbers[2]);
        // The weight of the first gradient is 1, for its norm is not known yet.
        let weight = match norm {
            _ if lr == 0.0 => 0.0,
            0.0 => 1.0,
            norm => self.d(t) * lr / norm,
        };
        let (begins, numbers) = (norm == 0.0, [t.value(&self.weight_decay), weight]);
        let [weight_decay, weight] = numbers.map(R::of);
        #[inline(always)]
        move |p, g, [s, x0]| {
            let x0 = if begins { p } else { x0 };
            let decayed = p.mul_add(weight_decay, g);
            let (ahead, s) = (decayed * s, s + weight * decayed);
            ([s, x0], [ahead, s * s, g * g])
        }
    }

    fn find(&self, t: &mut StepContext, [ahead, size, square]: [f64; 3], _: Shape) -> Found {
        let (lr, d, begun) = (t.lr(&self.lr), self.d(t), t.numbers[2] != 0.0);
        let norm = if begun { t.numbers[2] } else { square.sqrt() };
        let rate = if norm == 0.0 { 0.0 } else { d * lr / norm };
        let scale = if begun { 1.0 } else { rate };
        let size = scale * size.sqrt();
        if lr == 0.0 || size == 0.0 {
            return Found { scale, keep: 1.0, toward: 0.0 };
        }
        let numerator = t.numbers[1] + rate * ahead;
        let found = 2.0 * numerator / size;
        let d = d.max(found.min(d * t.value(&self.growth_rate)));
        t.numbers[..3].copy_from_slice(&[d, numerator, norm]);
        let toward = 1.0 - t.value(&self.momentum);
        Found { scale, keep: 1.0 - toward, toward }
    }

    fn step<R: Real>(
        &self,
        _: &StepContext,
        Found { scale, keep, toward }: Found,
    ) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let [scale, keep, toward] = [scale, keep, toward].map(R::of);
        #[inline(always)]
        move |p, _, [s, x0]| {
            let s = s * scale;
            (p * keep + (x0 - s) * toward, [s, x0])
        }
    }
}
