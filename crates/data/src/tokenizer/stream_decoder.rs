//! Text from ids that come one by one.

use tokenizers::ModelWrapper;
use tokenizers::tokenizer::step_decode_stream;

use super::{Kind, Tokenizer, guarded};
use crate::DataError;

/// Decodes ids as they are generated: each gives the text that is certain by then.
///
/// A character may take several tokens; it comes out with its last one. Bytes that are not UTF-8
/// come out as U+FFFD.
///
/// ```
/// use rappel_data::Tokenizer;
/// let tokenizer = Tokenizer::byte();
/// let mut decoder = tokenizer.stream_decoder();
/// assert_eq!(decoder.push(0xc3)?, "");
/// assert_eq!(decoder.push(0xa9)?, "é");
/// assert_eq!(decoder.push(0xc3)?, "");
/// assert_eq!(decoder.push(60_000)?, "");
/// assert_eq!(decoder.finish(), "\u{fffd}");
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// Bytes that wait for the rest of their character.
    pending: Vec<u8>,
    /// What vocabularies that are not of bytes need: recent ids, and how much of them is out.
    ids: Vec<u32>,
    prefix: String,
    prefix_index: usize,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
            ids: Vec::new(),
            prefix: String::new(),
            prefix_index: 0,
        }
    }

    /// Takes the next id and returns the text it makes certain: none for an id that the tokenizer does not know, as of a model
    /// whose vocabulary is filled up to a round number.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, DataError> {
        if id as usize >= self.tokenizer.vocab_size() {
            return Ok(String::new());
        }
        let Kind::Text { inner, bytes: None, .. } = &self.tokenizer.kind else {
            self.pending.extend(self.tokenizer.decode(&[id])?);
            return Ok(self.certain());
        };
        if let Some(byte) = fallback_byte(inner, id) {
            self.pending.push(byte);
            return Ok(self.certain());
        }
        let before = String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned();
        let Self { ids, prefix, prefix_index, .. } = self;
        let step = || step_decode_stream(inner, vec![id], true, ids, prefix, prefix_index);
        let text = guarded(&self.tokenizer.name, step)?.unwrap_or_default();
        Ok(before + &text)
    }

    /// The characters of the bytes that came, but for one that may still get its end.
    fn certain(&mut self) -> String {
        // What may still become a character starts in the last three bytes.
        let incomplete = match self.pending.utf8_chunks().last() {
            Some(last) if may_go_on(last.invalid()) => last.invalid().len(),
            _ => 0,
        };
        let rest = self.pending.split_off(self.pending.len() - incomplete);
        let certain = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&certain).into_owned()
    }

    /// The text that is left when no more ids come.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Whether the bytes begin a character that lacks its end.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The byte of a token such as `<0x0A>`, in vocabularies that have those for what they lack. The library's decoder takes
/// characters back where a byte follows that does not fit.
fn fallback_byte(inner: &tokenizers::Tokenizer, id: u32) -> Option<u8> {
    let has_bytes = match inner.get_model() {
        ModelWrapper::BPE(model) => model.byte_fallback,
        ModelWrapper::Unigram(model) => model.byte_fallback(),
        _ => false,
    };
    let token = inner.id_to_token(id).filter(|_| has_bytes)?;
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}
