//! Maps of a picture's colours, as torchvision defines them.

use super::geometry::Picture;

/// A number as a pixel has it.
fn pixel(x: f32) -> f32 {
    x.clamp(0.0, 255.0)
}

impl Picture {
    /// `factor self + (1 - factor) other`.
    fn blend(&mut self, other: &[f32], factor: f32) {
        for (x, other) in self.values.iter_mut().zip(other) {
            *x = pixel(factor * *x + (1.0 - factor) * other);
        }
    }

    /// What each pixel is in grey.
    fn grey(&self) -> Vec<f32> {
        if self.channels == 1 {
            return self.values.clone();
        }
        let (count, x) = (self.pixels(), &self.values);
        (0..count)
            .map(|i| 0.2989 * x[i] + 0.587 * x[count + i] + 0.114 * x[2 * count + i])
            .collect()
    }

    /// Darker below a factor of 1, brighter above.
    pub fn brightness(&mut self, factor: f32) {
        self.values.iter_mut().for_each(|x| *x = pixel(*x * factor));
    }

    /// Nearer to the mean grey below a factor of 1, further from it above.
    pub fn contrast(&mut self, factor: f32) {
        let grey = self.grey();
        let mean = grey.iter().sum::<f32>() / grey.len() as f32;
        self.blend(&vec![mean; self.values.len()], factor);
    }

    /// Nearer to grey below a factor of 1, further from it above.
    pub fn saturation(&mut self, factor: f32) {
        let grey = self.grey().repeat(self.channels);
        self.blend(&grey, factor);
    }

    /// Smoother below a factor of 1, sharper above; the border stays.
    pub fn sharpness(&mut self, factor: f32) {
        let mut smooth = self.values.clone();
        let (count, width) = (self.pixels(), self.width);
        for channel in 0..self.channels {
            let x = &self.values[channel * count..(channel + 1) * count];
            for row in 1..self.height.saturating_sub(1) {
                for column in 1..width.saturating_sub(1) {
                    let at = row * width + column;
                    let around: f32 = [at - width, at, at + width]
                        .iter()
                        .map(|middle| x[middle - 1] + x[*middle] + x[middle + 1])
                        .sum();
                    smooth[channel * count + at] = (around + 4.0 * x[at]) / 13.0;
                }
            }
        }
        self.blend(&smooth, factor);
    }

    /// Only the first bits of each pixel.
    pub fn posterize(&mut self, bits: u32) {
        let kept = 0xff_u8 << (8 - bits.clamp(1, 8));
        self.values.iter_mut().for_each(|x| *x = f32::from(*x as u8 & kept));
    }

    /// Pixels from the threshold on inverted.
    pub fn solarize(&mut self, threshold: f32) {
        for x in self.values.iter_mut().filter(|x| **x >= threshold) {
            *x = 255.0 - *x;
        }
    }

    /// Each channel stretched from 0 to 255.
    pub fn autocontrast(&mut self) {
        let count = self.pixels();
        for channel in self.values.chunks_mut(count) {
            let (low, high) =
                channel.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| {
                    (low.min(*x), high.max(*x))
                });
            if high > low {
                for x in channel {
                    *x = (*x - low) * 255.0 / (high - low);
                }
            }
        }
    }

    /// The values of each channel spread evenly.
    pub fn equalize(&mut self) {
        let count = self.pixels();
        for channel in self.values.chunks_mut(count) {
            let mut counts = [0_usize; 256];
            for x in channel.iter() {
                counts[*x as u8 as usize] += 1;
            }
            let last = counts.iter().rev().find(|count| **count > 0).copied().unwrap_or(0);
            let step = (count - last) / 255;
            if step == 0 {
                continue;
            }
            let mut below = 0;
            let table = counts.map(|count| {
                let level = (below + step / 2) / step;
                below += count;
                level.min(255) as f32
            });
            for x in channel {
                *x = table[*x as u8 as usize];
            }
        }
    }
}
