//! Shampoo: each dimension of the gradient through the root of its second moments.

use rappel_tensor::{Shape, Tensor};

use crate::kernels::linalg::{compose, eigh};
use crate::kernels::matrix::{cycled, gram, identity, lerp, turned};
use crate::rule::{
    Algorithm, Descends, Options, ParamTensors, Range, RuleEntry, Schedule, StepContext, Stepper,
    TensorRule, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Shampoo>(
    "shampoo",
    "H_i <- H_i + g_(i) g_(i)^T; p <- p - lr g x_1 H_1^(-1/2k) ... x_k H_k^(-1/2k), k dimensions",
    "pytorch_optimizer.Shampoo 4.1.0; Gupta et al., https://arxiv.org/abs/1802.09568",
);

/// Shampoo, as `pytorch_optimizer.Shampoo`.
///
/// A parameter of `k` dimensions keeps a matrix for each: `H_i`, at first `matrix_eps I`, gathers
/// `H_i <- H_i + g_(i) g_(i)^T`, where `g_(i)` is the gradient as a matrix of rows along dimension
/// `i`. The step is the gradient multiplied along each dimension by `H_i^(-1 / 2k)`:
/// `p <- p - lr u`. For a matrix, `u = H_1^(-1/4) g H_2^(-1/4)`. Scalars take `u = g`.
///
/// The roots come from eigenvalues, none below `matrix_eps`, again every `preconditioning_compute_steps`; until the first
/// time they are zero, as in that package, so the first steps do nothing. Its momentum is one of
/// steps, not of gradients: `g <- (1 - momentum) g + momentum u'` with the step `u'` before
/// (the first gradient at first). Its weight decay is added to the gradient, or with
/// `weight_decouple` `p <- (1 - lr weight_decay) p` (without the `lr` where `fixed_decay`).
///
/// Dimensions above `max_precondition_dim` keep no matrix, and leave the gradient as it is: that
/// package has no such bound, and a matrix for every dimension, however large.
///
/// ```
/// use rappel_optim::Shampoo;
/// let shampoo = Shampoo { preconditioning_compute_steps: 10, ..Default::default() };
/// assert_eq!(shampoo.matrix_eps, 1e-6);
/// ```
///
/// From [Gupta et al., 2018](https://arxiv.org/abs/1802.09568), algorithm 2; pytorch_optimizer 4.1.0.
#[derive(Debug, Clone, Options, Descends)]
pub struct Shampoo {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// how much of the step before goes into the gradient; 0 keeps none
    #[option(default = 0.0, range = 0.0..=1.0)]
    pub momentum: Schedule,
    /// weight decay
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// shrink the parameter instead of adding to the gradient
    #[option(default = false)]
    pub weight_decouple: bool,
    /// leave the learning rate out of the decay
    #[option(default = false)]
    pub fixed_decay: bool,
    /// steps from one computation of the roots to the next
    #[option(default = 1, range = 1..)]
    pub preconditioning_compute_steps: u64,
    /// what the matrices begin with on their diagonals
    #[option(default = 1e-6, range = Range::above(0.0))]
    pub matrix_eps: f64,
    /// dimensions above keep no matrix
    #[option(default = 10000, range = 1..)]
    pub max_precondition_dim: usize,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// Names of the state of each dimension.
const MATRICES: [[&str; 2]; 8] = [
    ["pre_cond_0", "inv_pre_cond_0"],
    ["pre_cond_1", "inv_pre_cond_1"],
    ["pre_cond_2", "inv_pre_cond_2"],
    ["pre_cond_3", "inv_pre_cond_3"],
    ["pre_cond_4", "inv_pre_cond_4"],
    ["pre_cond_5", "inv_pre_cond_5"],
    ["pre_cond_6", "inv_pre_cond_6"],
    ["pre_cond_7", "inv_pre_cond_7"],
];

impl Algorithm for Shampoo {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl TensorRule for Shampoo {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        let square = |(n, [kept, root]): (&usize, [&'static str; 2])| {
            [(kept, [*n, *n].into()), (root, [*n, *n].into())]
        };
        let kept = shape.iter().zip(MATRICES).filter(|(n, _)| self.keeps(**n));
        let mut state: Vec<_> = kept.flat_map(square).collect();
        if !self.momentum.is(0.0) {
            state.push(("momentum_buffer", shape));
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
        let (lr, keep) = (t.lr(&self.lr), TensorRule::keep(self, t));
        let momentum = t.value(&self.momentum);
        let coupled = if self.weight_decouple { 0.0 } else { t.value(&self.weight_decay) };
        for whole in all {
            let axes = 0..whole.param.rank();
            let matrices = 2 * axes.clone().filter(|&i| self.keeps(whole.param.size(i))).count();
            let mut u = whole.grad.clone();
            if let (Some(before), true) = (whole.state.get(matrices), t.count > 1) {
                u = lerp(&u, before, momentum);
            }
            if coupled != 0.0 {
                u = u + &whole.param * coupled;
            }
            let g = u.clone();
            let mut pairs = whole.state[..matrices].chunks_exact_mut(2);
            for axis in axes {
                u = match if self.keeps(g.size(axis)) { pairs.next() } else { None } {
                    None => cycled(&u),
                    Some(pair) => {
                        self.gather(t, &g, axis, pair);
                        turned(&u, &pair[1])
                    }
                };
            }
            if let Some(buffer) = whole.state.get_mut(matrices) {
                *buffer = u.clone();
            }
            whole.param = &whole.param * keep - u * lr;
        }
    }
}

impl Shampoo {
    /// Whether a dimension of size `n` has a matrix.
    fn keeps(&self, n: usize) -> bool {
        n <= self.max_precondition_dim
    }

    /// Adds to the second moments of dimension `axis`, and takes their root where it is due.
    fn gather(&self, t: &StepContext, g: &Tensor, axis: usize, kept: &mut [Tensor]) {
        let order = g.rank() as f64;
        let n = g.size(axis);
        if t.count == 1 {
            kept[0] = identity(n, g.dtype()) * self.matrix_eps;
        }
        kept[0] = &kept[0] + gram(g, axis);
        if t.count.is_multiple_of(self.preconditioning_compute_steps) {
            let (values, vectors) = eigh(&kept[0]);
            // What is added to `matrix_eps I` has no eigenvalue below zero: less is rounding.
            let root = |x: &f64| x.max(self.matrix_eps).powf(-1.0 / (2.0 * order));
            let roots: Vec<f64> = values.iter().map(root).collect();
            kept[1] = compose(&roots, &vectors);
        }
    }
}
