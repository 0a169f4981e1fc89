//! From a file to pixels.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageReader, Limits};
use rappel_tensor::{Interpolation, Tensor, interpolate, no_grad};

use super::set::Image;
use crate::DataError;

/// A larger image is refused before it is allocated.
const MOST_SIDE: u32 = 1 << 15;
const MOST_BYTES: u64 = 1 << 29;

/// Endings of files that are images.
pub(super) const ENDINGS: &[&str] = &["jpeg", "jpg", "png", "webp"];

/// Decodes a PNG, JPEG or WebP file, told by its content, into bytes: one channel, or red, green and blue.
pub(super) fn decode(path: &Path, channels: Option<usize>) -> Result<Image, DataError> {
    let bytes =
        std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let bad = |reason: String| DataError::Image { path: path.to_owned(), reason };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| bad(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let decoded = reader.decode().map_err(|error| bad(format!("not an image: {error}")))?;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    if width * height == 0 {
        return Err(bad("an image without pixels".to_owned()));
    }
    let grey = !decoded.color().has_color();
    Ok(match channels.unwrap_or(if grey { 1 } else { 3 }) {
        1 => Image { channels: 1, height, width, pixels: decoded.into_luma8().into_raw() },
        _ => Image { channels: 3, height, width, pixels: planes(&decoded) },
    })
}

/// Red, green and blue, one after another.
fn planes(decoded: &DynamicImage) -> Vec<u8> {
    let interleaved = decoded.to_rgb8().into_raw();
    (0..3)
        .flat_map(|c| interleaved.iter().skip(c).step_by(3).copied().collect::<Vec<_>>())
        .collect()
}

impl Image {
    /// The image with so many channels: grey for each of red, green and blue, or their luminance.
    pub(super) fn with_channels(self, channels: usize) -> Self {
        match (self.channels, channels) {
            (1, 3) => Self { pixels: self.pixels.repeat(3), channels, ..self },
            (3, 1) => {
                let count = self.height * self.width;
                let luminance = |i: usize| {
                    let [r, g, b] = [0, 1, 2].map(|c| f64::from(self.pixels[c * count + i]));
                    (0.2126 * r + 0.7152 * g + 0.0722 * b).round() as u8
                };
                let pixels = (0..count).map(luminance).collect();
                Self { pixels, channels, ..self }
            }
            _ => self,
        }
    }

    /// The image as large as told.
    pub(super) fn resized(self, [height, width]: [usize; 2], kind: Interpolation) -> Self {
        if [self.height, self.width] == [height, width] {
            return self;
        }
        let values: Vec<f32> = self.pixels.iter().map(|pixel| f32::from(*pixel)).collect();
        let x = Tensor::from_slice(&values, [1, self.channels, self.height, self.width]);
        let y = no_grad(|| interpolate(&x, [height, width], kind, false)).to_vec::<f32>();
        let pixels = y.into_iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect();
        Self { height, width, pixels, ..self }
    }

    /// The middle of the image.
    pub(super) fn middle(self, size: [usize; 2]) -> Self {
        let [top, left] = [(self.height - size[0]) / 2, (self.width - size[1]) / 2];
        if [self.height, self.width] == size {
            return self;
        }
        let mut pixels = Vec::with_capacity(self.channels * size[0] * size[1]);
        for c in 0..self.channels {
            for y in top..top + size[0] {
                let start = (c * self.height + y) * self.width + left;
                pixels.extend_from_slice(&self.pixels[start..start + size[1]]);
            }
        }
        Self { channels: self.channels, height: size[0], width: size[1], pixels }
    }

    /// The image so small, or so large, that it just covers `size`.
    pub(super) fn covering(self, size: [usize; 2], kind: Interpolation) -> Self {
        let scale = [(size[0], self.height), (size[1], self.width)]
            .map(|(to, from)| to as f64 / from as f64)
            .into_iter()
            .fold(0.0, f64::max);
        let side = |from: usize, least: usize| ((from as f64 * scale).round() as usize).max(least);
        let to = [side(self.height, size[0]), side(self.width, size[1])];
        self.resized(to, kind)
    }
}
