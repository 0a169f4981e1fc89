//! The printable characters that stand for bytes in byte-level vocabularies.
//!
//! Source: `bytes_to_unicode` of GPT-2, <https://github.com/openai/gpt-2/blob/master/src/encoder.py>:
//! bytes that print stand for themselves, the other 68 for the characters from U+0100 on.

use std::collections::HashMap;

/// The character of each byte.
pub(super) fn characters() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        if prints(byte as u8) {
            return char::from(byte as u8);
        }
        let character = char::from_u32(next).expect("U+0100 to U+0143 are characters");
        next += 1;
        character
    })
}

fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The byte of each character.
pub(super) fn bytes() -> HashMap<char, u8> {
    characters().into_iter().zip(0..=u8::MAX).collect()
}
