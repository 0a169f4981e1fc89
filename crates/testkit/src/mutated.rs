//! Files that are almost right.

use crate::Random;

/// Numbers at the ends of ranges.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483647",
    "4294967295",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "1e308",
    "1e-320",
    "0.5",
    "null",
];

/// A file like `bytes`, changed at one to four places: a pure function of the seed.
pub fn mutated(bytes: &[u8], seed: u64) -> Vec<u8> {
    let random = &mut Random::new(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        mutate(&mut bytes, random);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let len = (1 + random.below(16)).min(bytes.len() - at);
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..at + len].fill(0xff),
        2 => drop(bytes.drain(at..at + len)),
        3 => bytes.truncate(at),
        4 => {
            let part = bytes[at..at + len].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, part);
        }
        // Of texts, mostly numbers.
        _ => {
            let digits = |from: usize| {
                let number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
                let start = from + bytes[from..].iter().position(u8::is_ascii_digit)?;
                let len = bytes[start..].iter().take_while(|byte| number(byte)).count();
                Some(start..start + len)
            };
            let place = digits(at).unwrap_or(at..at + len);
            bytes.splice(place, NUMBERS[random.below(NUMBERS.len())].bytes());
        }
    }
}
