//! The gradient noise scale, measured on the way.

use std::sync::Arc;

use rappel_tensor::{ArenaLayout, Grads, Tensor};
use serde::{Deserialize, Serialize};

/// How much of the averages an earlier step keeps.
const DECAY: f64 = 0.99;

/// The gradient noise scale: how many samples a batch needs for its gradient's noise to be as large as
/// the gradient itself.
///
/// A batch of `n` samples has a gradient whose square is expected to be `|G|^2 + S / n`, where `G` is
/// the gradient over all data and `S` the trace of the covariance of the samples' gradients. A step in
/// parts of `n_i` samples measures that at two sizes, so that
///
/// ```text
/// S     = (mean |g_i|^2 - |g|^2) / (mean 1/n_i - 1/n)
/// |G|^2 = |g|^2 - S / n
/// ```
///
/// without bias, but with much noise. Both are averaged over steps, by moving averages with decay 0.99,
/// and the noise scale is the averages' ratio, `S / |G|^2` in samples. Well below it, twice the batch
/// saves nearly half of the steps; well above, next to none.
///
/// McCandlish et al., [An empirical model of large-batch training](https://arxiv.org/abs/1812.06162),
/// 2018, appendix A.1; there all parts have one size.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct NoiseScale {
    /// The average of `S`, times `weight`.
    #[serde(with = "crate::json::number")]
    noise: f64,
    /// The average of `|G|^2`, times `weight`.
    #[serde(with = "crate::json::number")]
    signal: f64,
    /// What the averages' weights add up to.
    #[serde(with = "crate::json::number")]
    weight: f64,
}

impl NoiseScale {
    /// Takes what a step measured.
    pub fn take(&mut self, squares: &Squares) {
        let Some((noise, signal)) = squares.estimate() else { return };
        let blend = |average: &mut f64, new| *average = DECAY * *average + (1.0 - DECAY) * new;
        blend(&mut self.noise, noise);
        blend(&mut self.signal, signal);
        blend(&mut self.weight, 1.0);
    }

    /// The noise scale in samples; none before the first measurement, and while the gradient drowns in
    /// noise so much that its square comes out negative.
    pub fn samples(&self) -> Option<f64> {
        (self.weight > 0.0 && self.signal > 0.0).then(|| (self.noise / self.signal).max(0.0))
    }
}

/// The squares of the norms of a step's gradient and of those of its parts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Squares {
    /// Samples of each part, and the square of the norm of their mean gradient.
    pub parts: Vec<(f64, f64)>,
    /// The square of the norm of the mean gradient of all samples.
    pub whole: f64,
}

impl Squares {
    /// `S` and `|G|^2`; none where there is but one part, or where squares overflow.
    fn estimate(&self) -> Option<(f64, f64)> {
        let count = self.parts.len() as f64;
        let samples: f64 = self.parts.iter().map(|(samples, _)| samples).sum();
        let mean_inverse = self.parts.iter().map(|(samples, _)| 1.0 / samples).sum::<f64>() / count;
        let mean_square = self.parts.iter().map(|(_, square)| square).sum::<f64>() / count;
        let noise = (mean_square - self.whole) / (mean_inverse - 1.0 / samples);
        let signal = self.whole - noise / samples;
        (count > 1.0 && noise.is_finite() && signal.is_finite()).then_some((noise, signal))
    }
}

/// Looks at gradients while those of the parts are added up, and changes nothing.
pub(crate) struct Meter {
    layout: Arc<ArenaLayout>,
    /// Samples of the step.
    samples: f64,
    /// The sum as it was after the last part.
    before: Vec<Option<Tensor>>,
    parts: Vec<(f64, f64)>,
}

impl Meter {
    /// For the parameters of `layout` and a step of so many samples.
    pub fn new(layout: Arc<ArenaLayout>, samples: usize) -> Self {
        let before = vec![None; layout.entries().len()];
        Self { layout, samples: samples as f64, before, parts: Vec::new() }
    }

