//! SOAP: Adam in the basis of Shampoo's eigenvectors.

use rappel_tensor::{Shape, Tensor};

use crate::kernels::linalg::{eigh, orthogonal_factor};
use crate::kernels::matrix::{cycled, gram, lerp, rms, turned};
use crate::rule::{
    Algorithm, BETA, Descends, Options, ParamTensors, RuleEntry, Schedule, StepContext, Stepper,
    TensorRule, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Soap>(
    "soap",
    "Q_i <- eigenvectors of averages of g_(i) g_(i)^T; Adam's step on the gradient turned by Q, turned back",
    "pytorch_optimizer.SOAP 4.1.0; Vyas et al., https://arxiv.org/abs/2409.11321",
);

/// SOAP, as `pytorch_optimizer.SOAP`, which follows the authors' code.
///
/// Each dimension `i` keeps an average `GG_i` of `g_(i) g_(i)^T`, where `g_(i)` is the gradient as
/// a matrix of rows along it, with decay `shampoo_beta`, and the matrix `Q_i` of its
/// eigenvectors. The first gradient only sets these. After that, with `g' = g Q` (along each
/// dimension): `m <- lerp(m, g, 1 - beta1)`, `v <- lerp(v, g'^2, 1 - beta2)`,
/// `p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) (m Q / (sqrt(v) + eps)) Q^T`, then
/// `p <- (1 - lr weight_decay) p`, then the averages `GG_i` move on. Every
/// `precondition_frequency` steps `Q_i` does: one step of power iteration, `GG_i Q_i` in the order
/// of its estimated eigenvalues, made orthogonal by QR.
///
/// Dimensions above `max_precondition_dim` keep no matrices, nor do vectors unless
/// `precondition_1d`. That package rounds to single precision before QR; here it is the precision
/// of the step. Its `merge_dims` is left out: reshape the parameter instead.
///
/// ```
/// use rappel_optim::Soap;
/// let soap = Soap { precondition_frequency: 5, ..Default::default() };
/// assert!(soap.lr.is(3e-3));
/// ```
///
/// From [Vyas et al., 2024](https://arxiv.org/abs/2409.11321); pytorch_optimizer 4.1.0.
#[derive(Debug, Clone, Options, Descends)]
pub struct Soap {
    /// learning rate
    #[option(default = 3e-3, range = 0.0..)]
    pub lr: Schedule,
    /// decay rates of the averages of gradient and square, each in [0, 1), number or schedule
    #[option(default = [0.95, 0.95], range = BETA)]
    pub betas: [Schedule; 2],
    /// decay rate of the second moments of dimensions; below 0: the second of betas
    #[option(default = -1.0, range = -1.0..1.0)]
    pub shampoo_beta: Schedule,
    /// added to the root
    #[option(default = 1e-8, range = 0.0..)]
    pub eps: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.01, range = 0.0..)]
    pub weight_decay: Schedule,
    /// steps from one change of basis to the next
    #[option(default = 10, range = 1..)]
    pub precondition_frequency: u64,
    /// dimensions above keep their basis
    #[option(default = 10000, range = 1..)]
    pub max_precondition_dim: usize,
    /// turn vectors, too
    #[option(default = false)]
    pub precondition_1d: bool,
    /// correct the averages' bias
    #[option(default = true)]
    pub correct_bias: bool,
    /// divide a step by its root mean square
    #[option(default = false)]
    pub normalize_gradient: bool,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// Names of the state of each dimension.
const MATRICES: [[&str; 2]; 8] = [
    ["GG_0", "Q_0"],
    ["GG_1", "Q_1"],
    ["GG_2", "Q_2"],
    ["GG_3", "Q_3"],
    ["GG_4", "Q_4"],
    ["GG_5", "Q_5"],
    ["GG_6", "Q_6"],
    ["GG_7", "Q_7"],
];

impl Algorithm for Soap {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl TensorRule for Soap {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        let mut state = vec![("exp_avg", shape), ("exp_avg_sq", shape)];
        for ((n, names), turned) in shape.iter().zip(MATRICES).zip(self.turns(shape)) {
            if turned {
                state.extend(names.map(|name| (name, [*n, *n].into())));
            }
        }
        state
    }

