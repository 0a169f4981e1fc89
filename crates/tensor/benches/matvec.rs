//! One row times a matrix, however it is stored: `cargo bench -p rappel-tensor --bench matvec`.
//!
//! Prints microseconds, gigabytes of the matrix a second, and numbers of the matrix a nanosecond, of one thread and of all; the
//! shortest of many, in turn with reading as many bytes. The large matrix lies in memory, the small one in the caches.

use std::hint::black_box;
use std::time::Instant;

use rappel_tensor::{
    BlockFormat, CodeBook, DType, Key, Quantized, QuantizedForm, Tensor, Weight, WeightLayout,
};

const ROUNDS: usize = 60;

fn main() {
    for threads in [1, 0] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            println!("{} thread(s)", rayon::current_num_threads());
            for [outputs, inputs] in [[1536, 576], [576, 1536], [49152, 576]] {
                measure(outputs, inputs);
            }
        });
    }
}

fn measure(outputs: usize, inputs: usize) {
    println!("  [{outputs}, {inputs}]");
    let numbers = Tensor::randn([outputs, inputs], DType::F32, Key::new(1));
    let blocks = |format: BlockFormat| {
        let size = outputs * inputs / format.block() * format.bytes();
        let bytes: Vec<u8> = (0..size).map(|i| (i * 37 % 53) as u8).collect();
        let bytes = Tensor::from_slice(&bytes, [size]);
        let form = QuantizedForm::Blocks(format);
        Quantized::new([outputs, inputs], form, &bytes).unwrap()
    };
    let few = |weight: Quantized| {
        let size = weight.size();
        (Weight::Quantized(weight.into(), DType::F32), size)
    };
    let dense = |dtype: DType| (numbers.to_dtype(dtype).into(), numbers.count() * dtype.size());
    let mut weights: Vec<(&str, (Weight, usize))> = vec![
        ("float32", dense(DType::F32)),
        ("bfloat16", dense(DType::BF16)),
        ("int8", few(Quantized::eight_bits(&numbers))),
        ("NF4", few(Quantized::four_bits(&numbers, CodeBook::Nf4, false))),
        ("Q8_0", few(blocks(BlockFormat::Q8_0))),
        ("Q4_0", few(blocks(BlockFormat::Q4_0))),
    ];
    if inputs.is_multiple_of(256) {
        weights.push(("Q4_K", few(blocks(BlockFormat::Q4K))));
        weights.push(("Q6_K", few(blocks(BlockFormat::Q6K))));
    }
    let mut best = vec![f64::INFINITY; weights.len()];
    let repeats = (1 << 22) / (outputs * inputs) + 1;
    for _ in 0..ROUNDS {
        for ((_, (weight, _)), best) in weights.iter().zip(&mut best) {
            let x = Tensor::randn([1, inputs], weight.dtype(), Key::new(2));
            let start = Instant::now();
            (0..repeats)
                .for_each(|_| drop(black_box(weight.linear(&x, None, WeightLayout::OutIn))));
            *best = best.min(start.elapsed().as_secs_f64() / repeats as f64);
        }
    }
    for ((name, (_, bytes)), seconds) in weights.iter().zip(best) {
        println!(
            "    {name:>9}: {:8.1} us, {:5.1} GB/s, {:5.1} numbers/ns",
            seconds * 1e6,
            *bytes as f64 / seconds / 1e9,
            (outputs * inputs) as f64 / seconds / 1e9,
        );
    }
}
