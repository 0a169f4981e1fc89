//! Texts of which some tokens are hidden, to be predicted by the others.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rappel_config::{InvalidOption, Options};
use rappel_tensor::Key;

use crate::{DataError, Dataset, TokenStream, Tokenizer};

/// Which tokens are hidden and by what, with the names and defaults of transformers' `DataCollatorForLanguageModeling`.
#[derive(Debug, Clone, Copy, PartialEq, Options)]
#[options(check = Self::check)]
pub struct Masking {
    /// share of the tokens that are to be predicted, special tokens aside
    #[option(default = 0.15, range = 0.0..=1.0, aka("mask_prob", "masked_lm_prob"))]
    pub mlm_probability: f64,
    /// share of these that the mask token stands for
    #[option(default = 0.8, range = 0.0..=1.0)]
    pub mask_replace_prob: f64,
    /// share of these that a token drawn from the whole vocabulary stands for; the others stay
    #[option(default = 0.1, range = 0.0..=1.0)]
    pub random_replace_prob: f64,
}

impl Masking {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.mlm_probability == 0.0 {
            return Err(InvalidOption::new("mlm_probability", "0 hides no token; raise it"));
        }
        // Shares such as 0.8 and 0.2 have a sum that may be a little more than 1.
        if self.mask_replace_prob + self.random_replace_prob > 1.0 + 1e-12 {
            let reason = "together with mask_replace_prob more than 1; lower one of them";
            return Err(InvalidOption::new("random_replace_prob", reason));
        }
        Ok(())
    }
}

/// Samples of a stream of tokens, between the tokens that begin and end a text where a tokenizer has such.
#[derive(Debug, Clone)]
pub struct MaskedTexts {
    stream: Arc<TokenStream>,
    /// Places in the stream.
    windows: Vec<Range<usize>>,
    around: Option<[u32; 2]>,
    mask: u32,
    special: BTreeSet<u32>,
    vocab_size: u32,
    length: usize,
}

/// Samples that a forward pass reads.
#[derive(Debug, Clone)]
pub struct MaskedBatch {
    /// The samples' numbers.
    pub samples: Vec<usize>,
    /// The tokens of each, none hidden.
    pub texts: Vec<Vec<u32>>,
}

impl MaskedTexts {
    /// Samples of at most `length` tokens: all of a stream in pieces of that length, or where `by_document` each document by
    /// itself, cut where it is longer. `split` is what errors call the stream.
    ///
    /// # Errors
    /// A tokenizer without a mask token; a stream of which nothing fills a sample.
    pub fn new(
        split: &'static str,
        stream: Arc<TokenStream>,
        tokenizer: &Tokenizer,
        length: usize,
        by_document: bool,
    ) -> Result<Self, DataError> {
        let named = tokenizer.special_tokens();
        let id = |name: &str| named.get(name).and_then(|token| tokenizer.token_id(token));
        let mask = id("mask_token").ok_or_else(|| {
            let reason = "names no mask_token, which stands for hidden tokens; give a data.tokenizer whose \
                          tokenizer_config.json does";
            DataError::tokenizer(tokenizer.name(), reason)
        })?;
        let around = id("cls_token").zip(id("sep_token")).map(|(first, last)| [first, last]);
        let mut special: BTreeSet<u32> = named.keys().filter_map(|name| id(name)).collect();
        special.insert(tokenizer.end_of_document());
        let room = length.saturating_sub(2 * usize::from(around.is_some()));
        let short = || DataError::TooShort { split, tokens: stream.len(), sequence_length: length };
        if room == 0 {
            return Err(short());
        }
        let windows: Vec<Range<usize>> = if by_document {
            // What ends a document ends the sample anyway.
            let closing = usize::from(around.is_some());
            let starts = stream.document_starts.iter().copied();
            let ends = stream.document_starts.iter().copied().skip(1).chain([stream.len()]);
            let documents =
                starts.zip(ends).map(|(start, end)| start..end - closing.min(end - start));
            documents.flat_map(|of| pieces(of, room)).collect()
        } else {
            pieces(0..stream.len(), room).filter(|piece| piece.len() == room).collect()
        };
        if windows.is_empty() {
            return Err(short());
        }
        let vocab_size = tokenizer.vocab_size() as u32;
        Ok(Self { stream, windows, around, mask, special, vocab_size, length })
    }