    fn keep(&self, t: &StepContext) -> f64 {
        if t.count == 1 { 1.0 } else { 1.0 - t.lr(&self.lr) * t.value(&self.weight_decay) }
    }

    fn update(&self, t: &StepContext, all: &mut [ParamTensors]) {
        let turns = self.turns(all[0].param.shape());
        for whole in all {
            if t.count > 1 {
                self.descend(t, whole, &turns);
            }
            self.gather(t, whole, &turns);
            if t.count == 1 {
                let matrices = whole.state[2..].chunks_exact_mut(2);
                matrices.for_each(|pair| pair[1] = eigh(&pair[0]).1);
            } else if (t.count - 1).is_multiple_of(self.precondition_frequency) {
                turn_on(&mut whole.state, &turns);
            }
        }
    }
}

/// `x` in the basis of `state`, or with `back` from it.
fn project(x: &Tensor, state: &[Tensor], turns: &[bool], back: bool) -> Tensor {
    let mut matrices = state[2..].chunks_exact(2).map(|pair| &pair[1]);
    turns.iter().fold(x.clone(), |x, turn| match if *turn { matrices.next() } else { None } {
        Some(q) if back => turned(&x, &q.t()),
        Some(q) => turned(&x, q),
        None => cycled(&x),
    })
}

/// Moves every basis on by a step of power iteration; the squares follow the order of its vectors.
fn turn_on(state: &mut [Tensor], turns: &[bool]) {
    let axes: Vec<usize> = (0..turns.len()).filter(|&axis| turns[axis]).collect();
    for (k, axis) in axes.into_iter().enumerate() {
        let (moments, basis) = (&state[2 + 2 * k], &state[3 + 2 * k]);
        let product = moments.matmul(basis);
        let sizes = (basis * &product).sum_axis(0).to_f64_vec();
        let mut order: Vec<i64> = (0..sizes.len() as i64).collect();
        order.sort_by(|&i, &j| sizes[j as usize].total_cmp(&sizes[i as usize]));
        let order = Tensor::from_slice(&order, order.len());
        let basis = orthogonal_factor(&product.index_select(1, &order));
        state[3 + 2 * k] = basis;
        state[1] = state[1].index_select(axis, &order);
    }
}

impl Soap {
    /// Which dimensions have a basis of their own.
    fn turns(&self, shape: Shape) -> Vec<bool> {
        let vector = shape.rank() == 1 && !self.precondition_1d;
        shape.iter().map(|&n| !vector && n <= self.max_precondition_dim).collect()
    }

    fn descend(&self, t: &StepContext, whole: &mut ParamTensors, turns: &[bool]) {
        let [beta1, beta2] = t.values(&self.betas);
        let (eps, mut step) = (t.value(&self.eps), t.lr(&self.lr));
        if self.correct_bias {
            let since = StepContext { count: t.count - 1, ..*t };
            step *= since.bias_correction(beta2).sqrt() / since.bias_correction(beta1);
        }
        let state = &mut whole.state;
        let g = project(&whole.grad, state, turns, false);
        state[0] = lerp(&state[0], &whole.grad, 1.0 - beta1);
        state[1] = lerp(&state[1], &g.square(), 1.0 - beta2);
        let scaled = project(&state[0], state, turns, false) / (state[1].sqrt() + eps);
        let mut u = project(&scaled, state, turns, true);
        if self.normalize_gradient {
            u = &u / (rms(&u) + eps);
        }
        whole.param = (&whole.param - u * step) * TensorRule::keep(self, t);
    }

    fn gather(&self, t: &StepContext, whole: &mut ParamTensors, turns: &[bool]) {
        let shampoo = t.value(&self.shampoo_beta);
        let beta = if shampoo < 0.0 { t.value(&self.betas[1]) } else { shampoo };
        let axes: Vec<usize> = (0..turns.len()).filter(|&axis| turns[axis]).collect();
        for (k, axis) in axes.into_iter().enumerate() {
            let moments = &whole.state[2 + 2 * k];
            whole.state[2 + 2 * k] = lerp(moments, &gram(&whole.grad, axis), 1.0 - beta);
        }
    }
}
