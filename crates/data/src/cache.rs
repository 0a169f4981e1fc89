//! Tokens kept for later runs, in the user's cache folder: text that was encoded once is not encoded again.
//!
//! An entry is a folder named by what its tokens depend on: the documents, the tokenizer and this version of the
//! library. It holds `entry.json`, `tokens.bin` (ids of the training, then of the validation documents, little-endian,
//! as wide as the vocabulary needs), `starts.bin` (where documents begin, 64 bits each), and the `tokenizer.json` of a
//! tokenizer that was trained on them.
//!
//! `seen` has a file for each list of files that was read, named by what the system says of them, with the name of the
//! entry of their tokens: files that did not change are not read again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rappel_files::{
    FileError, create, fresh_folder, hex, make_folder, parent, partial, publish, remove, replace,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::stamp::Stamp;
use crate::text::{Encoded, Encoder};
use crate::{Corpus, DataError, TokenStream, Tokenizer};

/// Changes with the layout of entries, and with what encoding gives.
const FORMAT: &str = concat!("1 ", env!("CARGO_PKG_VERSION"));

/// Less text than this is encoded in no time, and leaves no entry.
const LEAST_BYTES: u64 = 4 << 20;

/// Of a document that are hashed at a time, so that all threads hash a large one.
const PIECE: usize = 4 << 20;

const ENTRY: &str = "entry.json";
const TOKENS: &str = "tokens.bin";
const STARTS: &str = "starts.bin";
const TOKENIZER: &str = "tokenizer.json";
const SEEN: &str = "seen";

/// A folder of encoded texts.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let cache = rappel_data::TokenCache::new(folder.path());
/// assert!(cache.entries().unwrap().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct TokenCache {
    folder: PathBuf,
}

/// What [`TokenCache::entries`] says of an encoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedText {
    /// The entry's folder.
    pub path: PathBuf,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Its tokens, those of validation included.
    pub tokens: u64,
    /// Bytes of the text.
    pub text_bytes: u64,
    /// The tokenizer's name.
    pub tokenizer: String,
    /// When a run last read or wrote it.
    pub used: SystemTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    tokenizer: String,
    vocab_size: usize,
    sides: [Side; 2],
}

#[derive(Debug, Serialize, Deserialize)]
struct Side {
    tokens: usize,
    documents: usize,
    text_bytes: u64,
    fingerprint: u64,
}

impl TokenCache {
    /// The cache in a folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's: `tokens` in `$RAPPEL_CACHE`, else in `rappel` in `$XDG_CACHE_HOME` or `~/.cache`; none for a user
    /// without a home folder.
    pub fn of_user() -> Option<Self> {
        let variable = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let shared =
            || variable("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
        let folder = variable("RAPPEL_CACHE").or_else(|| Some(shared()?.join("rappel")))?;
        Some(Self::new(folder.join("tokens")))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it holds, the most recently used first.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn entries(&self) -> Result<Vec<CachedText>, FileError> {
        let refused = || FileError::new("read", &self.folder);
        let folders = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folders => folders.map_err(refused())?,
        };
        let mut entries = Vec::new();
        for folder in folders {
            entries.extend(entry_at(&folder.map_err(refused())?.path()));
        }
        entries.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.path.cmp(&b.path)));
        Ok(entries)
    }

    /// Removes all that it holds.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn clear(&self) -> Result<(), FileError> {
        remove(&self.folder)
    }

    /// As [`encoded`](Self::encoded), of what `sides` makes of files by `settings`: they are not read where the
    /// system says that nothing of them changed since they were.
    pub(crate) fn encoded_files(
        &self,
        encoder: &Encoder,
        stamp: &Stamp,
        settings: &str,
        sides: impl FnOnce() -> Result<[Corpus; 2], DataError>,
    ) -> Result<Encoded, DataError> {
        let mut settings = settings.as_bytes().to_vec();
        settings.extend(of_encoder(encoder).finalize());
        let seen = self.folder.join(SEEN).join(stamp.key(&settings));
        if let Ok(key) = fs::read_to_string(&seen)
            && let Some(known) = read(&self.folder.join(key), encoder)
        {
            return Ok(known);
        }
        let (encoded, key) = self.encoded_and_key(encoder, &sides()?)?;
        if let Some(key) = key.filter(|_| stamp.is_settled()) {
            // Not worth an error: the next run reads the files.
            let _ = make_folder(parent(&seen))
                .and_then(|()| replace(&seen, |out| out.write_all(key.as_bytes())));
        }
        Ok(encoded)
    }

    /// The documents encoded: read from the cache if it has them, else made, and kept.
    pub(crate) fn encoded(
        &self,
        encoder: &Encoder,
        sides: &[Corpus; 2],
    ) -> Result<Encoded, DataError> {
        Ok(self.encoded_and_key(encoder, sides)?.0)
    }

    /// The same, and the name of the entry; none for a text that leaves none.
    fn encoded_and_key(
        &self,
        encoder: &Encoder,
        sides: &[Corpus; 2],
    ) -> Result<(Encoded, Option<String>), DataError> {
        if sides.iter().map(Corpus::text_bytes).sum::<u64>() < LEAST_BYTES {
            return Ok((encoder.encode(sides)?, None));
        }
        let key = key(encoder, sides);
        let path = self.folder.join(&key);
        if let Some(known) = read(&path, encoder) {
            return Ok((known, Some(key)));
        }
        let encoded = encoder.encode(sides)?;
        // Where there is no room for it, the run does without.
        if write(&path, &encoded, encoder).is_err() {
            let _ = remove(&partial(&path));
        }
        Ok((encoded, Some(key)))
    }
}

