//! The arguments of a launch.

use std::ffi::c_void;

use crate::dtype::DType;

/// Arguments in the order that a kernel takes them.
#[derive(Default)]
pub(crate) struct Args {
    words: Vec<u64>,
    /// Where each argument begins.
    starts: Vec<usize>,
}

impl Args {
    pub fn new() -> Self {
        Self::default()
    }

    /// An address.
    #[must_use]
    pub fn at(self, address: u64) -> Self {
        self.words(&[address])
    }

    /// A 64-bit integer.
    #[must_use]
    pub fn long(self, number: usize) -> Self {
        self.words(&[number as u64])
    }

    /// A 32-bit integer, signed or not.
    #[must_use]
    pub fn int(self, number: usize) -> Self {
        let number = u32::try_from(number).expect("an argument of 32 bits");
        self.words(&[u64::from(number)])
    }

    /// A number in double precision.
    #[must_use]
    pub fn double(self, number: f64) -> Self {
        self.words(&[number.to_bits()])
    }

    /// A number in the type that arithmetic on `dtype` is done in.
    #[must_use]
    pub fn real(self, number: f64, dtype: DType) -> Self {
        self.reals(&[number], dtype)
    }

    /// A structure that holds such numbers.
    #[must_use]
    pub fn reals(self, numbers: &[f64], dtype: DType) -> Self {
        let mut words = Vec::with_capacity(numbers.len());
        if dtype == DType::F64 {
            words.extend(numbers.iter().map(|x| x.to_bits()));
        } else {
            let bits = |x: &f64| u64::from((*x as f32).to_bits());
            words.extend(
                numbers.chunks(2).map(|pair| bits(&pair[0]) | pair.get(1).map_or(0, bits) << 32),
            );
        }
        self.words(if words.is_empty() { &[0] } else { &words })
    }

    /// A structure of 64-bit integers.
    #[must_use]
    pub fn words(mut self, words: &[u64]) -> Self {
        self.starts.push(self.words.len());
        self.words.extend_from_slice(words);
        self
    }

    /// A pointer to each argument, for as long as nothing is added.
    pub(super) fn pointers(&mut self) -> Vec<*mut c_void> {
        self.starts.iter().map(|start| std::ptr::from_mut(&mut self.words[*start]).cast()).collect()
    }
}
