//! Adam with a rectified adaptive rate.

use crate::rule::{
    Algorithm, BETA, Descends, Options, Real, Rule, RuleEntry, Schedule, Slot, StepContext,
    Stepper, elementwise, entry, lerp,
};

pub(crate) const ENTRY: RuleEntry = entry::<RAdam>(
    "radam",
    "m, v as adam; p <- p - lr m^, times r sqrt(1 - beta2^t) / (sqrt(v) + eps) once v can be trusted",
    "torch.optim.RAdam; Liu et al., https://arxiv.org/abs/1908.03265",
);

/// Adam whose adaptive rate waits until the average of squares can be trusted, as
/// `torch.optim.RAdam`.
///
/// At update `t`: `g <- g + weight_decay p` (or, `decoupled_weight_decay`,
/// `p <- (1 - lr weight_decay) p`), `m <- beta1 m + (1 - beta1) g`,
/// `v <- beta2 v + (1 - beta2) g^2`; with `rho = 2 / (1 - beta2) - 1` and
/// `rho_t = rho - 2 t beta2^t / (1 - beta2^t)`, where `rho_t > 5`
/// `p <- p - lr m / (1 - beta1^t) r sqrt(1 - beta2^t) / (sqrt(v) + eps)`,
/// `r^2 = (rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)`, and else
/// `p <- p - lr m / (1 - beta1^t)`.
///
/// The steps before take no account of the gradients' size: with PyTorch's betas these are the
/// first five.
///
/// ```
/// use rappel_optim::RAdam;
/// let radam = RAdam { lr: 3e-4.into(), ..Default::default() };
/// assert!(radam.weight_decay.is(0.0) && !radam.decoupled_weight_decay);
/// ```
///
/// From [Liu et al., 2019](https://arxiv.org/abs/1908.03265), where the bound is 4 and there is no
/// `eps`; PyTorch's stands beside the root before its bias is corrected, not after as in Adam.
#[derive(Debug, Clone, Options, Descends)]
pub struct RAdam {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// added to the gradient, times the parameter
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient, as AdamW
    #[option(default = false)]
    pub decoupled_weight_decay: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for RAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

/// What the adaptive rate is multiplied by at update `count`, if it can be trusted.
fn rectification(beta2: f64, count: u64) -> Option<f64> {
    let t = count as f64;
    let faded = beta2.powf(t);
    let most = 2.0 / (1.0 - beta2) - 1.0;
    let length = most - 2.0 * t * faded / (1.0 - faded);
    let ratio = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length);
    (length > 5.0).then(|| ratio.sqrt())
}

impl Rule<2> for RAdam {
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::positive("exp_avg_sq")];

    fn keep(&self, t: &StepContext) -> f64 {
        let decay = if self.decoupled_weight_decay { t.value(&self.weight_decay) } else { 0.0 };
        1.0 - t.lr(&self.lr) * decay
    }

    fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let [beta1, beta2] = t.values(&self.betas);
        let rectified = rectification(beta2, t.count);
        let factor = rectified.map_or(1.0, |r| r * t.bias_correction(beta2).sqrt());
        let step_size = R::of(t.lr(&self.lr) / t.bias_correction(beta1) * factor);
        let coupled = if self.decoupled_weight_decay { 0.0 } else { t.value(&self.weight_decay) };
        let [keep, weight_decay, eps] = [self.keep(t), coupled, t.value(&self.eps)].map(R::of);
        let [weight1, beta2, weight2] = [1.0 - beta1, beta2, 1.0 - beta2].map(R::of);
        #[inline(always)]
        move |p, g, [m, v]| {
            let g = p.mul_add(weight_decay, g);
            let m = lerp(m, g, weight1);
            let v = (weight2 * g).mul_add(g, v * beta2);
            let divisor = if rectified.is_some() { v.sqrt() + eps } else { R::of(1.0) };
            (p * keep - step_size * m / divisor, [m, v])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_trusted_from_the_sixth_update_on() {
        assert_eq!(rectification(0.999, 5), None);
        let first = rectification(0.999, 6).unwrap();
        assert!(0.0 < first && first < 0.05, "{first}");
        let late = rectification(0.999, 100_000).unwrap();
        assert!((late - 1.0).abs() < 1e-12, "{late}");
        // A memory of two or three squares never will be.
        assert_eq!(rectification(0.5, 1_000), None);
    }
}
