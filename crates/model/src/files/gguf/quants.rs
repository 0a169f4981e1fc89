//! How GGUF stores numbers: blocks of small integers with scales, as llama.cpp defines them, and plain floats.

use half::{bf16, f16};

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

    /// The numbers of whole blocks, in single precision.
    ///
    /// # Panics
    /// Where `numbers` are not as many as the blocks of `bytes` hold.
    pub fn decode(self, bytes: &[u8], numbers: &mut [f32]) {
        let (block, size) = (self.block(), self.block_bytes());
        assert_eq!(bytes.len() / size * block, numbers.len(), "blocks and numbers");
        for (bytes, out) in bytes.chunks_exact(size).zip(numbers.chunks_exact_mut(block)) {
            match self {
                F32 => out[0] = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                F16 => out[0] = half(bytes),
                Bf16 => out[0] = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
                Q8_0 => {
                    let scale = half(bytes);
                    for (out, q) in out.iter_mut().zip(&bytes[2..]) {
                        *out = scale * f32::from(*q as i8);
                    }
                }
                Q4_0 => {
                    let scale = half(bytes);
                    nibbles(&bytes[2..], out, |q, _| scale * (f32::from(q) - 8.0));
                }
                Q4_1 => {
                    let (scale, least) = (half(bytes), half(&bytes[2..]));
                    nibbles(&bytes[4..], out, |q, _| scale * f32::from(q) + least);
                }
                Q5_0 => {
                    let (scale, high) = (half(bytes), word(&bytes[2..]));
                    nibbles(&bytes[6..], out, |q, i| {
                        scale * (f32::from(q | fifth(high, i)) - 16.0)
                    });
                }
                Q5_1 => {
                    let (scale, least, high) = (half(bytes), half(&bytes[2..]), word(&bytes[4..]));
                    nibbles(&bytes[8..], out, |q, i| scale * f32::from(q | fifth(high, i)) + least);
                }
                Q4K => with_minimums(&bytes[..16], &[], &bytes[16..], out),
                Q5K => with_minimums(&bytes[..16], &bytes[16..48], &bytes[48..], out),
                Q6K => six_bits(bytes, out),
            }
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

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The fifth bit of number `i`, in its place.
fn fifth(high: u32, i: usize) -> u8 {
    ((high >> i & 1) << 4) as u8
}

/// The lower halves of 16 bytes are the first numbers, the upper halves the others.
fn nibbles(bytes: &[u8], out: &mut [f32], value: impl Fn(u8, usize) -> f32) {
    for (i, byte) in bytes.iter().enumerate() {
        out[i] = value(byte & 15, i);
        out[i + 16] = value(byte >> 4, i + 16);
    }
}

/// Q4_K, and with a fifth bit Q5_K: `head` is a scale of scales, one of minimums, and both for eight runs of 32 numbers,
/// in six bits each.
fn with_minimums(head: &[u8], high: &[u8], low: &[u8], out: &mut [f32]) {
    let (scale, least, packed) = (half(head), half(&head[2..]), &head[4..]);
    for (run, out) in out.chunks_exact_mut(32).enumerate() {
        let (s, m) = if run < 4 {
            (packed[run] & 63, packed[run + 4] & 63)
        } else {
            let both = packed[run + 4];
            (both & 15 | packed[run - 4] >> 6 << 4, both >> 4 | packed[run] >> 6 << 4)
        };
        let (scale, least) = (scale * f32::from(s), least * f32::from(m));
        // Runs share their bytes in pairs: the lower halves, the upper halves.
        let shift = run % 2 * 4;
        for (i, out) in out.iter_mut().enumerate() {
            let fifth = high.get(i).map_or(0, |bits| (bits >> run & 1) << 4);
            let q = low[run / 2 * 32 + i] >> shift & 15 | fifth;
            *out = scale * f32::from(q) - least;
        }
    }
}

/// Q6_K: four lower bits, two upper bits, scales, the scale of scales.
fn six_bits(bytes: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let scale = half(&bytes[208..]);
    for (i, out) in out.iter_mut().enumerate() {
        let (part, run, at) = (i / 128, i % 128 / 32, i % 32);
        let low = low[part * 64 + run % 2 * 32 + at] >> (run / 2 * 4) & 15;
        let high = high[part * 32 + at] >> (run * 2) & 3;
        let q = i32::from(low | high << 4) - 32;
        *out = scale * f32::from(scales[i / 16] as i8) * q as f32;
    }
}
