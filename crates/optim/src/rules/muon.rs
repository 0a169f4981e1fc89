//! Muon: momentum, made orthogonal.

use rappel_tensor::{DType, Shape, Tensor};
use toml::Value;

use crate::kernels::matrix::{batch, identity, lerp, unbatch};
use crate::rule::{
    Algorithm, Checked, ConfigError, Descends, Kind, OptionValue, Options, ParamTensors, Place,
    RuleEntry, Schedule, StepContext, Stepper, TensorRule, Words, entry, tensors,
};

pub(crate) const ENTRY: RuleEntry = entry::<Muon>(
    "muon",
    "b <- lerp(g, b, momentum); p <- (1 - lr weight_decay) p - lr scale orthogonal(b)",
    "torch.optim.Muon; Jordan et al., https://kellerjordan.github.io/posts/muon; \
                Moonshot's scale: Liu et al., https://arxiv.org/abs/2502.16982; \
                polar_express: Amsel et al., https://arxiv.org/abs/2505.16932",
);

/// Muon, as `torch.optim.Muon`: momentum whose singular values are all brought near 1. For
/// matrices; vectors, embeddings and heads belong to a group of their own, under AdamW.
///
/// `b <- momentum b + (1 - momentum) g`; `u` is `b`, or with `nesterov`
/// `momentum b + (1 - momentum) g` once more; `p <- (1 - lr weight_decay) p - lr s O(u)` for a
/// matrix of `r` rows and `c` columns, where `O` begins with `x = u / max(|u|, eps)` and takes
/// `ns_steps` times `x <- a x + (b A + c A A) x`, `A = x x^T` (on the transpose where `r > c`),
/// and the scale `s` is, by `adjust_lr_fn`:
///
/// - `original`: `sqrt(max(1, r / c))`, Keller Jordan's;
/// - `match_rms_adamw`: `0.2 sqrt(max(r, c))`, Moonshot's, which takes AdamW's rates and decay;
/// - `spectral_unclamped`: `sqrt(r / c)`, Bernstein's;
/// - `none`: 1.
///
/// `variant` names what else versions differ in, and what scale they go with:
///
/// - `torch`: PyTorch's; the scale is `original`;
/// - `keller_jordan`: the first published version, which divides by `|u| + eps`; `original`;
/// - `moonshot`: `b <- momentum b + g`, nesterov's `u = g + momentum b`, division by
///   `|u| + eps`; `match_rms_adamw`.
///
/// `ns_coefficients` are three numbers for every step, a list of such threes, one for each step
/// (the last repeats), or a name: `original`, `quintic` or `polar_express`.
///
/// PyTorch iterates in bfloat16. Here it is the precision of the step, so that the same gradients
/// give the same bits whatever else is in a batch, and `ns_dtype = "bfloat16"` for PyTorch's choice
/// (to its own rounding). Matrices of one shape are one batched product.
///
/// ```
/// use rappel_optim::Muon;
/// let muon = Muon { lr: 0.02.into(), weight_decay: 0.01.into(), ..Default::default() };
/// assert!(muon.nesterov && muon.ns_steps == 5);
/// ```
///
/// From [Jordan et al., 2024](https://kellerjordan.github.io/posts/muon).
#[derive(Debug, Clone, Options, Descends)]
pub struct Muon {
    /// learning rate
    #[option(default = 1e-3, range = 0.0..)]
    pub lr: Schedule,
    /// the share of a parameter that a step takes away, times lr
    #[option(default = 0.1, range = 0.0..)]
    pub weight_decay: Schedule,
    /// how much of the average of gradients a step keeps
    #[option(default = 0.95, range = 0.0..)]
    pub momentum: Schedule,
    /// look ahead along the average
    #[option(default = true)]
    pub nesterov: bool,
    /// [a, b, c] of the iteration, a list of such for its steps, or original, quintic, polar_express
    #[option(default = NsCoefficients(vec![[3.4445, -4.775, 2.0315]]))]
    pub ns_coefficients: NsCoefficients,
    /// the least norm that a matrix is divided by
    #[option(default = 1e-7, range = 0.0..)]
    pub eps: f64,
    /// steps of the iteration
    #[option(default = 5, range = 0..=99)]
    pub ns_steps: usize,
    /// what the step is scaled by; variant: the variant's own
    #[option(default = AdjustLr::Variant)]
    pub adjust_lr_fn: AdjustLr,
    /// which version of momentum, division and scale
    #[option(default = MuonVariant::Torch)]
    pub variant: MuonVariant,
    /// what the iteration is computed in: full is the precision of the step
    #[option(default = NsDtype::Full)]
    pub ns_dtype: NsDtype,
    /// go up the gradient, not down
    #[option(default = false)]
    pub maximize: bool,
}

