//! Codebooks of four and of eight bits, as bitsandbytes defines them.

use std::sync::OnceLock;

/// The sixteen numbers that four bits stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeBook {
    /// Quantiles of the normal distribution (Dettmers et al., 2023, <https://arxiv.org/abs/2305.14314>).
    Nf4,
    /// A sign, two bits of exponent, one of mantissa.
    Fp4,
}

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];
const FP4: [f32; 16] = [
    0.0,
    0.005_208_333_5,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
    0.0,
    -0.005_208_333_5,
    -0.666_666_7,
    -1.0,
    -0.333_333_34,
    -0.5,
    -0.166_666_67,
    -0.25,
];

impl CodeBook {
    /// What each code stands for, a share of the largest number of its block.
    pub const fn values(self) -> &'static [f32; 16] {
        match self {
            Self::Nf4 => &NF4,
            Self::Fp4 => &FP4,
        }
    }

    /// How bitsandbytes calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
        }
    }

    /// The two numbers of each byte, the first of which is in the upper half.
    pub(super) const fn pairs(self) -> &'static [[f32; 2]; 256] {
        const fn pairs(values: &[f32; 16]) -> [[f32; 2]; 256] {
            let mut pairs = [[0.0; 2]; 256];
            let mut byte = 0;
            while byte < 256 {
                pairs[byte] = [values[byte >> 4], values[byte & 15]];
                byte += 1;
            }
            pairs
        }
        static NF4_PAIRS: [[f32; 2]; 256] = pairs(&NF4);
        static FP4_PAIRS: [[f32; 2]; 256] = pairs(&FP4);
        match self {
            Self::Nf4 => &NF4_PAIRS,
            Self::Fp4 => &FP4_PAIRS,
        }
    }

    /// Codes by rising value, with the midpoints between neighbours.
    fn sorted(self) -> ([u8; 16], [f32; 15]) {
        let values = self.values();
        let mut order: [u8; 16] = std::array::from_fn(|code| code as u8);
        // Stable, so that of the two zeros of FP4 the first comes first.
        order.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
        let at = |i: usize| values[order[i] as usize];
        (order, std::array::from_fn(|i| f32::midpoint(at(i), at(i + 1))))
    }

    /// The code nearest to each share.
    pub(super) fn encoder(self) -> impl Fn(f32) -> u8 {
        let (order, bounds) = self.sorted();
        move |share| order[bounds.iter().filter(|bound| share > **bound).count()]
    }
}

/// The numbers that eight bits stand for where scales are stored in these: a sign, an exponent of varying length and a
/// fraction (Dettmers, 2015, <https://arxiv.org/abs/1511.04561>), rising.
pub(super) fn dynamic_map() -> &'static [f32; 256] {
    static MAP: OnceLock<[f32; 256]> = OnceLock::new();
    MAP.get_or_init(|| {
        let mut map = vec![0.0, 1.0];
        for exponent in 0..7 {
            let steps = 1_usize << exponent;
            let step = (1.0 - 0.1_f32) / steps as f32;
            // From both ends to the middle, each number rounded once.
            let bound = |i: usize| match i {
                i if i < steps.div_ceil(2) => step.mul_add(i as f32, 0.1),
                i => (-step).mul_add((steps - i) as f32, 1.0),
            };
            let scale = 10_f64.powi(exponent - 6) as f32;
            for i in 0..steps {
                let value = scale * f32::midpoint(bound(i), bound(i + 1));
                map.extend([value, -value]);
            }
        }
        map.sort_by(f32::total_cmp);
        map.try_into().expect("256 numbers")
    })
}

/// The number of `map`, which rises, that is nearest to `share`; the smaller one of two.
pub(super) fn nearest(map: &[f32; 256], share: f32) -> u8 {
    let (mut low, mut high) = (0, 255);
    while low < high {
        let middle = usize::midpoint(low, high);
        if share > f32::midpoint(map[middle], map[middle + 1]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low as u8
}
