//! Between images and the matrix of columns: `[channel and tap, place of the output]`.

use super::blocks::Piece;
use super::plane::{Plane, add, copy};
use crate::kernels::args::Convolution;
use crate::real::{Kernel, Simd, Stored};

/// Moves between some channels of a piece's images and their columns.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T> {
    pub conv: &'a Convolution,
    pub piece: &'a Piece,
    /// The first of the channels, in the first image of the batch.
    pub x: *mut T,
    pub channels: usize,
    /// The first column.
    pub columns: *mut T,
    /// From a row of columns to the next.
    pub row: usize,
    /// Room for a [`Plane`] of the piece's rows.
    pub plane: *mut T,
}

/// Writes the columns.
pub(super) struct Gather<'a, T>(pub Columns<'a, T>);

/// Adds the columns to the images.
pub(super) struct Scatter<'a, T>(pub Columns<'a, T>);

impl<T> Columns<'_, T> {
    /// Calls `channel` with the place of each channel, and of the columns of its first tap.
    #[inline(always)]
    fn each_channel(&self, mut channel: impl FnMut(*mut T, *mut T)) {
        let places = self.piece.rows.len() * self.conv.out[1];
        for (i, image) in self.piece.images.clone().enumerate() {
            for c in 0..self.channels {
                let x = (image * self.conv.inputs + c) * self.conv.pixels();
                let columns = c * self.conv.taps() * self.row + i * places;
                channel(self.x.wrapping_add(x), self.columns.wrapping_add(columns));
            }
        }
    }

    fn plane(&self) -> Plane {
        Plane::new(self.conv, self.piece.rows.start, self.piece.rows.len())
    }

    /// Calls `row` with where each tap finds each row of the output in the plane, and that row's place
    /// after the columns of the first tap.
    #[inline(always)]
    fn each_row(&self, plane: &Plane, mut row: impl FnMut(usize, usize)) {
        let ([height, width], out) = (self.conv.kernel, self.conv.out[1]);
        for tap in 0..height * width {
            let at = plane.at(tap / width, tap % width);
            for r in 0..self.piece.rows.len() {
                row(at + r * plane.step(), tap * self.row + r * out);
            }
        }
    }
}

impl<T: Stored> Kernel for Gather<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (this, plane, out) = (self.0, self.0.plane(), self.0.conv.out[1]);
        // SAFETY: whoever made the columns vouches for images, columns and the plane's room.
        this.each_channel(|x, columns| unsafe {
            plane.pack::<T, S>(x, this.plane);
            this.each_row(&plane, |from, to| {
                copy::<T, S>(this.plane.add(from), columns.add(to), out);
            });
        });
    }
}

impl<T: Stored> Kernel for Scatter<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (this, plane, out) = (self.0, self.0.plane(), self.0.conv.out[1]);
        // SAFETY: as in `Gather`.
        this.each_channel(|x, columns| unsafe {
            std::slice::from_raw_parts_mut(this.plane, plane.count()).fill(T::from_f64(0.0));
            this.each_row(&plane, |to, from| {
                add::<T, S>(columns.add(from), this.plane.add(to), out);
            });
            plane.add_to::<T, S>(this.plane, x);
        });
    }
}
