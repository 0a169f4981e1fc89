//! APOLLO: plain gradients, scaled as AdamW would scale their projections.

use rappel_tensor::{Key, Shape, Tensor};

use crate::kernels::matrix::{average, norm, norms};
use crate::kernels::projection::{Projection, ProjectionKind, ProjectionSide};
use crate::rule::{
    Algorithm, BETA, Descends, Options, ParamTensors, RuleEntry, Schedule, StepContext, Stepper,
    TensorRule, Words, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Apollo>(
    "apollo",
    "g' <- g projected at random; s <- norms of Adam's step on g' over norms of g', by channel; p <- p - lr s g",
    "apollo-torch 1.0.3 (APOLLOAdamW); Zhu et al., https://arxiv.org/abs/2412.05270",
);

/// APOLLO, as the authors' `apollo_torch.APOLLOAdamW`: gradients are scaled by channel as Adam
/// would scale them, which it finds out on a projection to few dimensions.
///
/// For a matrix, `g' = g P^T` projects its shorter side to `rank` dimensions, with `P` of normal
/// numbers of variance `1 / rank`, drawn again every `update_proj_gap` updates. Adam's averages of
/// `g'` give `a = m / (sqrt(v) + eps)`; for each row (column, where there are fewer rows than
/// columns) `s = |a| / (|g'| + 1e-8)`, or one for the tensor with `scale_type = "tensor"`, and
/// `u = s g`. Unless `disable_nl`, `u` grows by 1 % from one step to the next at most:
/// `u <- u / (max(|u| / (|u before| + 1e-8), 1.01) / 1.01)`. Then
/// `p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) sqrt(scale) u` and
/// `p <- (1 - lr weight_decay) p`; `scale_front` puts `sqrt(scale)` before the bound on growth.
/// Other parameters take Adam's step as they are.
///
/// APOLLO-Mini is `rank = 1`, `scale_type = "tensor"`, `scale = 128.0`. `proj = "svd"` projects
/// on the gradient's first singular vectors, of GaLore's signs. `rank` and the options after it
/// have no defaults in the package; here they are those of its examples. Its random numbers are
/// PyTorch's; here they come from `seed`, the parameter's name and the number of the projection.
///
/// ```
/// use rappel_optim::{Apollo, ApolloScale};
/// let mini = Apollo {
///     rank: 1,
///     scale_type: ApolloScale::Tensor,
///     scale: 128.0,
///     ..Default::default()
/// };
/// assert_eq!(mini.update_proj_gap, 200);
/// ```
///
/// From [Zhu et al., 2024](https://arxiv.org/abs/2412.05270); apollo-torch 1.0.3.
#[derive(Debug, Clone, Options, Descends)]
pub struct Apollo {
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
    /// scale before growth is bounded
    #[option(default = false)]
    pub scale_front: bool,
    /// let steps grow as they like
    #[option(default = false)]
    pub disable_nl: bool,
    /// dimensions that gradients are projected to
    #[option(default = 256, range = 1..)]
    pub rank: usize,
    /// updates from one projection to the next
    #[option(default = 200, range = 1..)]
    pub update_proj_gap: u64,
    /// the square of what steps of matrices are multiplied by
    #[option(default = 1.0, range = 0.0..)]
    pub scale: f64,
    /// one factor for each channel, or for the tensor
    #[option(default = ApolloScale::Channel)]
    pub scale_type: ApolloScale,
    /// random numbers, or singular vectors of the gradient
    #[option(default = ProjectionKind::Random)]
    pub proj: ProjectionKind,
    /// where random projections begin
    #[option(default = 0)]
    pub seed: u64,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// What of a gradient has one scale in [`Apollo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum ApolloScale {
    /// Each row or column, along the longer side.
    Channel,
    /// All of it.
    Tensor,
}

impl Algorithm for Apollo {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl TensorRule for Apollo {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        let Some(projection) = Projection::new(ProjectionSide::Std, shape, self.rank) else {
            return vec![("exp_avg", shape), ("exp_avg_sq", shape)];
        };
        let small = projection.small();
        let mut state = vec![("exp_avg", small), ("exp_avg_sq", small), ("scaled_grad", ().into())];
        state.extend(projection.state());
        state
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
            let projection = Projection::new(ProjectionSide::Std, whole.param.shape(), self.rank);
            let g = projection.map_or(whole.grad.clone(), |projection| {
                self.project(t, projection, whole);
                projection.down(&whole.grad, &whole.state[3..])
            });
            whole.state[0] = average(&whole.state[0], &g, beta1);
            whole.state[1] = average(&whole.state[1], &g.square(), beta2);
            let small = &whole.state[0] / (whole.state[1].sqrt() + eps);
            let u = match projection {
                Some(_) => self.scaled(t, whole, &small, &g),
                None => small,
            };
            whole.param = (&whole.param - u * step) * keep;
        }
    }
}

impl Apollo {
    /// Takes the projection again where it is due.
    fn project(&self, t: &StepContext, projection: Projection, whole: &mut ParamTensors) {
        let before = t.count - 1;
        if !before.is_multiple_of(self.update_proj_gap) {
            return;
        }
        let matrices = if self.proj == ProjectionKind::Svd {
            projection.of(&whole.grad)
        } else {
            let key = Key::new(self.seed).with_name("apollo").with_name(&whole.name);
            projection.random(whole.grad.dtype(), key.with(before / self.update_proj_gap))
        };
        whole.state.truncate(3);
        whole.state.extend(matrices);
    }

    /// The gradient, scaled as `small`, Adam's step, is to `g`, the projected gradient.
    fn scaled(
        &self,
        t: &StepContext,
        whole: &mut ParamTensors,
        small: &Tensor,
        g: &Tensor,
    ) -> Tensor {
        let wide = whole.param.size(0) < whole.param.size(1);
        let mut u = if self.scale_type == ApolloScale::Tensor {
            &whole.grad * (norm(small) / (norm(g) + 1e-8))
        } else {
            let axis = usize::from(!wide);
            &whole.grad * (norms(small, axis) / (norms(g, axis) + 1e-8))
        };
        let scale = self.scale.sqrt();
        if self.scale_front {
            u = u * scale;
        }
        if !self.disable_nl {
            let size = norm(&u);
            let limiter = match t.count {
                1 => 1.0,
                _ => (size / (whole.state[2].item() + 1e-8)).max(1.01) / 1.01,
            };
            u = u / limiter;
            whole.state[2] = Tensor::scalar(size / limiter, u.dtype());
        }
        if self.scale_front { u } else { u * scale }
    }
}
