//! What the Schedule-Free rules share: the weights of the average, and the steps of both points.

use rappel_schedule::Schedule;
use rappel_tensor::Real;

use crate::context::StepContext;
use crate::kernels::{Average, lerp};
use rappel_config::InvalidOption;

/// What the rules keep beside their state.
pub(crate) const NUMBERS: &[(&str, f64)] =
    &[("eval_mode", 0.0), ("weight_sum", 0.0), ("lr_max", -1.0), ("beta", 0.0), ("mix", 0.0)];

/// `z` is the first slot.
pub(crate) const AVERAGE: Average = Average { z: 0, mode: 0, beta: 3 };

/// How the average is weighed at a step.
pub(crate) struct Pace {
    /// The learning rate, warmed up.
    pub lr: f64,
    /// How near the trained point keeps to the average.
    pub beta: f64,
    /// The power of the count in a weight.
    pub r: f64,
    /// The power of the largest learning rate in it.
    pub weight_lr_power: f64,
}

impl Pace {
    fn weight(&self, t: &StepContext, lr_max: f64) -> f64 {
        (t.count as f64).powf(self.r) * lr_max.powf(self.weight_lr_power)
    }

    /// The newest point's share of the average.
    fn share(&self, t: &StepContext) -> f64 {
        let [_, sum, lr_max, ..] = t.numbers;
        // Nothing weighs anything while the learning rate has been 0 throughout.
        if sum == 0.0 { 0.0 } else { self.weight(t, lr_max) / sum }
    }

    /// Moves the numbers on.
    pub fn advance(&self, t: &mut StepContext) {
        let [_, sum, lr_max, beta, ..] = &mut t.numbers;
        let before = std::mem::replace(beta, self.beta);
        *lr_max = lr_max.max(self.lr);
        let lr_max = *lr_max;
        *sum += (t.count as f64).powf(self.r) * lr_max.powf(self.weight_lr_power);
        // From `y = beta x + (1 - beta) z` before and after, where beta may have changed.
        let (share, ratio) = (self.share(t), self.beta / before);
        let steady = t.count == 1 || ratio == 1.0;
        t.numbers[4] = if steady { share } else { 1.0 - ratio * (1.0 - share) };
    }

    /// The trained point `y` and `z` after a step against the direction `g`, once the numbers were moved on.
    pub fn steps<R: Real>(
        &self,
        t: &StepContext,
        weight_decay: f64,
    ) -> impl Fn(R, R, R) -> (R, R) + use<R> {
        let along = self.lr * (self.beta * (1.0 - self.share(t)) - 1.0);
        let [weight_decay, mix, along, lr] =
            [weight_decay, t.numbers[4], along, self.lr].map(R::of);
        let first = t.is_first();
        #[inline(always)]
        move |y, z, g| {
            let z = if first { y } else { z };
            let g = y.mul_add(weight_decay, g);
            (lerp(y, z, mix) + along * g, z - lr * g)
        }
    }
}

/// The learning rate's share over the first `warmup` updates.
pub(crate) fn warming(t: &StepContext, warmup: u64) -> f64 {
    if t.count <= warmup { t.count as f64 / warmup as f64 } else { 1.0 }
}

/// Refuses a first beta of 0, from which there is no way back to the average.
pub(crate) fn check_betas(betas: &[Schedule; 2]) -> Result<(), InvalidOption> {
    if betas[0].is(0.0) {
        let reason = "the first must be above 0, for the average is found through it; use 0.9";
        return Err(InvalidOption::new("betas", reason));
    }
    Ok(())
}

/// The direction that Adam gives and its average of squares, from the gradient and that average.
pub(crate) fn adam_direction<R: Real>(
    beta2: f64,
    unbias: f64,
    eps: f64,
) -> impl Fn(R, R) -> (R, R) {
    let [beta2, weight2, unbias, eps] = [beta2, 1.0 - beta2, unbias, eps].map(R::of);
    #[inline(always)]
    move |g, v| {
        let v = v * beta2 + weight2 * g * g;
        (g / (v.sqrt() * unbias + eps), v)
    }
}
