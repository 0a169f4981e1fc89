//! Random images, as pure functions of a key.

use std::sync::Arc;

use rappel_config::{Options, Words};
use rappel_tensor::{DType, Interpolation, Key, Tensor};
use rayon::prelude::*;

use super::geometry::Picture;
use super::processing::ImageProcessing;
use super::set::Image;

/// Which random maps of places and colours an image goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum AutoAugment {
    /// None.
    None,
    /// One, of any strength: TrivialAugment (Müller and Hutter, <https://arxiv.org/abs/2103.10158>).
    Trivial,
    /// Two of strength 9 of 30: RandAugment (Cubuk et al., <https://arxiv.org/abs/1909.13719>).
    Rand,
}

/// What is random about the images that are trained on: options of the section `data`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct Augmentation {
    /// pixels of black around an image, of which a part of its size is cut out
    #[option(default = 0, range = 0..=256, aka("pad", "random_crop_padding"))]
    pub pad_crop: usize,
    /// a part of the image, of `crop_scale` of its area and a ratio from 3/4 to 4/3, made as large as all images are
    #[option(default = false, aka("rrc"))]
    pub random_resized_crop: bool,
    /// smallest and largest share of the area that is cut out
    #[option(default = [0.08, 1.0], range = 0.0..=1.0, aka("scale"))]
    pub crop_scale: Vec<f64>,
    /// probability of changing left and right about
    #[option(default = 0.0, range = 0.0..=1.0, aka("horizontal_flip", "random_flip"))]
    pub hflip: f64,
    /// random maps of places and colours
    #[option(default = AutoAugment::None, aka("aa"))]
    pub auto_augment: AutoAugment,
    /// strength of random brightness, contrast and saturation: factors from 1 - strength to 1 + strength
    #[option(default = 0.0, range = 0.0..=1.0)]
    pub color_jitter: f64,
    /// probability of erasing a rectangle of 2 % to a third of the image with noise
    #[option(default = 0.0, range = 0.0..=1.0, aka("reprob"))]
    pub random_erasing: f64,
    /// parameter of the distribution of areas that images give to others of their batch, with their share of the target; 0: none
    #[option(default = 0.0, range = 0.0.., aka("cutmix_alpha"))]
    pub cutmix: f64,
}

/// Numbers that one image draws, one after another.
struct Draws {
    key: Key,
    drawn: u64,
}

impl Draws {
    /// In `[low, high)`.
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let mut value = [0.0_f64];
        self.drawn += 1;
        self.key.with(self.drawn).fill_uniform(&mut value, low, high);
        value[0]
    }

    /// In `0..n`.
    fn below(&mut self, n: usize) -> usize {
        self.drawn += 1;
        self.key.with(self.drawn).below(n as u64) as usize
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.uniform(0.0, 1.0) < probability
    }

    fn sign(&mut self) -> f64 {
        if self.below(2) == 0 { 1.0 } else { -1.0 }
    }
}

impl Augmentation {
    /// Random versions of images as `[images, channels, height, width]`; what an image with a number becomes depends on
    /// `key` and that number alone.
    pub fn tensor(
        &self,
        processing: &ImageProcessing,
        images: &[(usize, Arc<Image>)],
        dtype: DType,
        key: Key,
    ) -> Tensor {
        let [height, width] = processing.size;
        let count = processing.channels * height * width;
        let mut values = vec![0.0_f32; images.len() * count];
        values.par_chunks_mut(count.max(1)).zip(images).for_each(|(to, (number, image))| {
            let mut draws = Draws { key: key.with(*number as u64), drawn: 0 };
            let picture = self.picture(processing, image, &mut draws);
            for (c, plane) in picture.values.chunks(height * width).enumerate() {
                let [add, factor] = processing.line(c);
                let to = &mut to[c * height * width..(c + 1) * height * width];
                to.iter_mut().zip(plane).for_each(|(to, x)| *to = (x + add) * factor);
            }
            if draws.happens(self.random_erasing) {
                erase(to, processing, &mut draws);
            }
        });
        let shape = [images.len(), processing.channels, height, width];
        Tensor::from_slice(&values, shape).to_dtype(dtype)
    }

    fn picture(&self, processing: &ImageProcessing, image: &Image, draws: &mut Draws) -> Picture {
        let mut picture = Picture {
            channels: image.channels,
            height: image.height,
            width: image.width,
            values: image.pixels.iter().map(|pixel| f32::from(*pixel)).collect(),
        };
        if self.random_resized_crop {
            picture = self.resized_crop(&picture, processing, draws);
        }
        if self.pad_crop > 0 {
            let from = || self.pad_crop as isize;
            let [top, left] = [0, 1].map(|_| draws.below(2 * self.pad_crop + 1) as isize - from());
            picture = picture.crop([top, left], processing.size);
        }
        if draws.happens(self.hflip) {
            picture.flip();
        }
        match self.auto_augment {
            AutoAugment::None => {}
            AutoAugment::Trivial => {
                let strength = draws.uniform(0.0, 1.0);
                WIDE.apply(&mut picture, strength, draws);
            }
            AutoAugment::Rand => (0..2).for_each(|_| USUAL.apply(&mut picture, 0.3, draws)),
        }
        if self.color_jitter > 0.0 {
            let mut factor = || {
                draws.uniform((1.0 - self.color_jitter).max(0.0), 1.0 + self.color_jitter) as f32
            };
            let [brightness, contrast, saturation] = [(); 3].map(|()| factor());
            picture.brightness(brightness);
            picture.contrast(contrast);
            picture.saturation(saturation);
        }
        picture
    }

