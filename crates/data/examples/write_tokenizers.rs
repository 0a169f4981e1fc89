//! Writes the byte tokenizer and a BPE trained on a file, each to a folder of its own:
//! `cargo run -p rappel-data --example write_tokenizers -- TEXT VOCAB_SIZE FOLDER`.

use std::path::PathBuf;

use rappel_data::{Document, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, vocab_size, folder] = arguments.as_slice() else {
        return Err("usage: write_tokenizers TEXT VOCAB_SIZE FOLDER".into());
    };
    let documents = [Document { name: text.clone(), bytes: std::fs::read(text)? }];
    let bpe = Tokenizer::train_bpe(&documents, vocab_size.parse()?, usize::MAX)?;
    for (name, tokenizer) in [("byte", Tokenizer::byte()), ("bpe", bpe)] {
        let folder = PathBuf::from(folder).join(name);
        std::fs::create_dir_all(&folder)?;
        tokenizer.save(&folder)?;
    }
    Ok(())
}
