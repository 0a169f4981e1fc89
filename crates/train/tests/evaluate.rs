//! Evaluation in overlapping windows, against one prediction at a time.

use rappel_data::{Document, Tokenizer};
use rappel_model::{Gpt2Config, LanguageModel, ModelConfig, save_pretrained};
use rappel_tensor::{Params, Tensor};
use rappel_train::Pretrained;

const POSITIONS: usize = 12;

/// `-ln p(ids[at] | ids[start..at])`.
fn nats(model: &dyn LanguageModel, ids: &[i64], start: usize, at: usize) -> f64 {
    let context = Tensor::from_slice(&ids[start..at], [1, at - start]);
    let logits = model.logits(&context).to_f64_vec();
    let last = &logits[logits.len() - 257..];
    let largest = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = last.iter().map(|logit| (logit - largest).exp()).sum();
    largest + sum.ln() - last[ids[at] as usize]
}

/// Where the window starts that scores token `at`: windows start at multiples of the stride, and
/// the first that reaches a token scores it.
fn window_start(at: usize, window: usize, stride: usize) -> usize {
    at.saturating_sub(window).div_ceil(stride) * stride
}

fn pretrained(folder: &std::path::Path) -> Pretrained {
    let config = Gpt2Config {
        n_layer: 2,
        n_head: 2,
        n_embd: 8,
        n_positions: POSITIONS,
        vocab_size: 257,
        initializer_range: 0.5,
        ..Gpt2Config::default()
    };
    let mut params = Params::new(3);
    let model = config.build(&mut params);
    save_pretrained(folder, model.as_ref(), &params, &[256]).unwrap();
    Tokenizer::byte().save(folder).unwrap();
    Pretrained::load(folder).unwrap()
}

fn document(text: &[u8]) -> Document {
    Document { name: "text".to_owned(), bytes: text.to_owned() }
}

#[test]
fn documents_are_joined_by_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(folder.path());
    let found = pretrained.evaluate(&[document(b"ab"), document(b"cd")], None, None).unwrap();
    let ids = [97, 98, 256, 99, 100];
    let wanted = (1..5).map(|at| nats(pretrained.model(), &ids, 0, at)).sum::<f64>() / 4.0;
    assert_eq!(found.tokens, 4);
    assert!((found.nats_per_token - wanted).abs() < 1e-5, "{found:?}, not {wanted}");
}

#[test]
fn each_token_is_predicted_once_from_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(folder.path());
    let text: Vec<u8> = (0..200_u32).map(|i| (i * i * 31 % 251) as u8).collect();
    for length in [2, 3, 12, 13, 14, 25, 131, 200] {
        for (window, stride) in
            [(None, None), (Some(12), Some(12)), (Some(7), Some(2)), (Some(1), Some(1))]
        {
            let text = &text[..length];
            let found = pretrained.evaluate(&[document(text)], window, stride).unwrap();
            let ids: Vec<i64> = text.iter().map(|byte| i64::from(*byte)).collect();
            let window = window.unwrap_or(POSITIONS).min(length - 1);
            let stride = stride.unwrap_or(POSITIONS / 2).min(window);
            let one = |at| nats(pretrained.model(), &ids, window_start(at, window, stride), at);
            let wanted = (1..length).map(one).sum::<f64>() / (length - 1) as f64;
            assert_eq!(found.tokens, length - 1);
            assert!(
                (found.nats_per_token - wanted).abs() < 1e-5 * wanted,
                "{length} tokens, window {window}, stride {stride}: {found:?}, wanted {wanted}"
            );
        }
    }
}

#[test]
fn windows_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(folder.path());
    for (text, window, stride, expected) in [
        (
            "",
            None,
            None,
            "the text has 0 tokens; give one of at least 2, for the first is only read",
        ),
        (
            "a",
            None,
            None,
            "the text has 1 tokens; give one of at least 2, for the first is only read",
        ),
        ("some text of words", Some(13), None, "window 13 is out of range; expected 1 to 12"),
        ("some text of words", Some(0), None, "window 0 is out of range; expected 1 to 12"),
        ("some text of words", Some(6), Some(7), "stride 7 is out of range; expected 1 to 6"),
        ("some text of words", None, Some(0), "stride 0 is out of range; expected 1 to 12"),
    ] {
        let error = pretrained.evaluate(&[document(text.as_bytes())], window, stride).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
