//! What the course of a loss over rising learning rates says.

use super::RangePoint;

/// Share of the old value in the moving average of losses.
const BETA: f64 = 0.9;
/// The test ends where the smoothed loss is so many times its least.
const DIVERGED: f64 = 4.0;
/// Points at the start that say nothing: the average has just begun.
const FIRST: usize = 10;
/// Points at the end that say nothing: the loss is on its way up.
const LAST: usize = 5;

/// The moving average of losses, without the pull of its zero at the start.
#[derive(Debug, Default)]
pub(super) struct Smooth {
    sum: f64,
    count: i32,
    least: Option<f64>,
}

impl Smooth {
    /// The average with one more loss.
    pub fn add(&mut self, loss: f64) -> f64 {
        self.count += 1;
        self.sum = BETA * self.sum + (1.0 - BETA) * loss;
        let now = self.sum / (1.0 - BETA.powi(self.count));
        self.least = Some(self.least.map_or(now, |least| least.min(now)));
        now
    }

    /// Whether the loss has left for good.
    pub fn diverged(&self, now: f64) -> bool {
        !now.is_finite()
            || self.count > FIRST as i32 && self.least.is_some_and(|least| now > DIVERGED * least)
    }
}

/// The learning rate where the smoothed loss falls steepest over the logarithm of the rate; none
/// where it falls nowhere.
pub(super) fn steepest(points: &[RangePoint]) -> Option<f64> {
    let points = told(points);
    let slope = |i: usize| points[i + 1].smoothed - points[i - 1].smoothed;
    let falls = (1..points.len().saturating_sub(1)).map(|i| (slope(i), points[i].lr));
    let steepest = falls.filter(|(slope, _)| *slope < 0.0).min_by(|a, b| a.0.total_cmp(&b.0));
    steepest.map(|(_, lr)| lr)
}

/// The learning rate where the smoothed loss is least.
pub(super) fn lowest(points: &[RangePoint]) -> Option<f64> {
    let lowest = told(points).iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed));
    lowest.map(|point| point.lr)
}

/// The points that say something.
fn told(points: &[RangePoint]) -> &[RangePoint] {
    points.get(FIRST..points.len().saturating_sub(LAST)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss of 5 that falls by 2 around 1e-3, with its middle there, and rises from 1e-1 on.
    fn course() -> Vec<RangePoint> {
        let point = |i: i32| {
            let power = -6.0 + 0.06 * f64::from(i);
            let fall = 2.0 / (1.0 + (-(power + 3.0) * 4.0).exp());
            let rise = if power > -1.0 { (power + 1.0) * 20.0 } else { 0.0 };
            let loss = 5.0 - fall + rise;
            RangePoint { lr: 10_f64.powf(power), loss, smoothed: loss }
        };
        (0..=100).map(point).collect()
    }

    #[test]
    fn the_steepest_fall_and_the_lowest_point_are_found() {
        let points = course();
        let near = |found: Option<f64>, expected: f64| {
            let found = found.unwrap();
            assert!((found / expected).ln().abs() < 0.15, "{found} for {expected}");
        };
        near(steepest(&points), 1e-3);
        near(lowest(&points), 1e-1);
        let flat: Vec<_> =
            points.iter().map(|point| RangePoint { smoothed: 5.0, ..*point }).collect();
        assert_eq!(steepest(&flat), None);
        assert_eq!((steepest(&points[..12]), lowest(&points[..12])), (None, None));
    }

    #[test]
    fn the_average_has_no_pull_to_zero_and_knows_when_to_end() {
        let mut smooth = Smooth::default();
        for _ in 0..20 {
            let now = smooth.add(3.0);
            assert!((now - 3.0).abs() < 1e-12 && !smooth.diverged(now));
        }
        let now = smooth.add(1e3);
        assert!(smooth.diverged(now), "{now}");
        assert!(smooth.diverged(f64::NAN));
    }
}
