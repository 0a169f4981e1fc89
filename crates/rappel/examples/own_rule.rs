//! A rule, a wrapper and a schedule of one's own, in a program that depends on `rappel` alone.
//!
//! `cargo run --release -p rappel --example own_rule`

use rappel::optim::ParamGroup;
use rappel::optim::rule::{
    Algorithm, BETA, Descends, Options, Range, Real, Rule, Slot, StepContext, Stepper, Wrapper,
    elementwise,
};
use rappel::prelude::*;
use rappel::schedule::ScheduleFn;

/// Descends along the gradient's average, divided by its own size: `m <- beta m + (1 - beta) g`,
/// `p <- p - lr m / (|m| + eps)`.
#[derive(Debug, Clone, Options, Descends)]
#[options(crate = rappel::config, optim = rappel::optim)]
pub struct SoftSign {
    /// learning rate
    #[option(default = 0.01, range = 0.0..)]
    pub lr: Schedule,
    /// decay rate of the average
    #[option(default = 0.9, range = BETA)]
    pub beta: Schedule,
    /// where a step grows from along the average to along its sign
    #[option(default = 1e-3, range = Range::above(0.0))]
    pub eps: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for SoftSign {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<1, _>(self)
    }
}

impl Rule<1> for SoftSign {
    const STATE: [Slot; 1] = [Slot::signed("exp_avg")];

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let [lr, beta, eps] = [t.lr(&self.lr), t.value(&self.beta), t.value(&self.eps)].map(R::of);
        #[inline(always)]
        move |p, g, [m]| {
            let m = m * beta + g * (R::of(1.0) - beta);
            (p - lr * m / (m.abs() + eps), [m])
        }
    }
}

/// Keeps parameters from leaving `-limit..=limit`, whatever the rule.
#[derive(Debug, Clone)]
struct Within {
    limit: f64,
}

impl Wrapper for Within {
    fn after<R: Real>(&self, _: &StepContext) -> impl Fn(R, R, R) -> R {
        let limit = R::of(self.limit);
        #[inline(always)]
        move |_, _, new| new.min(limit).max(-limit)
    }
}

/// Halves every `every` steps.
#[derive(Debug)]
struct Halving {
    every: u64,
}

impl ScheduleFn for Halving {
    fn at(&self, step: u64) -> f64 {
        0.5_f64.powf((step / self.every) as f64)
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

/// Fits a line.
pub fn main() -> Result<(), OptimError> {
    let x = Tensor::rand([100, 1], 0.0, 1.0, DType::F32, Key::new(0));
    let y = &x * 2.0 + 1.0;
    let mut params = Params::new(42);
    let net = Linear::new(&mut params.scope("net"), 1, 1);
    let rule = SoftSign { lr: Schedule::new(Halving { every: 200 }) * 0.05, ..default() };
    let group = ParamGroup::from(rule).wrapper(Within { limit: 1.5 });
    let mut optimizer = Optimizer::new(group, &params)?;
    for step in 0..2000 {
        let loss = mse(&net.forward(&x), &y);
        optimizer.step(step, &mut params, &loss.backward())?;
    }
    let [slope, intercept] =
        ["net.weight", "net.bias"].map(|n| params.get(n).expect("it is there").tensor().item());
    println!("y = {slope:.3} x + {intercept:.3}");
    // Least squares with a slope of at most 1.5: the line passes through the middle of the points.
    assert!((slope - 1.5).abs() < 1e-6, "slope {slope}");
    assert!((intercept - 1.25).abs() < 0.03, "intercept {intercept}");
    Ok(())
}
