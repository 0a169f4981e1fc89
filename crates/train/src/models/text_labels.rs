//! What predicted labels of texts are worth, whatever the labels are.

use rappel_model::Problem;
use rappel_tensor::{DType, Tensor, no_grad};

use super::correlation::{pearson, spearman};
use super::table::{auc, classification, metrics_of, regression, values};
use crate::Metric;
use crate::metrics::{less, more};

/// Of numbers, after the loss.
const NUMBERS: &[Metric] =
    &[less("loss"), less("rmse"), less("mae"), more("r2"), more("pearson"), more("spearman")];

/// Of labels of which any number may be right, after the loss: `accuracy` is the share of texts all of whose labels are
/// right, `f1` counts the labels of all texts together, and `f1_macro` and `auc` are means over labels.
const ANY: &[Metric] = &[less("loss"), more("accuracy"), more("f1"), more("f1_macro"), more("auc")];

/// The metrics of so many labels, the loss first.
pub(crate) fn metrics_of_labels(problem: Problem, labels: usize) -> &'static [Metric] {
    match problem {
        Problem::SingleLabel => metrics_of(labels),
        Problem::MultiLabel => ANY,
        Problem::Regression => NUMBERS,
    }
}

/// What logits `[texts, labels]` say: probabilities of the labels, or numbers.
pub(super) fn told(problem: Problem, logits: &Tensor) -> Vec<f64> {
    let logits = logits.to_dtype(DType::F64);
    values(&no_grad(|| match problem {
        Problem::SingleLabel => logits.softmax(1),
        Problem::MultiLabel => logits.sigmoid(),
        Problem::Regression => logits,
    }))
}

/// The values of the metrics but the loss, for what is predicted of so many labels, and what is right.
pub(super) fn measure(problem: Problem, told: &[f64], targets: &[f64], labels: usize) -> Vec<f64> {
    match problem {
        Problem::SingleLabel => classification(told, targets, labels),
        Problem::MultiLabel => any_number(told, targets, labels),
        Problem::Regression => {
            let correlations = [pearson(told, targets), spearman(told, targets)];
            [&regression(told, targets)[..], &correlations].concat()
        }
    }
}

fn any_number(told: &[f64], targets: &[f64], labels: usize) -> Vec<f64> {
    let is_told = |probability: f64| probability >= 0.5;
    let texts = || told.chunks(labels).zip(targets.chunks(labels));
    let all_right = |(told, targets): &(&[f64], &[f64])| {
        told.iter().zip(*targets).all(|(told, target)| is_told(*told) == (*target == 1.0))
    };
    let accuracy = texts().filter(all_right).count() as f64 / texts().count() as f64;
    let (mut counts, mut aucs) = (Vec::new(), Vec::new());
    for label in 0..labels {
        let of =
            |values: &[f64]| -> Vec<f64> { values.chunks(labels).map(|row| row[label]).collect() };
        let (scores, right) = (of(told), of(targets));
        let right: Vec<bool> = right.iter().map(|target| *target == 1.0).collect();
        let both =
            scores.iter().zip(&right).filter(|(told, right)| is_told(**told) && **right).count();
        let one =
            scores.iter().zip(&right).filter(|(told, right)| is_told(**told) != **right).count();
        counts.push([both as f64, one as f64]);
        aucs.push(auc(&scores, &right));
    }
    // As scikit-learn's zero_division = 0, where a label is neither there nor predicted.
    let f1 = |[both, one]: [f64; 2]| {
        if both + one > 0.0 { 2.0 * both / (2.0 * both + one) } else { 0.0 }
    };
    let total = counts.iter().fold([0.0; 2], |sum, of| [sum[0] + of[0], sum[1] + of[1]]);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let each: Vec<f64> = counts.iter().map(|of| f1(*of)).collect();
    vec![accuracy, f1(total), mean(&each), mean(&aucs)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_any_number_of_labels_are_scikit_learns() {
        let told = [0.9, 0.2, 0.6, 0.4, 0.7, 0.1, 0.8, 0.3, 0.9];
        let right = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        // accuracy_score, f1_score(average="micro"), "macro", roc_auc_score(average="macro") of these.
        let found = measure(Problem::MultiLabel, &told, &right, 3);
        let expected = [1.0 / 3.0, 0.8, (0.5 + 1.0 + 1.0) / 3.0, (0.5 + 1.0 + 1.0) / 3.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
