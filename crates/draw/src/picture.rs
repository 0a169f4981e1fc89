//! Pictures: shapes on white.

/// Red, green, blue.
pub type Color = [u8; 3];

/// The color of titles.
pub const BLACK: Color = [0, 0, 0];
/// The paper.
pub const WHITE: Color = [255, 255, 255];
/// The color of axes.
pub const GREY: Color = [110, 110, 110];
/// Lines that only guide the eye.
pub const FAINT: Color = [225, 225, 225];
/// Colors that keep curves apart, also for those who do not see all colors (Okabe and Ito's).
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
    Line {
        /// The points.
        points: Vec<[f64; 2]>,
        /// Their color.
        color: Color,
        /// In pixels.
        width: f64,
    },
    /// A filled circle.
    Dot {
        /// Its middle.
        at: [f64; 2],
        /// In pixels.
        radius: f64,
        /// Its color.
        color: Color,
    },
    /// A filled rectangle, from its left upper corner.
    Rect {
        /// That corner.
        at: [f64; 2],
        /// Width and height.
        size: [f64; 2],
        /// Its color.
        color: Color,
    },
    /// Pixels, each a square.
    Image {
        /// The left upper corner.
        at: [f64; 2],
        /// Pixels of a row.
        width: usize,
        /// The side of a square.
        scale: usize,
        /// The colors, row by row.
        colors: Vec<Color>,
    },
    /// A line of text, its middle at the height of the point.
    Text {
        /// The point.
        at: [f64; 2],
        /// The text.
        text: String,
        /// Its color.
        color: Color,
        /// Where it lies about the point.
        anchor: Anchor,
    },
}

/// Shapes on white, the later ones over the earlier.
#[derive(Debug, Clone)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// In the order in which they are drawn.
    pub shapes: Vec<Shape>,
}

impl Picture {
    /// An empty picture.
    pub fn new(width: usize, height: usize) -> Self {
        let paper =
            Shape::Rect { at: [0.0, 0.0], size: [width as f64, height as f64], color: WHITE };
        Self { width, height, shapes: vec![paper] }
    }

    /// A line of text.
    pub fn text(&mut self, at: [f64; 2], text: impl Into<String>, color: Color, anchor: Anchor) {
        self.shapes.push(Shape::Text { at, text: text.into(), color, anchor });
    }

    /// Pixels, row by row, `width` in each, as squares of side `scale`.
    pub fn image(&mut self, at: [f64; 2], width: usize, scale: usize, colors: Vec<Color>) {
        self.shapes.push(Shape::Image { at, width, scale, colors });
    }

    /// Straight lines from point to point.
    pub fn line(&mut self, points: Vec<[f64; 2]>, color: Color, width: f64) {
        self.shapes.push(Shape::Line { points, color, width });
    }

    /// A filled circle.
    pub fn dot(&mut self, at: [f64; 2], radius: f64, color: Color) {
        self.shapes.push(Shape::Dot { at, radius, color });
    }

    /// A filled rectangle, from its left upper corner.
    pub fn rect(&mut self, at: [f64; 2], size: [f64; 2], color: Color) {
        self.shapes.push(Shape::Rect { at, size, color });
    }
}
