//! What the Schedule-Free rules share: the weights of the average, and the steps of both points.

use rappel_tensor::Real;

use crate::{Average, InvalidOption, Now, Schedule, lerp};

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
    fn weight(&self, now: &Now, lr_max: f64) -> f64 {
        (now.count as f64).powf(self.r) * lr_max.powf(self.weight_lr_power)
    }

    /// The newest point's share of the average.
    fn share(&self, now: &Now) -> f64 {
        let [_, sum, lr_max, ..] = now.numbers;
        // Nothing weighs anything while the learning rate has been 0 throughout.
        if sum == 0.0 { 0.0 } else { self.weight(now, lr_max) / sum }
    }

    /// Moves the numbers on.
    pub fn advance(&self, now: &mut Now) {
        let [_, sum, lr_max, beta, ..] = &mut now.numbers;
        let before = std::mem::replace(beta, self.beta);
        *lr_max = lr_max.max(self.lr);
        let lr_max = *lr_max;
        *sum += (now.count as f64).powf(self.r) * lr_max.powf(self.weight_lr_power);
        // From `y = beta x + (1 - beta) z` before and after, where beta may have changed.
        let (share, ratio) = (self.share(now), self.beta / before);
        let steady = now.count == 1 || ratio == 1.0;
        now.numbers[4] = if steady { share } else { 1.0 - ratio * (1.0 - share) };
    }

    /// The numbers of a step, once they were moved on.
    pub fn steps(&self, now: &Now, weight_decay: f64) -> Steps {
        Steps {
            first: if now.count == 1 { 1.0 } else { 0.0 },
            weight_decay,
            mix: now.numbers[4],
            along: self.lr * (self.beta * (1.0 - self.share(now)) - 1.0),
            lr: self.lr,
        }
    }
}

/// The learning rate's share over the first `warmup` updates.
pub(crate) fn warming(now: &Now, warmup: u64) -> f64 {
    if now.count <= warmup { now.count as f64 / warmup as f64 } else { 1.0 }
}

/// Refuses a first beta of 0, from which there is no way back to the average.
pub(crate) fn check_betas(betas: &[Schedule; 2]) -> Result<(), InvalidOption> {
    if betas[0].is(0.0) {
        let reason = "the first must be above 0, for the average is found through it; use 0.9";
        return Err(InvalidOption::new("betas", reason));
    }
    Ok(())
}

crate::scalars! {
    /// The numbers of both points' steps.
    pub struct Steps {
        /// 1 at the first update, else 0.
        first,
        /// Weight decay.
        weight_decay,
        /// How far the trained point goes towards `z`.
        mix,
        /// How far it goes along the direction.
        along,
        /// How far `z` goes against it.
        lr,
    }
}

impl<R: Real> Steps<R> {
    /// The trained point `y` and `z` after a step against the direction `g`.
    #[inline(always)]
    pub(crate) fn take(&self, y: R, z: R, g: R) -> (R, R) {
        let z = R::select(R::of(0.5).lt(self.first), y, z);
        let g = y.mul_add(self.weight_decay, g);
        (lerp(y, z, self.mix) + self.along * g, z - self.lr * g)
    }
}

crate::scalars! {
    /// The numbers of the direction that Adam gives.
    pub struct Divisor {
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in it.
        one_minus_beta2,
        /// 1 over the root of its bias correction; 0 where the gradient is taken as it is.
        unbias,
        /// What keeps the divisor from 0; 1 where the gradient is taken as it is.
        eps,
    }
}

impl<R: Real> Divisor<R> {
    /// The direction and the average of squares.
    #[inline(always)]
    pub(crate) fn direction(&self, g: R, v: R) -> (R, R) {
        let v = v * self.beta2 + self.one_minus_beta2 * g * g;
        (g / (v.sqrt() * self.unbias + self.eps), v)
    }
}
