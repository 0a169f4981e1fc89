//! Averaged stochastic gradient descent.

use crate::rule::{
    Algorithm, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext, Stepper,
    elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<Asgd>(
    "asgd",
    "p <- (1 - lambd eta) p - eta g; ax <- ax + mu (p - ax), the average of p after t0 updates",
    "torch.optim.ASGD; Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046",
);

/// Gradient descent that keeps the average of its path, as `torch.optim.ASGD`.
///
/// At update `t`, with `g <- g + weight_decay p`: `p <- (1 - lambd eta) p - eta g`,
/// `ax <- ax + mu (p - ax)`; then, for the next update,
/// `eta <- lr / (1 + lambd lr t)^alpha` and `mu <- 1 / max(1, t - t0)`. At first `eta` is `lr` and
/// `mu` is 1: until `t0 + 1`, `ax` is the parameter itself.
///
/// The average stays in the state as `ax`; training continues with the parameter. As in PyTorch,
/// `eta` is computed a step ahead, so a scheduled learning rate acts one step late, and `lambd` decays
/// beside `weight_decay`.
///
/// ```
/// use rappel_optim::Asgd;
/// let asgd = Asgd { lr: 0.1.into(), t0: 1000.0.into(), ..Default::default() };
/// assert!(asgd.lambd.is(1e-4) && asgd.alpha.is(0.75));
/// ```
///
/// PyTorch keeps `eta` and `mu` in its default type, single precision unless `set_default_dtype` says
/// otherwise, whatever the parameters' type: of double-precision parameters its trajectory is then
/// up to 1e-8 off its own formula. Here numbers are always in double precision.
///
/// From [Polyak and Juditsky, 1992](https://doi.org/10.1137/0330046).
#[derive(Debug, Clone, Options, Descends)]
pub struct Asgd {
    /// learning rate
    #[option(default = 1e-2, range = 0.0..)]
    pub lr: Schedule,
    /// the share of a parameter that a step takes away, times eta; also how fast eta falls
    #[option(default = 1e-4, range = 0.0..)]
    pub lambd: Schedule,
    /// the power by which eta falls
    #[option(default = 0.75, range = 0.0..)]
    pub alpha: Schedule,
    /// the update after which the average begins
    #[option(default = 1e6)]
    pub t0: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Asgd {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl Rule<1> for Asgd {
    const STATE: [Slot; 1] = [Slot::signed("ax")];
    const NUMBERS: &'static [(&'static str, f64)] = &[("eta", 0.0), ("mu", 1.0)];

    fn settle(&self, t: &mut StepContext) {
        let (lr, count) = (t.lr(&self.lr), t.count as f64);
        let fall = (1.0 + t.value(&self.lambd) * lr * count).powf(t.value(&self.alpha));
        t.numbers[0] = lr / fall;
        t.numbers[1] = (count - t.value(&self.t0)).max(1.0).recip();
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let [eta, mu, ..] = t.numbers;
        let eta = if t.is_first() { t.lr(&self.lr) } else { eta };
        let numbers = [1.0 - t.value(&self.lambd) * eta, eta, mu, t.value(&self.weight_decay)];
        let [keep, eta, mu, weight_decay] = numbers.map(R::of);
        #[inline(always)]
        move |p, g, [ax]| {
            let g = p.mul_add(weight_decay, g);
            let p = p * keep - eta * g;
            (p, [lerp(ax, p, mu)])
        }
    }
}
