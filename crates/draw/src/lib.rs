#![forbid(unsafe_code)]
//! Pictures: shapes on white that become SVG or PNG, charts of curves, and confusion matrices.
//!
//! ```
//! use rappel_draw::{Axis, Curve, PALETTE, Picture, plot, png};
//! let mut picture = Picture::new(400, 300);
//! let points: Vec<[f64; 2]> = (0..20).map(|i| f64::from(i)).map(|x| [x, x * x]).collect();
//! let x = Axis::around("x", false, points.iter().map(|[x, _]| *x));
//! let y = Axis::around("", false, points.iter().map(|[_, y]| *y));
//! let curve = Curve { name: "square".to_owned(), points, color: PALETTE[0] };
//! plot(&mut picture, [0.0, 300.0], "a parabola", [x, y], &[curve]);
//! assert_eq!(png(&picture)[1..4], *b"PNG");
//! ```

mod axes;
mod matrix;
mod picture;
mod raster;
mod svg;

pub use axes::{Axes, Axis, Curve, plot, sampled};
pub use matrix::confusion_matrix;
pub use picture::{Anchor, BLACK, Color, FAINT, GREY, PALETTE, Picture, Shape, WHITE};
pub use raster::png;
pub use svg::svg;
