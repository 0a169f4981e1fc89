//! Pictures of numbers, and maps of their places.

use rappel_tensor::{Interpolation, Tensor, interpolate, no_grad};

/// A picture whose pixels are numbers from 0 to 255: `[channels, height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub values: Vec<f32>,
}

impl Picture {
    /// Pixels of a channel.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Left and right changed about.
    pub fn flip(&mut self) {
        self.values.chunks_mut(self.width).for_each(<[f32]>::reverse);
    }

    /// The part from `top` and `left` on, black where that is outside.
    pub fn crop(&self, [top, left]: [isize; 2], [height, width]: [usize; 2]) -> Self {
        let mut values = vec![0.0; self.channels * height * width];
        for (row, to) in values.chunks_mut(width).enumerate() {
            let (channel, y) = (row / height, (row % height) as isize + top);
            let Ok(y) = usize::try_from(y) else { continue };
            if y >= self.height {
                continue;
            }
            let from = &self.values[(channel * self.height + y) * self.width..][..self.width];
            let start = left.max(0) as usize;
            let skipped = (start as isize - left) as usize;
            for (to, from) in to.iter_mut().skip(skipped).zip(from.iter().skip(start)) {
                *to = *from;
            }
        }
        Self { channels: self.channels, height, width, values }
    }

    /// The picture in another size.
    pub fn resized(self, [height, width]: [usize; 2], kind: Interpolation) -> Self {
        if [self.height, self.width] == [height, width] {
            return self;
        }
        let x = Tensor::from_slice(&self.values, [1, self.channels, self.height, self.width]);
        let values = no_grad(|| interpolate(&x, [height, width], kind, false)).to_vec::<f32>();
        Self { channels: self.channels, height, width, values }
    }

    /// Each place takes the nearest pixel of where `[[a, b], [c, d]]`, around the middle, leads it, moved by `shift`; black
    /// where that is outside. Rows come before columns.
    pub fn mapped(&mut self, [[a, b], [c, d]]: [[f64; 2]; 2], shift: [f64; 2]) {
        let middle = [self.height, self.width].map(|size| (size as f64 - 1.0) / 2.0);
        let count = self.pixels();
        let old = std::mem::replace(&mut self.values, vec![0.0; self.channels * count]);
        for place in 0..count {
            let y = (place / self.width) as f64 - middle[0];
            let x = (place % self.width) as f64 - middle[1];
            let from_y = (a * y + b * x + middle[0] + shift[0]).round();
            let from_x = (c * y + d * x + middle[1] + shift[1]).round();
            let inside = from_y >= 0.0
                && from_x >= 0.0
                && from_y < self.height as f64
                && from_x < self.width as f64;
            if inside {
                let from = from_y as usize * self.width + from_x as usize;
                for channel in 0..self.channels {
                    self.values[channel * count + place] = old[channel * count + from];
                }
            }
        }
    }
}
