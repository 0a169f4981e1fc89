//! Counts of numbers by size, in the buckets that TensorBoard's writers use.

use std::ops::AddAssign;
use std::sync::LazyLock;

/// The smallest positive limit of a bucket, the factor between two, and where they end.
const SMALLEST: f64 = 1e-12;
const FACTOR: f64 = 1.1;
const LARGEST: f64 = 1e20;

/// Leading bits of a float that its bucket is looked up by: the sign, the exponent and 4 bits of the mantissa.
/// Floats that share them differ by a factor of at most 17/16, so that at most one limit lies among them.
const SHIFT: u32 = 19;

/// The buckets of the floats with the same leading bits.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The smallest float of the upper bucket.
    upper_from: f32,
    lower: u16,
    upper: u16,
}

/// The positive limits, rising.
static LIMITS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let limits = std::iter::successors(Some(SMALLEST), |limit| Some(limit * FACTOR));
    limits.take_while(|limit| *limit < LARGEST).collect()
});

/// By leading bits. NaN has a place after the last bucket.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let buckets = 2 * LIMITS.len();
    let all: Vec<f64> = (0..buckets).map(limit).collect();
    let bucket = |value: f32| all.partition_point(|limit| *limit <= f64::from(value)).max(1) - 1;
    let place = |leading: u32| {
        let ends = [leading << SHIFT, (leading << SHIFT) | ((1 << SHIFT) - 1)].map(f32::from_bits);
        // NaN shares its leading bits with infinity at most.
        if ends[1].is_nan() {
            let upper = if ends[0].is_nan() { buckets } else { bucket(ends[0]) };
            return Place { upper_from: ends[0], lower: buckets as u16, upper: upper as u16 };
        }
        let [lowest, highest] = if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] };
        let [lower, upper] = [lowest, highest].map(bucket);
        let limit = all[upper] as f32;
        let upper_from = if f64::from(limit) < all[upper] { limit.next_up() } else { limit };
        Place { upper_from, lower: lower as u16, upper: upper as u16 }
    };
    (0..=u32::MAX >> SHIFT).map(place).collect()
});

/// Numbers that are summed up together.
const BLOCK: usize = 1024;
/// Sums side by side, for registers that hold several numbers.
const LANES: usize = 8;

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
            counts: vec![0; 2 * LIMITS.len()],
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            sum_of_squares: 0.0,
        }
    }
}

impl Extend<f32> for Histogram {
    fn extend<I: IntoIterator<Item = f32>>(&mut self, values: I) {
        let mut values = values.into_iter();
        let mut block = [0.0; BLOCK];
        loop {
            // The block comes first: with it full, no number is taken.
            let filled = block.iter_mut().zip(&mut values).map(|(slot, value)| *slot = value);
            let len = filled.count();
            self.add(&block[..len]);
            if len < BLOCK {
                return;
            }
        }
    }
}

/// The numbers of another one, too.
impl AddAssign for Histogram {
    fn add_assign(&mut self, other: Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
    }
}

impl Histogram {
    /// Adds numbers: no branch depends on them, for these could not be predicted.
    fn add(&mut self, values: &[f32]) {
        let (counts, nan) = (&mut self.counts, 2 * LIMITS.len());
        counts.push(0);
        let places = PLACES.as_slice();
        for value in values {
            let place = places[(value.to_bits() >> SHIFT) as usize];
            let bucket = if *value >= place.upper_from { place.upper } else { place.lower };
            counts[usize::from(bucket)] += 1;
        }
        counts.truncate(nan);
        let mut lanes = [[f32::INFINITY, f32::NEG_INFINITY]; LANES];
        let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
        for values in values.chunks(LANES) {
            for (lane, value) in values.iter().enumerate() {
                let [min, max] = lanes[lane];
                lanes[lane] = [min.min(*value), max.max(*value)];
                let value = if value.is_nan() { 0.0 } else { f64::from(*value) };
                sums[lane] += value;
                squares[lane] += value * value;
            }
        }
        for [min, max] in lanes {
            (self.min, self.max) = (self.min.min(f64::from(min)), self.max.max(f64::from(max)));
        }
        self.sum += sums.iter().sum::<f64>();
        self.sum_of_squares += squares.iter().sum::<f64>();
    }

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
    let limits = &*LIMITS;
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
        let buckets = 2 * LIMITS.len();
        let begins = (0..buckets).take_while(|bucket| limit(*bucket) <= f64::from(value)).count();
        begins.max(1) - 1
    }

    #[test]
    fn every_number_is_in_the_bucket_that_its_limits_say() {
        let mut values =
            vec![0.0, -0.0, f32::MIN_POSITIVE, 1e-40, -1e-40, 3e38, -3e38, f32::INFINITY];
        values.push(f32::NEG_INFINITY);
        for limit in LIMITS.iter() {
            let near = *limit as f32;
            for value in [near, near.next_up(), near.next_down(), near * 1.03] {
                values.extend([value, -value]);
            }
        }
        // Where the leading bits change.
        values.extend(
            (1..1170_u32).map(|i| f32::from_bits((i * 7) << SHIFT)).filter(|v| v.is_finite()),
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

    #[test]
    fn sums_are_those_of_all_numbers_and_of_histograms_that_are_added() {
        // Sums of these are exact.
        let values: Vec<f32> = (0..5000).map(|i| (i * 37 % 256 - 100) as f32 / 8.0).collect();
        let of = |values: &[f32]| {
            let mut histogram = Histogram::default();
            histogram.extend(values.iter().copied());
            histogram
        };
        let all = of(&values);
        let exact = |power: i32| values.iter().map(|v| f64::from(*v).powi(power)).sum::<f64>();
        assert_eq!((all.sum(), all.sum_of_squares()), (exact(1), exact(2)));
        assert_eq!((all.min(), all.max(), all.count()), (-12.5, 19.375, 5000));
        let mut added = of(&values[..1500]);
        added += of(&values[1500..]);
        assert_eq!(added, all);
        let mut with_nan = values.clone();
        with_nan.insert(700, f32::NAN);
        with_nan.insert(9, -f32::NAN);
        assert_eq!(of(&with_nan), all);
    }
}
