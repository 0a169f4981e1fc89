//! Pictures: curves in a terminal, and shapes that become SVG or PNG files.

mod axes;
mod contour;
mod raster;
mod svg;
pub mod terminal;

use std::path::Path;

use anyhow::bail;
use rappel_files::Destination;

pub use axes::{Axes, Axis, Curve, plot};
pub use contour::Grid;

/// Red, green, blue.
pub type Color = [u8; 3];

pub const BLACK: Color = [0, 0, 0];
pub const GREY: Color = [110, 110, 110];
/// Lines that only guide the eye.
pub const FAINT: Color = [225, 225, 225];
/// Colors that tell curves apart, also for those who do not see all colors (Okabe and Ito's).
pub const PALETTE: [Color; 7] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [90, 90, 90],
];

/// Where a text lies about its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// Something drawn; x goes right and y down, in pixels.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Straight lines from point to point.
    Line { points: Vec<[f64; 2]>, color: Color, width: f64 },
    /// A filled circle.
    Dot { at: [f64; 2], radius: f64, color: Color },
    /// A filled rectangle, from its left upper corner.
    Rect { at: [f64; 2], size: [f64; 2], color: Color },
    /// A line of text, its middle at the height of the point.
    Text { at: [f64; 2], text: String, color: Color, anchor: Anchor },
}

/// Shapes on white, the later ones over the earlier.
#[derive(Debug, Clone)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    pub shapes: Vec<Shape>,
}

impl Picture {
    pub fn new(width: usize, height: usize) -> Self {
        let paper = Shape::Rect {
            at: [0.0, 0.0],
            size: [width as f64, height as f64],
            color: [255, 255, 255],
        };
        Self { width, height, shapes: vec![paper] }
    }

    pub fn text(&mut self, at: [f64; 2], text: impl Into<String>, color: Color, anchor: Anchor) {
        self.shapes.push(Shape::Text { at, text: text.into(), color, anchor });
    }

    pub fn line(&mut self, points: Vec<[f64; 2]>, color: Color, width: f64) {
        self.shapes.push(Shape::Line { points, color, width });
    }

    pub fn dot(&mut self, at: [f64; 2], radius: f64, color: Color) {
        self.shapes.push(Shape::Dot { at, radius, color });
    }

    /// Writes a file of the kind that its name ends in: `.svg` or `.png`. A picture that was there stays
    /// until the new one is complete.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let bytes = match kind(path)? {
            Kind::Png => raster::png(self),
            Kind::Svg => svg::svg(self).into_bytes(),
        };
        Ok(Destination::of(path)?.write(|out| out.write_all(&bytes))?)
    }
}

/// What a picture's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Png,
    Svg,
}

/// The kind of picture that a file's name asks for: to refuse a wrong one before any work.
pub fn kind(path: &Path) -> anyhow::Result<Kind> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("png") => Ok(Kind::Png),
        Some("svg") => Ok(Kind::Svg),
        _ => bail!("{}: a picture's name ends in .png or .svg", path.display()),
    }
}
