//! Steps that only look at the gradient's sign.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, InvalidOption, Now, Plan, Rule, Schedule, Stepper, elementwise};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "rprop",
    summary: "step sizes grow while the gradient keeps its sign and shrink where it turns; p <- p - sign(g) s",
    reference: "torch.optim.Rprop; Riedmiller and Braun, 1993, https://doi.org/10.1109/ICNN.1993.298623",
    fields: <Rprop as crate::OptionSet>::FIELDS,
    build: Plan::build::<Rprop>,
};

crate::options! {
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
    pub struct Rprop {
        /// the first step size
        lr: Schedule = "1e-2", scheduled(Range::from(0.0));
        /// factors of a step size where the gradient's sign turns, below 1, and where it stays, above 1
        etas: [f64; 2] = "[0.5, 1.2]", Kind::Floats { len: 2, range: Range::above(0.0) };
        /// the smallest and the largest step size
        step_sizes: [f64; 2] = "[1e-6, 50.0]", Kind::Floats { len: 2, range: Range::from(0.0) };
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// The first step size at the first update; then 0.
        start,
        /// Factor where the sign turns.
        shrink,
        /// Factor where it stays.
        grow,
        /// The smallest step size.
        least,
        /// The largest.
        most,
    }
}

impl Algorithm for Rprop {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }

    fn check(&self) -> Result<(), InvalidOption> {
        let [shrink, grow] = self.etas;
        if !(shrink < 1.0 && 1.0 < grow) {
            let reason = format!("[{shrink}, {grow}]: wants the first below 1, the second above");
            return Err(InvalidOption::new("etas", reason));
        }
        let [least, most] = self.step_sizes;
        if least > most {
            let reason = format!("[{least}, {most}]: wants the smallest first");
            return Err(InvalidOption::new("step_sizes", reason));
        }
        Ok(())
    }
}

impl Rule<2> for Rprop {
    const STATE: [&'static str; 2] = ["prev", "step_size"];
    const SIGNED: [bool; 2] = [true, false];
    type Scalars = Scalars;

    fn scalars(&self, now: &Now) -> Scalars {
        let ([shrink, grow], [least, most]) = (self.etas, self.step_sizes);
        let start = if now.count == 1 { now.lr(&self.lr) } else { 0.0 };
        Scalars { start, shrink, grow, least, most }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [prev, size]: [R; 2]) -> (R, [R; 2]) {
        let zero = R::of(0.0);
        let product = g * prev;
        let (stays, turns) = (zero.lt(product), product.lt(zero));
        let factor = R::select(stays, h.grow, R::select(turns, h.shrink, R::of(1.0)));
        let size = ((size + h.start) * factor).max(h.least).min(h.most);
        let g = R::select(turns, zero, g);
        (p - g.sign() * size, [g, size])
    }
}
