//! Counts of numbers by size, in the buckets that TensorBoard's writers use.

use std::sync::LazyLock;

/// The smallest positive limit of a bucket, the factor between two, and where they end.
const SMALLEST: f64 = 1e-12;
const FACTOR: f64 = 1.1;
const LARGEST: f64 = 1e20;

/// Leading bits of a float that [`Limits::first`] is looked up by, without the sign: the exponent and 4 bits of
/// the mantissa. Floats that share them differ by a factor of at most 17/16, so that at most one limit
/// lies among them.
const SHIFT: u32 = 19;

struct Limits {
    /// The positive limits, rising.
    limits: Vec<f64>,
    /// By leading bits: how many limits are at most the smallest float that has them.
    first: Vec<u16>,
}

static LIMITS: LazyLock<Limits> = LazyLock::new(|| {
    let limits: Vec<f64> = std::iter::successors(Some(SMALLEST), |limit| Some(limit * FACTOR))
        .take_while(|limit| *limit < LARGEST)
        .collect();
    let count = |bits: u32| {
        let smallest = f64::from(f32::from_bits(bits << SHIFT));
        limits.partition_point(|limit| *limit <= smallest) as u16
    };
    let first = (0..=f32::INFINITY.to_bits() >> SHIFT).map(count).collect();
    Limits { limits, first }
});

impl Limits {
    /// How many of the limits are at most `size`, or where `below` less than it.
    fn at_most(&self, size: f32, below: bool) -> usize {
        let first = usize::from(self.first[(size.to_bits() >> SHIFT) as usize]);
        // The smallest float with these bits may be a limit itself.
        let first =
            first - usize::from(below && first > 0 && self.limits[first - 1] >= f64::from(size));
        let next = self.limits.get(first);
        let is_over =
            |limit: f64| if below { limit < f64::from(size) } else { limit <= f64::from(size) };
        first + usize::from(next.is_some_and(|limit| is_over(*limit)))
    }
}

/// How many numbers there are of each size: the buckets of TensorFlow's and PyTorch's writers, whose
/// limits are 0 and ±1e-12 · 1.1ⁿ up to 1e20.
///
/// A bucket holds the numbers from its lower limit up to, but without, its upper one. Numbers beyond the last
/// limits count in the outermost buckets; NaN is left out.
///
/// ```
/// use rappel_telemetry::Histogram;
/// let mut histogram = Histogram::default();
/// histogram.extend([0.5_f32, 0.5, -2.0]);
/// assert_eq!((histogram.count(), histogram.min(), histogram.max()), (3, -2.0, 0.5));
/// let (limits, counts) = histogram.buckets();
/// assert_eq!(counts.iter().sum::<u64>(), 3);
/// assert!(limits.last().is_some_and(|limit| *limit > 0.5 && *limit < 0.56));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// From the most negative bucket to the most positive.
    counts: Vec<u64>,
    min: f64,
    max: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; 2 * LIMITS.limits.len()],
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            sum_of_squares: 0.0,
        }
    }
}

impl Extend<f32> for Histogram {
    fn extend<I: IntoIterator<Item = f32>>(&mut self, values: I) {
        let limits = &*LIMITS;
        let zero = limits.limits.len();
        for value in values.into_iter().filter(|value| !value.is_nan()) {
            let bucket = if value < 0.0 {
                zero - 1 - limits.at_most(-value, true).min(zero - 1)
            } else {
                zero + limits.at_most(value.abs(), false).min(zero - 1)
            };
            self.counts[bucket] += 1;
            let value = f64::from(value);
            (self.min, self.max) = (self.min.min(value), self.max.max(value));
            self.sum += value;
            self.sum_of_squares += value * value;
        }
    }
}

impl Histogram {
    /// How many numbers were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The smallest number; infinite where there is none.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest number; infinite where there is none.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The sum of the numbers.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The sum of their squares.
    pub fn sum_of_squares(&self) -> f64 {
        self.sum_of_squares
    }

    /// The upper limits of the buckets from the first to the last that holds a number, and their counts; before
    /// them an empty bucket, whose limit is where the first one begins.
    pub fn buckets(&self) -> (Vec<f64>, Vec<u64>) {
        let holds = |count: &u64| *count > 0;
        let Some(first) = self.counts.iter().position(holds) else { return (vec![], vec![]) };
        let last = self.counts.iter().rposition(holds).unwrap_or(first);
        let counts = [&[0], &self.counts[first..=last]].concat();
        ((first..=last + 1).map(limit).collect(), counts)
    }
}

/// Where bucket `bucket` begins.
fn limit(bucket: usize) -> f64 {
    let limits = &LIMITS.limits;
    match bucket.checked_sub(limits.len()) {
        None => -limits[limits.len() - 1 - bucket],
        Some(0) => 0.0,
        Some(above) => limits[above - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bucket of each number, by its definition.
    fn searched(value: f32) -> usize {
        let buckets = 2 * LIMITS.limits.len();
        let begins = (0..buckets).take_while(|bucket| limit(*bucket) <= f64::from(value)).count();
        begins.max(1) - 1
    }

    #[test]
    fn every_number_is_in_the_bucket_that_its_limits_say() {
        let mut values =
            vec![0.0, -0.0, f32::MIN_POSITIVE, 1e-40, -1e-40, 3e38, -3e38, f32::INFINITY];
        for limit in &LIMITS.limits {
            let near = *limit as f32;
            for value in [near, near.next_up(), near.next_down(), near * 1.03] {
                values.extend([value, -value]);
            }
        }
        // Where the leading bits change.
        values.extend(
            (1..300_u32).map(|i| f32::from_bits((i * 7) << SHIFT)).filter(|v| v.is_finite()),
        );
        for value in values {
            let mut histogram = Histogram::default();
            histogram.extend([value]);
            let bucket = histogram.counts.iter().position(|count| *count == 1).unwrap();
            assert_eq!(bucket, searched(value), "{value:e}");
        }
    }

    #[test]
    fn an_empty_one_has_no_buckets_and_nan_is_not_counted() {
        let mut histogram = Histogram::default();
        histogram.extend([f32::NAN]);
        assert_eq!((histogram.count(), histogram.buckets()), (0, (vec![], vec![])));
    }
}
