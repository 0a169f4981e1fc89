//! Pictures as SVG.

use std::fmt::Write;

use crate::picture::{Anchor, Color, Picture, Shape};
use crate::raster::LETTER;

/// The text of an SVG file.
pub fn svg(picture: &Picture) -> String {
    let (width, height) = (picture.width, picture.height);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"{}\">\n",
        LETTER[1],
    );
    for shape in &picture.shapes {
        text += &element(shape);
        text.push('\n');
    }
    text + "</svg>\n"
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Line { points, color, width } => {
            let mut list = String::new();
            for [x, y] in points {
                let _ = write!(list, "{x:.2},{y:.2} ");
            }
            format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" \
                 stroke-linejoin=\"round\"/>",
                list.trim_end(),
                hex(*color)
            )
        }
        Shape::Dot { at: [x, y], radius, color } => {
            format!("<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius}\" fill=\"{}\"/>", hex(*color))
        }
        Shape::Rect { at: [x, y], size: [width, height], color } => format!(
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{}\"/>",
            hex(*color)
        ),
        Shape::Image { at: [x, y], width, scale, colors } => {
            let square = |(i, color): (usize, &Color)| {
                let (row, column) = (i / (*width).max(1), i % (*width).max(1));
                let at = [x + (column * scale) as f64, y + (row * scale) as f64];
                element(&Shape::Rect { at, size: [*scale as f64; 2], color: *color })
            };
            colors.iter().enumerate().map(square).collect()
        }
        Shape::Text { at: [x, y], text, color, anchor } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            format!(
                "<text x=\"{x:.2}\" y=\"{y:.2}\" fill=\"{}\" text-anchor=\"{anchor}\" \
                 dominant-baseline=\"central\">{}</text>",
                hex(*color),
                text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
            )
        }
    }
}

fn hex([red, green, blue]: Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_an_element_and_text_is_escaped() {
        let mut picture = Picture::new(30, 20);
        picture.line(vec![[1.0, 2.0], [3.5, 4.0]], [255, 0, 16], 1.5);
        picture.text([5.0, 6.0], "a < b & c", [0, 0, 0], Anchor::End);
        let text = svg(&picture);
        assert!(text.contains("<polyline points=\"1.00,2.00 3.50,4.00\""), "{text}");
        assert!(text.contains("stroke=\"#ff0010\"") && text.contains("text-anchor=\"end\""));
        assert!(text.contains(">a &lt; b &amp; c</text>") && text.ends_with("</svg>\n"));
    }
}
