//! Precision and recall over thresholds.

/// Thresholds of a curve, evenly spaced from 0 to 1, as TensorBoard's and PyTorch's writers have them by default.
pub const THRESHOLDS: usize = 127;

/// Below this no rate is divided by.
const LEAST: f64 = 1e-7;

/// How well probabilities find the members of a class, by the threshold from which on one is taken for a member.
///
/// ```
/// use rappel_telemetry::PrCurve;
/// let curve = PrCurve::new([(0.9, true), (0.6, false), (0.2, true)]);
/// let [.., precision, recall] = curve.rows();
/// assert_eq!((precision[64], recall[64]), (0.5, 0.5));
/// assert_eq!((precision[90], recall[90]), (1.0, 0.5));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PrCurve {
    /// By threshold: how many of those from there up to the next are members, and how many are not.
    members: [f64; THRESHOLDS],
    others: [f64; THRESHOLDS],
}

impl PrCurve {
    /// The curve of probabilities in [0, 1], each with whether it belongs to a member.
    pub fn new(scored: impl IntoIterator<Item = (f64, bool)>) -> Self {
        let mut curve = Self { members: [0.0; THRESHOLDS], others: [0.0; THRESHOLDS] };
        for (probability, is_member) in scored {
            let last = (THRESHOLDS - 1) as f64;
            let place = (probability * last).floor().clamp(0.0, last) as usize;
            let counts = if is_member { &mut curve.members } else { &mut curve.others };
            counts[place] += 1.0;
        }
        curve
    }

    /// By threshold: true positives, false positives, true negatives, false negatives, precision, recall.
    pub fn rows(&self) -> [Vec<f64>; 6] {
        let from_there_on = |counts: &[f64]| {
            let mut sums = counts.to_vec();
            (0..sums.len() - 1).rev().for_each(|at| sums[at] += sums[at + 1]);
            sums
        };
        let (tp, fp) = (from_there_on(&self.members), from_there_on(&self.others));
        let rest = |sums: &[f64]| sums.iter().map(|sum| sums[0] - sum).collect::<Vec<_>>();
        let (tn, fn_) = (rest(&fp), rest(&tp));
        let share = |part: &[f64], other: &[f64]| {
            part.iter().zip(other).map(|(part, other)| part / (part + other).max(LEAST)).collect()
        };
        let (precision, recall) = (share(&tp, &fp), share(&tp, &fn_));
        [tp, fp, tn, fn_, precision, recall]
    }
}
