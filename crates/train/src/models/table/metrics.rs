//! What predictions are worth: scikit-learn's definitions.

use crate::Metric;
use crate::metrics::{less, more, nats};

/// Of predicted numbers, after the loss; in the target's own units.
pub(crate) const REGRESSION: &[Metric] = &[less("loss"), less("rmse"), less("mae"), more("r2")];

/// Of two predicted classes, after the loss; `f1` is that of the second class.
pub(crate) const BINARY: &[Metric] =
    &[less("loss"), more("accuracy"), less("log_loss"), more("f1"), more("f1_macro"), more("auc")];

/// Of more classes; `auc` is the mean over classes, each against the rest.
pub(crate) const MULTICLASS: &[Metric] =
    &[nats("loss"), more("accuracy"), less("log_loss"), more("f1_macro"), more("auc")];

/// The metrics of so many classes, the loss first.
pub(crate) fn metrics_of(classes: usize) -> &'static [Metric] {
    if classes == 2 { BINARY } else { MULTICLASS }
}

/// Root mean squared error, mean absolute error, and `1 - sum (t - y)^2 / sum (t - mean t)^2`; the
/// latter is 1 or 0 where all targets are the same, as theirs is (`force_finite`).
pub(crate) fn regression(predicted: &[f64], targets: &[f64]) -> [f64; 3] {
    let n = targets.len() as f64;
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        predicted.iter().zip(targets).map(|(y, t)| of(*y, *t)).sum()
    };
    let squares = sum(&|y, t| (y - t).powi(2));
    let mean = targets.iter().sum::<f64>() / n;
    let spread = sum(&|_, t| (t - mean).powi(2));
    let r2 = match (spread == 0.0, squares == 0.0) {
        (false, _) => 1.0 - squares / spread,
        (true, perfect) => f64::from(perfect),
    };
    [(squares / n).sqrt(), sum(&|y, t| (y - t).abs()) / n, r2]
}

/// The values of [`BINARY`] or [`MULTICLASS`] but the loss, for probabilities `[rows, classes]`.
pub(crate) fn classification(probabilities: &[f64], targets: &[f64], classes: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = probabilities.chunks(classes).collect();
    let targets: Vec<usize> = targets.iter().map(|class| *class as usize).collect();
    let told: Vec<usize> = rows.iter().map(|row| likeliest(row)).collect();
    let right = told.iter().zip(&targets).filter(|(told, target)| told == target).count();
    let n = targets.len() as f64;
    let surprise = |(row, target): (&&[f64], &usize)| {
        -row[*target].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    };
    let log_loss = rows.iter().zip(&targets).map(surprise).sum::<f64>() / n;
    let f1: Vec<Option<f64>> = (0..classes).map(|class| f1(&told, &targets, class)).collect();
    let present: Vec<f64> = f1.iter().flatten().copied().collect();
    let f1_macro = present.iter().sum::<f64>() / present.len() as f64;
    let auc_of = |class| {
        let scores: Vec<f64> = rows.iter().map(|row| row[class]).collect();
        let positive: Vec<bool> = targets.iter().map(|target| *target == class).collect();
        auc(&scores, &positive)
    };
    let accuracy = right as f64 / n;
    if classes == 2 {
        return vec![accuracy, log_loss, f1[1].unwrap_or(0.0), f1_macro, auc_of(1)];
    }
    let auc = (0..classes).map(auc_of).sum::<f64>() / classes as f64;
    vec![accuracy, log_loss, f1_macro, auc]
}

/// The first of the likeliest classes.
pub(crate) fn likeliest(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

/// `2 tp / (2 tp + fp + fn)`; none where a class is neither predicted nor there.
fn f1(told: &[usize], targets: &[usize], class: usize) -> Option<f64> {
    let count = |of: &dyn Fn(bool, bool) -> bool| {
        let pairs = told.iter().zip(targets);
        pairs.filter(|(told, target)| of(**told == class, **target == class)).count() as f64
    };
    let both = count(&|told, there| told && there);
    let one = count(&|told, there| told != there);
    (both + one > 0.0).then(|| 2.0 * both / (2.0 * both + one))
}

/// The probability that a positive row scores above a negative one, ties counted half: the area
/// under the receiver operating characteristic. NaN where either kind is missing.
pub(crate) fn auc(scores: &[f64], positive: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut below, mut pairs) = (0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let positives = tied.iter().filter(|row| positive[**row]).count() as f64;
        let negatives = tied.len() as f64 - positives;
        pairs += positives * (below + negatives / 2.0);
        below += negatives;
    }
    pairs / (below * (scores.len() as f64 - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_is_no_number_or_what_scikit_learn_says() {
        assert!(auc(&[0.1, 0.2], &[true, true]).is_nan());
        assert_eq!(regression(&[1.0, 1.0], &[1.0, 1.0])[2], 1.0);
        assert_eq!(regression(&[1.0, 2.0], &[1.0, 1.0])[2], 0.0);
        assert_eq!(f1(&[0, 0], &[0, 0], 1), None);
    }
}
