//! A keyed hash: what stands for randomness here, on every machine and in every version the same.

/// The finaliser of SplitMix64: a bijection of the 64-bit words in which every input bit flips
/// every output bit with a chance near one half.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[inline(always)]
pub(crate) fn avalanche(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The lowest bit of [`avalanche`]: of the second product it needs half.
#[inline(always)]
pub(crate) fn coin(word: u64) -> u64 {
    const HALF: u64 = 0xffff_ffff;
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = ((word ^ (word >> 27)) & HALF).wrapping_mul(0x94d0_49bb_1331_11eb & HALF);
    (word ^ (word >> 31)) & 1
}

/// A hash of the words under the key.
pub(crate) fn hash_words(key: u64, words: &[u64]) -> u64 {
    // The golden ratio's bits keep a word of zeros from being a fixed point.
    let fold = |state: u64, &word: &u64| {
        avalanche(state.rotate_left(5).wrapping_add(0x9e37_79b9_7f4a_7c15) ^ avalanche(word))
    };
    words.iter().fold(avalanche(key), fold)
}

#[cfg(feature = "tables")]
/// A hash of the bytes, and of how many they are, under the key.
pub(crate) fn hash_bytes(key: u64, bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let start = hash_words(key, &[bytes.len() as u64]);
    bytes.chunks(8).fold(start, |state, chunk| hash_words(state, &[word(chunk)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_length_and_each_bit_count() {
        assert_ne!(hash_bytes(0, b"a"), hash_bytes(1, b"a"));
        assert_ne!(hash_bytes(0, b"a"), hash_bytes(0, b"a\0"));
        let base = hash_bytes(7, b"0123456789");
        for bit in 0..80 {
            let mut bytes = *b"0123456789";
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = (hash_bytes(7, &bytes) ^ base).count_ones();
            assert!((12..=52).contains(&flipped), "bit {bit} flips {flipped} of 64");
        }
    }

    #[test]
    fn a_coin_is_a_bit_of_the_avalanche() {
        for i in 0..10_000_u64 {
            let word = hash_words(3, &[i]);
            assert_eq!(coin(word), avalanche(word) & 1);
        }
    }

    #[test]
    fn the_hash_is_frozen() {
        // Orders of data and splits hang on it: another value here makes other runs.
        assert_eq!(hash_bytes(42, b"rappel"), 0x11f1daa8480c0481);
        assert_eq!(hash_words(7, &[1, 2, 3]), 0x54dd8d1433ecbe7a);
    }
}