/// What the tokens depend on beside the text.
fn of_encoder(encoder: &Encoder) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(FORMAT);
    match encoder {
        Encoder::Given(tokenizer) => {
            for (name, text) in tokenizer.files() {
                hash.update(format!("{name} {}\n{text}", text.len()));
            }
            hash.update(tokenizer.end_of_document().to_le_bytes());
        }
        Encoder::Bpe { vocab_size, sample_bytes } => {
            hash.update(format!("{vocab_size} {sample_bytes}"));
        }
    }
    hash
}

/// What the tokens depend on.
fn key(encoder: &Encoder, sides: &[Corpus; 2]) -> String {
    let mut hash = of_encoder(encoder);
    for side in sides {
        let pieces: Vec<&[u8]> =
            side.documents.iter().flat_map(|document| document.bytes.chunks(PIECE)).collect();
        let sums: Vec<_> = pieces.into_par_iter().map(Sha256::digest).collect();
        for document in &side.documents {
            hash.update(format!("{} ", document.bytes.len()));
        }
        for sum in sums {
            hash.update(sum);
        }
    }
    hex(&hash.finalize())
}

/// Reads an entry; none where it is not there, or is damaged.
fn read(path: &Path, encoder: &Encoder) -> Option<Encoded> {
    let text = fs::read(path.join(ENTRY)).ok()?;
    let header: Header = serde_json::from_slice(&text).ok()?;
    let tokenizer = match encoder {
        Encoder::Given(tokenizer) => tokenizer.clone(),
        Encoder::Bpe { .. } => {
            Tokenizer::trained(fs::read_to_string(path.join(TOKENIZER)).ok()?).ok()?
        }
    };
    let starts = fs::read(path.join(STARTS)).ok()?;
    let (mut ids, mut starts) = (File::open(path.join(TOKENS)).ok()?, &starts[..]);
    let mut left = ids.metadata().ok()?.len();
    let (mut streams, mut fingerprints) = (Vec::new(), Vec::new());
    for side in &header.sides {
        let mut stream = TokenStream::empty(header.vocab_size);
        // A damaged header asks for no memory that the file does not fill.
        left = left.checked_sub(side.tokens.checked_mul(stream.tokens.width())? as u64)?;
        stream.tokens.read_le(&mut ids, side.tokens).ok()?;
        let own = starts.split_off(..side.documents.checked_mul(8)?)?.as_chunks().0;
        stream.document_starts =
            own.iter().map(|start| u64::from_le_bytes(*start) as usize).collect();
        stream.text_bytes = side.text_bytes;
        if stream.fingerprint() != side.fingerprint {
            return None;
        }
        fingerprints.push(side.fingerprint);
        streams.push(stream);
    }
    // When it was used last; not worth an error.
    let _ = File::options()
        .append(true)
        .open(path.join(ENTRY))
        .and_then(|file| file.set_modified(SystemTime::now()));
    let (streams, fingerprints) = (streams.try_into().ok()?, fingerprints.try_into().ok()?);
    Some(Encoded { tokenizer, streams, fingerprints })
}

