//! Adafactor: squares kept as rows and columns.

use rappel_tensor::{DType, Shape, Tensor};
use toml::Value;

use crate::kernels::matrix::{average, lerp, rms};
use crate::rule::{
    Algorithm, BETA, Checked, ConfigError, Descends, InvalidOption, Kind, OptionValue, Options,
    ParamTensors, Place, Range, RuleEntry, Schedule, StepContext, Stepper, TensorRule, Words,
    entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Adafactor>(
    "adafactor",
    "r, c <- means of g^2 over columns and rows; p <- p - lr max(eps2, rms(p)) clip(g / sqrt(r c / mean(r)))",
    "torch.optim.Adafactor; Shazeer and Stern, https://arxiv.org/abs/1804.04235; \
                variant = \"transformers\": transformers.Adafactor",
);

/// Adafactor, as `torch.optim.Adafactor`: Adam without momentum, whose average of squares is a
/// column times a row for each matrix (the last two dimensions), so that state is small.
///
/// At update `t`, with `w = t^beta2_decay`: `r <- lerp(r, mean of g^2 along rows, w)`, `c` alike
/// along columns, `v = max(r c / max(mean(r), eps1), eps1^2)`; vectors and scalars keep `v` itself.
/// `u = g / sqrt(v)`; `p <- (1 - lr weight_decay) p - a u / max(1, rms(u) / d)` with
/// `a = max(eps2, rms(p)) min(lr, 1 / sqrt(t))`.
///
/// `variant = "transformers"` is the Hugging Face version: `eps1` (`"auto"` is 1e-30) is added to
/// `g^2` and bounds nothing; `a = max(eps2, rms(p)) lr`, and the decay is `a weight_decay`. What
/// else that version offers is here for both: without `scale_parameter`, 1 stands for
/// `max(eps2, rms(p))`; with `relative_step`, `min(0.01, 1 / sqrt(t))` stands for `lr` (the run's
/// schedule multiplies it), and `min(1e-6 t, 1 / sqrt(t))` with `warmup_init`; with a `beta1` above
/// 0 the step is an average of steps. Its default is `relative_step = true`, here as for PyTorch.
///
/// ```
/// use rappel_optim::Adafactor;
/// let adafactor = Adafactor { lr: 1e-3.into(), ..Default::default() };
/// assert_eq!(adafactor.beta2_decay, -0.8);
/// ```
///
/// From [Shazeer and Stern, 2018](https://arxiv.org/abs/1804.04235), with PyTorch's placement of
/// `eps`; transformers 5.
#[derive(Debug, Clone, Options, Descends)]
#[options(check = Self::check)]
pub struct Adafactor {
    /// learning rate; a step never exceeds 1 / sqrt(t)
    #[option(default = 1e-2, range = 0.0..)]
    pub lr: Schedule,
    /// the weight of the gradient in the averages at update t is t to this power
    #[option(default = -0.8, range = ..=0.0)]
    pub beta2_decay: f64,
    /// [least root of the squares, least size of a parameter]; the first may be "auto": the type's epsilon
    #[option(default = Epsilons(None, 1e-3))]
    pub eps: Epsilons,
    /// the largest root mean square of a step, before the learning rate
    #[option(default = 1.0, range = 1.0..)]
    pub d: f64,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.0, range = 0.0..)]
    pub weight_decay: Schedule,
    /// which version of eps and learning rate
    #[option(default = AdafactorVariant::Torch)]
    pub variant: AdafactorVariant,
    /// scale the learning rate by the parameter's size
    #[option(default = true)]
    pub scale_parameter: bool,
    /// let the step's number stand for the learning rate
    #[option(default = false)]
    pub relative_step: bool,
    /// begin relative steps small
    #[option(default = false)]
    pub warmup_init: bool,
    /// decay rate of an average of steps; 0 keeps none
    #[option(default = 0.0, range = BETA)]
    pub beta1: Schedule,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// Whose [`Adafactor`] it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum AdafactorVariant {
    /// PyTorch's.
    Torch,
    /// That of transformers.
    Transformers,
}

/// What keeps squares and parameters from 0; the first is the type's epsilon where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epsilons(pub Option<f64>, pub f64);

impl OptionValue for Epsilons {
    const KIND: Kind = Kind::Raw;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        let value = Value::read(value, place)?;
        let number = |x: &Value| x.as_float().or_else(|| x.as_integer().map(|i| i as f64));
        let read = match value.as_array().map(Vec::as_slice) {
            Some([Value::String(word), second]) if word == "auto" => {
                number(second).map(|second| Self(None, second))
            }
            Some([first, second]) => {
                number(first).zip(number(second)).map(|(first, second)| Self(Some(first), second))
            }
            _ => None,
        };
        let found = read.filter(|eps| eps.check(Kind::Raw).is_ok());
        found.ok_or_else(|| {
            let wants = "expected two floats >= 0, or \"auto\" and one";
            place.invalid(format!("{wants}, got `{value}`"))
        })
    }

    fn write(&self) -> Option<Value> {
        let first = self.0.map_or_else(|| Value::from("auto"), Value::from);
        Some(Value::Array(vec![first, self.1.into()]))
    }

    fn check(&self, _: Kind) -> Result<(), String> {
        let range = Range::from(0.0);
        if range.contains(self.0.unwrap_or(0.0)) && range.contains(self.1) {
            return Ok(());
        }
        Err(format!("{self:?} is out of range; expected {range}"))
    }
}

