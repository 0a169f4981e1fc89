//! Making the forms of bitsandbytes.

use half::f16;

use super::codes::{dynamic_map, nearest};
use super::{CodeBook, Quantized, QuantizedForm, Scales};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Numbers of a block.
const BLOCK: usize = 64;
/// Scales of a block, where these are stored in eight bits.
const NESTED_BLOCK: usize = 256;

impl Quantized {
    /// A matrix in four bits a number, with a scale for each 64; `nested` stores the scales in eight bits.
    ///
    /// # Panics
    /// Where `weight` is not a matrix of floating-point numbers.
    #[track_caller]
    #[must_use]
    pub fn four_bits(weight: &Tensor, book: CodeBook, nested: bool) -> Self {
        let (size, numbers) = matrix(weight);
        let (encode, maxima) = (book.encoder(), maxima(&numbers, BLOCK));
        let mut codes = vec![0; numbers.len().next_multiple_of(2)];
        // What fills the last byte up is the code of zero.
        codes[numbers.len()..].fill(encode(0.0));
        for (block, (numbers, largest)) in numbers.chunks(BLOCK).zip(&maxima).enumerate() {
            let inverse = 1.0 / largest.max(LEAST);
            let share = |x: f32| match numbers.len() == BLOCK {
                true => x * inverse,
                // The last block, where it is not whole, is divided.
                false => x / largest.max(LEAST),
            };
            for (code, number) in codes[block * BLOCK..].iter_mut().zip(numbers) {
                *code = encode(share(*number).clamp(-1.0, 1.0));
            }
        }
        let bytes: Vec<u8> = codes.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect();
        let scales = if nested { nest(&maxima) } else { Scales::Plain(list(&maxima)) };
        let form = QuantizedForm::Codes { book, block: BLOCK, scales };
        Self::new(size, form, list(&bytes)).expect("made to fit")
    }

    /// A matrix in eight bits a number, with a scale for each row; numbers are rounded to half precision before, as
    /// bitsandbytes does.
    ///
    /// # Panics
    /// Where `weight` is not a matrix of floating-point numbers.
    #[track_caller]
    #[must_use]
    pub fn eight_bits(weight: &Tensor) -> Self {
        let ([rows, cols], mut numbers) = matrix(weight);
        numbers.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
        let scales = maxima(&numbers, cols.max(1));
        let byte = |x: f32, scale: f32| (x * (127.0 / scale)).round_ties_even() as i8 as u8;
        let rows_of = numbers.chunks(cols.max(1)).zip(&scales);
        let bytes: Vec<u8> =
            rows_of.flat_map(|(row, scale)| row.iter().map(|x| byte(*x, *scale))).collect();
        let form = QuantizedForm::Rows { scales: list(&scales) };
        Self::new([rows, cols], form, list(&bytes)).expect("made to fit")
    }
}

/// What a block is divided by at least.
const LEAST: f32 = 1e-38;

#[track_caller]
fn matrix(weight: &Tensor) -> ([usize; 2], Vec<f32>) {
    assert!(weight.rank() == 2, "quantize: {} is not a matrix", weight.shape());
    let numbers = weight.detach().to_dtype(DType::F32).to_vec::<f32>();
    ([weight.size(0), weight.size(1)], numbers)
}

fn list<T: crate::dtype::Element>(values: &[T]) -> Tensor {
    Tensor::from_slice(values, [values.len()])
}

/// The largest absolute value of each block; where the last one is not whole, at least [`LEAST`].
fn maxima(numbers: &[f32], block: usize) -> Vec<f32> {
    let least = |numbers: &[f32]| if numbers.len() == block { 0.0 } else { LEAST };
    let largest =
        |numbers: &[f32]| numbers.iter().fold(least(numbers), |most, x| most.max(x.abs()));
    numbers.chunks(block).map(largest).collect()
}

/// Scales in eight bits.
fn nest(scales: &[f32]) -> Scales {
    let sum: f64 = scales.iter().map(|x| f64::from(*x)).sum();
    let offset = (sum / scales.len().max(1) as f64) as f32;
    let centred: Vec<f32> = scales.iter().map(|x| x - offset).collect();
    let (map, maxima) = (dynamic_map(), maxima(&centred, NESTED_BLOCK));
    let mut codes = Vec::with_capacity(scales.len());
    for (numbers, largest) in centred.chunks(NESTED_BLOCK).zip(&maxima) {
        let inverse = 1.0 / largest.max(LEAST);
        let share = |x: f32| match numbers.len() == NESTED_BLOCK {
            true => x * inverse,
            false => x / largest.max(LEAST),
        };
        codes.extend(numbers.iter().map(|x| nearest(map, share(*x).clamp(-1.0, 1.0))));
    }
    Scales::Nested {
        codes: list(&codes),
        map: list(map),
        maxima: list(&maxima),
        block: NESTED_BLOCK,
        offset,
    }
}
