//! From a file to pixels.

use std::io::Cursor;
use std::path::Path;

use rappel_tensor::{Interpolation, Tensor, interpolate, no_grad};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use super::set::Image;
use crate::DataError;

/// A larger image is refused before it is allocated.
const MOST_SIDE: usize = 1 << 15;
const MOST_BYTES: usize = 1 << 29;

/// Endings of files that are images.
pub(super) const ENDINGS: &[&str] = &["jpeg", "jpg", "png", "webp"];

/// What a decoder makes: pixels of grey (1), grey and alpha (2), red, green and blue (3), and alpha (4).
struct Interleaved {
    size: [usize; 2],
    samples: usize,
    bytes: Vec<u8>,
}

/// Decodes a PNG, JPEG or WebP file, recognised by its content: one channel, or red, green and blue. Alpha is dropped.
pub(super) fn decode(path: &Path, channels: Option<usize>) -> Result<Image, DataError> {
    let bytes =
        std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let bad = |reason| DataError::Image { path: path.to_owned(), reason };
    decode_bytes(&bytes, channels).map_err(bad)
}

/// The same of a file's bytes.
pub(super) fn decode_bytes(bytes: &[u8], channels: Option<usize>) -> Result<Image, String> {
    let decoded = match bytes.get(..12) {
        Some([0x89, b'P', b'N', b'G', ..]) => png(bytes),
        Some([0xff, 0xd8, 0xff, ..]) => jpeg(bytes),
        Some([b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P']) => webp(bytes),
        _ => Err("it is neither a PNG, nor a JPEG, nor a WebP file".to_owned()),
    };
    let Interleaved { size: [height, width], samples, bytes } =
        decoded.map_err(|reason| format!("not an image: {reason}"))?;
    let own = if samples < 3 { 1 } else { 3 };
    let plane = |c: usize| bytes.iter().skip(c).step_by(samples).copied();
    let image = Image { channels: own, height, width, pixels: (0..own).flat_map(plane).collect() };
    Ok(image.with_channels(channels.unwrap_or(own)))
}

/// Whether an image of these sizes is worth trying.
fn checked(height: usize, width: usize) -> Result<[usize; 2], String> {
    let size = [height, width];
    if size.contains(&0)
        || size.iter().any(|side| *side > MOST_SIDE)
        || height * width > MOST_BYTES / 4
    {
        return Err(format!("{height}x{width} pixels"));
    }
    Ok(size)
}

fn png(bytes: &[u8]) -> Result<Interleaved, String> {
    let limits = png::Limits { bytes: MOST_BYTES };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let size = checked(reader.info().height as usize, reader.info().width as usize)?;
    let room = reader.output_buffer_size().filter(|room| *room <= MOST_BYTES);
    let mut bytes = vec![0; room.ok_or("too large")?];
    let info = reader.next_frame(&mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(info.buffer_size());
    Ok(Interleaved { size, samples: info.color_type.samples(), bytes })
}

fn jpeg(bytes: &[u8]) -> Result<Interleaved, String> {
    let options = DecoderOptions::default()
        .set_max_width(MOST_SIDE)
        .set_max_height(MOST_SIDE)
        .set_strict_mode(true);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no header")?;
    let size = checked(usize::from(info.height), usize::from(info.width))?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, samples) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let bytes = decoder.decode().map_err(|error| error.to_string())?;
    Ok(Interleaved { size, samples, bytes })
}

fn webp(bytes: &[u8]) -> Result<Interleaved, String> {
    let decoder = image_webp::WebPDecoder::new(Cursor::new(bytes));
    let mut decoder = decoder.map_err(|error| error.to_string())?;
    decoder.set_memory_limit(MOST_BYTES);
    let (width, height) = decoder.dimensions();
    let size = checked(height as usize, width as usize)?;
    let room = decoder.output_buffer_size().filter(|room| *room <= MOST_BYTES);
    let mut bytes = vec![0; room.ok_or("too large")?];
    decoder.read_image(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Interleaved { size, samples: if decoder.has_alpha() { 4 } else { 3 }, bytes })
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
                Self { channels, pixels, ..self }
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
