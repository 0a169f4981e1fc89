//! Encoding word by word, for vocabularies split as GPT-2's is.
//!
//! The general encoder keeps offsets and texts of every token and runs a backtracking pattern; here
//! a word seen before costs one look-up. Words are cut and merged the same way.

use std::collections::HashMap;

use regex::Regex;
use tokenizers::{Model, ModelWrapper, Tokenizer};

use super::{alphabet, guarded};
use crate::DataError;

/// The pattern of GPT-2 less its look-ahead `\s+(?!\S)`, which [`Words::each`] stands in for.
const PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Longer words are rare and not kept.
const MAX_KEPT: usize = 64;

/// The ids of words met so far.
pub(super) type Known = HashMap<String, Vec<u32>>;

/// Splits text into words and has the vocabulary's own merges encode each new one.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pattern: Regex,
    characters: [char; 256],
}

impl Words {
    pub(super) fn new() -> Self {
        let pattern = Regex::new(PATTERN).expect("a pattern that compiles");
        Self { pattern, characters: alphabet::characters() }
    }

    /// Appends the ids of a text.
    pub(super) fn encode(
        &self,
        text: &str,
        vocabulary: &Tokenizer,
        known: &mut Known,
        ids: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        self.each(text, &mut |word| {
            if let Some(kept) = known.get(word) {
                ids.extend_from_slice(kept);
                return Ok(());
            }
            let new = self.merge(word, vocabulary.get_model())?;
            ids.extend_from_slice(&new);
            if word.len() <= MAX_KEPT {
                known.insert(word.to_owned(), new);
            }
            Ok(())
        })
    }

    fn merge(&self, word: &str, model: &ModelWrapper) -> Result<Vec<u32>, DataError> {
        let spelled: String = word.bytes().map(|byte| self.characters[usize::from(byte)]).collect();
        let tokens = guarded("bpe", || model.tokenize(&spelled))?;
        Ok(tokens.into_iter().map(|token| token.id).collect())
    }

    /// Hands out the words of a text: white space before a word leaves the word its last character,
    /// which is the word's own if it is a space.
    fn each<'a>(
        &self,
        text: &'a str,
        take: &mut dyn FnMut(&'a str) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut at = 0;
        while let Some(found) = self.pattern.find_at(text, at) {
            let mut word = found.as_str();
            let last = word.chars().next_back().filter(|last| last.is_whitespace());
            if let Some(last) = last
                && found.end() < text.len()
                && word.len() > last.len_utf8()
            {
                word = &word[..word.len() - last.len_utf8()];
            }
            take(word)?;
            at += word.len();
        }
        Ok(())
    }
}
