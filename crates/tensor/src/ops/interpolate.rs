//! Images of another size.

use super::avg_pool2d::resample;
#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Taps;
use crate::tensor::Tensor;

/// How pixels of a resized image are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The pixel that a place falls into.
    Nearest,
    /// A straight line between two neighbours in each direction.
    Bilinear,
    /// A cubic curve through four neighbours in each direction.
    Bicubic,
    /// [`Self::Bilinear`] over all pixels that a smaller image's pixel covers, as photographs are made smaller.
    BilinearAntialiased,
    /// [`Self::Bicubic`] over all pixels that a smaller image's pixel covers.
    BicubicAntialiased,
}

impl Interpolation {
    /// Each pixel of a line of `to` as a weighted sum of the pixels of a line of `from`.
    fn taps(self, from: usize, to: usize, align_corners: bool) -> Taps {
        let scale = match align_corners {
            true if to > 1 => (from - 1) as f64 / (to - 1) as f64,
            true => 0.0,
            false => from as f64 / to as f64,
        };
        let centre = |i: usize| {
            if align_corners { i as f64 * scale } else { (i as f64 + 0.5) * scale - 0.5 }
        };
        let inside = move |at: isize| at.clamp(0, from as isize - 1) as usize;
        let few = |i: usize, first: isize, weights: &dyn Fn(f64) -> Vec<f64>, low: f64| {
            let place = centre(i).max(low);
            let whole = place.floor();
            let weights = weights(place - whole).into_iter().enumerate();
            let at = whole as isize + first;
            weights.map(move |(k, weight)| (inside(at + k as isize), weight)).collect::<Vec<_>>()
        };
        Taps::new(to, |i| match self {
            Self::Nearest => vec![(inside((i * from / to) as isize), 1.0)],
            Self::Bilinear => few(i, 0, &|t| vec![1.0 - t, t], 0.0),
            Self::Bicubic => {
                let weights = |t: f64| [t + 1.0, t, 1.0 - t, 2.0 - t].map(|x| cubic(x, -0.75));
                few(i, -1, &|t| weights(t).to_vec(), f64::NEG_INFINITY)
            }
            Self::BilinearAntialiased => covered(i, from, scale, 1.0, |x| (1.0 - x.abs()).max(0.0)),
            Self::BicubicAntialiased => covered(i, from, scale, 2.0, |x| cubic(x.abs(), -0.5)),
        })
    }
}

/// Keys' cubic convolution, of a distance of at most 2.
fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// The pixels within `support` of a place, a smaller image's pixel being the unit, by a filter.
fn covered(
    i: usize,
    from: usize,
    scale: f64,
    support: f64,
    filter: impl Fn(f64) -> f64,
) -> Vec<(usize, f64)> {
    let wide = scale.max(1.0);
    let (centre, reach) = ((i as f64 + 0.5) * scale, support * wide);
    let first = (centre - reach + 0.5).max(0.0) as usize;
    let end = ((centre + reach + 0.5).max(0.0) as usize).min(from);
    let weight = |j: usize| filter((j as f64 + 0.5 - centre) / wide);
    let sum: f64 = (first..end).map(weight).sum();
    (first..end).map(|j| (j, weight(j) / sum)).collect()
}

/// `[batch, channels, height, width]` as `[batch, channels, ..]` of `size`, PyTorch's `interpolate`.
///
/// With `align_corners` the corners' centres stay where they are, without it the image's borders do; the
/// antialiased kinds and [`Interpolation::Nearest`] are only without.
///
/// # Panics
/// Where the input has not four dimensions, a size is zero, or `align_corners` has no meaning.
///
/// ```
/// use rappel_tensor::{Interpolation, Tensor, interpolate};
/// let x = Tensor::from_slice(&[0.0_f32, 1.0], [1, 1, 1, 2]);
/// let y = interpolate(&x, [1, 4], Interpolation::Bilinear, false);
/// assert_eq!(y.to_vec::<f32>(), [0.0, 0.25, 0.75, 1.0]);
/// ```
#[track_caller]
#[must_use]
pub fn interpolate(
    x: &Tensor,
    size: [usize; 2],
    kind: Interpolation,
    align_corners: bool,
) -> Tensor {
    let shape = x.shape();
    let fits = shape.rank() == 4 && shape.count() > 0 && x.dtype().is_float();
    assert!(fits && size[0] * size[1] > 0, "interpolate: no {size:?} of input {shape}");
    let aligns = matches!(kind, Interpolation::Bilinear | Interpolation::Bicubic);
    assert!(aligns || !align_corners, "interpolate: {kind:?} does not align corners");
    let taps = |axis: usize| kind.taps(shape[2 + axis], size[axis], align_corners);
    resample(x, taps(0), taps(1))
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "interpolate",
    samples: |draw| {
        use Interpolation::{Bicubic, BicubicAntialiased, Bilinear, BilinearAntialiased, Nearest};
        let kinds = [Nearest, Bilinear, Bicubic, BilinearAntialiased, BicubicAntialiased];
        let mut sample = |kind| {
            let x = [1, 2, draw.size(2, 6), draw.size(2, 7)];
            let size = [draw.size(1, 9), draw.size(1, 9)];
            let aligned = draw.size(0, 1) == 1 && matches!(kind, Bilinear | Bicubic);
            Sample::new(format!("{kind:?}"), vec![draw.normal(x)], move |x| {
                interpolate(&x[0], size, kind, aligned)
            })
        };
        kinds.map(&mut sample).into()
    },
};
