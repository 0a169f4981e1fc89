//! Matrices whose numbers are stored in a few bits each, and stay so while they are multiplied.
//!
//! Rows of blocks as GGUF files hold them ([`BlockFormat`]), and the forms of bitsandbytes: four bits of a [`CodeBook`]
//! with a scale for each block of 64, which may itself be stored in eight bits, and rows of eight bits. Nothing here
//! makes a matrix whole but [`Quantized::dequantize`]: products read a piece at a time.

mod blocks;
mod codes;
mod encode;
#[cfg(test)]
mod tests;
mod weight;

use std::ops::Range;
use std::sync::Arc;

pub use blocks::BlockFormat;
#[cfg(target_arch = "x86_64")]
pub(crate) use blocks::{half, minimums};
pub use codes::CodeBook;
pub use weight::Weight;

use crate::dtype::DType;
use crate::kernels;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A matrix in a few bits a number, which is not trained.
///
/// ```
/// use rappel_tensor::{CodeBook, DType, Quantized, Tensor};
/// let weight = Tensor::from_slice(&[0.5_f32, -1.0, 0.0, 0.25], [2, 2]);
/// let quantized = Quantized::four_bits(&weight, CodeBook::Nf4, false);
/// let found = quantized.dequantize(DType::F32).to_vec::<f32>();
/// assert_eq!(found, [0.44070983, -1.0, 0.0, 0.2461123]);
/// ```
#[derive(Debug, Clone)]
pub struct Quantized {
    rows: usize,
    cols: usize,
    form: QuantizedForm,
    /// Whether the matrix that is meant is the transposed one.
    transposed: bool,
    bytes: Tensor,
}

/// How the numbers of a [`Quantized`] are stored.
#[derive(Debug, Clone)]
pub enum QuantizedForm {
    /// Blocks along rows, each with its scales.
    Blocks(BlockFormat),
    /// Integers of 8 bits; a number is `integer * scale / 127` of its row.
    Rows {
        /// The largest absolute value of each row.
        scales: Arc<[f32]>,
    },
    /// Two codes a byte over the matrix as one list; a number is its code's times the scale of its block.
    Codes {
        /// What codes stand for.
        book: CodeBook,
        /// Numbers of a block.
        block: usize,
        /// The largest absolute value of each block.
        scales: Scales,
    },
}

/// The scales of blocks.
#[derive(Debug, Clone)]
pub enum Scales {
    /// In single precision.
    Plain(Arc<[f32]>),
    /// In eight bits: `map[code] * maxima + offset`.
    Nested {
        /// A code for each block.
        codes: Arc<[u8]>,
        /// What the 256 codes stand for.
        map: Arc<[f32]>,
        /// For each block of scales the largest absolute value.
        maxima: Arc<[f32]>,
        /// Scales of a block.
        block: usize,
        /// What was subtracted from all.
        offset: f32,
    },
}

impl Scales {
    /// That of a block.
    #[inline(always)]
    pub(crate) fn of(&self, block: usize) -> f32 {
        match self {
            Self::Plain(scales) => scales[block],
            Self::Nested { codes, map, maxima, block: nested, offset } => {
                map[codes[block] as usize] * maxima[block / nested] + offset
            }
        }
    }

    /// How many blocks have one.
    fn count(&self) -> usize {
        match self {
            Self::Plain(scales) => scales.len(),
            Self::Nested { codes, .. } => codes.len(),
        }
    }

    /// Bytes that they take.
    fn size(&self) -> usize {
        match self {
            Self::Plain(scales) => 4 * scales.len(),
            Self::Nested { codes, map, maxima, .. } => codes.len() + 4 * (map.len() + maxima.len()),
        }
    }

    /// Checks that nothing lacks or is left over.
    fn check(&self) -> Result<(), String> {
        let Self::Nested { codes, map, maxima, block, .. } = self else { return Ok(()) };
        if *block == 0 {
            return Err("blocks of 0 scales".to_owned());
        }
        if map.len() != 256 || maxima.len() != codes.len().div_ceil(*block) {
            let [codes, map, maxima] = [codes.len(), map.len(), maxima.len()];
            return Err(format!(
                "{codes} scales by a map of {map} numbers and {maxima} maxima of {block} scales each"
            ));
        }
        Ok(())
    }
}

