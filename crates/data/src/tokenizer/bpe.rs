//! Training a byte-level BPE, with the pre-tokenizer of GPT-2.

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, PostProcessorWrapper, TokenizerImpl};

use super::{END_OF_DOCUMENT, alphabet, utf8};
use crate::DataError;
use crate::corpus::{Document, boundary};

/// A pair of tokens is merged only if the sample holds it at least this often.
const MIN_FREQUENCY: u64 = 2;

/// The `tokenizer.json` of a vocabulary of `vocab_size`: the 256 bytes, the merges, the id that
/// closes a document last. It depends on the texts alone, not on their order nor on threads.
pub(super) fn train(
    documents: &[Document],
    vocab_size: usize,
    sample_bytes: usize,
) -> Result<String, DataError> {
    let mut left = sample_bytes;
    let mut sample = Vec::new();
    for document in documents {
        let text = utf8(&document.bytes, &document.name)?;
        let text = &text[..boundary(text.as_bytes(), left)];
        sample.push(text);
        left -= text.len();
        if left < 4 {
            break;
        }
    }
    let mut bpe =
        TokenizerImpl::<BPE, NormalizerWrapper, ByteLevel, PostProcessorWrapper, ByteLevel>::new(
            BPE::default(),
        );
    bpe.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    bpe.with_decoder(Some(ByteLevel::new(false, false, true)));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size - 1)
        .min_frequency(MIN_FREQUENCY)
        .initial_alphabet(alphabet::characters().into())
        .show_progress(false)
        .build();
    let fail = |error: tokenizers::Error| DataError::tokenizer("bpe", error.to_string());
    bpe.train(&mut trainer, sample.into_iter()).map_err(fail)?;
    bpe.add_special_tokens([AddedToken::from(END_OF_DOCUMENT, true).normalized(false)])
        .map_err(fail)?;
    let found = bpe.get_vocab_size(true);
    if found < vocab_size {
        return Err(DataError::Vocabulary { asked: vocab_size, found });
    }
    bpe.to_string(true).map_err(fail)
}