/// What a step of [`Muon`] is scaled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum AdjustLr {
    /// What its variant is.
    Variant,
    /// The root of rows over columns, where that is above 1.
    Original,
    /// A fifth of the root of the longer side.
    MatchRmsAdamw,
    /// The root of rows over columns.
    SpectralUnclamped,
    /// Nothing.
    None,
}

/// Whose [`Muon`] it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum MuonVariant {
    /// PyTorch's.
    Torch,
    /// Keller Jordan's.
    KellerJordan,
    /// Moonshot AI's.
    Moonshot,
}

/// What [`Muon`] makes matrices orthogonal in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum NsDtype {
    /// The parameter's type.
    Full,
    /// Bfloat16.
    Bfloat16,
}

/// The coefficients `[a, b, c]` of each step of Newton and Schulz's iteration; the last repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct NsCoefficients(pub Vec<[f64; 3]>);

/// From modded-nanogpt: for five steps, steeper at first.
const QUINTIC: [[f64; 3]; 5] = [
    [4.0848, -6.8946, 2.9270],
    [3.9505, -6.3029, 2.6377],
    [3.7418, -5.5913, 2.3037],
    [2.8769, -3.1427, 1.2046],
    [2.8366, -3.0525, 1.2012],
];

/// The best polynomial at each step for singular values from 1e-3, its argument divided by 1.01.
const POLAR_EXPRESS: [[f64; 3]; 8] = [
    [8.237312490495555, -23.157747414558198, 16.680568411445915],
    [4.082441999064835, -2.893047735332586, 0.5252849256975648],
    [3.9263479922546582, -2.8547468034765298, 0.5318022422894988],
    [3.2982187133085143, -2.424541981026706, 0.48632008358844075],
    [2.2970369434552573, -1.63662558125903, 0.4002628455953627],
    [1.8763805351440397, -1.2347896577722228, 0.35891887501668385],
    [1.8564423485617974, -1.2132449880935525, 0.3568003487825883],
    [1.8749994008682747, -1.2499988017229169, 0.3749994008546422],
];

impl NsCoefficients {
    fn parse(value: &Value) -> Option<Self> {
        let three = |value: &Value| -> Option<[f64; 3]> {
            let number = |x: &Value| x.as_float().or_else(|| x.as_integer().map(|i| i as f64));
            let list: Option<Vec<f64>> = value.as_array()?.iter().map(number).collect();
            list?.try_into().ok().filter(|abc: &[f64; 3]| abc.iter().all(|x| x.is_finite()))
        };
        match value {
            Value::String(name) => Some(Self(match name.as_str() {
                "original" => vec![[3.4445, -4.775, 2.0315]],
                "quintic" => QUINTIC.to_vec(),
                "polar_express" => POLAR_EXPRESS.to_vec(),
                _ => return None,
            })),
            Value::Array(list) => match three(value) {
                Some(abc) => Some(Self(vec![abc])),
                None if list.is_empty() => None,
                None => Some(Self(list.iter().map(three).collect::<Option<_>>()?)),
            },
            _ => None,
        }
    }
}

impl OptionValue for NsCoefficients {
    const KIND: Kind = Kind::Raw;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        let value = Value::read(value, place)?;
        Self::parse(&value).ok_or_else(|| {
            let wants = "expected a list of 3 floats, a list of such lists, or \"original\", \"quintic\", \
                         \"polar_express\"";
            place.invalid(format!("{wants}, got `{value}`"))
        })
    }

    fn write(&self) -> Option<Value> {
        let three = |abc: &[f64; 3]| Value::from(abc.to_vec());
        Some(match self.0.as_slice() {
            [one] => three(one),
            list => Value::Array(list.iter().map(three).collect()),
        })
    }

    fn check(&self, _: Kind) -> Result<(), String> {
        if self.0.is_empty() || self.0.iter().flatten().any(|x| !x.is_finite()) {
            return Err("expected finite coefficients of one step at the least".to_owned());
        }
        Ok(())
    }
}