fn write(path: &Path, encoded: &Encoded, encoder: &Encoder) -> Result<(), FileError> {
    let Encoded { tokenizer, streams, fingerprints } = encoded;
    let beside = partial(path);
    fresh_folder(&beside)?;
    create(&beside.join(TOKENS), |out| {
        streams.iter().try_for_each(|stream| stream.tokens.write_le(out))
    })?;
    create(&beside.join(STARTS), |out| {
        let starts = streams.iter().flat_map(|stream| &stream.document_starts);
        starts.into_iter().try_for_each(|start| out.write_all(&(*start as u64).to_le_bytes()))
    })?;
    if matches!(encoder, Encoder::Bpe { .. }) {
        create(&beside.join(TOKENIZER), |out| out.write_all(tokenizer.json().as_bytes()))?;
    }
    let sides = [0, 1].map(|side: usize| Side {
        tokens: streams[side].len(),
        documents: streams[side].document_starts.len(),
        text_bytes: streams[side].text_bytes,
        fingerprint: fingerprints[side],
    });
    let vocab_size = tokenizer.vocab_size();
    let header = Header { tokenizer: tokenizer.name().to_owned(), vocab_size, sides };
    let header = serde_json::to_vec_pretty(&header).expect("JSON with texts for keys");
    create(&beside.join(ENTRY), |out| out.write_all(&header))?;
    // What was there is damaged, or it would have been read.
    remove(path)?;
    publish(&beside, path)
}

