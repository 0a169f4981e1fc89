//! A channel of an image with its padding, laid out so that every tap reads whole rows.

use crate::kernels::args::Convolution;
use crate::real::{Lanes, Simd, Stored};

/// The padded rows of a channel that some rows of the output read.
///
/// Columns are sorted by their remainder by the stride, so that what one tap of the kernel reads for
/// a row of the output lies side by side, whatever the stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    /// The row of the input that is the plane's first; below zero in the padding.
    first: isize,
    rows: usize,
    /// Columns of one remainder.
    width: usize,
    /// Columns that are read.
    columns: usize,
    size: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: usize,
}

impl Plane {
    /// The rows that rows `first..first + rows` of the output read.
    pub fn new(conv: &Convolution, first: usize, rows: usize) -> Self {
        let reach = |axis: usize, n: usize| {
            (n - 1) * conv.stride[axis] + (conv.kernel[axis] - 1) * conv.dilation[axis] + 1
        };
        let columns = reach(1, conv.out[1]);
        Self {
            first: (first * conv.stride[0]) as isize - conv.padding[0] as isize,
            rows: reach(0, rows),
            width: columns.div_ceil(conv.stride[1]),
            columns,
            size: conv.size,
            stride: conv.stride,
            dilation: conv.dilation,
            padding: conv.padding[1],
        }
    }

    /// Elements of a row, all remainders.
    fn row(&self) -> usize {
        self.width * self.stride[1]
    }

    /// Elements of the plane.
    pub fn count(&self) -> usize {
        self.rows * self.row()
    }

    /// From what a tap reads for a row of the output to what it reads for the next.
    pub fn step(&self) -> usize {
        self.row() * self.stride[0]
    }

    /// Where a tap of the kernel reads for the first place of the output.
    pub fn at(&self, y: usize, x: usize) -> usize {
        let column = x * self.dilation[1];
        let (remainder, index) = (column % self.stride[1], column / self.stride[1]);
        y * self.dilation[0] * self.row() + remainder * self.width + index
    }

    /// Calls `inside` with each plane row that is a row of the image, and `outside` with the others.
    #[inline(always)]
    fn each_row(&self, mut inside: impl FnMut(usize, usize), mut outside: impl FnMut(usize)) {
        for r in 0..self.rows {
            match usize::try_from(self.first + r as isize) {
                Ok(y) if y < self.size[0] => inside(r, y),
                _ => outside(r),
            }
        }
    }

    /// For a remainder, which of its columns lie in the image, and the image's column of the first.
    #[inline(always)]
    fn inside(&self, remainder: usize) -> (usize, usize, usize) {
        let stride = self.stride[1];
        let from = self.padding.saturating_sub(remainder).div_ceil(stride);
        let last = (self.padding + self.size[1]).min(self.columns);
        let to = last.saturating_sub(remainder).div_ceil(stride).max(from);
        (from, to, from * stride + remainder - self.padding)
    }

    /// Copies the channel at `x` into the plane at `to`.
    ///
    /// # Safety
    /// `x` is a whole channel, `to` has room for [`Self::count`].
    #[inline(always)]
    pub unsafe fn pack<T: Stored, S: Simd>(&self, x: *const T, to: *mut T) {
        let stride = self.stride[1];
        let zero = T::from_f64(0.0);
        // SAFETY: rows and columns that are written lie in the plane, those that are read in the image.
        unsafe {
            self.each_row(
                |r, y| {
                    let (x, to) = (x.add(y * self.size[1]), to.add(r * self.row()));
                    for remainder in 0..stride {
                        let (from, end, column) = self.inside(remainder);
                        let to = to.add(remainder * self.width);
                        (0..from.min(self.width)).for_each(|i| *to.add(i) = zero);
                        if stride == 1 {
                            copy::<T, S>(x.wrapping_add(column), to.wrapping_add(from), end - from);
                        } else {
                            for i in from..end {
                                *to.add(i) = *x.add(column + (i - from) * stride);
                            }
                        }
                        (end..self.width).for_each(|i| *to.add(i) = zero);
                    }
                },
                |r| std::slice::from_raw_parts_mut(to.add(r * self.row()), self.row()).fill(zero),
            );
        }
    }

    /// Adds the plane at `from` to the channel at `x`; what lies in the padding is dropped.
    ///
    /// # Safety
    /// As [`Self::pack`].
    #[inline(always)]
    pub unsafe fn add_to<T: Stored, S: Simd>(&self, from: *const T, x: *mut T) {
        let stride = self.stride[1];
        // SAFETY: as in `pack`.
        unsafe {
            self.each_row(
                |r, y| {
                    let (x, plane) = (x.add(y * self.size[1]), from.add(r * self.row()));
                    for remainder in 0..stride {
                        let (from, end, column) = self.inside(remainder);
                        let plane = plane.add(remainder * self.width);
                        if stride == 1 {
                            add::<T, S>(
                                plane.wrapping_add(from),
                                x.wrapping_add(column),
                                end - from,
                            );
                        } else {
                            for i in from..end {
                                let to = x.add(column + (i - from) * stride);
                                *to = T::from_f64((*to).to_f64() + (*plane.add(i)).to_f64());
                            }
                        }
                    }
                },
                |_| (),
            );
        }
    }
}

/// Calls `whole` with the start of each register's worth of `n`, `part` with what is left.
#[inline(always)]
pub(super) fn registers<T: Stored, S: Simd>(
    n: usize,
    mut whole: impl FnMut(usize),
    part: impl FnOnce(usize, usize),
) {
    let lanes = T::Wide::<S>::LANES;
    let mut i = 0;
    while i + lanes <= n {
        whole(i);
        i += lanes;
    }
    if i < n {
        part(i, n - i);
    }
}

/// `to = from`, `n` elements.
///
/// # Safety
/// Both are valid for `n` elements and do not overlap.
#[inline(always)]
pub(super) unsafe fn copy<T: Stored, S: Simd>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        registers::<T, S>(
            n,
            |i| T::store::<S>(T::load::<S>(from.add(i)), to.add(i)),
            |i, n| T::store_partial::<S>(T::load_partial::<S>(from.add(i), n), to.add(i), n),
        );
    }
}

/// `to += from`, `n` elements.
///
/// # Safety
/// As [`copy`].
#[inline(always)]
pub(super) unsafe fn add<T: Stored, S: Simd>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        registers::<T, S>(
            n,
            |i| T::store::<S>(T::load::<S>(to.add(i)) + T::load::<S>(from.add(i)), to.add(i)),
            |i, n| {
                let sum = T::load_partial::<S>(to.add(i), n) + T::load_partial::<S>(from.add(i), n);
                T::store_partial::<S>(sum, to.add(i), n);
            },
        );
    }
}
