//! The documents of a run: ordered, capped, read and split, by the seed alone.

use rayon::prelude::*;

use crate::DataError;
use crate::mix::hash_bytes;
use crate::sources::{DocumentRef, Source};

/// One document, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name; the same on every machine that has the same corpus.
    pub name: String,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// The documents of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Corpus {
    /// In the order the seed gives them.
    pub documents: Vec<Document>,
}

impl Corpus {
    /// Reads a source's documents in the order of a keyed hash of their names, so that the cap
    /// takes a fair sample and a new document moves no other.
    ///
    /// Files are read until their documents hold `max_bytes`; the document that passes the cap is cut
    /// there, at a character's boundary if it is text, and nothing beyond it is read. Empty documents
    /// are left out.
    ///
    /// # Errors
    /// The source's, and [`DataError::EmptyCorpus`].
    pub fn read(source: &dyn Source, seed: u64, max_bytes: Option<u64>) -> Result<Self, DataError> {
        Self::read_listed(source, source.list()?, seed, max_bytes)
    }

    /// As [`read`](Self::read), of files that the source listed.
    pub(crate) fn read_listed(
        source: &dyn Source,
        mut listed: Vec<DocumentRef>,
        seed: u64,
        max_bytes: Option<u64>,
    ) -> Result<Self, DataError> {
        let found = listed.len();
        listed.sort_by_cached_key(|document| place(seed, &document.name));
        let mut left = max_bytes.unwrap_or(u64::MAX);
        let (mut documents, mut rest) = (Vec::new(), &listed[..]);
        while left > 0 && !rest.is_empty() {
            let (group, more) = rest.split_at(enough(rest, left));
            let read: Vec<_> = group.par_iter().map(|file| source.read(file, left)).collect();
            for of_file in read {
                for mut document in of_file? {
                    left = cut(&mut document.bytes, left);
                    if !document.bytes.is_empty() {
                        documents.push(document);
                    }
                }
                if left == 0 {
                    break;
                }
            }
            rest = more;
        }
        // A file of records is read from its beginning; then they are drawn as documents are.
        documents.sort_by_cached_key(|document| place(seed, &document.name));
        Self::unless_empty(documents, found)
    }

    fn unless_empty(documents: Vec<Document>, found: usize) -> Result<Self, DataError> {
        if documents.is_empty() {
            return Err(DataError::EmptyCorpus { documents: found });
        }
        Ok(Self { documents })
    }

    /// How many bytes of text it holds.
    pub fn text_bytes(&self) -> u64 {
        self.documents.iter().map(|document| document.bytes.len() as u64).sum()
    }

    /// Splits off the validation documents: the first ones in the seed's order, until they hold
    /// `validation_fraction` of the bytes.
    ///
    /// The document that passes the mark is cut: its end, at a character's boundary if it is text,
    /// goes to validation and its beginning to training. So a corpus of one document can be split
    /// too, and the fraction is exact.
    ///
    /// Returns the training documents, then the validation documents.
    pub fn split(self, validation_fraction: f64) -> (Self, Self) {
        let mut wanted = (self.text_bytes() as f64 * validation_fraction).round() as usize;
        let (mut train, mut validation) = (Self::default(), Self::default());
        for Document { name, mut bytes } in self.documents {
            let taken = wanted.min(bytes.len());
            let tail = bytes.split_off(boundary(&bytes, bytes.len() - taken));
            wanted -= taken;
            if !tail.is_empty() {
                validation.documents.push(Document { name: name.clone(), bytes: tail });
            }
            if !bytes.is_empty() {
                train.documents.push(Document { name, bytes });
            }
        }
        (train, validation)
    }
}

/// Keeps the hash that orders documents apart from others under the same seed.
const ORDER_OF_DOCUMENTS: u64 = 0x646f_6375_6d65_6e74;

/// Where the seed puts a document.
fn place(seed: u64, name: &str) -> (u64, String) {
    (hash_bytes(seed ^ ORDER_OF_DOCUMENTS, name.as_bytes()), name.to_owned())
}

/// How many of the files to read at once: no more than hold `left` bytes, by their sizes, and at
/// most 256.
fn enough(files: &[DocumentRef], left: u64) -> usize {
    let mut bytes = 0;
    let passes = files.iter().take(256).position(|file| {
        bytes += std::fs::metadata(&file.path).map_or(0, |found| found.len());
        bytes >= left
    });
    passes.map_or(files.len().min(256), |last| last + 1)
}

/// Cuts `bytes` so that no more than `left` remain; returns what is left after them: 0 once it was cut.
pub(crate) fn cut(bytes: &mut Vec<u8>, left: u64) -> u64 {
    if bytes.len() as u64 > left {
        bytes.truncate(boundary(bytes, left as usize));
        return 0;
    }
    left - bytes.len() as u64
}

/// The last place up to `place`, or up to the end, that does not cut a UTF-8 character in two.
pub(crate) fn boundary(bytes: &[u8], place: usize) -> usize {
    let place = place.min(bytes.len());
    let continues = |&at: &usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let start = (place.saturating_sub(3)..=place).rev().find(|at| !continues(at));
    // Four continuation bytes in a row are not text: cut where asked.
    start.unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_splits_a_character() {
        let text = "aé∑😀b";
        for place in 0..=text.len() {
            let cut = boundary(text.as_bytes(), place);
            assert!(text.is_char_boundary(cut) && cut <= place && place - cut < 4);
        }
        assert_eq!(boundary(&[0x80; 9], 7), 7);
    }
}
