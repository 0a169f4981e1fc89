//! How a convolution is cut: functions of its sizes alone, so that sums have one order.

use std::ops::Range;

use crate::kernels::args::Convolution;

/// Places of the output whose columns are made at a time.
const PLACES: usize = 256;
/// Rows of a block of columns: one block of the product's depth, and the second-level cache has room.
const ROWS: usize = 384;
/// Parts of a weight's gradient that are summed apart.
const PARTS: usize = 16;

/// Images and rows of the output whose columns are made together.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub images: Range<usize>,
    /// Of the output; all of them where there are several images.
    pub rows: Range<usize>,
}

/// Choices that follow from the sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Input channels of a group whose columns are made at a time.
    pub channels: usize,
    /// Images of a piece.
    pub images: usize,
    /// Rows of the output of a piece.
    rows: usize,
    batch: usize,
    height: usize,
    /// Whether the input itself is the matrix of columns.
    pub direct: bool,
}

impl Blocks {
    pub fn new(conv: &Convolution) -> Self {
        let images = (PLACES / conv.places()).clamp(1, conv.batch);
        let most = (PLACES / conv.out[1]).clamp(1, conv.out[0]);
        let rows = if images > 1 { conv.out[0] } else { even(conv.out[0], most) };
        let plain = conv.taps() == 1 && conv.stride == [1, 1] && conv.padding == [0, 0];
        let direct = plain && images == 1;
        let channels = conv.group_inputs();
        // A row of the output may be longer than a piece.
        let most = ROWS * PLACES / (conv.out[1] * rows * images).max(PLACES) / conv.taps();
        let channels = if direct { channels } else { even(channels, most.clamp(1, channels)) };
        Self { channels, images, rows, batch: conv.batch, height: conv.out[0], direct }
    }

    /// Pieces of a block of images.
    pub fn row_pieces(&self) -> usize {
        self.height.div_ceil(self.rows)
    }

    /// Blocks of images.
    pub fn image_blocks(&self) -> usize {
        self.batch.div_ceil(self.images)
    }

    /// Piece `index` of a block of images.
    pub fn piece(&self, block: usize, index: usize) -> Piece {
        let (first, row) = (block * self.images, index * self.rows);
        Piece {
            images: first..(first + self.images).min(self.batch),
            rows: row..(row + self.rows).min(self.height),
        }
    }

    /// The largest piece's places of the output.
    pub fn places(&self, conv: &Convolution) -> usize {
        self.images * self.rows * conv.out[1]
    }

    /// Blocks of a group's channels.
    pub fn channel_blocks(&self, conv: &Convolution) -> usize {
        conv.group_inputs().div_ceil(self.channels)
    }

    /// The channels of a block.
    pub fn block(&self, conv: &Convolution, index: usize) -> Range<usize> {
        index * self.channels..((index + 1) * self.channels).min(conv.group_inputs())
    }

    /// Parts of the batch whose gradients of the weight are summed apart.
    pub fn parts(&self, conv: &Convolution) -> usize {
        let others = conv.groups * self.channel_blocks(conv);
        (PARTS / others).clamp(1, self.image_blocks())
    }
}

/// `n` in parts of one size, none larger than `most`.
fn even(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most))
}
