//! Pictures in files, and curves in a terminal.

mod contour;
pub mod terminal;

use std::path::Path;

use anyhow::bail;
use rappel_files::Destination;

pub use contour::Grid;
pub use rappel_draw::{
    Anchor, Axes, Axis, BLACK, Color, Curve, GREY, PALETTE, Picture, plot, sampled,
};

/// Writes a file of the kind that its name ends in: `.svg` or `.png`. A picture that was there stays until
/// the new one is complete.
pub fn save(picture: &Picture, path: &Path) -> anyhow::Result<()> {
    let bytes = match kind(path)? {
        Kind::Png => rappel_draw::png(picture),
        Kind::Svg => rappel_draw::svg(picture).into_bytes(),
    };
    Ok(Destination::of(path)?.write(|out| out.write_all(&bytes))?)
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
