//! Steps that only look at the gradient's sign.

use crate::rule::{
    Algorithm, Descends, InvalidOption, Options, Range, Real, Rule, RuleEntry, Schedule, Slot,
    StepContext, Stepper, elementwise, entry,
};

pub(crate) const ENTRY: RuleEntry = entry::<Rprop>(
    "rprop",
    "step sizes grow while the gradient keeps its sign and shrink where it turns; p <- p - sign(g) s",
    "torch.optim.Rprop; Riedmiller and Braun, 1993, https://doi.org/10.1109/ICNN.1993.298623",
);

/// Resilient propagation, as `torch.optim.Rprop`: for gradients of the whole data set.
///
/// With `q` the gradient of the step before, 0 at first, and `s` an element's step size, `lr` at
/// first: `s <- s * f` clamped to `step_sizes`, where `f` is `etas[1]` if `g q > 0`, `etas[0]` if
/// `g q < 0`, else 1. Then `g <- 0` where `g q < 0`, `p <- p - sign(g) s`, and `q <- g`.
///
/// The learning rate, and a schedule of it, count at a parameter's first update only: PyTorch's
/// habit. State is zero until then.
///
/// ```
/// use rappel_optim::Rprop;
/// let rprop = Rprop { lr: 0.1.into(), step_sizes: [1e-6, 1.0], ..Default::default() };
/// assert_eq!(rprop.etas, [0.5, 1.2]);
/// ```
///
/// From [Riedmiller and Braun, 1993](https://doi.org/10.1109/ICNN.1993.298623), without the step
/// back where the sign turns: the variant known as iRprop-.
#[derive(Debug, Clone, Options, Descends)]
#[options(check = Self::check)]
pub struct Rprop {
    /// the first step size
    #[option(default = 1e-2, range = 0.0..)]
    pub lr: Schedule,
    /// factors of a step size where the gradient's sign turns, below 1, and where it stays, above 1
    #[option(default = [0.5, 1.2], range = Range::above(0.0))]
    pub etas: [f64; 2],
    /// the smallest and the largest step size
    #[option(default = [1e-6, 50.0], range = 0.0..)]
    pub step_sizes: [f64; 2],
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Rprop {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl Rprop {
    fn check(&self) -> Result<(), InvalidOption> {
        let [shrink, grow] = self.etas;
        if !(shrink < 1.0 && 1.0 < grow) {
            let reason =
                format!("[{shrink}, {grow}]: expected the first below 1, the second above");
            return Err(InvalidOption::new("etas", reason));
        }
        let [least, most] = self.step_sizes;
        if least > most {
            let reason = format!("[{least}, {most}]: expected the smallest first");
            return Err(InvalidOption::new("step_sizes", reason));
        }
        Ok(())
    }
}

impl Rule<2> for Rprop {
    const STATE: [Slot; 2] = [Slot::signed("prev"), Slot::positive("step_size")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let start = R::of(if t.is_first() { t.lr(&self.lr) } else { 0.0 });
        let ([shrink, grow], [least, most]) = (self.etas.map(R::of), self.step_sizes.map(R::of));
        #[inline(always)]
        move |p, g, [prev, size]| {
            let zero = R::of(0.0);
            let product = g * prev;
            let (stays, turns) = (zero.lt(product), product.lt(zero));
            let factor = R::select(stays, grow, R::select(turns, shrink, R::of(1.0)));
            let size = ((size + start) * factor).max(least).min(most);
            let g = R::select(turns, zero, g);
            (p - g.sign() * size, [g, size])
        }
    }
}