impl Algorithm for Muon {
    fn stepper(&self) -> Box<dyn Stepper> {
        tensors(self)
    }
}

impl TensorRule for Muon {
    fn state(&self, shape: Shape) -> Vec<(&'static str, Shape)> {
        vec![("momentum_buffer", shape)]
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        (shape.rank() != 2).then(|| {
            format!(
                "muon is for matrices, and this one has shape {shape}; give it a group with \
                 another optimizer, such as `adamw`"
            )
        })
    }

    fn keep(&self, t: &StepContext) -> f64 {
        1.0 - t.lr(&self.lr) * t.value(&self.weight_decay)
    }

    fn update(&self, t: &StepContext, all: &mut [ParamTensors]) {
        let momentum = t.value(&self.momentum);
        let updates: Vec<Tensor> =
            all.iter_mut().map(|whole| self.direction(whole, momentum)).collect();
        let orthogonal = self.orthogonal(&batch(&updates));
        let (rows, cols) = (all[0].param.size(0) as f64, all[0].param.size(1) as f64);
        let (lr, keep) = (t.lr(&self.lr) * self.scale(rows, cols), TensorRule::keep(self, t));
        for (i, whole) in all.iter_mut().enumerate() {
            whole.param = &whole.param * keep - unbatch(&orthogonal, i) * lr;
        }
    }
}

impl Muon {
    /// Moves the momentum on, and gives what is to be made orthogonal.
    fn direction(&self, whole: &mut ParamTensors, momentum: f64) -> Tensor {
        let (b, g) = (&whole.state[0], &whole.grad);
        let heavy = self.variant == MuonVariant::Moonshot;
        let b = if heavy { b * momentum + g } else { lerp(b, g, 1.0 - momentum) };
        whole.state[0] = b.clone();
        match (self.nesterov, heavy) {
            (false, _) => b,
            (true, true) => b * momentum + g,
            (true, false) => lerp(g, &b, momentum),
        }
    }

    fn scale(&self, rows: f64, cols: f64) -> f64 {
        match (self.adjust_lr_fn, self.variant) {
            (AdjustLr::MatchRmsAdamw, _) | (AdjustLr::Variant, MuonVariant::Moonshot) => {
                0.2 * rows.max(cols).sqrt()
            }
            (AdjustLr::Original | AdjustLr::Variant, _) => (rows / cols).max(1.0).sqrt(),
            (AdjustLr::SpectralUnclamped, _) => (rows / cols).sqrt(),
            (AdjustLr::None, _) => 1.0,
        }
    }

    /// Newton and Schulz's iteration on each matrix of a batch `[batch, rows, cols]`.
    fn orthogonal(&self, matrices: &Tensor) -> Tensor {
        let full = matrices.dtype();
        let tall = matrices.size(1) > matrices.size(2);
        let mut x = if tall { matrices.transpose(1, 2) } else { matrices.clone() };
        if self.ns_dtype == NsDtype::Bfloat16 {
            x = x.to_dtype(DType::BF16);
        }
        let norms = matrices.square().sum_axis(2).sum_axis(1).sqrt();
        let norms = if self.variant == MuonVariant::Torch {
            norms.clamp(self.eps, f64::INFINITY)
        } else {
            norms + self.eps
        };
        x = x.contiguous() / norms.to_dtype(x.dtype()).reshape([matrices.size(0), 1, 1]);
        let eye = identity(x.size(1), full);
        let last = self.ns_coefficients.0.len() - 1;
        for step in 0..self.ns_steps {
            let [a, b, c] = self.ns_coefficients.0[step.min(last)];
            let gram = x.gram();
            x = if full == x.dtype() {
                // (a I + (b I + c A) A) x: what is added is as small as A.
                let inner = gram.matmul(&(&gram * c + &eye * b)) + &eye * a;
                inner.matmul(&x)
            } else {
                // In bfloat16 the sum with `a I` would round `a`. A symmetric matrix's square is its gram.
                &x * a + (&gram * b + gram.gram() * c).matmul(&x)
            };
        }
        if tall { x.transpose(1, 2).to_dtype(full) } else { x.to_dtype(full) }
    }
}
