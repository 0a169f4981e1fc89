//! CAME: Adafactor that trusts a step as far as it agrees with those before.

use rappel_tensor::{Shape, Tensor};

use super::adafactor::factored_rsqrt;
use crate::kernels::matrix::{average, lerp, rms};
use crate::rule::{
    Algorithm, BETA, Descends, Options, ParamTensors, Range, RuleEntry, Schedule, StepContext,
    Stepper, TensorRule, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Came>(
    "came",
    "u <- clip(g / sqrt(R C of g^2)); m <- lerp(u, m, beta1); p <- p - lr m / sqrt(R C of (u - m)^2)",
    "pytorch_optimizer.CAME 4.1.0; Luo et al., https://arxiv.org/abs/2307.02047",
);

/// CAME, as `pytorch_optimizer.CAME`: Adafactor with momentum, whose steps shrink where they
/// disagree with the momentum.
///
/// Matrices (the last two dimensions) keep averages `r`, `c` of `g^2 + eps1` along rows and
/// columns, decay `beta2`; `u = g sqrt(mean(r) / (r c))`, `u <- u / max(1, rms(u) / clip_threshold)`;
/// `m <- beta1 m + (1 - beta1) u`; averages of `(u - m)^2 + eps2` alike, decay `beta3`, give the
/// instability `s`, and `p <- p - lr m / sqrt(s)`. Vectors and scalars keep the average of
/// `g^2 + eps1` itself, and take `p <- p - lr m`. Averages begin at zero, uncorrected.
///
/// Weight decay comes first: `p <- (1 - lr weight_decay) p`, without the `lr` where
/// `fixed_decay`; or it is added to the gradient where `weight_decouple` is off. With `ams_bound`,
/// `s <- max(s, sqrt(v))` and `u = g sqrt(beta2 / s)`, as that package has it.
///
/// ```
/// use rappel_optim::Came;
/// let came = Came { lr: 1e-4.into(), ..Default::default() };
/// assert!(came.weight_decouple);
/// ```
///
/// From [Luo et al., 2023](https://arxiv.org/abs/2307.02047); pytorch_optimizer 4.1.0.
#[derive(Debug, Clone, Options, Descends)]
pub struct Came {
    /// learning rate
    #[option(default = 2e-4, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of steps, squares and disagreement, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999, 0.9999], range = BETA)]
    pub betas: [Schedule; 3],
    /// weight decay
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = true)]
    pub weight_decouple: bool,
    /// leave the learning rate out of the decay
    #[option(default = false)]
    pub fixed_decay: bool,
    /// the largest root mean square of a step before momentum
    #[option(default = 1.0, range = Range::above(0.0))]
    pub clip_threshold: Schedule,
    /// divide by the largest average of squares so far
    #[option(default = false)]
    pub ams_bound: bool,
    /// added to squares of gradients
    #[option(default = 1e-30, range = 0.0..)]
    pub eps1: Schedule,
    /// added to squares of disagreement
    #[option(default = 1e-16, range = 0.0..)]
    pub eps2: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Came {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl TensorRule for Came {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        let rank = shape.rank();
        let mut state = vec![("exp_avg", shape)];
        if rank < 2 {
            state.push(("exp_avg_sq", shape));
        } else {
            let (row, col) = (shape.removed(rank - 1), shape.removed(rank - 2));
            state.extend([("exp_avg_sq_row", row), ("exp_avg_sq_col", col)]);
            state.extend([("exp_avg_res_row", row), ("exp_avg_res_col", col)]);
        }
        if self.ams_bound {
            state.push(("exp_avg_sq_hat", shape));
        }
        state
    }

    fn keep(&self, t: &StepContext) -> f64 {
        match (self.weight_decouple, self.fixed_decay) {
            (false, _) => 1.0,
            (true, true) => 1.0 - t.value(&self.weight_decay),
            (true, false) => 1.0 - t.lr(&self.lr) * t.value(&self.weight_decay),
        }
    }

    fn update(&self, t: &StepContext, all: &mut [ParamTensors]) {
        let keep = TensorRule::keep(self, t);
        let coupled = if self.weight_decouple { 0.0 } else { t.value(&self.weight_decay) };
        let lr = t.lr(&self.lr);
        for whole in all {
            if coupled != 0.0 {
                whole.grad = &whole.grad + &whole.param * coupled;
            }
            whole.param = &whole.param * keep - self.direction(t, whole) * lr;
        }
    }
}

/// Moves averages of `squares` along rows and columns on, and gives one over the root of what they
/// stand for.
fn averaged_rsqrt(row_col: &mut [Tensor], squares: &Tensor, beta: f64) -> Tensor {
    let rank = squares.rank();
    row_col[0] = average(&row_col[0], &squares.mean_axis(rank - 1), beta);
    row_col[1] = average(&row_col[1], &squares.mean_axis(rank - 2), beta);
    factored_rsqrt(&row_col[0], &row_col[1])
}

impl Came {
    fn direction(&self, t: &StepContext, whole: &mut ParamTensors) -> Tensor {
        let [beta1, beta2, beta3] = t.values(&self.betas);
        let (g, state) = (&whole.grad, &mut whole.state);
        let squares = g.square() + t.value(&self.eps1);
        let factored = g.rank() >= 2;
        let mut u = if factored {
            averaged_rsqrt(&mut state[1..3], &squares, beta2)
        } else {
            state[1] = average(&state[1], &squares, beta2);
            state[1].sqrt().recip()
        };
        if let (true, Some(most)) = (self.ams_bound, state.last_mut()) {
            *most = most.maximum(&u.recip());
            u = (&*most * beta2.recip()).sqrt().recip();
        }
        let u = u * g;
        let u = &u / (rms(&u) / t.value(&self.clip_threshold)).max(1.0);
        state[0] = lerp(&state[0], &u, 1.0 - beta1);
        if !factored {
            return state[0].clone();
        }
        let apart = (u - &state[0]).square() + t.value(&self.eps2);
        averaged_rsqrt(&mut state[3..5], &apart, beta3) * &state[0]
    }
}
