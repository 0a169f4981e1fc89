//! How fast a model of SmolLM2-135M's size writes, against the rate at which memory is read.
//!
//! ```text
//! cargo bench -p rappel-model --bench decode -- [float32|bfloat16] [PROMPT_TOKENS] [NEW_TOKENS]
//! ```
//!
//! Weights are random. Decoding a token reads every weight once, so the best that can be is the rate of reading over the
//! bytes of the weights; both are measured in turn, in one run, and the medians are printed.

use std::hint::black_box;
use std::time::Instant;

use rappel_model::{ARCHITECTURES, GenerateOptions, ModelConfig, generate};
use rappel_tensor::{DType, Params, profile};
use rayon::prelude::*;

const ROUNDS: usize = 7;

fn main() {
    // As commands do: loops that are spread over threads need not enter the pool.
    rayon::ThreadPoolBuilder::new().build().unwrap().install(run);
}

fn run() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let dtype = match args.first().map(String::as_str) {
        None | Some("float32") => DType::F32,
        Some("bfloat16") => DType::BF16,
        Some(other) => panic!("`{other}` is not a type of weights"),
    };
    let number = |i: usize, default: usize| args.get(i).map_or(default, |arg| arg.parse().unwrap());
    let (prompt, new) = (number(1, 16), number(2, 64));
    let config = smollm2(dtype);
    let mut params = Params::with_dtype(1, dtype);
    let model = config.build(&mut params);
    let weights = params.count() * if dtype == DType::F32 { 4 } else { 2 };
    let prompt: Vec<u32> = (0..prompt as u32).map(|i| i * 37 % 49152).collect();
    let decode = || {
        let options = GenerateOptions { max_new_tokens: new + 1, ..GenerateOptions::default() };
        let mut tokens = generate(&*model, &prompt, options).unwrap();
        // The first token comes with the prompt.
        black_box(tokens.next());
        let began = Instant::now();
        let count = tokens.by_ref().map(Result::unwrap).count();
        began.elapsed().as_secs_f64() / count as f64
    };
    let memory = vec![1.0_f32; 128 << 20];
    let read = || {
        let began = Instant::now();
        black_box(memory.par_chunks(1 << 20).map(sum).sum::<f32>());
        memory.len() as f64 * 4.0 / began.elapsed().as_secs_f64()
    };
    let (mut times, mut rates) = (Vec::new(), Vec::new());
    decode();
    for _ in 0..ROUNDS {
        rates.push(read());
        times.push(decode());
    }
    let (time, rate) = (median(&mut times), median(&mut rates));
    println!(
        "{dtype}: {:.1} tokens/s, {:.2} ms a token; weights {:.0} MB; memory is read at {:.1} GB/s; {:.2} of that",
        1.0 / time,
        time * 1e3,
        weights as f64 / 1e6,
        rate / 1e9,
        weights as f64 / time / rate,
    );
    profile::start();
    let time = decode();
    println!("{:>24} {:>9} {:>9} {:>9}", "kernel", "calls", "us/token", "GB/s");
    let mut known = 0.0;
    for row in profile::take() {
        let each = row.seconds / (new + 1) as f64;
        known += each;
        let rate = row.bytes / row.seconds / 1e9;
        println!(
            "{:>24} {:>9.1} {:>9.1} {rate:>9.1}",
            row.name,
            row.calls as f64 / (new + 1) as f64,
            each * 1e6
        );
    }
    println!("{:>24} {:>9} {:>9.1}", "outside kernels", "", (time - known) * 1e6);
}

fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 64];
    for values in values.chunks_exact(64) {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn smollm2(dtype: DType) -> Box<dyn ModelConfig> {
    let options = format!(
        "name = 'llama'\nvocab_size = 49152\nhidden_size = 576\nintermediate_size = 1536\n\
         num_hidden_layers = 30\nnum_attention_heads = 9\nnum_key_value_heads = 3\n\
         max_position_embeddings = 8192\nrope_theta = 100000.0\ntie_word_embeddings = true\ndtype = '{dtype}'"
    );
    let (entry, options) =
        ARCHITECTURES.resolve("model", &toml::from_str(&options).unwrap()).unwrap();
    (entry.build.configure)(&options, None).unwrap()
}
