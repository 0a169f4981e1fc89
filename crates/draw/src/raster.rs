//! Pictures as pixels.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::mono_font::iso_8859_1::FONT_7X13;
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Dimensions, DrawTarget, Drawable, OriginDimensions, Point, Size};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

use crate::picture::{Anchor, Color, Picture, Shape};

const FONT: &MonoFont = &FONT_7X13;
/// Width and height of a letter in pixels.
pub const LETTER: [usize; 2] = [7, 13];

/// The bytes of a PNG file.
pub fn png(picture: &Picture) -> Vec<u8> {
    let pixels = Pixels::of(picture);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width as u32, pixels.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels.colors.as_flattened())?;
        writer.finish()
    });
    written.expect("a picture of its own size goes into memory");
    bytes
}

struct Pixels {
    width: usize,
    height: usize,
    colors: Vec<Color>,
}

impl Pixels {
    fn of(picture: &Picture) -> Self {
        let (width, height) = (picture.width, picture.height);
        let mut pixels = Self { width, height, colors: vec![[0; 3]; width * height] };
        for shape in &picture.shapes {
            pixels.draw(shape);
        }
        pixels
    }

    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Line { points, color, width } => {
                // All pieces at once, so that where they meet nothing is laid on twice.
                let ends: Vec<_> = points.windows(2).map(|ends| (ends[0], ends[1])).collect();
                self.strokes(&ends, width / 2.0, *color);
            }
            Shape::Dot { at, radius, color } => self.strokes(&[(*at, *at)], *radius, *color),
            Shape::Rect { at: [x, y], size: [width, height], color } => {
                for row in self.rows(*y, y + height) {
                    for column in self.columns(*x, x + width) {
                        self.colors[row * self.width + column] = *color;
                    }
                }
            }
            Shape::Image { at: [x, y], width, scale, colors } => {
                let side = *scale as f64;
                for (row, colors) in colors.chunks((*width).max(1)).enumerate() {
                    for (column, color) in colors.iter().enumerate() {
                        let at = [x + column as f64 * side, y + row as f64 * side];
                        self.draw(&Shape::Rect { at, size: [side; 2], color: *color });
                    }
                }
            }
            Shape::Text { at: [x, y], text, color: [red, green, blue], anchor } => {
                let style = MonoTextStyle::new(FONT, Rgb888::new(*red, *green, *blue));
                let alignment = match anchor {
                    Anchor::Start => Alignment::Left,
                    Anchor::Middle => Alignment::Center,
                    Anchor::End => Alignment::Right,
                };
                let placed = TextStyleBuilder::new().alignment(alignment);
                let placed = placed.baseline(Baseline::Middle).build();
                let point = Point::new(x.round() as i32, y.round() as i32);
                let Ok(_) = Text::with_text_style(text, point, style, placed).draw(self);
            }
        }
    }

    fn rows(&self, from: f64, to: f64) -> std::ops::Range<usize> {
        span(from, to, self.height)
    }

    fn columns(&self, from: f64, to: f64) -> std::ops::Range<usize> {
        span(from, to, self.width)
    }

    /// Lays `color` on where a pixel is nearer to one of the pieces than `radius`, the less the more
    /// it lies on the edge.
    fn strokes(&mut self, pieces: &[([f64; 2], [f64; 2])], radius: f64, color: Color) {
        let mut cover = std::collections::BTreeMap::new();
        for &(a, b) in pieces {
            if !a.iter().chain(&b).all(|value| value.is_finite()) {
                continue;
            }
            let reach = radius + 1.0;
            for row in self.rows(a[1].min(b[1]) - reach, a[1].max(b[1]) + reach) {
                for column in self.columns(a[0].min(b[0]) - reach, a[0].max(b[0]) + reach) {
                    let away = distance([column as f64 + 0.5, row as f64 + 0.5], a, b);
                    let part = (radius + 0.5 - away).clamp(0.0, 1.0);
                    let most: &mut f64 = cover.entry(row * self.width + column).or_insert(0.0);
                    *most = most.max(part);
                }
            }
        }
        for (pixel, part) in cover {
            for (old, new) in self.colors[pixel].iter_mut().zip(color) {
                *old = (f64::from(*old) * (1.0 - part) + f64::from(new) * part).round() as u8;
            }
        }
    }
}

/// The pixels from `from` to `to`, of `size`.
fn span(from: f64, to: f64, size: usize) -> std::ops::Range<usize> {
    let most = size as f64;
    from.round().clamp(0.0, most) as usize..to.round().clamp(0.0, most) as usize
}

/// How far `p` is from the piece of line from `a` to `b`.
fn distance(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let (along, to) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length = along[0] * along[0] + along[1] * along[1];
    let part = if length > 0.0 { (along[0] * to[0] + along[1] * to[1]) / length } else { 0.0 };
    let part = part.clamp(0.0, 1.0);
    (to[0] - part * along[0]).hypot(to[1] - part * along[1])
}

impl OriginDimensions for Pixels {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

/// What text is drawn on.
impl DrawTarget for Pixels {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        use embedded_graphics::pixelcolor::RgbColor;
        let bounds = self.bounding_box();
        for Pixel(point, color) in pixels {
            if bounds.contains(point) {
                let place = point.y as usize * self.width + point.x as usize;
                self.colors[place] = [color.r(), color.g(), color.b()];
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_its_pixels_and_no_others() {
        let mut picture = Picture::new(8, 6);
        picture.line(vec![[0.0, 2.5], [8.0, 2.5]], [10, 20, 30], 1.0);
        let pixels = Pixels::of(&picture);
        for (place, color) in pixels.colors.iter().enumerate() {
            let expected = if place / 8 == 2 { [10, 20, 30] } else { [255; 3] };
            assert_eq!(*color, expected, "{place}");
        }
    }

    #[test]
    fn a_file_holds_the_pixels_and_shapes_may_stand_outside() {
        let mut picture = Picture::new(30, 20);
        picture.line(vec![[-100.0, -50.0], [100.0, 60.0], [f64::NAN, 0.0]], [200, 0, 0], 2.0);
        picture.text([29.0, 10.0], "outside", [0, 0, 0], Anchor::Start);
        picture.dot([1000.0, 3.0], 5.0, [1, 2, 3]);
        let bytes = png(&picture);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut back = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut back).unwrap();
        assert_eq!((info.width, info.height), (30, 20));
        assert_eq!(back, Pixels::of(&picture).colors.as_flattened());
        assert!(back.chunks_exact(3).any(|color| color == [200, 0, 0]));
    }
}