    /// The most tokens of a sample.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Hides tokens of a text: what a model reads, and which places it is to predict. What is drawn depends on the key and
    /// the text alone.
    pub fn hide(&self, text: &[u32], masking: &Masking, key: Key) -> (Vec<u32>, Vec<usize>) {
        let mut read = text.to_vec();
        let mut hidden = Vec::new();
        for (place, id) in text.iter().enumerate() {
            let key = key.with(place as u64);
            if self.special.contains(id) || share(key, "hidden") >= masking.mlm_probability {
                continue;
            }
            hidden.push(place);
            let by = share(key, "by");
            if by < masking.mask_replace_prob {
                read[place] = self.mask;
            } else if by < masking.mask_replace_prob + masking.random_replace_prob {
                read[place] = key.with_name("token").below(u64::from(self.vocab_size)) as u32;
            }
        }
        (read, hidden)
    }
}

/// A number in 0..1.
fn share(key: Key, name: &str) -> f64 {
    f64::from(key.with_name(name).bits(0)) / (f64::from(u32::MAX) + 1.0)
}

/// A range in pieces of `room`, the last one of what is left.
fn pieces(of: Range<usize>, room: usize) -> impl Iterator<Item = Range<usize>> {
    let end = of.end;
    of.step_by(room).map(move |start| start..end.min(start + room))
}

impl Dataset for MaskedTexts {
    type Batch = MaskedBatch;

    fn len(&self) -> usize {
        self.windows.len()
    }

    fn batch(&self, samples: &[usize]) -> MaskedBatch {
        let text = |sample: &usize| {
            let first = self.around.map(|[first, _]| first);
            let last = self.around.map(|[_, last]| last);
            let window = self.stream.tokens.range(self.windows[*sample].clone());
            first.into_iter().chain(window).chain(last).collect()
        };
        MaskedBatch { samples: samples.to_vec(), texts: samples.iter().map(text).collect() }
    }

    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        let around = 2 * usize::from(self.around.is_some());
        samples.map(|sample| self.windows[sample].len() + around).sum()
    }

    fn size(&self) -> usize {
        self.stream.len()
    }

    fn fingerprint(&self) -> String {
        let [first, last] = self.around.unwrap_or_default();
        let (stream, count) = (self.stream.fingerprint(), self.windows.len());
        format!("{stream:016x} {count} {} {first} {last} {}", self.length, self.mask)
    }

    fn details(&self) -> Vec<String> {
        vec![format!("{} samples of at most {} tokens", self.windows.len(), self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokens;

    fn texts() -> MaskedTexts {
        MaskedTexts {
            stream: Arc::new(TokenStream {
                tokens: Tokens::U16((0..100).collect()),
                document_starts: vec![0],
                text_bytes: 100,
            }),
            windows: vec![0..50, 50..100],
            around: Some([101, 102]),
            mask: 103,
            special: [101, 102, 103].into(),
            vocab_size: 200,
            length: 52,
        }
    }

    #[test]
    fn shares_of_hidden_tokens_are_as_asked_and_special_ones_stay() {
        let (texts, masking) = (texts(), Masking::default());
        let (mut hidden, mut masked, mut kept) = (0, 0, 0);
        for step in 0..200 {
            let batch = texts.batch(&[0, 1]);
            assert_eq!((batch.texts[0][0], batch.texts[0][51]), (101, 102));
            for (sample, text) in batch.texts.iter().enumerate() {
                let key = Key::new(7).with(step).with(sample as u64);
                let (read, places) = texts.hide(text, &masking, key);
                assert_eq!((&read, &places), (&texts.hide(text, &masking, key).0, &places));
                assert!(places.iter().all(|place| (1..=50).contains(place)));
                let stays = |i: &usize| places.contains(i) || read[*i] == text[*i];
                assert!((0..text.len()).collect::<Vec<_>>().iter().all(stays));
                hidden += places.len();
                masked += places.iter().filter(|place| read[**place] == 103).count();
                kept += places.iter().filter(|place| read[**place] == text[**place]).count();
            }
        }
        let share = |part: usize, of: usize| part as f64 / of as f64;
        // 20,000 tokens: three standard deviations are 0.008 and 0.022.
        assert!((share(hidden, 20_000) - 0.15).abs() < 0.008, "{hidden}");
        assert!((share(masked, hidden) - 0.8).abs() < 0.022, "{masked}");
        assert!((share(kept, hidden) - 0.1).abs() < 0.017, "{kept}");
    }

    #[test]
    fn pieces_are_of_one_length_but_the_last() {
        assert_eq!(pieces(3..10, 3).collect::<Vec<_>>(), [3..6, 6..9, 9..10]);
        assert_eq!(pieces(3..3, 3).count(), 0);
    }
}
