//! What regularizes a cross-entropy.

use rappel_tensor::{CrossEntropy, Tensor};

/// What is done to a cross-entropy at one step; nothing by default.
///
/// ```
/// use rappel_regularize::LossTerms;
/// let terms = LossTerms { label_smoothing: 0.1, ..LossTerms::default() };
/// assert_eq!(terms.cross_entropy(None).label_smoothing, 0.1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossTerms {
    /// The share of each target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Weight of the squared logarithm of the partition function.
    pub z_loss: f64,
    /// Weight of the prediction's entropy, which is rewarded.
    pub confidence_penalty: f64,
    /// Weight of the divergence between two passes; 0: there is one pass.
    pub r_drop: f64,
}

impl LossTerms {
    /// The options of the tensor operation, which does all of these but R-Drop.
    pub fn cross_entropy(&self, denominator: Option<f64>) -> CrossEntropy {
        let Self { label_smoothing, z_loss, confidence_penalty, .. } = *self;
        CrossEntropy {
            label_smoothing,
            z_loss,
            confidence_penalty,
            denominator,
            ..CrossEntropy::default()
        }
    }
}

/// The symmetric divergence of two predictions: half of `KL(p || q) + KL(q || p)` of each row of
/// logits `[.., classes]` whose target (i64 `[..]`) is not `options.ignore_index`, summed, over the
/// denominator of `options`, a scalar. What R-Drop keeps small.
///
/// # Panics
/// Where shapes differ.
///
/// ```
/// use rappel_regularize::symmetric_divergence;
/// use rappel_tensor::{CrossEntropy, DType, Key, Tensor};
/// let [a, b] = [0, 1].map(|seed| Tensor::randn([2, 5], DType::F64, Key::new(seed)));
/// let targets = Tensor::from_slice(&[3_i64, -100], [2]);
/// let apart = |a, b| symmetric_divergence(a, b, &targets, &CrossEntropy::default()).item();
/// assert!(apart(&a, &b) > 0.0);
/// assert_eq!(apart(&a, &a), 0.0);
/// ```
#[track_caller]
#[must_use]
pub fn symmetric_divergence(
    a: &Tensor,
    b: &Tensor,
    targets: &Tensor,
    options: &CrossEntropy,
) -> Tensor {
    let axis = a.rank() - 1;
    let dtype = a.dtype().accumulator();
    let [a, b] = [a, b].map(|logits| logits.to_dtype(dtype).log_softmax(axis));
    // Half of sum p (ln p - ln q) + q (ln q - ln p).
    let rows = ((a.exp() - b.exp()) * (a - b)).sum_axis(axis) * 0.5;
    let ignored = targets.eq(options.ignore_index as f64);
    let counted = || {
        let ids = targets.to_vec::<i64>();
        ids.iter().filter(|id| **id != options.ignore_index).count() as f64
    };
    rows.masked_fill(&ignored, 0.0).sum() / options.denominator.unwrap_or_else(counted)
}
