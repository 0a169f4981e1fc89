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
    // Of two classes the second is the positive one, as for the F1 score; the curve of the other tells no more.
    let first = usize::from(n == 2);
    let curves: Vec<_> = (first..n.min(MOST_CURVES)).map(curve).collect();
    show(&Event::PrCurves(&curves))
}