    /// A part of so many samples was added: its mean gradient, times its share of the samples.
    pub fn part(&mut self, samples: usize, grads: &Grads) {
        let mut square = 0.0;
        for (index, before) in self.before.iter_mut().enumerate() {
            let Some(sum) = grads.tensor(&self.layout, index) else { continue };
            square += match &*before {
                Some(before) => (&sum - before).sum_of_squares(),
                None => sum.sum_of_squares(),
            };
            *before = Some(sum);
        }
        let share = samples as f64 / self.samples;
        self.parts.push((samples as f64, square / (share * share)));
    }

    /// What was measured, all parts being added.
    pub fn finish(self) -> Squares {
        let squares = self.before.iter().flatten().map(Tensor::sum_of_squares);
        Squares { parts: self.parts, whole: squares.sum() }
    }
}

#[cfg(test)]
mod tests {
    use rappel_tensor::{DType, Init, Key, Params, no_grad};

    use super::*;

    /// Samples whose gradients are normal around 1, with a standard deviation of their own in each of
    /// three directions: `S = 1 + 4 + 9`, `|G|^2 = 3`.
    fn measured(sizes: &[usize], steps: u64) -> NoiseScale {
        let mut params = Params::with_dtype(0, DType::F64);
        let w = params.scope("").add("w", [3], Init::ONES);
        let spread = Tensor::from_slice(&[1.0, 2.0, 3.0], [3]);
        let total: usize = sizes.iter().sum();
        let mut scale = NoiseScale::default();
        for step in 0..steps {
            let mut grads = Grads::default();
            let mut meter = Meter::new(params.layout(), total);
            for (i, size) in sizes.iter().enumerate() {
                let key = Key::new(3).with(step).with(i as u64);
                let noise = Tensor::randn([*size, 3], DType::F64, key) * &spread + 1.0;
                ((noise * w.tensor()).sum() * (1.0 / total as f64)).backward_into(&mut grads);
                meter.part(*size, &grads);
            }
            let squares = no_grad(|| meter.finish());
            assert!((squares.whole - grads.norm(&params.layout()).powi(2)).abs() < 1e-12);
            scale.take(&squares);
        }
        scale
    }

    #[test]
    fn it_is_that_of_the_distribution_whatever_the_parts() {
        for sizes in [&[4, 4][..], &[8, 8, 8, 8], &[3, 9, 20]] {
            let scale = measured(sizes, 4_000);
            // The moving average looks back over some hundred steps: within 20 %.
            let (noise, signal) = (scale.noise / scale.weight, scale.signal / scale.weight);
            assert!((noise / 14.0 - 1.0).abs() < 0.2, "{sizes:?}: S {noise}");
            assert!((signal / 3.0 - 1.0).abs() < 0.2, "{sizes:?}: |G|^2 {signal}");
        }
    }

    #[test]
    fn the_estimates_are_exact_where_there_is_no_chance() {
        // |g_i|^2 = 5 + 12 / n_i and |g|^2 = 5 + 12 / n.
        let of = |n: f64| 5.0 + 12.0 / n;
        let squares = Squares { parts: vec![(2.0, of(2.0)), (6.0, of(6.0))], whole: of(8.0) };
        let (noise, signal) = squares.estimate().unwrap();
        assert!((noise - 12.0).abs() < 1e-12 && (signal - 5.0).abs() < 1e-12);
        let mut scale = NoiseScale::default();
        assert_eq!(scale.samples(), None);
        scale.take(&squares);
        scale.take(&squares);
        assert!((scale.samples().unwrap() - 2.4).abs() < 1e-12);
        let one = Squares { parts: vec![(2.0, 1.0)], whole: 1.0 };
        assert_eq!(one.estimate(), None);
    }

    #[test]
    fn squares_that_overflow_measure_nothing_and_are_read_back() {
        let mut scale = NoiseScale::default();
        for huge in [f64::INFINITY, f64::NAN, f64::MAX] {
            let squares = Squares { parts: vec![(2.0, huge), (6.0, huge)], whole: -huge };
            scale.take(&squares);
        }
        assert_eq!(scale, NoiseScale::default());
        // One of an older version.
        let spoiled = NoiseScale { noise: f64::INFINITY, signal: f64::NEG_INFINITY, weight: 1.0 };
        let json = serde_json::to_string(&spoiled).unwrap();
        assert_eq!(serde_json::from_str::<NoiseScale>(&json).unwrap(), spoiled, "{json}");
    }
}
