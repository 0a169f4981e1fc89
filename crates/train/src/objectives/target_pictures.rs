//! What a classification shows of held-out rows: its confusion matrix, and precision-recall curves.

use rappel_draw::{confusion_matrix, png};
use rappel_telemetry::{Event, PrCurve};

use crate::TrainError;
use crate::models::likeliest;
use crate::objectives::Show;

/// Classes of a matrix at most: of more, cells are too small to be seen.
const MOST_IN_MATRIX: usize = 300;
/// Curves at most: those of the first classes.
const MOST_CURVES: usize = 20;

/// Shows the probabilities `[rows, classes]` of rows whose classes are `targets`.
pub(super) fn show_classes(
    classes: &[String],
    probabilities: &[f64],
    targets: &[f64],
    show: &mut Show,
) -> Result<(), TrainError> {
    let n = classes.len();
    let rows = || probabilities.chunks(n).zip(targets.iter().map(|class| *class as usize));
    if n <= MOST_IN_MATRIX {
        let mut counts = vec![vec![0; n]; n];
        rows().for_each(|(row, actual)| counts[actual][likeliest(row)] += 1);
        let picture = confusion_matrix("confusion matrix", classes, &counts);
        let size = [picture.width, picture.height];
        let name = "validation/confusion_matrix";
        show(&Event::Image { name, size, png: &png(&picture) })?;
    }
    let curve = |class: usize| {
        let scored = rows().map(|(row, actual)| (row[class], actual == class));
        (format!("precision_recall/{}", classes[class]), PrCurve::new(scored))
    };
    // Of two classes the second is the positive one, as for the F1 score; the curve of the other says no more.
    let first = usize::from(n == 2);
    let curves: Vec<_> = (first..n.min(MOST_CURVES)).map(curve).collect();
    show(&Event::PrCurves(&curves))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the picture, and the names of curves with how often each class is right at the threshold 0.5.
    fn shown(classes: usize, rows: &[(&[f64], f64)]) -> (Option<[usize; 2]>, Vec<(String, f64)>) {
        let names: Vec<String> = (0..classes).map(|class| format!("c{class}")).collect();
        let probabilities: Vec<f64> =
            rows.iter().flat_map(|(row, _)| row.iter().copied()).collect();
        let targets: Vec<f64> = rows.iter().map(|(_, class)| *class).collect();
        let (mut picture, mut curves) = (None, Vec::new());
        let mut show = |event: &Event| {
            match event {
                Event::Image { size, .. } => picture = Some(*size),
                Event::PrCurves(all) => curves.extend(all.iter().map(|(name, curve)| {
                    let [.., recall] = curve.rows();
                    (name.clone(), recall[recall.len() / 2])
                })),
                other => panic!("{other:?}"),
            }
            Ok(())
        };
        show_classes(&names, &probabilities, &targets, &mut show).unwrap();
        (picture, curves)
    }

    #[test]
    fn each_class_has_its_curve_and_of_two_the_second() {
        let curve = |class: usize, recall| (format!("precision_recall/c{class}"), recall);
        let rows: [(&[f64], f64); 3] = [(&[0.1, 0.9], 1.0), (&[0.7, 0.3], 1.0), (&[0.8, 0.2], 0.0)];
        let (picture, curves) = shown(2, &rows);
        assert_eq!((picture.is_some(), curves), (true, vec![curve(1, 0.5)]));
        let rows: [(&[f64], f64); 2] = [(&[0.9, 0.1, 0.0], 0.0), (&[0.6, 0.1, 0.3], 2.0)];
        let expected = vec![curve(0, 1.0), curve(1, 0.0), curve(2, 0.0)];
        assert_eq!(shown(3, &rows).1, expected);
    }

    #[test]
    fn of_very_many_classes_there_are_some_curves_and_no_matrix() {
        let row = vec![1.0 / 301.0; 301];
        let (picture, curves) = shown(301, &[(&row, 300.0)]);
        assert_eq!((picture, curves.len()), (None, MOST_CURVES));
    }
}
