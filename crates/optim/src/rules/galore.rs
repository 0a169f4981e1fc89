//! GaLore: AdamW on gradients of low rank.

use rappel_tensor::{Key, Shape};

use crate::kernels::matrix::average;
use crate::kernels::projection::Projection;
pub use crate::kernels::projection::{ProjectionKind, ProjectionSide};
use crate::rule::{
    Algorithm, BETA, Descends, Options, ParamTensors, RuleEntry, Schedule, StepContext, Stepper,
    TensorRule, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Galore>(
    "galore",
    "g' <- g in the space of its first singular vectors; AdamW's step on g', and back",
    "galore-torch 1.0 (AdamW); Zhao et al., https://arxiv.org/abs/2403.03507",
);

/// GaLore, as the authors' `galore_torch.AdamW`: Adam's averages of a gradient that is projected
/// to few dimensions, so that they are small.
///
/// For a matrix, every `update_proj_gap` updates `P` is taken again from the gradient's first
/// `rank` singular vectors. With `g' = g P^T` (`proj_type = "std"`; the shorter side is
/// projected): `m <- beta1 m + (1 - beta1) g'`, `v <- beta2 v + (1 - beta2) g'^2`,
/// `p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) scale (m / (sqrt(v) + eps)) P`, then
/// `p <- (1 - lr weight_decay) p`. Other parameters take the same step as they are, with `scale`
/// 1, as the package does for those outside of its groups of low rank.
///
/// `proj_type` is the side that is projected: `std` the right one where there are no fewer rows
/// than columns, else the left; `reverse_std` the other; `right`, `left`; `full` both.
/// `proj = "random"` takes normal numbers of variance `1 / rank` in place of singular vectors,
/// from `seed`, the parameter's name and the number of the projection.
///
/// `rank`, `update_proj_gap` and `scale` have no defaults in the package; here they are those of
/// its examples. It rounds to single precision before the decomposition, and takes the signs
/// that its library gives; here it is the precision of the step, and the largest element of each
/// right singular vector is positive.
///
/// ```
/// use rappel_optim::Galore;
/// let galore = Galore { rank: 64, ..Default::default() };
/// assert_eq!((galore.scale, galore.update_proj_gap), (0.25, 200));
/// ```
///
/// From [Zhao et al., 2024](https://arxiv.org/abs/2403.03507); galore-torch 1.0.
#[derive(Debug, Clone, Options, Descends)]
pub struct Galore {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.9, 0.999], range = BETA)]
    pub betas: [Schedule; 2],
    /// added to the root
    #[option(default = 1e-6, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// correct the averages' bias
    #[option(default = true)]
    pub correct_bias: bool,
    /// dimensions that gradients are projected to
    #[option(default = 128, range = 1..)]
    pub rank: usize,
    /// updates from one projection to the next
    #[option(default = 200, range = 1..)]
    pub update_proj_gap: u64,
    /// what steps of matrices are multiplied by
    #[option(default = 0.25, range = 0.0..)]
    pub scale: f64,
    /// which side is projected
    #[option(default = ProjectionSide::Std)]
    pub proj_type: ProjectionSide,
    /// singular vectors of the gradient, or random numbers
    #[option(default = ProjectionKind::Svd)]
    pub proj: ProjectionKind,
    /// where random projections begin
    #[option(default = 0)]
    pub seed: u64,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

impl Algorithm for Galore {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl TensorRule for Galore {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        match Projection::new(self.proj_type, shape, self.rank) {
            None => vec![("exp_avg", shape), ("exp_avg_sq", shape)],
            Some(projection) => {
                let small = projection.small();
                let averages = [("exp_avg", small), ("exp_avg_sq", small)];
                averages.into_iter().chain(projection.state()).collect()
            }
        }
    }

    fn keep(&self, t: &StepContext) -> f64 {
        1.0 - t.lr(&self.lr) * t.value(&self.weight_decay)
    }

    fn update(&self, t: &StepContext, all: &mut [ParamTensors]) {
        let [beta1, beta2] = t.values(&self.betas);
        let (eps, keep, mut step) = (t.value(&self.eps), TensorRule::keep(self, t), t.lr(&self.lr));
        if self.correct_bias {
            step *= t.bias_correction(beta2).sqrt() / t.bias_correction(beta1);
        }
        for whole in all {
            let projection = Projection::new(self.proj_type, whole.param.shape(), self.rank);
            let g = projection.map_or(whole.grad.clone(), |projection| {
                self.project(t, projection, whole);
                projection.down(&whole.grad, &whole.state[2..])
            });
            whole.state[0] = average(&whole.state[0], &g, beta1);
            whole.state[1] = average(&whole.state[1], &g.square(), beta2);
            let small = &whole.state[0] / (whole.state[1].sqrt() + eps);
            let u = match projection {
                Some(projection) => projection.up(&small, &whole.state[2..]) * (self.scale * step),
                None => small * step,
            };
            whole.param = (&whole.param - u) * keep;
        }
    }
}

impl Galore {
    /// Takes the projection again where it is due.
    fn project(&self, t: &StepContext, projection: Projection, whole: &mut ParamTensors) {
        let before = t.count - 1;
        if !before.is_multiple_of(self.update_proj_gap) {
            return;
        }
        let matrices = if self.proj == ProjectionKind::Svd {
            projection.of(&whole.grad)
        } else {
            let key = Key::new(self.seed).with_name("galore").with_name(&whole.name);
            projection.random(whole.grad.dtype(), key.with(before / self.update_proj_gap))
        };
        whole.state.truncate(2);
        whole.state.extend(matrices);
    }
}
