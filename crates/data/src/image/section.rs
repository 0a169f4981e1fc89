//! The section `data` of a config that learns classes of images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rappel_config::{ConfigError, Options, Words};
use rappel_tensor::Interpolation;
use rayon::prelude::*;

use super::augment::Augmentation;
use super::decode::decode;
use super::idx::Idx;
use super::listing::{Columns, Listing, tests_in};
#[cfg(feature = "tables")]
use super::parquet;
use super::processing::{ImageProcessing, Normalization};
use super::set::{Image, ImageSet};
use crate::{DataError, Drawing, OnBadRow};

/// How images get their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Resampling {
    /// Straight lines, over all pixels that one covers.
    Bilinear,
    /// Cubic curves, over all pixels that one covers.
    Bicubic,
}

/// The section `data` of a config that learns classes of images.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct ImageConfig {
    /// images: a folder with a folder for each class, a .csv of paths and classes, a .parquet of images' bytes and classes, an
    /// idx file (.gz or not) with its file of labels beside it, or a folder of idx files with MNIST's names
    #[option(aka("folder", "dir", "train", "file"))]
    pub path: PathBuf,
    /// images to validate on, of the same kinds; unset: the t10k files of a folder with MNIST's names, if there are any
    #[option(aka("validation", "val", "test", "validation_file"))]
    pub validation_path: Option<PathBuf>,
    /// share of the images, drawn by the seed, to validate on; unset: 0.1, or 0 where there are others to validate on
    #[option(range = 0.0..1.0, aka("val_fraction", "validation_split", "test_size"))]
    pub validation_fraction: Option<f64>,
    /// names of the classes that are numbers, in order; unset: those in the file, or their numbers
    #[option(aka("class_names"))]
    pub classes: Option<Vec<String>>,
    /// height and width that images get; unset: their own, where all have one
    #[option(range = 1..=4096, aka("size", "resolution", "img_size"))]
    pub image_size: Option<usize>,
    /// 1 for grey, 3 for colours; unset: 1 where all are grey, else 3
    #[option(range = 1..=3, aka("num_channels"))]
    pub channels: Option<usize>,
    /// share of the image, in height and width, of which the middle is kept to validate and predict
    #[option(default = 1.0, range = 0.1..=1.0)]
    pub crop_pct: f64,
    /// validate, and predict later, by the mean of the logits of an image and of its mirror image, for twice the time
    #[option(default = false, aka("tta", "hflip_test"))]
    pub test_flip: bool,
    /// how images get their size
    #[option(default = Resampling::Bilinear, aka("interpolation"))]
    pub resample: Resampling,
    /// statistics that pixels are normalized by; unset: imagenet, or half for grey images
    #[option(aka("normalization"))]
    pub normalize: Option<Normalization>,
    /// column of a .csv that holds paths, relative to its folder; of a .parquet with images' bytes, `image` where unset
    #[option(default = "path".to_owned(), aka("image_column"))]
    pub path_column: String,
    /// column of a .csv or a .parquet that holds classes
    #[option(default = "label".to_owned(), aka("target"))]
    pub label_column: String,
    /// what becomes of images that cannot be read
    #[option(default = OnBadRow::Error)]
    pub on_bad_row: OnBadRow,
    /// What is random about the images that are trained on.
    #[option(flatten)]
    pub augmentation: Augmentation,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

/// What a config's images are.
#[derive(Debug)]
pub struct ReadImages {
    /// Those to train on.
    pub training: ImageSet,
    /// Those to validate on, where they are apart.
    pub validation: Option<ImageSet>,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// What a model reads of them.
    pub processing: ImageProcessing,
}

/// Decoded images.
#[derive(Default)]
pub(super) struct Decoded {
    pub images: Vec<Image>,
    pub labels: Vec<Label>,
    pub skipped: usize,
    /// The names of the classes, where the file says them.
    pub classes: Option<Vec<String>>,
}

/// A class by its number or by its name.
#[derive(Clone)]
pub(super) enum Label {
    Number(usize),
    Name(String),
}

