//! How GGUF stores numbers: blocks of small integers with scales, as llama.cpp defines them, and plain floats.

use half::{bf16, f16};
use rappel_tensor::BlockFormat;

/// How a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Blocks of small integers with scales.
    Blocks(BlockFormat),
}

use BlockFormat::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use Quantization::{Bf16, Blocks, F16, F32};

/// Each with its number in a file and its name.
const TABLE: [(Quantization, u32, &str); 11] = [
    (F32, 0, "F32"),
    (F16, 1, "F16"),
    (Blocks(Q4_0), 2, "Q4_0"),
    (Blocks(Q4_1), 3, "Q4_1"),
    (Blocks(Q5_0), 6, "Q5_0"),
    (Blocks(Q5_1), 7, "Q5_1"),
    (Blocks(Q8_0), 8, "Q8_0"),
    (Blocks(Q4K), 12, "Q4_K"),
    (Blocks(Q5K), 13, "Q5_K"),
    (Blocks(Q6K), 14, "Q6_K"),
    (Bf16, 30, "BF16"),
];

impl Quantization {
    fn row(self) -> &'static (Self, u32, &'static str) {
        TABLE.iter().find(|row| row.0 == self).expect("every one has its row")
    }

    /// The one with this number in a file, if it can be read.
    pub fn from_number(number: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The one of this name, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.2.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// Its number in a file.
    pub fn number(self) -> u32 {
        self.row().1
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Numbers of a block.
    pub fn block(self) -> usize {
        match self {
            F32 | F16 | Bf16 => 1,
            Blocks(format) => format.block(),
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            F32 => 4,
            F16 | Bf16 => 2,
            Blocks(format) => format.bytes(),
        }
    }

    /// The names of all that can be read.
    pub fn names() -> String {
        TABLE.map(|row| row.2).join(", ")
    }

    /// The blocks that it is, where it is not plain floats.
    pub fn blocks(self) -> Option<BlockFormat> {
        match self {
            F32 | F16 | Bf16 => None,
            Blocks(format) => Some(format),
        }
    }

    /// The numbers of whole blocks, in single precision.
    ///
    /// # Panics
    /// Where `numbers` are not as many as the blocks of `bytes` hold.
    pub fn decode(self, bytes: &[u8], numbers: &mut [f32]) {
        if let Some(blocks) = self.blocks() {
            return blocks.decode(bytes, numbers);
        }
        let size = self.block_bytes();
        assert_eq!(bytes.len() / size, numbers.len(), "blocks and numbers");
        for (bytes, out) in bytes.chunks_exact(size).zip(numbers) {
            *out = match self {
                F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
                _ => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            };
        }
    }

    /// Appends the blocks of `numbers`, each number rounded as llama.cpp's reference does.
    ///
    /// # Panics
    /// For what is only read, and where `numbers` are not whole blocks.
    pub fn encode(self, numbers: &[f32], bytes: &mut Vec<u8>) {
        assert_eq!(numbers.len() % self.block(), 0, "whole blocks");
        for block in numbers.chunks_exact(self.block()) {
            match self {
                F32 => bytes.extend(block[0].to_le_bytes()),
                F16 => bytes.extend(f16::from_f32(block[0]).to_le_bytes()),
                Bf16 => bytes.extend(bf16::from_f32(block[0]).to_le_bytes()),
                Blocks(Q8_0) => {
                    let largest = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    let scale = largest / 127.0;
                    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
                    bytes.extend(f16::from_f32(scale).to_le_bytes());
                    bytes.extend(block.iter().map(|x| (x * inverse).round() as i8 as u8));
                }
                Blocks(Q4_0) => {
                    // The number farthest from zero becomes -8, exactly.
                    let far = |far: f32, x: &f32| if x.abs() > far.abs() { *x } else { far };
                    let scale = block.iter().fold(0.0, far) / -8.0;
                    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
                    // In single precision, as the `gguf` package has it, so that halves round alike.
                    let digit = |x: f32| (x * inverse + 8.5).clamp(0.0, 15.0) as u8;
                    bytes.extend(f16::from_f32(scale).to_le_bytes());
                    let (low, high) = block.split_at(16);
                    bytes.extend(low.iter().zip(high).map(|(l, h)| digit(*l) | digit(*h) << 4));
                }
                Blocks(_) => panic!("{} is only read", self.name()),
            }
        }
    }
}
