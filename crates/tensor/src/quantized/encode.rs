//! Making the forms of bitsandbytes.

use half::f16;
use rayon::prelude::*;

use super::codes::{dynamic_map, nearest};
use super::{CodeBook, Quantized, QuantizedForm, Scales};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Numbers of a block.
const BLOCK: usize = 64;
/// Scales of a block, where these are stored in eight bits.
const NESTED_BLOCK: usize = 256;

/// Numbers of a task: whole blocks.
const PIECE: usize = 1 << 16;

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
        let mut bytes = Tensor::uninit([numbers.len().div_ceil(2)].into(), DType::U8);
        let to = bytes.slice_mut::<u8>().par_chunks_mut(PIECE / 2);
        let from = numbers.par_chunks(PIECE).zip(maxima.par_chunks(PIECE / BLOCK));
        to.zip(from).for_each(|(bytes, (numbers, maxima))| {
            let blocks = numbers.chunks(BLOCK).zip(maxima);
            for (bytes, (numbers, largest)) in bytes.chunks_mut(BLOCK / 2).zip(blocks) {
                let share = shares(*largest, numbers.len() == BLOCK);
                for (byte, two) in bytes.iter_mut().zip(numbers.chunks(2)) {
                    // What fills the last byte up is the code of zero.
                    let second = two.get(1).map_or(0.0, |x| share(*x));
                    *byte = encode(share(two[0])) << 4 | encode(second);
                }
            }
        });
        let scales = if nested { nest(&maxima) } else { Scales::Plain(maxima.into()) };
        let form = QuantizedForm::Codes { book, block: BLOCK, scales };
        Self::new(size, form, &bytes).expect("made to fit")
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
        for number in &mut numbers {
            *number = f16::from_f32(*number).to_f32();
        }
        let scales = maxima(&numbers, cols.max(1));
        // The inverse is rounded before it is multiplied, as PyTorch divides a number by a tensor.
        let byte = |x: f32, scale: f32| (x * (scale.recip() * 127.0)).round_ties_even() as i8 as u8;
        let rows_of = numbers.chunks(cols.max(1)).zip(&scales);
        let bytes: Vec<u8> =
            rows_of.flat_map(|(row, scale)| row.iter().map(|x| byte(*x, *scale))).collect();
        let bytes = Tensor::from_slice(&bytes, [bytes.len()]);
        let form = QuantizedForm::Rows { scales: scales.into() };
        Self::new([rows, cols], form, &bytes).expect("made to fit")
    }
}

/// Numbers as shares of the largest one of a block; where that is not whole they are divided, as bitsandbytes does.
fn shares(largest: f32, whole: bool) -> impl Fn(f32) -> f32 {
    let largest = largest.max(LEAST);
    let inverse = 1.0 / largest;
    move |x| if whole { x * inverse } else { x / largest }.clamp(-1.0, 1.0)
}

/// What a block is divided by at least.
const LEAST: f32 = 1e-38;

#[track_caller]
fn matrix(weight: &Tensor) -> ([usize; 2], Vec<f32>) {
    assert!(weight.rank() == 2, "quantize: {} is not a matrix", weight.shape());
    let numbers = weight.detach().to_dtype(DType::F32).to_vec::<f32>();
    ([weight.size(0), weight.size(1)], numbers)
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
        let share = shares(*largest, numbers.len() == NESTED_BLOCK);
        codes.extend(numbers.iter().map(|x| nearest(map, share(*x))));
    }
    Scales::Nested {
        codes: codes.into(),
        map: map.as_slice().into(),
        maxima: maxima.into(),
        block: NESTED_BLOCK,
        offset,
    }
}