fn entry_at(path: &Path) -> Option<CachedText> {
    let entry = path.join(ENTRY);
    let header: Header = serde_json::from_slice(&fs::read(&entry).ok()?).ok()?;
    let sizes = fs::read_dir(path).ok()?.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
    Some(CachedText {
        path: path.to_owned(),
        bytes: sizes.sum(),
        tokens: header.sides.iter().map(|side| side.tokens as u64).sum(),
        text_bytes: header.sides.iter().map(|side| side.text_bytes).sum(),
        tokenizer: header.tokenizer,
        used: fs::metadata(&entry).and_then(|metadata| metadata.modified()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    fn corpora(text: &str) -> [Corpus; 2] {
        let document =
            |name: &str, text: String| Document { name: name.into(), bytes: text.into() };
        let long = text.repeat(LEAST_BYTES as usize / text.len() + 1);
        let train = Corpus { documents: vec![document("a", long), document("b", text.to_owned())] };
        [train, Corpus { documents: vec![document("c", text.repeat(7))] }]
    }

    fn bpe() -> Encoder {
        Encoder::Bpe { vocab_size: 262, sample_bytes: 1000 }
    }

    #[test]
    fn tokens_that_were_kept_are_those_that_were_made() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(folder.path().join("tokens"));
        let sides = corpora("Over the hills and far away. ");
        let Encoded { tokenizer: made, streams, fingerprints } =
            cache.encoded(&bpe(), &sides).unwrap();
        let again = read(&cache.folder().join(key(&bpe(), &sides)), &bpe()).unwrap();
        let kept = again.tokenizer;
        assert_eq!((made.json(), &streams), (kept.json(), &again.streams));
        assert_eq!(
            (fingerprints, again.fingerprints),
            (streams.each_ref().map(TokenStream::fingerprint), fingerprints)
        );
        assert_eq!(kept.end_of_document(), made.end_of_document());

        // The same tokenizer, given: another entry, of the same tokens.
        let given = Encoder::Given(made);
        assert_eq!(cache.encoded(&given, &sides).unwrap().streams, streams);
        let entries = cache.entries().unwrap();
        assert_eq!(entries.len(), 2);
        let tokens = streams.iter().map(TokenStream::len).sum::<usize>() as u64;
        for entry in &entries {
            assert_eq!((entry.tokens, entry.tokenizer.as_str()), (tokens, "bpe"));
            assert_eq!(entry.text_bytes, sides.iter().map(Corpus::text_bytes).sum::<u64>());
            assert!(entry.bytes > 2 * tokens, "{entry:?}");
        }
        cache.clear().unwrap();
        assert!(cache.entries().unwrap().is_empty());
    }

    #[test]
    fn another_text_tokenizer_or_split_is_another_entry() {
        let sides = corpora("Ten green bottles. ");
        let mut keys = vec![key(&bpe(), &sides)];
        keys.push(key(&Encoder::Bpe { vocab_size: 263, sample_bytes: 1000 }, &sides));
        keys.push(key(&Encoder::Given(Tokenizer::byte()), &sides));
        let mut other = sides.clone();
        other[0].documents[0].bytes[PIECE] ^= 1;
        keys.push(key(&bpe(), &other));
        let [train, validation] = sides.clone();
        keys.push(key(&bpe(), &[validation, train]));
        let mut cut = sides;
        let end = cut[0].documents[0].bytes.split_off(100);
        cut[0].documents.insert(1, Document { name: "end".into(), bytes: end });
        keys.push(key(&bpe(), &cut));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn what_is_damaged_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TokenCache::new(folder.path());
        let sides = corpora("The rain in Spain. ");
        let streams = cache.encoded(&bpe(), &sides).unwrap().streams;
        let path = folder.path().join(key(&bpe(), &sides));
        for name in [TOKENS, STARTS, ENTRY, TOKENIZER] {
            let whole = fs::read(path.join(name)).unwrap();
            for damaged in
                [&whole[..whole.len() / 2], &whole.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()]
            {
                fs::write(path.join(name), damaged).unwrap();
                assert!(read(&path, &bpe()).is_none(), "{name}");
                assert_eq!(cache.encoded(&bpe(), &sides).unwrap().streams, streams);
                assert_eq!(fs::read(path.join(name)).unwrap(), whole, "{name}");
            }
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let sides = corpora("Row, row, row your boat. ");
        let cache = TokenCache::new(file.join("tokens"));
        let made = cache.encoded(&bpe(), &sides).unwrap().streams;
        assert_eq!(made, bpe().encode(&sides).unwrap().streams);
    }

    #[cfg(unix)]
    #[test]
    fn files_that_did_not_change_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let cache = TokenCache::new(folder.path().join("tokens"));
        let old = SystemTime::now() - std::time::Duration::from_secs(60);
        let file = crate::sources::DocumentRef { name: "text".to_owned(), path: path.clone() };
        let encoded = |text: &str, settings: &str, reads: bool| {
            let stamp = Stamp::of(std::slice::from_ref(&file)).unwrap();
            let read = || {
                assert!(reads, "the text is read");
                Ok(corpora(text))
            };
            cache.encoded_files(&bpe(), &stamp, settings, read).unwrap().streams
        };
        let change = |text: &str| {
            fs::write(&path, text).unwrap();
            File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        };
        let [this, that] = ["Three blind mice. ", "See how they run. "];
        change(this);
        let first = encoded(this, "", true);
        assert_eq!(encoded(this, "", false), first);
        encoded(this, "another seed", true);
        change(that);
        let second = encoded(that, "", true);
        assert_ne!(second, first);
        assert_eq!(encoded(that, "", false), second);
        assert_eq!(cache.entries().unwrap().len(), 2);
        // Just written: it may change again without a sign.
        fs::write(&path, this).unwrap();
        assert_eq!(encoded(this, "", true), first);
        assert_eq!(encoded(this, "", true), first);
    }
}
