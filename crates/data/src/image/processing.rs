//! From pixels to the numbers that a model reads.

use std::path::Path;
use std::sync::Arc;

use rappel_config::Words;
use rappel_tensor::{DType, Interpolation, Tensor};
use serde_json::{Map, Value, json};

use super::set::Image;
use crate::DataError;

/// Statistics that pixels, from 0 to 1, are normalized by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Normalization {
    /// Those of ImageNet.
    Imagenet,
    /// Those of CLIP.
    Clip,
    /// Those of CIFAR-10.
    Cifar10,
    /// Those of MNIST.
    Mnist,
    /// Those of Fashion-MNIST.
    FashionMnist,
    /// 0.5 and 0.5: from -1 to 1.
    Half,
    /// 0 and 1: as they are.
    None,
}

impl Normalization {
    /// Means and deviations of red, green and blue.
    fn statistics(self) -> [[f64; 3]; 2] {
        match self {
            Self::Imagenet => [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
            Self::Clip => [
                [0.481_454_66, 0.457_827_5, 0.408_210_73],
                [0.268_629_54, 0.261_302_58, 0.275_777_11],
            ],
            Self::Cifar10 => [[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]],
            Self::Mnist => [[0.1307; 3], [0.3081; 3]],
            Self::FashionMnist => [[0.2860; 3], [0.3530; 3]],
            Self::Half => [[0.5; 3]; 2],
            Self::None => [[0.0; 3], [1.0; 3]],
        }
    }
}

/// What becomes of an image before a model reads it: as preprocessor_config.json holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessing {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// The share of the image, in height and width, that is kept: its middle.
    pub crop_pct: f64,
    /// How images get their size.
    pub interpolation: Interpolation,
    /// Mean of each channel, of pixels from 0 to 1.
    pub mean: Vec<f64>,
    /// Deviation of each channel.
    pub std: Vec<f64>,
    /// Whether a model's logits are the means of those of an image and of its mirror image.
    pub test_flip: bool,
}

/// Pillow's numbers of interpolations.
const BILINEAR: u64 = 2;
const BICUBIC: u64 = 3;
const TEST_FLIP: &str = "test_flip";

impl ImageProcessing {
    /// Processing that keeps the whole of an image.
    pub fn new(channels: usize, size: [usize; 2], normalization: Normalization) -> Self {
        let [mean, std] = normalization.statistics().map(|all| match channels {
            // Of grey images the mean of the three.
            1 => vec![all.iter().sum::<f64>() / 3.0],
            _ => all.to_vec(),
        });
        let interpolation = Interpolation::BilinearAntialiased;
        Self { channels, size, crop_pct: 1.0, interpolation, mean, std, test_flip: false }
    }

    /// The image in its channels, so that it covers the size; of it the middle, where nothing is to be drawn of it.
    pub(super) fn fit(&self, image: Image, whole: bool) -> Image {
        let larger = self.size.map(|size| (size as f64 / self.crop_pct).round() as usize);
        let image = image.with_channels(self.channels).covering(larger, self.interpolation);
        if whole { image } else { image.middle(self.size) }
    }

    /// What is added to a channel's pixel, from 0 to 255, and what the sum is multiplied by.
    pub(super) fn line(&self, channel: usize) -> [f32; 2] {
        let (mean, std) = (self.mean[channel], self.std[channel]);
        [(-mean * 255.0) as f32, (1.0 / (255.0 * std)) as f32]
    }

