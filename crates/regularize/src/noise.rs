//! What is random in a forward pass.

use rappel_tensor::{Key, Tensor};

/// What a forward pass that trains does at random at one step; nothing by default.
///
/// Layers act by it where it says something of them; what it leaves open is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// The probability that dropout layers drop an element with, in place of their own.
    pub dropout: Option<f64>,
    /// The probability that attention drops a weight with, in place of its own.
    pub attention_dropout: Option<f64>,
    /// The probability that a channel of a residual branch is dropped with, in all positions.
    pub channel_dropout: f64,
    /// The probability that the last residual block is left out with; earlier ones in proportion.
    pub stochastic_depth: f64,
    /// Whether a block is left out for all samples at once, and not for each by itself.
    pub whole_batch: bool,
    /// The size of the noise on embeddings, before it is divided by the root of their number.
    pub neftune: f64,
    /// How samples are mixed.
    pub mixup: Option<Mixup>,
}

/// How the samples of a batch are mixed in pairs: all share one weight.
///
/// ```
/// use rappel_regularize::Mixup;
/// use rappel_tensor::Key;
/// let mixup = Mixup { alpha: 0.4, key: Key::new(7) };
/// assert!((0.0..=1.0).contains(&mixup.weight()));
/// let mut partners = mixup.partners(5).to_vec::<i64>();
/// partners.sort();
/// assert_eq!(partners, [0, 1, 2, 3, 4]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixup {
    /// Both parameters of the weight's Beta distribution, above 0.
    pub alpha: f64,
    /// What weight and partners are drawn from.
    pub key: Key,
}

impl Mixup {
    /// The weight of a sample beside its partner's, from `Beta(alpha, alpha)`.
    pub fn weight(&self) -> f64 {
        let [a, b] = [0, 1].map(|i| gamma(self.alpha, self.key.with_name("weight").with(i)));
        // Where both are too small for a number, one of them is all.
        if a + b > 0.0 { a / (a + b) } else { 1.0 }
    }

    /// The partner of each of `n` samples, i64 `[n]`: a permutation.
    pub fn partners(&self, n: usize) -> Tensor {
        let key = self.key.with_name("partners");
        let mut ids: Vec<i64> = (0..n as i64).collect();
        for i in (1..n).rev() {
            ids.swap(i, key.with(i as u64).below(i as u64 + 1) as usize);
        }
        Tensor::from_slice(&ids, [n])
    }

    /// `weight x + (1 - weight) x[partners]`, over the first dimension.
    #[track_caller]
    #[must_use]
    pub fn mix(&self, x: &Tensor) -> Tensor {
        let weight = self.weight();
        x * weight + x.index_select(0, &self.partners(x.size(0))) * (1.0 - weight)
    }
}

/// A number of the Gamma distribution of this shape and scale 1 (Marsaglia and Tsang, 2000,
/// <https://doi.org/10.1145/358407.358414>).
fn gamma(shape: f64, key: Key) -> f64 {
    let uniform = |key: Key| {
        let mut x = [0.0_f64];
        key.fill_uniform(&mut x, 0.0, 1.0);
        // Never 0, whose logarithm is none.
        1.0 - x[0]
    };
    if shape < 1.0 {
        let power = uniform(key.with_name("power")).powf(shape.recip());
        return gamma(shape + 1.0, key) * power;
    }
    let d = shape - 1.0 / 3.0;
    let c = (9.0 * d).sqrt().recip();
    let draw = |key: Key| {
        let mut x = [0.0_f64];
        key.with(0).fill_normal(&mut x, 0.0, 1.0);
        let (x, v) = (x[0], c.mul_add(x[0], 1.0).powi(3));
        let taken =
            v > 0.0 && uniform(key.with(1)).ln() < 0.5f64.mul_add(x * x, d * (1.0 - v + v.ln()));
        taken.then_some(d * v)
    };
    (0..).find_map(|i| draw(key.with(i))).expect("nearly every draw is taken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_moments_of_the_beta_distribution() {
        for alpha in [0.2, 1.0, 4.0] {
            let n = 20_000;
            let of = |seed| Mixup { alpha, key: Key::new(seed) }.weight();
            let weights: Vec<f64> = (0..n).map(of).collect();
            let mean = weights.iter().sum::<f64>() / n as f64;
            let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n as f64;
            let want = 0.25 / 2.0f64.mul_add(alpha, 1.0);
            assert!((mean - 0.5).abs() < 4.0 * (want / n as f64).sqrt(), "{alpha}: {mean}");
            assert!((variance / want - 1.0).abs() < 0.05, "{alpha}: {variance}, not {want}");
        }
    }
}
