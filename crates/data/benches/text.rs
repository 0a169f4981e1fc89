//! How fast text becomes tokens, batches and a baseline, on the Rust sources of this workspace.
//!
//! `cargo bench -p rappel-data`; prints seconds and rates, the median of five where repeated.

use std::hint::black_box;
use std::time::Instant;

use rappel_data::{
    Corpus, DataConfig, DataError, Dataset, Drawing, Order, Text, Tokenizer, Trigram,
};

fn main() -> Result<(), DataError> {
    let section: toml::Table = toml::toml! {
        name = "cargo"
        max_bytes = 20000000
    };
    let config = DataConfig::from_toml("data", &section)?;
    let corpus = once("read", || Corpus::read(config.source.as_ref(), 42, config.max_bytes))?;
    let megabytes = corpus.text_bytes() as f64 / 1e6;
    println!(
        "{} documents, {megabytes:.1} MB, {} threads",
        corpus.documents.len(),
        rayon::current_num_threads()
    );

    let (train, _) = corpus.clone().split(0.05);
    let byte = Tokenizer::byte();
    let bpe = once("bpe: train, 8 MB", || Tokenizer::train_bpe(&train.documents, 4096, 8 << 20))?;
    for (name, tokenizer) in [("byte", &byte), ("bpe", &bpe)] {
        let seconds = median(|| tokenizer.encode_corpus(&corpus));
        let tokens = tokenizer.encode_corpus(&corpus)?.len();
        println!(
            "{name}: encode {:.1} MB/s ({seconds:.2} s), {tokens} tokens",
            megabytes / seconds
        );
    }
    let data = once("dataset, byte", || Text::build(&config, 42))?;
    let samples = data.training()?;
    let order = Order::new(samples.len(), 32.into(), Drawing::default())?;
    let rows = |step| samples.batch(&order.part(step, 0, 1)).batch;
    let seconds = median(|| (0..100).map(rows).sum::<usize>()) / 100.0;
    println!("batch of 32 x {}: {:.1} us", config.sequence_length, seconds * 1e6);
    let seconds = median(|| Trigram::fit(&data.train.tokens, 257, 256));
    let model = Trigram::fit(&data.train.tokens, 257, 256);
    let validation = &data.validation;
    let evaluate = median(|| model.nats(&validation.tokens, 1..validation.len()));
    let nats = model.nats(&validation.tokens, 1..validation.len()) / (validation.len() - 1) as f64;
    println!("trigram: fit {seconds:.2} s, evaluate {evaluate:.2} s, {nats:.4} nats per byte");
    Ok(())
}

fn once<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    result
}

fn median<T>(mut work: impl FnMut() -> T) -> f64 {
    let time = |_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64()
    };
    let mut times = [0; 5].map(time);
    times.sort_by(f64::total_cmp);
    times[2]
}
