//! Images as they are trained on, side by side.

use std::sync::Arc;

use rappel_data::{Augmentation, Image, ImageProcessing, ImageSet};
use rappel_draw::{Anchor, BLACK, GREY, Picture};
use rappel_tensor::{DType, Key};

use crate::Pass;

/// Images of a sheet, a row each.
const ROWS: usize = 8;
/// Versions of each, beside the image as validations see it.
const VERSIONS: usize = 7;
/// Pixels of the longer side of an image on the sheet, at least about.
const SIDE: usize = 96;
const GAP: usize = 6;
const LINE: usize = 18;

/// Images from all over `images`, each as validations see it and as the first steps would see it.
pub(crate) fn contact_sheet(
    images: &ImageSet,
    classes: &[String],
    processing: &ImageProcessing,
    augmentation: &Augmentation,
    seed: u64,
) -> Picture {
    let count = images.labels.len();
    let rows: Vec<usize> = (0..count.min(ROWS)).map(|row| row * count / count.min(ROWS)).collect();
    let [height, width] = processing.size;
    let scale = SIDE.div_ceil(height.max(width)).max(1);
    let [high, wide] = [height * scale, width * scale];
    let sheet_width = GAP + (1 + VERSIONS) * (wide + GAP);
    let mut picture = Picture::new(sheet_width, LINE + rows.len() * (high + LINE) + GAP);
    let middle = LINE as f64 / 2.0;
    picture.text([GAP as f64, middle], "as validated", GREY, Anchor::Start);
    let at_step = "in steps 1, 2, ..";
    picture.text([(2 * GAP + wide) as f64, middle], at_step, GREY, Anchor::Start);
    let mut put = |row: usize, column: usize, values: &[f32]| {
        let at = [GAP + column * (wide + GAP), LINE + row * (high + LINE)];
        picture.image(at.map(|x| x as f64), width, scale, processing.colours(values));
    };
    let chosen: Vec<(usize, Arc<Image>)> =
        rows.iter().map(|at| (*at, images.images[*at].clone())).collect();
    let numbers = processing.channels * height * width;
    let middles: Vec<Arc<Image>> = images.select(&rows).middles(processing.size).images;
    let plain = processing.tensor(middles.iter(), DType::F32).to_vec::<f32>();
    for (row, values) in plain.chunks(numbers).enumerate() {
        put(row, 0, values);
    }
    for step in 0..VERSIONS {
        let key = augment_key(Pass::key(seed, step as u64, 0));
        let random = augmentation.tensor(processing, &chosen, DType::F32, key);
        for (row, values) in random.to_vec::<f32>().chunks(numbers).enumerate() {
            put(row, 1 + step, values);
        }
    }
    for (row, at) in rows.iter().enumerate() {
        let y = (LINE + row * (high + LINE) + high) as f64 + middle - 1.0;
        picture.text([GAP as f64, y], &classes[images.labels[*at]][..], BLACK, Anchor::Start);
    }
    picture
}

/// What random versions of a pass's images are drawn from.
pub(super) fn augment_key(pass: Key) -> Key {
    pass.with_name("augment")
}
