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
    /// 32 integers of 8 bits, a scale.
    Q8_0,
    /// 32 integers of 4 bits around zero, a scale.
    Q4_0,
    /// 32 integers of 4 bits, a scale and a minimum.
    Q4_1,
    /// 32 integers of 5 bits around zero, a scale.
    Q5_0,
    /// 32 integers of 5 bits, a scale and a minimum.
    Q5_1,
    /// 256 integers of 4 bits, scales and minimums of 6 bits for each 32.
    Q4K,
    /// 256 integers of 5 bits, scales and minimums of 6 bits for each 32.
    Q5K,
    /// 256 integers of 6 bits around zero, scales of 8 bits for each 16.
    Q6K,
}

use Quantization::{Bf16, F16, F32, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// Each with its number in a file, its name, the numbers of a block and their bytes.
const TABLE: [(Quantization, u32, &str, usize, usize); 11] = [
    (F32, 0, "F32", 1, 4),
    (F16, 1, "F16", 1, 2),
    (Q4_0, 2, "Q4_0", 32, 18),
    (Q4_1, 3, "Q4_1", 32, 20),
    (Q5_0, 6, "Q5_0", 32, 22),
    (Q5_1, 7, "Q5_1", 32, 24),
    (Q8_0, 8, "Q8_0", 32, 34),
    (Q4K, 12, "Q4_K", 256, 144),
    (Q5K, 13, "Q5_K", 256, 176),
    (Q6K, 14, "Q6_K", 256, 210),
    (Bf16, 30, "BF16", 1, 2),
];

impl Quantization {
    fn row(self) -> &'static (Self, u32, &'static str, usize, usize) {
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
        self.row().3
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// The names of all that can be read.
    pub fn names() -> String {
        TABLE.map(|row| row.2).join(", ")
    }

    /// The blocks that it is, where it is not plain floats.
    pub fn blocks(self) -> Option<BlockFormat> {
        Some(match self {
            F32 | F16 | Bf16 => return None,
            Q8_0 => BlockFormat::Q8_0,
            Q4_0 => BlockFormat::Q4_0,
            Q4_1 => BlockFormat::Q4_1,
            Q5_0 => BlockFormat::Q5_0,
            Q5_1 => BlockFormat::Q5_1,
            Q4K => BlockFormat::Q4K,
            Q5K => BlockFormat::Q5K,
            Q6K => BlockFormat::Q6K,
        })
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
                Q8_0 => {
                    let largest = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    let scale = largest / 127.0;
                    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
                    bytes.extend(f16::from_f32(scale).to_le_bytes());
                    bytes.extend(block.iter().map(|x| (x * inverse).round() as i8 as u8));
                }
                Q4_0 => {
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
                _ => panic!("{} is only read", self.name()),
            }
        }
    }
}
