//! Blocks of small integers with scales, as llama.cpp defines them.

/// How the numbers of a block are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
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

use BlockFormat::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

impl BlockFormat {
    /// Numbers of a block.
    pub const fn block(self) -> usize {
        match self {
            Q8_0 | Q4_0 | Q4_1 | Q5_0 | Q5_1 => 32,
            Q4K | Q5K | Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Q8_0 => 34,
            Q4_0 => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q4K => 144,
            Q5K => 176,
            Q6K => 210,
        }
    }

    /// The numbers of whole blocks, in single precision.
    ///
    /// # Panics
    /// Where `numbers` are not as many as the blocks of `bytes` hold.
    #[inline(always)]
    pub fn decode(self, bytes: &[u8], numbers: &mut [f32]) {
        assert_eq!(bytes.len() / self.bytes() * self.block(), numbers.len(), "blocks and numbers");
        match self {
            Q8_0 => each::<34, 32>(bytes, numbers, eight_bits),
            Q4_0 => each::<18, 32>(bytes, numbers, |bytes, out| {
                let scale = half(bytes);
                nibbles(&bytes[2..], out, |q| scale * (q - 8.0));
            }),
            Q4_1 => each::<20, 32>(bytes, numbers, |bytes, out| {
                let (scale, least) = (half(bytes), half(&bytes[2..]));
                nibbles(&bytes[4..], out, |q| scale * q + least);
            }),
            Q5_0 => each::<22, 32>(bytes, numbers, |bytes, out| {
                let scale = half(bytes);
                five_bits(word(&bytes[2..]), &bytes[6..], out, |q| scale * (q - 16.0));
            }),
            Q5_1 => each::<24, 32>(bytes, numbers, |bytes, out| {
                let (scale, least) = (half(bytes), half(&bytes[2..]));
                five_bits(word(&bytes[4..]), &bytes[8..], out, |q| scale * q + least);
            }),
            Q4K => each::<144, 256>(bytes, numbers, |bytes, out| {
                with_minimums(&bytes[..16], None, &bytes[16..], out);
            }),
            Q5K => each::<176, 256>(bytes, numbers, |bytes, out| {
                with_minimums(&bytes[..16], Some(&bytes[16..48]), &bytes[48..], out);
            }),
            Q6K => each::<210, 256>(bytes, numbers, six_bits),
        }
    }
}

#[inline(always)]
fn each<const BYTES: usize, const BLOCK: usize>(
    bytes: &[u8],
    numbers: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; BLOCK]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outs, _) = numbers.as_chunks_mut::<BLOCK>();
    for (block, out) in blocks.iter().zip(outs) {
        decode(block, out);
    }
}

#[inline(always)]
fn eight_bits(bytes: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half(bytes);
    for (out, q) in out.iter_mut().zip(&bytes[2..]) {
        *out = scale * f32::from(*q as i8);
    }
}

/// Half precision, which is written out so that it needs no call.
#[inline(always)]
pub(crate) fn half(bytes: &[u8]) -> f32 {
    let bits = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let sign = (bits & 0x8000) << 16;
    let magnitude = (bits & 0x7fff) << 13;
    // The exponents are 112 apart; numbers below the least exponent come out right as well.
    let finite = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let all = if magnitude >= 0x0f80_0000 { magnitude | 0x7f80_0000 } else { finite.to_bits() };
    f32::from_bits(all | sign)
}

#[inline(always)]
fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The lower halves of 16 bytes are the first numbers, the upper halves the others.
#[inline(always)]
fn nibbles(bytes: &[u8], out: &mut [f32; 32], value: impl Fn(f32) -> f32) {
    let bytes: &[u8; 16] = bytes.try_into().expect("16 bytes");
    for i in 0..16 {
        out[i] = value(f32::from(bytes[i] & 15));
        out[i + 16] = value(f32::from(bytes[i] >> 4));
    }
}

/// The same with a fifth bit for each number in a word of their own.
#[inline(always)]
fn five_bits(high: u32, bytes: &[u8], out: &mut [f32; 32], value: impl Fn(f32) -> f32) {
    let bytes: &[u8; 16] = bytes.try_into().expect("16 bytes");
    for i in 0..16 {
        let (low, up) = (high >> i & 1, high >> (i + 16) & 1);
        out[i] = value((u32::from(bytes[i] & 15) | low << 4) as f32);
        out[i + 16] = value((u32::from(bytes[i] >> 4) | up << 4) as f32);
    }
}

/// The scale and the minimum of a run of 32 numbers, from the head of a block of Q4_K.
#[inline(always)]
pub(crate) fn minimums(head: &[u8], run: usize) -> (f32, f32) {
    let (scale, least, packed) = (half(head), half(&head[2..]), &head[4..16]);
    let (s, m) = if run < 4 {
        (packed[run] & 63, packed[run + 4] & 63)
    } else {
        let both = packed[run + 4];
        (both & 15 | packed[run - 4] >> 6 << 4, both >> 4 | packed[run] >> 6 << 4)
    };
    (scale * f32::from(s), least * f32::from(m))
}

/// Q4_K, and with a fifth bit Q5_K: `head` is a scale of scales, one of minimums, and both for eight runs of 32 numbers,
/// in six bits each.
#[inline(always)]
fn with_minimums(head: &[u8], high: Option<&[u8]>, low: &[u8], out: &mut [f32; 256]) {
    for run in 0..8 {
        let (scale, least) = minimums(head, run);
        // Runs share their bytes in pairs: the lower halves, the upper halves.
        let shift = run % 2 * 4;
        let low: &[u8; 32] = low[run / 2 * 32..][..32].try_into().expect("32 bytes");
        let out = &mut out[run * 32..][..32];
        match high {
            None => {
                for (out, low) in out.iter_mut().zip(low) {
                    *out = scale * f32::from(low >> shift & 15) - least;
                }
            }
            Some(high) => {
                for (out, (low, bits)) in out.iter_mut().zip(low.iter().zip(high)) {
                    let q = low >> shift & 15 | (bits >> run & 1) << 4;
                    *out = scale * f32::from(q) - least;
                }
            }
        }
    }
}

/// Q6_K: four lower bits, two upper bits, scales, the scale of scales.
#[inline(always)]
fn six_bits(bytes: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let scale = half(&bytes[208..]);
    for (i, out) in out.chunks_exact_mut(16).enumerate() {
        let (part, run, at) = (i / 8, i % 8 / 2, i % 2 * 16);
        let low: &[u8; 16] =
            low[part * 64 + run % 2 * 32 + at..][..16].try_into().expect("16 bytes");
        let high: &[u8; 16] = high[part * 32 + at..][..16].try_into().expect("16 bytes");
        let scale = scale * f32::from(scales[i] as i8);
        for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
            let q = (low >> (run / 2 * 4) & 15) | (high >> (run * 2) & 3) << 4;
            *out = scale * (f32::from(q) - 32.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits).to_f32();
            let found = super::half(&bits.to_le_bytes());
            assert!(
                found.to_bits() == want.to_bits() || (found.is_nan() && want.is_nan()),
                "{bits:x}"
            );
        }
    }

    #[test]
    fn blocks_have_no_room_beside_their_numbers() {
        for format in [Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4K, Q5K, Q6K] {
            let mut numbers = vec![f32::NAN; 2 * format.block()];
            format.decode(&vec![1; 2 * format.bytes()], &mut numbers);
            assert!(numbers.iter().all(|number| number.is_finite()), "{format:?}");
        }
    }
}