    /// As torchvision's `RandomResizedCrop`: ten tries, then the middle.
    fn resized_crop(
        &self,
        picture: &Picture,
        processing: &ImageProcessing,
        draws: &mut Draws,
    ) -> Picture {
        let area = picture.pixels() as f64;
        let [low, high] = [self.crop_scale[0], self.crop_scale[1]];
        for _ in 0..10 {
            let part = area * draws.uniform(low, high);
            let ratio = draws.uniform((3.0_f64 / 4.0).ln(), (4.0_f64 / 3.0).ln()).exp();
            let height = (part / ratio).sqrt().round() as usize;
            let width = (part * ratio).sqrt().round() as usize;
            if (1..=picture.height).contains(&height) && (1..=picture.width).contains(&width) {
                let top = draws.below(picture.height - height + 1) as isize;
                let left = draws.below(picture.width - width + 1) as isize;
                let part = picture.crop([top, left], [height, width]);
                return part.resized(processing.size, processing.interpolation);
            }
        }
        let side = picture.height.min(picture.width);
        let from = [picture.height, picture.width].map(|size| ((size - side) / 2) as isize);
        picture.crop(from, [side; 2]).resized(processing.size, Interpolation::BilinearAntialiased)
    }

    /// What cannot be: the key, and why.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let scale = &self.crop_scale;
        let fits = scale.len() == 2 && scale[0] > 0.0 && scale[0] <= scale[1];
        (!fits).then(|| {
            ("crop_scale", format!("expected two shares, the smaller first, got {scale:?}"))
        })
    }
}

/// A rectangle of normal numbers, of 2 % to a third of the area and a ratio from 0.3 to 3.3 (Zhong et al.,
/// <https://arxiv.org/abs/1708.04896>).
fn erase(values: &mut [f32], processing: &ImageProcessing, draws: &mut Draws) {
    let [rows, columns] = processing.size;
    for _ in 0..10 {
        let area = (rows * columns) as f64 * draws.uniform(0.02, 1.0 / 3.0);
        let ratio = draws.uniform(0.3_f64.ln(), 3.3_f64.ln()).exp();
        let (height, width) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
        let (height, width) = (height as usize, width as usize);
        if height == 0 || width == 0 || height >= rows || width >= columns {
            continue;
        }
        let (top, left) = (draws.below(rows - height + 1), draws.below(columns - width + 1));
        let key = draws.key.with_name("erase");
        for c in 0..processing.channels {
            for y in top..top + height {
                let start = (c * rows + y) * columns + left;
                key.with((c * rows + y) as u64).fill_normal(
                    &mut values[start..start + width],
                    0.0,
                    1.0,
                );
            }
        }
        return;
    }
}

/// How far maps go at full strength.
struct Strengths {
    shear: f64,
    /// Share of the width.
    translate: f64,
    /// Degrees.
    rotate: f64,
    /// Of a colour's factor from 1.
    colour: f64,
    /// Bits that are lost.
    bits: f64,
}

/// Those of TrivialAugment's wide space, and of RandAugment.
const WIDE: Strengths =
    Strengths { shear: 0.99, translate: 32.0 / 224.0, rotate: 135.0, colour: 0.99, bits: 6.0 };
const USUAL: Strengths =
    Strengths { shear: 0.3, translate: 150.0 / 331.0, rotate: 30.0, colour: 0.9, bits: 4.0 };

impl Strengths {
    /// One map, drawn, of this strength from 0 to 1.
    fn apply(&self, picture: &mut Picture, strength: f64, draws: &mut Draws) {
        let chosen = draws.below(14);
        let signed = strength * draws.sign();
        let plain = [[1.0, 0.0], [0.0, 1.0]];
        let factor = (1.0 + self.colour * signed) as f32;
        match chosen {
            0 => {}
            1 => picture.mapped([[1.0, 0.0], [self.shear * signed, 1.0]], [0.0; 2]),
            2 => picture.mapped([[1.0, self.shear * signed], [0.0, 1.0]], [0.0; 2]),
            3 => picture.mapped(plain, [0.0, self.translate * signed * picture.width as f64]),
            4 => picture.mapped(plain, [self.translate * signed * picture.height as f64, 0.0]),
            5 => {
                let (sin, cos) = (self.rotate * signed).to_radians().sin_cos();
                picture.mapped([[cos, sin], [-sin, cos]], [0.0; 2]);
            }
            6 => picture.brightness(factor),
            7 => picture.saturation(factor),
            8 => picture.contrast(factor),
            9 => picture.sharpness(factor),
            10 => picture.posterize(8 - (self.bits * strength).round() as u32),
            11 => picture.solarize((255.0 * (1.0 - strength)) as f32),
            12 => picture.autocontrast(),
            _ => picture.equalize(),
        }
    }
}