impl ImageConfig {
    fn columns(&self) -> Columns<'_> {
        Columns { path: &self.path_column, label: &self.label_column }
    }

    /// Reads all images of the config.
    ///
    /// # Errors
    /// Files that cannot be read, images that are none, classes that do not fit; what the options say of each other.
    pub fn read(&self) -> Result<ReadImages, DataError> {
        let apart = self.validation_path.clone().or_else(|| tests_in(&self.path));
        if let (Some(path), Some(share)) = (&self.validation_path, self.validation_fraction)
            && share > 0.0
        {
            let reason = format!("{} is to be validated on, too; give one of both", path.display());
            return Err(ConfigError::invalid("data.validation_fraction", reason).into());
        }
        let training = self.decode(&self.path)?;
        let validation = apart.map(|path| self.decode(&path)).transpose()?;
        let classes = self.classes(&training)?;
        let processing = self.processing(&training.images)?;
        let set = |decoded: Decoded, whole: bool| -> Result<ImageSet, DataError> {
            let label = |label: &Label| match label {
                Label::Number(number) if *number < classes.len() => Ok(*number),
                Label::Number(number) => {
                    let (path, count) = (self.path.clone(), classes.len());
                    let reason = format!("a label of {number}, and there are {count} classes");
                    Err(DataError::Image { path, reason })
                }
                Label::Name(name) => classes.binary_search(name).map_err(|_| {
                    let path = self.validation_path.clone().unwrap_or_default();
                    let reason = format!("class `{name}` is not among those trained on");
                    DataError::Image { path, reason }
                }),
            };
            let labels = decoded.labels.iter().map(label).collect::<Result<_, _>>()?;
            let images = decoded.images.into_par_iter();
            let images = images.map(|image| Arc::new(processing.fit(image, whole))).collect();
            let skipped = (decoded.skipped > 0)
                .then(|| format!("{} images that cannot be read were skipped", decoded.skipped));
            Ok(ImageSet { images, labels, details: skipped.into_iter().collect() })
        };
        let whole = self.augmentation.random_resized_crop;
        let mut training = set(training, whole)?;
        let validation = validation.map(|decoded| set(decoded, false)).transpose()?;
        let [height, width] = processing.size;
        let kind = if processing.channels == 1 { "grey" } else { "coloured" };
        training.details.insert(0, format!("{} classes, {kind}, {height}x{width}", classes.len()));
        Ok(ReadImages { training, validation, classes, processing })
    }

    /// The names of the classes: those given, those of the images, sorted, or numbers.
    fn classes(&self, decoded: &Decoded) -> Result<Vec<String>, DataError> {
        let names = decoded.labels.iter().filter_map(|label| match label {
            Label::Name(name) => Some(name.clone()),
            Label::Number(_) => None,
        });
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        let most = decoded.labels.iter().filter_map(|label| match label {
            Label::Number(number) => Some(number + 1),
            Label::Name(_) => None,
        });
        let count = most.max().unwrap_or(0);
        let said = decoded.classes.clone().filter(|said| count > 0 && said.len() >= count);
        let numbered = || (0..count).map(|i| i.to_string()).collect();
        let found = if count > 0 { said.unwrap_or_else(numbered) } else { names };
        let invalid = |reason: String| ConfigError::invalid("data.classes", reason).into();
        let classes = match &self.classes {
            Some(_) if count == 0 => {
                return Err(invalid(
                    "the classes of these images have names, not numbers; leave it out".to_owned(),
                ));
            }
            Some(given) if given.len() < count => {
                return Err(invalid(format!("{} names for {count} classes", given.len())));
            }
            Some(given) => given.clone(),
            None => found,
        };
        if classes.len() < 2 {
            let reason = format!("there is only one class, {classes:?}");
            return Err(DataError::Image { path: self.path.clone(), reason });
        }
        Ok(classes)
    }

    fn processing(&self, images: &[Image]) -> Result<ImageProcessing, DataError> {
        let grey = images.iter().all(|image| image.channels == 1);
        let channels = self.channels.unwrap_or(if grey { 1 } else { 3 });
        if channels == 2 {
            return Err(ConfigError::invalid("data.channels", "expected 1 or 3").into());
        }
        let first = [images[0].height, images[0].width];
        let one = images.iter().all(|image| [image.height, image.width] == first);
        let size = match self.image_size {
            Some(size) => [size; 2],
            None if one => first,
            None => {
                let reason = "images have different sizes; give the size that all get";
                return Err(ConfigError::invalid("data.image_size", reason).into());
            }
        };
        let normal = if channels == 1 { Normalization::Half } else { Normalization::Imagenet };
        let base = ImageProcessing::new(channels, size, self.normalize.unwrap_or(normal));
        let interpolation = match self.resample {
            Resampling::Bilinear => Interpolation::BilinearAntialiased,
            Resampling::Bicubic => Interpolation::BicubicAntialiased,
        };
        let test_flip = self.test_flip;
        Ok(ImageProcessing { crop_pct: self.crop_pct, interpolation, test_flip, ..base })
    }

    /// All images at a path, as they are.
    fn decode(&self, path: &Path) -> Result<Decoded, DataError> {
        let skips = self.on_bad_row == OnBadRow::Skip;
        let decoded = read(
            Listing::of(path, self.columns(), true)?,
            self.columns(),
            true,
            self.channels,
            skips,
        )?;
        if decoded.images.is_empty() {
            let reason = "no image of it can be read".to_owned();
            return Err(DataError::Image { path: path.to_owned(), reason });
        }
        Ok(decoded)
    }
}

