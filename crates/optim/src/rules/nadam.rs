//! Adam with Nesterov's momentum.

use rappel_registry::{Entry, Kind, Range};
use rappel_schedule::scheduled;
use rappel_tensor::Real;

use super::Build;
use crate::{Algorithm, Now, Plan, Rule, Schedule, Stepper, elementwise, lerp};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "nadam",
    summary: "m, v as adam; p <- p - lr (a g + b m) / (sqrt(v^) + eps), a and b by growing momentum",
    reference: "torch.optim.NAdam; Dozat, 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ",
    fields: <NAdam as crate::OptionSet>::FIELDS,
    build: Plan::build::<NAdam>,
};

crate::options! {
    /// Adam with Nesterov's momentum, as `torch.optim.NAdam`.
    ///
    /// At update `t`: `g <- g + weight_decay p` (or, `decoupled_weight_decay`,
    /// `p <- (1 - lr weight_decay) p`), `m <- beta1 m + (1 - beta1) g`,
    /// `v <- beta2 v + (1 - beta2) g^2`, `mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)`,
    /// `M <- mu_t M` and
    /// `p <- p - lr ((1 - mu_t) / (1 - M) g + mu_(t+1) / (1 - mu_(t+1) M) m) / (sqrt(v / (1 - beta2^t)) + eps)`.
    ///
    /// The product `M` is kept as `mu_product`, in double precision (PyTorch: in its default type).
    ///
    /// ```
    /// use rappel_optim::NAdam;
    /// let nadam = NAdam { lr: 1e-3.into(), decoupled_weight_decay: true, ..Default::default() };
    /// assert!(nadam.momentum_decay.is(4e-3));
    /// ```
    ///
    /// PyTorch keeps `mu_product` in its default type, single precision unless `set_default_dtype` says
    /// otherwise, whatever the parameters' type: of double-precision parameters its trajectory is then
    /// up to 1e-8 off its own formula. Here numbers are always in double precision.
    ///
    /// From [Dozat, 2016](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), whose averages take
    /// `mu_t` in place of `beta1`, too.
    pub struct NAdam {
        /// learning rate
        lr: Schedule = "2e-3", scheduled(Range::from(0.0));
        /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
        betas: [Schedule; 2] = "[0.9, 0.999]", Kind::Raw;
        /// added to the root
        eps: Schedule = "1e-8", scheduled(Range::from(0.0));
        /// added to the gradient, times the parameter
        weight_decay: Schedule = "0.0", scheduled(Range::from(0.0));
        /// how fast the momentum grows from beta1 / 2 to beta1
        momentum_decay: Schedule = "4e-3", scheduled(Range::from(0.0));
        /// shrink the parameter instead of adding to the gradient, as AdamW
        decoupled_weight_decay: bool = "false", Kind::Bool;
        /// go up the gradient, not down
        maximize: bool = "false", Kind::Bool;
    }
}

crate::scalars! {
    /// The numbers of a step.
    pub struct Scalars {
        /// What is left of a parameter after decoupled weight decay.
        keep,
        /// Coupled weight decay.
        weight_decay,
        /// Weight of the gradient in its average.
        one_minus_beta1,
        /// Decay rate of the average of squares.
        beta2,
        /// Weight of the square in its average.
        one_minus_beta2,
        /// Learning rate of the gradient itself.
        gradient,
        /// Learning rate of its average.
        average,
        /// 1 over the root of the bias correction of squares.
        unbias,
        /// What keeps the divisor from 0.
        eps,
    }
}

impl Algorithm for NAdam {
    fn stepper(&self) -> Box<dyn Stepper> {
        elementwise::<2, _>(self)
    }
}

impl NAdam {
    /// The momentum at update `count`.
    fn mu(&self, now: &Now, count: u64) -> f64 {
        let decayed = 0.96_f64.powf(count as f64 * now.value(&self.momentum_decay));
        now.value(&self.betas[0]) * (1.0 - 0.5 * decayed)
    }
}

impl Rule<2> for NAdam {
    const STATE: [&'static str; 2] = ["exp_avg", "exp_avg_sq"];
    const SIGNED: [bool; 2] = [true, false];
    const NUMBERS: &'static [(&'static str, f64)] = &[("mu_product", 1.0)];
    type Scalars = Scalars;

    fn advance(&self, now: &mut Now) {
        now.numbers[0] *= self.mu(now, now.count);
    }

    fn keep(&self, now: &Now) -> f64 {
        let decay = if self.decoupled_weight_decay { now.value(&self.weight_decay) } else { 0.0 };
        1.0 - now.lr(&self.lr) * decay
    }

    fn scalars(&self, now: &Now) -> Scalars {
        let lr = now.lr(&self.lr);
        let [beta1, beta2] = [now.value(&self.betas[0]), now.value(&self.betas[1])];
        let [mu, next] = [self.mu(now, now.count), self.mu(now, now.count + 1)];
        let product = now.numbers[0];
        let coupled = if self.decoupled_weight_decay { 0.0 } else { now.value(&self.weight_decay) };
        Scalars {
            keep: self.keep(now),
            weight_decay: coupled,
            one_minus_beta1: 1.0 - beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
            gradient: lr * (1.0 - mu) / (1.0 - product),
            average: lr * next / (1.0 - product * next),
            unbias: now.bias_correction(beta2).sqrt().recip(),
            eps: now.value(&self.eps),
        }
    }

    #[inline(always)]
    fn update<R: Real>(&self, h: &Scalars<R>, p: R, g: R, [m, v]: [R; 2]) -> (R, [R; 2]) {
        let g = p.mul_add(h.weight_decay, g);
        let m = lerp(m, g, h.one_minus_beta1);
        let v = (h.one_minus_beta2 * g).mul_add(g, v * h.beta2);
        let step = (h.gradient * g + h.average * m) / (v.sqrt() * h.unbias + h.eps);
        (p * h.keep - step, [m, v])
    }
}
