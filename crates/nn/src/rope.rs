//! Angles of rotary positions.

use std::f64::consts::PI;

use rappel_tensor::{DType, Tensor};

/// How the frequencies of rotary positions are stretched to reach beyond the lengths that a model was trained on.
/// The names are Hugging Face's `rope_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all: `default`.
    Default,
    /// All divided by `factor`: `linear`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Stretched as far as the sequence is longer than `max_positions`: `dynamic`.
    Dynamic {
        /// At least 1.
        factor: f64,
        /// The longest sequence that nothing is stretched for.
        max_positions: usize,
    },
    /// High frequencies kept, low ones divided, a ramp between (Peng et al.,
    /// <https://arxiv.org/abs/2309.00071>): `yarn`.
    Yarn {
        /// What low frequencies are divided by.
        factor: f64,
        /// The length that the model was trained on.
        original: usize,
        /// Turns within `original` from which on frequencies are kept, and up to which they are divided: 32 and 1.
        betas: [f64; 2],
        /// Whether the ends of the ramp are whole channels.
        truncate: bool,
        /// What cosines and sines are multiplied by.
        attention: f64,
    },
    /// Each divided by its own factor (Ding et al., <https://arxiv.org/abs/2402.13753>): `longrope`.
    LongRope {
        /// The factors of sequences up to `original`.
        short: Vec<f64>,
        /// The factors of longer ones.
        long: Vec<f64>,
        /// The length that the model was trained on.
        original: usize,
        /// What cosines and sines are multiplied by.
        attention: f64,
    },
    /// High frequencies kept, low ones divided, by wavelength (Llama 3.1): `llama3`.
    Llama3 {
        /// What low frequencies are divided by.
        factor: f64,
        /// `original` over this is the shortest wavelength that is divided by all of `factor`.
        low: f64,
        /// `original` over this is the longest wavelength that is kept.
        high: f64,
        /// The length that the model was trained on.
        original: usize,
    },
}

/// The angles by which [`rotary`](rappel_tensor::rotary) turns pairs of channels at each position.
///
/// ```
/// use rappel_nn::{Rope, RopeScaling};
/// use rappel_tensor::DType;
/// let rope = Rope::new(10_000.0, 4, RopeScaling::Default);
/// let [cos, sin] = rope.angles(0, 3, DType::F64);
/// assert_eq!(*cos.shape(), [3, 4]);
/// assert_eq!(cos.narrow(0, 0, 1).to_vec::<f64>(), [1.0; 4]);
/// assert_eq!(sin.narrow(0, 1, 1).to_vec::<f64>()[1], (0.01_f64).sin());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    theta: f64,
    dim: usize,
    scaling: RopeScaling,
}

impl Rope {
    /// Angles for `dim` channels, whose frequencies fall from 1 to nearly `1 / theta`.
    ///
    /// # Panics
    /// Where `dim` is odd or 0, or factors of [`RopeScaling::LongRope`] are not one for each pair.
    #[track_caller]
    pub fn new(theta: f64, dim: usize, scaling: RopeScaling) -> Self {
        assert!(dim > 0 && dim.is_multiple_of(2), "Rope: {dim} channels are not pairs");
        if let RopeScaling::LongRope { short, long, .. } = &scaling {
            let counts = [short.len(), long.len()];
            assert!(counts == [dim / 2; 2], "Rope: {counts:?} factors for {} pairs", dim / 2);
        }
        Self { theta, dim, scaling }
    }

    /// Cosines and sines `[time, dim]` of `time` positions from `start` on; each pair of channels
    /// `(i, i + dim / 2)` has one angle.
    pub fn angles(&self, start: usize, time: usize, dtype: DType) -> [Tensor; 2] {
        let frequencies = self.frequencies(start + time);
        let factor = self.attention();
        let values = |of: fn(f64) -> f64| {
            let angle = |t: usize| frequencies.iter().map(move |f| factor * of(t as f64 * f));
            let row = |t: usize| angle(t).chain(angle(t));
            let values: Vec<f64> = (start..start + time).flat_map(row).collect();
            Tensor::from_slice(&values, [time, self.dim]).to_dtype(dtype)
        };
        [values(f64::cos), values(f64::sin)]
    }

    /// What cosines and sines are multiplied by.
    fn attention(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { attention, .. } | RopeScaling::LongRope { attention, .. } => {
                attention
            }
            _ => 1.0,
        }
    }

    /// Radians from a position to the next, of each pair, in a sequence of `length`.
    fn frequencies(&self, length: usize) -> Vec<f64> {
        let plain = |theta: f64| {
            let dim = self.dim as f64;
            let frequency = move |i: usize| theta.powf(2.0 * i as f64 / dim).recip();
            (0..self.dim / 2).map(frequency)
        };
        let plains = plain(self.theta);
        match &self.scaling {
            RopeScaling::Default => plains.collect(),
            RopeScaling::Linear { factor } => plains.map(|f| f / factor).collect(),
            RopeScaling::Dynamic { factor, max_positions } => {
                let most = *max_positions as f64;
                let stretch = factor * (length as f64).max(most) / most - (factor - 1.0);
                let dim = self.dim as f64;
                plain(self.theta * stretch.powf(dim / (dim - 2.0))).collect()
            }
            RopeScaling::Yarn { factor, original, betas, truncate, .. } => {
                let kept = self.kept(*original as f64, *betas, *truncate);
                plains.zip(kept).map(|(f, kept)| f / factor * (1.0 - kept) + f * kept).collect()
            }
            RopeScaling::LongRope { short, long, original, .. } => {
                let factors = if length > *original { long } else { short };
                plains.zip(factors).map(|(f, factor)| f / factor).collect()
            }
            RopeScaling::Llama3 { factor, low, high, original } => {
                let original = *original as f64;
                let stretched = |f: f64| {
                    let wavelength = 2.0 * PI / f;
                    if wavelength < original / high {
                        f
                    } else if wavelength > original / low {
                        f / factor
                    } else {
                        let smooth = (original / wavelength - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                };
                plains.map(stretched).collect()
            }
        }
    }

    /// How much of each pair's frequency YaRN keeps: 1 at the first, a ramp down to 0.
    fn kept(&self, original: f64, betas: [f64; 2], truncate: bool) -> impl Iterator<Item = f64> {
        let dim = self.dim as f64;
        let channel =
            |turns: f64| dim * (original / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let [mut first, mut last] = betas.map(channel);
        if truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        let (first, last) = (first.max(0.0), last.min(dim - 1.0));
        // A ramp of no width would divide by 0.
        let width = if first == last { 0.001 } else { last - first };
        (0..self.dim / 2).map(move |i| 1.0 - ((i as f64 - first) / width).clamp(0.0, 1.0))
    }
}
