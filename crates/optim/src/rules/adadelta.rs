//! Steps as large as the steps before, for their gradients.

use crate::rule::{
    Algorithm, Descends, Options, Range, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adadelta>(
    "adadelta",
    "v <- lerp(g^2, v, rho); d = sqrt(u + eps) / sqrt(v + eps) g; u <- lerp(d^2, u, rho); p <- p - lr d",
    "torch.optim.Adadelta; Zeiler, https://arxiv.org/abs/1212.5701",
);

/// From 0 to 1, both included, as PyTorch takes it.
const RHO: Range = Range::from(0.0).to(1.0);

/// Steps in the parameter's own unit, as `torch.optim.Adadelta`.
///
/// With `g <- g + weight_decay p`: `v <- rho v + (1 - rho) g^2`,
/// `d = sqrt(u + eps) / sqrt(v + eps) g`, `u <- rho u + (1 - rho) d^2`, `p <- p - lr d`. The average
/// `v` of squared gradients is kept as `square_avg`, `u` of squared steps as `acc_delta`.
///
/// ```
/// use rappel_optim::Adadelta;
/// let adadelta = Adadelta { rho: 0.95.into(), ..Default::default() };
/// assert!(adadelta.lr.is(1.0));
/// ```
///
/// From [Zeiler, 2012](https://arxiv.org/abs/1212.5701), which has no learning rate: `lr` 1.
#[derive(Debug, Clone, Options, Descends)]
pub struct Adadelta {
    /// learning rate
    #[option(default = 1.0, range = 0.0..)]
    pub lr: Schedule,
    /// decay rate of both averages
    #[option(default = 0.9, range = RHO)]
    pub rho: Schedule,
    /// added under both roots; sets the size of the first steps
    #[option(default = 1e-6, range = 0.0..)]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Adadelta {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rule<2> for Adadelta {
    const STATE: [Slot; 2] = [Slot::positive("square_avg"), Slot::positive("acc_delta")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let numbers = [t.lr(&self.lr), t.value(&self.eps), t.value(&self.weight_decay)];
        let ([lr, eps, weight_decay], rho) = (numbers.map(R::of), t.value(&self.rho));
        let (rho, one_minus_rho) = (R::of(rho), R::of(1.0 - rho));
        #[inline(always)]
        move |p, g, [v, u]| {
            let g = p.mul_add(weight_decay, g);
            let v = (one_minus_rho * g).mul_add(g, v * rho);
            let d = (u + eps).sqrt() / (v + eps).sqrt() * g;
            let u = (one_minus_rho * d).mul_add(d, u * rho);
            (p - lr * d, [v, u])
        }
    }
}