impl Quantized {
    /// A matrix `[rows, cols]` of these bytes (`u8`, in order).
    ///
    /// # Errors
    /// Bytes, scales or blocks that do not fit the size, and what is wrong with them.
    pub fn new(
        [rows, cols]: [usize; 2],
        form: QuantizedForm,
        bytes: &Tensor,
    ) -> Result<Self, String> {
        let count = rows.checked_mul(cols).ok_or("its sizes overflow")?;
        let (wanted, scales) = match &form {
            QuantizedForm::Blocks(format) if !cols.is_multiple_of(format.block()) => {
                return Err(format!("rows of {cols} are not whole blocks of {}", format.block()));
            }
            QuantizedForm::Blocks(format) => (count / format.block() * format.bytes(), None),
            QuantizedForm::Rows { scales } => (count, Some((scales.len(), rows))),
            QuantizedForm::Codes { block, .. } if *block == 0 || block % 2 == 1 => {
                return Err(format!("blocks of {block} numbers"));
            }
            QuantizedForm::Codes { block, scales, .. } => {
                scales.check()?;
                (count.div_ceil(2), Some((scales.count(), count.div_ceil(*block))))
            }
        };
        if bytes.dtype() != DType::U8 {
            return Err(format!("its bytes are {}", bytes.dtype()));
        }
        for (what, (found, wanted)) in
            [("bytes", Some((bytes.count(), wanted))), ("scales", scales)]
                .into_iter()
                .filter_map(|(what, counts)| Some((what, counts?)))
        {
            if found != wanted {
                return Err(format!("{found} {what} for [{rows}, {cols}], which takes {wanted}"));
            }
        }
        Ok(Self { rows, cols, form, transposed: false, bytes: bytes.detach().contiguous() })
    }

    /// The transposed matrix, of the same bytes.
    #[must_use]
    pub fn t(&self) -> Self {
        Self { transposed: !self.transposed, ..self.clone() }
    }

    /// Whether the matrix is the transposed one of that which the bytes hold.
    pub fn is_transposed(&self) -> bool {
        self.transposed
    }

    /// The sizes.
    pub fn shape(&self) -> Shape {
        let [rows, cols] = [self.rows, self.cols];
        Shape::from(if self.transposed { [cols, rows] } else { [rows, cols] })
    }

    /// How numbers are stored.
    pub fn form(&self) -> &QuantizedForm {
        &self.form
    }

    /// The bytes of numbers: without scales, where these lie apart.
    pub fn bytes(&self) -> &Tensor {
        &self.bytes
    }

    /// All bytes that it takes.
    pub fn size(&self) -> usize {
        let scales = match &self.form {
            QuantizedForm::Blocks(_) => 0,
            QuantizedForm::Rows { scales } => 4 * scales.len(),
            QuantizedForm::Codes { scales, .. } => scales.size(),
        };
        self.bytes.count() + scales
    }

    /// The numbers, each rounded to `dtype`.
    #[must_use]
    pub fn dequantize(&self, dtype: DType) -> Tensor {
        let stored = kernels::quantized::dequantize(self, dtype);
        if self.transposed { stored.t().contiguous() } else { stored }
    }

    /// The position in row-major order, as it is stored, of the first number that is NaN or infinite.
    pub fn first_non_finite(&self) -> Option<usize> {
        kernels::quantized::first_non_finite(self)
    }

    /// Rows and columns as they are stored.
    pub(crate) fn stored(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Numbers of a stored row from column `first` on; of a form of blocks, whole blocks.
    #[inline(always)]
    pub(crate) fn read(&self, row: usize, first: usize, out: &mut [f32]) {
        let bytes = self.bytes.slice::<u8>();
        let at = row * self.cols + first;
        match &self.form {
            QuantizedForm::Blocks(format) => {
                let (block, size) = (format.block(), format.bytes());
                let bytes = &bytes[at / block * size..(at + out.len()) / block * size];
                format.decode(bytes, out);
            }
            QuantizedForm::Rows { scales } => {
                let scale = scales[row];
                for (out, byte) in out.iter_mut().zip(&bytes[at..]) {
                    *out = f32::from(*byte as i8) * scale * PER_STEP;
                }
            }
            QuantizedForm::Codes { book, block, scales } => {
                read_codes(book.pairs(), *block, scales, bytes, at..at + out.len(), out);
            }
        }
    }
}

/// A step of eight bits, as bitsandbytes has it.
pub(crate) const PER_STEP: f32 = 1.0 / 127.0;

/// The numbers of a range of codes.
#[inline(always)]
fn read_codes(
    pairs: &[[f32; 2]; 256],
    block: usize,
    scales: &Scales,
    bytes: &[u8],
    range: Range<usize>,
    out: &mut [f32],
) {
    let (mut at, mut out) = (range.start, out);
    while at < range.end {
        let end = range.end.min((at / block + 1) * block);
        let (part, rest) = out.split_at_mut(end - at);
        out = rest;
        let scale = scales.of(at / block);
        // A row may begin or end within a byte.
        let (first, part) = part.split_at_mut(at % 2);
        if let [first] = first {
            *first = pairs[bytes[at / 2] as usize][1] * scale;
        }
        let bytes = &bytes[at.div_ceil(2)..];
        let (twos, last) = part.as_chunks_mut::<2>();
        for (two, byte) in twos.iter_mut().zip(bytes) {
            *two = pairs[*byte as usize];
        }
        for two in twos.iter_mut() {
            *two = [two[0] * scale, two[1] * scale];
        }
        if let [last] = last {
            *last = pairs[bytes[twos.len()] as usize][0] * scale;
        }
        at = end;
    }
}
