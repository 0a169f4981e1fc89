//! A small GPT-2 that learns a verse, byte by byte, and continues from its first words:
//! `cargo run --release --example gpt`.

use std::error::Error;

use rappel::data::{Corpus, Document, Drawing, Order, TextSamples, Tokenizer};
use rappel::prelude::*;

const VERSE: &str =
    "The woods are wide, the path is steep,\nthe rope is long, the knots will keep.\n";

/// Learns the verse, then continues from its first words.
pub fn main() -> Result<(), Box<dyn Error>> {
    let tokenizer = Tokenizer::byte();
    let verse = Document { name: "verse".into(), bytes: VERSE.repeat(20).into() };
    let stream = tokenizer.encode_corpus(&Corpus { documents: vec![verse] })?;
    let samples = TextSamples::new("training", stream.into(), 64)?;
    let order = Order::new(samples.len(), 8.into(), Drawing::default())?;

    let config = Gpt2Config {
        n_layer: 2,
        n_head: 2,
        n_embd: 64,
        n_positions: 128,
        vocab_size: tokenizer.vocab_size(),
        ..default()
    };
    let mut params = Params::new(42);
    let model = config.build(&mut params);
    let lr = 3e-3 * linear_warmup(20) * cosine(400);
    let mut adamw = Optimizer::new(AdamW { lr, ..default() }, &params)?;
    for step in 0..400 {
        let batch = samples.batch(&order.part(step, 0, 1));
        let [ids, targets] = [&batch.input_ids, &batch.targets]
            .map(|tokens| Tensor::from_slice(tokens, [batch.batch, batch.time]));
        let pass = Forward::training(Key::new(42).with(step));
        let loss = model.loss(&ids, &targets, None, &CrossEntropy::default(), &pass);
        adamw.step(step, &mut params, &loss.backward())?;
        if step % 40 == 0 {
            println!("step {step:3}  loss {:.3}", loss.item());
        }
    }

    let prompt = tokenizer.encode(b"The woods")?;
    let options = GenerateOptions { max_new_tokens: 60, ..default() };
    let tokens = generate(&*model, &prompt, options)?.collect::<Result<Vec<u32>, _>>()?;
    let text = String::from_utf8_lossy(&tokenizer.decode(&tokens)?).into_owned();
    println!("The woods{text}");
    assert!(VERSE.repeat(2).contains(text.trim_end()), "not the verse: {text}");
    Ok(())
}