/// `columns` and `wanted` are of Parquet, which the feature `tables` reads.
#[cfg_attr(not(feature = "tables"), allow(unused_variables))]
fn read(
    listing: Listing,
    columns: Columns<'_>,
    wanted: bool,
    channels: Option<usize>,
    skips: bool,
) -> Result<Decoded, DataError> {
    match listing {
        #[cfg(feature = "tables")]
        Listing::Parquet(path) => parquet::read(&path, columns, wanted, channels, skips),
        Listing::Files(files) => {
            let found: Vec<_> = files.par_iter().map(|(path, _)| decode(path, channels)).collect();
            let (mut images, mut labels, mut skipped) = (Vec::new(), Vec::new(), 0);
            for (image, (_, class)) in found.into_iter().zip(files) {
                match image {
                    Ok(image) => {
                        images.push(image);
                        labels.push(Label::Name(class.unwrap_or_default()));
                    }
                    Err(_) if skips => skipped += 1,
                    Err(error) => return Err(error),
                }
            }
            Ok(Decoded { images, labels, skipped, classes: None })
        }
        Listing::Idx { images: path, labels } => {
            let images = Idx::read(&path, &[3, 4])?;
            let (count, channels, [height, width]) = match images.sizes[..] {
                [count, height, width] => (count, 1, [height, width]),
                [count, channels, height, width] => (count, channels, [height, width]),
                _ => unreachable!("an idx file of 3 or 4 dimensions"),
            };
            let numbers = match &labels {
                None => vec![0; count],
                Some(path) => Idx::read(path, &[1])?.bytes,
            };
            if numbers.len() != count || !matches!(channels, 1 | 3) || height * width == 0 {
                let reason =
                    format!("{} labels for images of sizes {:?}", numbers.len(), images.sizes);
                return Err(DataError::Image { path, reason });
            }
            let pixels = images.bytes.chunks_exact(channels * height * width);
            let images =
                pixels.map(|pixels| Image { channels, height, width, pixels: pixels.to_vec() });
            let images = images.collect();
            let labels = numbers.into_iter().map(|label| Label::Number(usize::from(label)));
            Ok(Decoded { images, labels: labels.collect(), ..Decoded::default() })
        }
    }
}

/// The columns of files to predict or to evaluate on.
const COLUMNS: Columns<'_> = Columns { path: "path", label: "label" };

/// Images to predict or to evaluate on, as a model reads them.
impl ImageProcessing {
    /// The images of a folder, in any folders, of an idx file, a .csv or an image file, and where each is from: a path, or a
    /// number in its file.
    ///
    /// # Errors
    /// Files that cannot be read, images that are none.
    pub fn read(&self, path: &Path) -> Result<(Vec<Arc<Image>>, Vec<String>), DataError> {
        let listing = Listing::of(path, COLUMNS, false)?;
        let names = if let Listing::Files(files) = &listing {
            files.iter().map(|(path, _)| path.display().to_string()).collect()
        } else {
            Vec::new()
        };
        let decoded = read(listing, COLUMNS, false, Some(self.channels), false)?;
        let names = if names.is_empty() {
            (0..decoded.images.len()).map(|i| i.to_string()).collect()
        } else {
            names
        };
        let images = decoded.images.into_par_iter();
        Ok((images.map(|image| Arc::new(self.fit(image, false))).collect(), names))
    }

    /// Images with their classes, by the names of `classes`, or by number for idx files.
    ///
    /// # Errors
    /// As [`Self::read`]; a class that is not among `classes`.
    pub fn read_labelled(&self, path: &Path, classes: &[String]) -> Result<ImageSet, DataError> {
        let listing = Listing::of(path, COLUMNS, true)?;
        let decoded = read(listing, COLUMNS, true, Some(self.channels), false)?;
        let label = |label: &Label| {
            let found = match label {
                Label::Number(number) => (*number < classes.len()).then_some(*number),
                Label::Name(name) => classes.iter().position(|class| class == name),
            };
            found.ok_or_else(|| {
                let name = match label {
                    Label::Number(number) => number.to_string(),
                    Label::Name(name) => name.clone(),
                };
                let reason = format!("class `{name}` is not among those of the model");
                DataError::Image { path: path.to_owned(), reason }
            })
        };
        let labels = decoded.labels.iter().map(label).collect::<Result<_, _>>()?;
        let images = decoded.images.into_par_iter();
        let images = images.map(|image| Arc::new(self.fit(image, false))).collect();
        Ok(ImageSet { images, labels, details: Vec::new() })
    }
}
