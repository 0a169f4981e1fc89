//! Shapes and strided layouts.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// The most dimensions that a tensor can have.
pub const MAX_RANK: usize = 8;

/// The sizes of a tensor's dimensions, outermost first; a scalar has none.
///
/// ```
/// use rappel_tensor::Shape;
/// let shape = Shape::from([2, 3]);
/// assert_eq!(shape.count(), 6);
/// assert_eq!(shape.to_string(), "[2, 3]");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// A shape of these sizes.
    ///
    /// # Panics
    /// With more than [`MAX_RANK`] dimensions.
    #[track_caller]
    pub fn new(sizes: &[usize]) -> Self {
        assert!(sizes.len() <= MAX_RANK, "shape: {} dimensions, at most {MAX_RANK}", sizes.len());
        let mut dims = [0; MAX_RANK];
        dims[..sizes.len()].copy_from_slice(sizes);
        Self { rank: sizes.len() as u8, dims }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The number of elements: the product of the sizes.
    pub fn count(&self) -> usize {
        self.iter().product()
    }

    /// The same shape with one more dimension of `size` at `axis`.
    #[track_caller]
    pub fn inserted(&self, axis: usize, size: usize) -> Self {
        let mut sizes = self.to_vec();
        sizes.insert(axis, size);
        Self::new(&sizes)
    }

    /// The same shape without dimension `axis`.
    pub fn removed(&self, axis: usize) -> Self {
        let mut dims = *self;
        dims.dims.copy_within(axis + 1..self.rank(), axis);
        dims.rank -= 1;
        dims.dims[dims.rank as usize..].fill(0);
        dims
    }

    /// The shape that NumPy's rules broadcast both to, or `None` where they disagree.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let mut sizes = [0; MAX_RANK];
        for i in 0..rank {
            let of = |s: &Shape| (i + s.rank()).checked_sub(rank).map_or(1, |j| s[j]);
            sizes[i] = match (of(self), of(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Some(Shape { rank: rank as u8, dims: sizes })
    }

    /// Row-major strides, in elements.
    pub fn contiguous_strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for i in (0..self.rank()).rev() {
            strides[i] = step;
            step *= self[i];
        }
        strides
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }
}

impl DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.dims[..self.rank as usize]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(sizes: [usize; N]) -> Self {
        Self::new(&sizes)
    }
}
impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(sizes: &[usize]) -> Self {
        Self::new(sizes)
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        *shape
    }
}
impl From<usize> for Shape {
    fn from(size: usize) -> Self {
        Self::new(&[size])
    }
}
impl From<()> for Shape {
    fn from((): ()) -> Self {
        Self::new(&[])
    }
}

/// Where the elements of a view lie in their buffer: index `i` is at
/// `offset + sum(i[d] * strides[d])`, counted in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub shape: Shape,
    pub strides: [usize; MAX_RANK],
    pub offset: usize,
}

impl Layout {
    pub fn contiguous(shape: Shape) -> Self {
        Self { shape, strides: shape.contiguous_strides(), offset: 0 }
    }

    /// Whether elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        for i in (0..self.shape.rank()).rev() {
            if self.shape[i] != 1 {
                if self.strides[i] != step {
                    return false;
                }
                step *= self.shape[i];
            }
        }
        true
    }

    /// The layout of a view in which dimension `a` and `b` change places.
    pub fn transposed(mut self, a: usize, b: usize) -> Self {
        self.shape.swap(a, b);
        self.strides.swap(a, b);
        self
    }

    /// The layout repeated to `shape` by strides of zero; the caller checked that it broadcasts.
    pub fn broadcast(&self, shape: Shape) -> Self {
        let lead = shape.rank() - self.shape.rank();
        let mut strides = [0; MAX_RANK];
        for i in 0..self.shape.rank() {
            strides[lead + i] = if self.shape[i] == 1 { 0 } else { self.strides[i] };
        }
        Self { shape, strides, offset: self.offset }
    }

    /// A layout of `shape` over the same elements in the same order, if strides can express it.
    pub fn reshaped(&self, shape: Shape) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Self { offset: self.offset, ..Self::contiguous(shape) });
        }
        if shape.count() == 0 {
            return Some(Self::contiguous(shape));
        }
        let (runs, mut left) = self.runs();
        let mut strides = [0; MAX_RANK];
        let (mut size, mut step) = (1, 0);
        for i in (0..shape.rank()).rev().filter(|&i| shape[i] != 1) {
            if size == 1 {
                left = left.checked_sub(1)?;
                (size, step) = runs[left];
            }
            if size % shape[i] != 0 {
                return None;
            }
            strides[i] = step;
            step *= shape[i];
            size /= shape[i];
        }
        Some(Self { shape, strides, offset: self.offset })
    }

    /// Size and stride of the longest runs of evenly spaced elements, outermost first, and how many.
    fn runs(&self) -> ([(usize, usize); MAX_RANK], usize) {
        let mut runs = [(1, 0); MAX_RANK];
        let mut count = 0_usize;
        for i in (0..self.shape.rank()).filter(|&i| self.shape[i] != 1) {
            let (size, stride) = (self.shape[i], self.strides[i]);
            match count.checked_sub(1).map(|last| &mut runs[last]) {
                Some(run) if run.1 == stride * size => *run = (run.0 * size, stride),
                _ => {
                    runs[count] = (size, stride);
                    count += 1;
                }
            }
        }
        (runs, count)
    }
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
