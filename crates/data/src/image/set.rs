//! Images in memory, as a dataset.

use std::sync::Arc;

use rappel_files::hex;
use sha2::{Digest, Sha256};

use crate::Dataset;

/// An image: bytes, channel by channel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[channels, height, width]`
    pub pixels: Vec<u8>,
}

/// Images with their classes.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// The images.
    pub images: Vec<Arc<Image>>,
    /// The number of each image's class.
    pub labels: Vec<usize>,
    /// What was done beyond reading, and what there is to know, in words.
    pub details: Vec<String>,
}

/// Images that a forward pass reads.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// The images, each with its number in the set.
    pub images: Vec<(usize, Arc<Image>)>,
    /// The numbers of their classes, `[images]`.
    pub labels: Vec<i64>,
}

impl ImageSet {
    /// The middle, of this size, of each image.
    #[must_use]
    pub fn middles(self, size: [usize; 2]) -> Self {
        let middle = |image: Arc<Image>| {
            if [image.height, image.width] == size {
                return image;
            }
            Arc::new(Arc::unwrap_or_clone(image).middle(size))
        };
        Self { images: self.images.into_iter().map(middle).collect(), ..self }
    }

    /// Some of the images, in this order.
    #[must_use]
    pub fn select(&self, chosen: &[usize]) -> Self {
        Self {
            images: chosen.iter().map(|i| self.images[*i].clone()).collect(),
            labels: chosen.iter().map(|i| self.labels[*i]).collect(),
            details: self.details.clone(),
        }
    }
}

impl Dataset for ImageSet {
    type Batch = ImageBatch;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn batch(&self, samples: &[usize]) -> ImageBatch {
        ImageBatch {
            images: samples.iter().map(|i| (*i, self.images[*i].clone())).collect(),
            labels: samples.iter().map(|i| self.labels[*i] as i64).collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "images"
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (image, label) in self.images.iter().zip(&self.labels) {
            for size in [image.channels, image.height, image.width, *label] {
                hash.update((size as u64).to_le_bytes());
            }
            hash.update(&image.pixels);
        }
        hex(&hash.finalize())
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
