//! Documents as one stream of tokens.

use std::io::{self, Read, Write};
use std::ops::Range;

use rayon::prelude::*;

use crate::mix::hash_words;

/// Token ids in the smaller of two widths that holds their vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokens {
    /// Ids of a vocabulary of at most 65,536.
    U16(Vec<u16>),
    /// Ids of a larger vocabulary.
    U32(Vec<u32>),
}

/// The same expression for either width.
macro_rules! either {
    ($tokens:expr, $ids:ident => $body:expr) => {
        match $tokens {
            Tokens::U16($ids) => $body,
            Tokens::U32($ids) => $body,
        }
    };
}

impl Tokens {
    /// An empty list for ids below `vocab_size`.
    pub fn for_vocabulary(vocab_size: usize) -> Self {
        if vocab_size <= 1 << 16 { Self::U16(Vec::new()) } else { Self::U32(Vec::new()) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        either!(self, ids => ids.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at a place.
    ///
    /// # Panics
    /// If there are not that many.
    #[track_caller]
    pub fn get(&self, place: usize) -> u32 {
        match self {
            Self::U16(ids) => u32::from(ids[place]),
            Self::U32(ids) => ids[place],
        }
    }

    /// The ids in their order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.range(0..self.len())
    }

    /// The ids of a range, in their order.
    ///
    /// # Panics
    /// If the range ends beyond the last.
    #[track_caller]
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = u32> + '_ {
        assert!(range.end <= self.len(), "tokens {range:?} of {}", self.len());
        range.map(|place| self.get(place))
    }

    /// Appends one id.
    ///
    /// # Panics
    /// If the id does not fit the width, which the vocabulary's size rules out.
    #[track_caller]
    pub fn push(&mut self, id: u32) {
        match self {
            Self::U16(ids) => ids.push(u16::try_from(id).expect("an id of a small vocabulary")),
            Self::U32(ids) => ids.push(id),
        }
    }

    /// Appends ids.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn extend(&mut self, ids: impl IntoIterator<Item = u32>) {
        ids.into_iter().for_each(|id| self.push(id));
    }

    /// Appends all of `other`, which is of the same vocabulary.
    pub(crate) fn append(&mut self, other: &Self) {
        match (self, other) {
            (Self::U16(ids), Self::U16(more)) => ids.extend_from_slice(more),
            (Self::U32(ids), Self::U32(more)) => ids.extend_from_slice(more),
            (ids, more) => ids.extend(more.iter()),
        }
    }

    /// Bytes that an id takes.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::U16(_) => 2,
            Self::U32(_) => 4,
        }
    }

    /// Appends `count` ids from their bytes, little-endian and [`width`](Self::width) each.
    pub(crate) fn read_le(&mut self, from: &mut dyn Read, count: usize) -> io::Result<()> {
        either!(self, ids => {
            let first = ids.len();
            ids.resize(first + count, 0);
            // Where they lie, so that no copy of gigabytes is made on the way.
            from.read_exact(bytemuck::cast_slice_mut(&mut ids[first..]))?;
            ids[first..].iter_mut().for_each(|id| *id = id.to_le());
        });
        Ok(())
    }

    /// Writes the bytes that [`read_le`](Self::read_le) reads.
    pub(crate) fn write_le(&self, out: &mut dyn Write) -> io::Result<()> {
        either!(self, ids => ids.chunks(1 << 16).try_for_each(|ids| {
            out.write_all(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())
        }))
    }

    /// Appends a range of the ids to `out`, as the integers a model reads.
    pub(crate) fn copy_range(&self, range: Range<usize>, out: &mut Vec<i64>) {
        either!(self, ids => out.extend(ids[range].iter().map(|&id| i64::from(id))));
    }
}

/// The documents of one side of the split, one after another, each closed by the end-of-document id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStream {
    /// The ids of all documents.
    pub tokens: Tokens,
    /// Where each document's first token stands, rising; the first is 0.
    pub document_starts: Vec<usize>,
    /// How many bytes of text the tokens stand for; an end of document is none.
    pub text_bytes: u64,
}

impl TokenStream {
    /// A stream without documents.
    pub fn empty(vocab_size: usize) -> Self {
        Self {
            tokens: Tokens::for_vocabulary(vocab_size),
            document_starts: Vec::new(),
            text_bytes: 0,
        }
    }

    /// How many tokens it holds, ends of documents included.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it holds no token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// A hash of the tokens and the document starts: two runs with equal prints saw the same data.
    pub fn fingerprint(&self) -> u64 {
        let pieces: Vec<u64> = either!(&self.tokens, ids => {
            ids.par_chunks(PIECE).map(hash_ids).collect()
        });
        let starts = self.document_starts.iter().map(|&start| start as u64);
        starts.chain(pieces).fold(self.len() as u64, |state, word| hash_words(state, &[word]))
    }
}

/// Ids that are hashed by one thread at a time.
const PIECE: usize = 1 << 18;

/// A multiplication waits for the one before it in its chain: so many chains keep a core busy.
const CHAINS: usize = 8;

/// A hash of ids, of whichever width.
fn hash_ids<T: Copy + Into<u64>>(ids: &[T]) -> u64 {
    let step =
        |state: u64, id: T| (state.rotate_left(9) ^ id.into()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (rows, rest) = ids.as_chunks::<CHAINS>();
    let mut chains = [0; CHAINS];
    for row in rows {
        chains = std::array::from_fn(|chain| step(chains[chain], row[chain]));
    }
    let rest = rest.iter().fold(0, |state, id| step(state, *id));
    hash_words(rest, &chains)
}
