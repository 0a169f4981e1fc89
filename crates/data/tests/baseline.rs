//! The trigram baselines, in both their units.

use rappel_data::{Corpus, Document, Surprise, Tokenizer, byte_trigram, token_trigram};

fn corpora() -> (Corpus, Corpus) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tokenizers");
    let bytes = std::fs::read(root.join("sample.txt")).unwrap();
    let middle = bytes.len() / 2;
    let half = |name: &str, bytes: &[u8]| Document { name: name.into(), bytes: bytes.to_vec() };
    let train = Corpus { documents: vec![half("a", &bytes[..middle])] };
    let end = bytes.iter().rposition(|&byte| byte == b'}').unwrap();
    (train, Corpus { documents: vec![half("b", &bytes[middle..end])] })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9 * a.abs()
}

#[test]
fn over_bytes_the_tokenizer_does_not_matter() {
    let (train, validation) = corpora();
    let bpe = Tokenizer::train_bpe(&train.documents, 300, usize::MAX).unwrap();
    let measure = |tokenizer: &Tokenizer| -> Surprise {
        let [train, validation] =
            [&train, &validation].map(|corpus| tokenizer.encode_corpus(corpus).unwrap());
        byte_trigram(tokenizer, &train, &validation, 0..validation.len()).unwrap()
    };
    let (over_bytes, over_bpe) = (measure(&Tokenizer::byte()), measure(&bpe));
    assert!(close(over_bytes.nats, over_bpe.nats));
    assert_eq!(over_bytes.bytes, validation.text_bytes());
    assert_eq!(over_bytes.tokens, validation.text_bytes() + 1);
    assert_eq!(over_bpe.bytes, validation.text_bytes());
    assert!(over_bpe.tokens < over_bytes.tokens);
    assert!(close(over_bpe.nats_per_byte(), over_bytes.nats_per_byte()));
    assert!(over_bpe.nats_per_token() > over_bytes.nats_per_token());
    assert!(close(over_bpe.bits_per_byte() * 2_f64.ln(), over_bpe.nats_per_byte()));
    // It has learnt something, and is not an oracle.
    assert!((1.0..257_f64.ln()).contains(&over_bytes.nats_per_byte()));
}

#[test]
fn stretches_add_up() {
    let (train, validation) = corpora();
    let bpe = Tokenizer::train_bpe(&train.documents, 300, usize::MAX).unwrap();
    let [train, validation] =
        [&train, &validation].map(|corpus| bpe.encode_corpus(corpus).unwrap());
    for measure in [token_trigram, byte_trigram] {
        let of = |range| measure(&bpe, &train, &validation, range).unwrap();
        let (middle, end) = (validation.len() / 3, validation.len());
        let (whole, first, second) = (of(0..end), of(0..middle), of(middle..end));
        assert!(close(whole.nats, first.nats + second.nats));
        assert_eq!(whole.tokens, first.tokens + second.tokens);
        assert_eq!(whole.bytes, first.bytes + second.bytes);
        assert_eq!(whole.bytes, validation.text_bytes);
    }
}