    /// Images as `[images, channels, height, width]`.
    ///
    /// # Panics
    /// Where an image has another size.
    pub fn tensor<'a>(
        &self,
        images: impl ExactSizeIterator<Item = &'a Arc<Image>>,
        dtype: DType,
    ) -> Tensor {
        let [height, width] = self.size;
        let shape = [images.len(), self.channels, height, width];
        let mut values = Vec::with_capacity(shape.iter().product());
        for image in images {
            assert!([image.height, image.width] == self.size, "an image of another size");
            for (c, plane) in image.pixels.chunks(height * width).enumerate() {
                let [add, factor] = self.line(c);
                values.extend(plane.iter().map(|pixel| (f32::from(*pixel) + add) * factor));
            }
        }
        Tensor::from_slice(&values, shape).to_dtype(dtype)
    }

    /// The colours of an image `[channels, height, width]` as a model reads it.
    pub fn colours(&self, values: &[f32]) -> Vec<[u8; 3]> {
        let count = values.len() / self.channels;
        let colour = |i: usize| {
            [0, 1, 2].map(|c: usize| {
                let c = c.min(self.channels - 1);
                let [add, factor] = self.line(c);
                (values[c * count + i] / factor - add).round().clamp(0.0, 255.0) as u8
            })
        };
        (0..count).map(colour).collect()
    }

    /// preprocessor_config.json, for transformers' processor that resizes so that the image covers the size, then cuts
    /// its middle out.
    pub fn to_json(&self) -> Map<String, Value> {
        let [height, width] = self.size;
        let size = if height == width {
            json!({ "shortest_edge": height })
        } else {
            json!({ "height": height, "width": width })
        };
        let cubic = self.interpolation == Interpolation::BicubicAntialiased;
        let json = json!({
            "crop_pct": self.crop_pct,
            "do_normalize": true,
            "do_rescale": true,
            "do_resize": true,
            "image_mean": self.mean,
            "image_processor_type": "ConvNextImageProcessor",
            "image_std": self.std,
            "resample": if cubic { BICUBIC } else { BILINEAR },
            "rescale_factor": 1.0 / 255.0,
            "size": size,
        });
        let mut json = json.as_object().cloned().unwrap_or_default();
        // A key of our own, which is only there where it says something.
        if self.test_flip {
            json.insert(TEST_FLIP.to_owned(), true.into());
        }
        json
    }

    /// Reads preprocessor_config.json, for images of so many channels.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn from_json(
        json: &Map<String, Value>,
        channels: usize,
        path: &Path,
    ) -> Result<Self, DataError> {
        let bad = |key: &str, wanted: &str| DataError::Image {
            path: path.to_owned(),
            reason: format!(
                "`{key}` is {}, expected {wanted}",
                json.get(key).unwrap_or(&Value::Null)
            ),
        };
        let numbers = |key: &str, default: f64, positive: bool| {
            let off = json.get("do_normalize") == Some(&Value::Bool(false));
            let Some(value) = json.get(key).filter(|_| !off) else {
                return Ok(vec![default; channels]);
            };
            let list = value.as_array().map(|list| list.iter().filter_map(Value::as_f64).collect());
            list.filter(|list: &Vec<f64>| {
                list.len() == channels
                    && list.iter().all(|x| x.is_finite() && (!positive || *x > 0.0))
            })
            .ok_or_else(|| bad(key, "a number for each channel"))
        };
        let side = |value: Option<&Value>| {
            value?.as_u64().filter(|size| (1..=1 << 14).contains(size)).map(|size| size as usize)
        };
        let size = match json.get("size") {
            Some(Value::Object(size)) => side(size.get("shortest_edge"))
                .map(|side| [side; 2])
                .or_else(|| Some([side(size.get("height"))?, side(size.get("width"))?])),
            size => side(size).map(|side| [side; 2]),
        };
        let crop = match json.get("crop_pct") {
            None | Some(Value::Null) => Some(1.0),
            Some(share) => share.as_f64().filter(|share| *share > 0.05 && *share <= 1.0),
        };
        let interpolation = match json.get("resample").and_then(Value::as_u64) {
            Some(BICUBIC) => Interpolation::BicubicAntialiased,
            _ => Interpolation::BilinearAntialiased,
        };
        Ok(Self {
            channels,
            size: size.ok_or_else(|| bad("size", "a size in pixels"))?,
            crop_pct: crop.ok_or_else(|| bad("crop_pct", "a share of at most 1"))?,
            interpolation,
            mean: numbers("image_mean", 0.0, false)?,
            std: numbers("image_std", 1.0, true)?,
            test_flip: match json.get(TEST_FLIP) {
                None | Some(Value::Null) => false,
                Some(flips) => flips.as_bool().ok_or_else(|| bad(TEST_FLIP, "true or false"))?,
            },
        })
    }
}