impl Algorithm for Adafactor {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl Adafactor {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.warmup_init && !self.relative_step {
            let reason = "needs `relative_step`; set that or leave it out";
            return Err(InvalidOption::new("warmup_init", reason));
        }
        Ok(())
    }
}

impl TensorRule for Adafactor {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        let rank = shape.rank();
        let mut state = match (rank < 2, self.is_torch()) {
            (true, true) => vec![("variance", shape)],
            (true, false) => vec![("exp_avg_sq", shape)],
            (false, true) => vec![
                ("row_var", shape.removed(rank - 1).inserted(rank - 1, 1)),
                ("col_var", shape.removed(rank - 2).inserted(rank - 2, 1)),
            ],
            (false, false) => vec![
                ("exp_avg_sq_row", shape.removed(rank - 1)),
                ("exp_avg_sq_col", shape.removed(rank - 2)),
            ],
        };
        if !self.beta1.is(0.0) {
            state.push(("exp_avg", shape));
        }
        state
    }

    fn keep(&self, t: &StepContext) -> f64 {
        1.0 - self.rate(t) * t.value(&self.weight_decay)
    }

    fn update(&self, t: &StepContext, all: &mut [ParamTensors]) {
        let (rate, decay) = (self.rate(t), t.value(&self.weight_decay));
        for whole in all {
            let size = if self.scale_parameter { rms(&whole.param).max(self.eps.1) } else { 1.0 };
            let (u, alpha, keep) = if self.is_torch() {
                let most = (t.count as f64).sqrt().recip();
                (self.clamped(t, whole), size * rate.min(most), 1.0 - rate * decay)
            } else {
                (self.added(t, whole), size * rate, 1.0 - size * rate * decay)
            };
            let mut u = &u * (alpha / (rms(&u) / self.d).max(1.0));
            let averages = if whole.grad.rank() < 2 { 1 } else { 2 };
            if let Some(mean) = whole.state.get_mut(averages) {
                u = average(mean, &u, t.value(&self.beta1));
                *mean = u.clone();
            }
            whole.param = &whole.param * keep - u;
        }
    }
}

/// The mean of squares over dimension `axis`, which stays with size 1.
fn mean_square(g: &Tensor, axis: usize) -> Tensor {
    g.square().mean_axis(axis).unsqueeze(axis)
}

impl Adafactor {
    fn is_torch(&self) -> bool {
        self.variant == AdafactorVariant::Torch
    }

    fn rate(&self, t: &StepContext) -> f64 {
        if !self.relative_step {
            return t.lr(&self.lr);
        }
        let count = t.count as f64;
        let most = if self.warmup_init { 1e-6 * count } else { 1e-2 };
        t.lr_factor * most.min(count.sqrt().recip())
    }

    /// The weight of the gradient in the averages.
    fn weight(&self, t: &StepContext) -> f64 {
        (t.count as f64).powf(self.beta2_decay)
    }

    /// The gradient over the root of its squares, these kept above `eps1^2`.
    fn clamped(&self, t: &StepContext, whole: &mut ParamTensors) -> Tensor {
        let (g, rank, weight) = (&whole.grad, whole.grad.rank(), self.weight(t));
        let epsilon = if g.dtype() == DType::F64 { f64::EPSILON } else { f32::EPSILON as f64 };
        let least = self.eps.0.unwrap_or(epsilon);
        let squares = if rank < 2 {
            whole.state[0] = lerp(&whole.state[0], &g.square(), weight);
            whole.state[0].clone()
        } else {
            whole.state[0] = lerp(&whole.state[0], &mean_square(g, rank - 1), weight);
            whole.state[1] = lerp(&whole.state[1], &mean_square(g, rank - 2), weight);
            let (row, col) = (&whole.state[0], &whole.state[1]);
            let mean = row.mean_axis(rank - 2).unsqueeze(rank - 2).clamp(least, f64::INFINITY);
            row * col / mean
        };
        g / squares.clamp(least * least, f64::INFINITY).sqrt()
    }

    /// The gradient over the root of its squares, `eps1` added to each.
    fn added(&self, t: &StepContext, whole: &mut ParamTensors) -> Tensor {
        let (g, rank, beta2) = (&whole.grad, whole.grad.rank(), 1.0 - self.weight(t));
        let squares = g.square() + self.eps.0.unwrap_or(1e-30);
        if rank < 2 {
            whole.state[0] = average(&whole.state[0], &squares, beta2);
            return g / whole.state[0].sqrt();
        }
        whole.state[0] = average(&whole.state[0], &squares.mean_axis(rank - 1), beta2);
        whole.state[1] = average(&whole.state[1], &squares.mean_axis(rank - 2), beta2);
        g * factored_rsqrt(&whole.state[0], &whole.state[1])
    }
}

/// `1 / sqrt(r c / mean(r))` from means along rows `r [.., rows]` and columns `c [.., cols]`.
pub(crate) fn factored_rsqrt(row: &Tensor, col: &Tensor) -> Tensor {
    let last = row.rank() - 1;
    let row = (row / row.mean_axis(last).unsqueeze(last)).sqrt().recip().unsqueeze(last + 1);
    row * col.sqrt().recip().unsqueeze(last)
}
