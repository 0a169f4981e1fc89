//! Text to token ids and back, in Hugging Face's file format.

mod alphabet;
mod bpe;
mod byte;
mod file;
mod gguf;
mod pieces;
mod special;
mod stream_decoder;
mod templates;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use rappel_files::{FileError, replace};
use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::{PostProcessor, TruncationDirection};

pub use gguf::GgufTokenizer;
pub use stream_decoder::StreamDecoder;
pub use templates::ChatTokens;

use self::templates::Templates;
use self::words::{Known, Words};
use crate::contain::contain;
use crate::corpus::{Corpus, Document};
use crate::{DataError, TokenStream, Tokens};

/// Vocabularies may be sparse up to this many ids; beyond, an id takes at least a byte of the file.
const MOST_SPARSE: usize = 1 << 20;

/// The token that closes a document in the tokenizers made here.
pub const END_OF_DOCUMENT: &str = "<|endoftext|>";

/// Turns text into token ids and back.
///
/// Special tokens never come from text: where a document happens to spell one, its characters are
/// encoded as any others, as `transformers` does with `split_special_tokens`.
///
/// ```
/// use rappel_data::Tokenizer;
/// let tokenizer = Tokenizer::byte();
/// assert_eq!(tokenizer.encode(b"Hi\xff")?, [72, 105, 255]);
/// assert_eq!(tokenizer.decode(&[72, 105, 255])?, b"Hi\xff");
/// assert_eq!(tokenizer.end_of_document(), 256);
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// For messages: its path or kind.
    name: String,
    kind: Kind,
    end_of_document: u32,
    vocab_size: usize,
    json: String,
    config: Value,
    /// By name, such as `bos_token`.
    special_tokens: BTreeMap<String, String>,
    templates: Templates,
    /// The tokenizer that finds special tokens in texts; made when first asked for.
    spelled: OnceLock<Box<tokenizers::Tokenizer>>,
}

#[derive(Debug, Clone)]
enum Kind {
    Bytes,
    Text {
        inner: Box<tokenizers::Tokenizer>,
        /// The bytes of each id, for vocabularies of bytes.
        bytes: Option<Vec<Vec<u8>>>,
        /// The quick way, for vocabularies that allow it.
        words: Option<Box<Words>>,
    },
}

impl Tokenizer {
    /// A token a byte: ids 0 to 255 are the bytes, 256 closes a document.
    pub fn byte() -> Self {
        let json = serde_json::to_string_pretty(&byte::tokenizer_json());
        let config = own_config();
        Self {
            name: "byte".to_owned(),
            kind: Kind::Bytes,
            end_of_document: byte::END_ID,
            vocab_size: byte::END_ID as usize + 1,
            json: json.expect("JSON with texts for keys"),
            special_tokens: special::named(&config),
            config,
            templates: Templates::default(),
            spelled: OnceLock::new(),
        }
    }

    /// Trains a byte-level BPE with the pre-tokenizer of GPT-2 on the first `sample_bytes` of the
    /// documents: the 256 bytes, then the merges of the most frequent pairs, each at least twice
    /// in the sample, then the end of a document, `vocab_size` in all (at least 257).
    ///
    /// Source: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword
    /// units", 2016, on bytes as in Radford et al., "Language models are unsupervised multitask
    /// learners", 2019.
    ///
    /// # Errors
    /// [`DataError::NotUtf8`], and [`DataError::Vocabulary`] where the sample has too few pairs.
    pub fn train_bpe(
        documents: &[Document],
        vocab_size: usize,
        sample_bytes: usize,
    ) -> Result<Self, DataError> {
        let json = bpe::train(documents, vocab_size.max(257), sample_bytes)?;
        Self::trained(json)
    }

    /// The tokenizer that [`train_bpe`](Self::train_bpe) made, from its `tokenizer.json`.
    pub(crate) fn trained(json: String) -> Result<Self, DataError> {
        let parsed = serde_json::from_str(&json)
            .map_err(|error| DataError::tokenizer("bpe", error.to_string()))?;
        Self::from_json("bpe".to_owned(), json, &parsed, None, None, Some(END_OF_DOCUMENT))
    }

    /// Reads a `tokenizer.json`, given by its path or by its folder's, and the files beside it:
    /// `tokenizer_config.json` and `special_tokens_map.json`, whose tokens are added where the vocabulary lacks them,
    /// and chat templates. As in transformers, the post-processor of `tokenizer.json` alone says which tokens are put
    /// around a text; `add_bos_token` and `add_eos_token` change nothing beside it.
    ///
    /// `end_of_document` is the token that closes a document; by default the `eos_token` of the
    /// `tokenizer_config.json` beside it, else a well-known one such as `<|endoftext|>` or `</s>`.
    ///
    /// # Errors
    /// [`DataError::Read`], and [`DataError::Tokenizer`] for a file that is not a tokenizer, has no
    /// such token, or encodes at random (BPE with dropout).
    pub fn from_file(
        path: impl AsRef<Path>,
        end_of_document: Option<&str>,
    ) -> Result<Self, DataError> {
        file::load(path.as_ref(), end_of_document)
    }

    fn from_json(
        name: String,
        json: String,
        parsed: &Value,
        config: Option<Value>,
        folder: Option<&Path>,
        end: Option<&str>,
    ) -> Result<Self, DataError> {
        if !parsed["model"]["dropout"].as_f64().unwrap_or(0.0).eq(&0.0) {
            let reason = "its model has dropout, which encodes at random; set it to null there";
            return Err(DataError::tokenizer(name, reason));
        }
        // Not `from_bytes`, which is generic: the reader of every model there is would be built again.
        let mut inner: tokenizers::Tokenizer = guarded(&name, || json.parse())?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| DataError::tokenizer(&name, error.to_string()))?;
        inner.set_encode_special_tokens(true);
        let own = if folder.is_none() { own_config() } else { Value::Null };
        let config = config.unwrap_or(own);
        special::add_missing(&name, folder, &config, &mut inner)?;
        let end = file::choose_end(&name, &inner, &config, end)?;
        let config = if config.is_null() {
            foreign_config(inner.id_to_token(end).as_deref())
        } else {
            config
        };
        let vocab_size = inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        if vocab_size > json.len().max(MOST_SPARSE) {
            let reason = format!(
                "has the id {}, but only {} bytes: ids so far apart are taken for a mistake",
                vocab_size - 1,
                json.len()
            );
            return Err(DataError::tokenizer(name, reason));
        }
        let bytes = byte_level_vocabulary(parsed, &inner, vocab_size);
        let words = pieces::can_be_cut(parsed, &inner).then(|| Box::new(Words::new()));
        let templates = match folder {
            Some(folder) => Templates::of_folder(folder)?,
            None => None,
        };
        Ok(Self {
            name,
            kind: Kind::Text { inner: Box::new(inner), bytes, words },
            end_of_document: end,
            vocab_size,
            json,
            special_tokens: special::named(&config),
            templates: templates.unwrap_or_else(|| Templates::of_config(&config)),
            config,
            spelled: OnceLock::new(),
        })
    }

    /// A tokenizer that was saved as the byte tokenizer as what it was: it takes any bytes. Others stay what they are.
    pub fn taking_any_bytes(self) -> Self {
        let byte = Self::byte();
        if self.json == byte.json && self.vocab_size == byte.vocab_size {
            Self { kind: Kind::Bytes, ..self }
        } else {
            self
        }
    }

    /// One more than its largest id: the least `vocab_size` of a model that reads it.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id that closes a document.
    pub fn end_of_document(&self) -> u32 {
        self.end_of_document
    }

    /// The special tokens that have names, such as `bos_token`.
    pub fn special_tokens(&self) -> &BTreeMap<String, String> {
        &self.special_tokens
    }

    /// The id of a token, given as the vocabulary spells it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        match &self.kind {
            Kind::Text { inner, .. } => inner.token_to_id(token),
            Kind::Bytes => self.spelled().token_to_id(token),
        }
    }

    /// A token as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.kind {
            Kind::Text { inner, .. } => inner.id_to_token(id),
            Kind::Bytes => self.spelled().id_to_token(id),
        }
    }

    /// The side on which batches are padded, `left` or `right`, where its files say so.
    pub fn padding_side(&self) -> Option<&str> {
        self.config["padding_side"].as_str()
    }

    /// The longest text that its model was trained on, in tokens, where its files say so. Files that know none say
    /// 1e30.
    pub fn model_max_length(&self) -> Option<usize> {
        let most = self.config["model_max_length"].as_f64()?;
        (1.0..1e15).contains(&most).then_some(most as usize)
    }

    /// Whether it takes bytes that are not UTF-8 text.
    pub fn takes_any_bytes(&self) -> bool {
        matches!(self.kind, Kind::Bytes)
    }

    /// The ids of a text, without an end of document.
    ///
    /// # Errors
    /// [`DataError::NotUtf8`], unless it [takes any bytes](Self::takes_any_bytes).
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>, DataError> {
        let (mut ids, mut known) = (Vec::new(), Known::new());
        for part in self.parts(text, "the text")? {
            self.encode_part(part, &mut known, &mut ids)?;
        }
        Ok(ids)
    }

    /// The ids of a text to continue, with the tokens that the tokenizer's post-processor puts around every text, such
    /// as one that begins it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.kind {
            Kind::Text { inner, .. } if inner.get_post_processor().is_some() => {
                let encoding = guarded(&self.name, || inner.encode_fast(text, true))?;
                Ok(encoding.get_ids().to_vec())
            }
            _ => self.encode(text.as_bytes()),
        }
    }

    /// The ids of a text for an encoder, with the tokens that the tokenizer's post-processor puts around every text, and
    /// whether its end was left out, so that they are at most `most`. `name` is what errors call the text.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_within(
        &self,
        text: &[u8],
        most: usize,
        name: &str,
    ) -> Result<(Vec<u32>, bool), DataError> {
        let post_processor = match &self.kind {
            Kind::Text { inner, .. } => inner.get_post_processor().map(|post| (inner, post)),
            Kind::Bytes => None,
        };
        let Some((inner, post)) = post_processor else {
            let mut ids = self.encode(text)?;
            let cut = ids.len() > most;
            ids.truncate(most);
            return Ok((ids, cut));
        };
        let text = utf8(text, name)?;
        let mut encoding = guarded(&self.name, || inner.encode_fast(text, false))?;
        let room = most.saturating_sub(post.added_tokens(false));
        let cut = encoding.get_ids().len() > room;
        if cut {
            encoding.truncate(room, 0, TruncationDirection::Right);
        }
        let encoding = guarded(&self.name, || inner.post_process(encoding, None, true))?;
        Ok((encoding.get_ids().to_vec(), cut))
    }

    /// A text with the special tokens that it spells, and with those around it that every text gets where `around`.
    fn encode_spelled(&self, text: &str, around: bool) -> Result<tokenizers::Encoding, DataError> {
        guarded(&self.name, || self.spelled().encode(text, around))
    }

    /// The text of ids, in which special tokens are spelled; bytes that are no character are replaced.
    pub fn spell(&self, ids: &[u32]) -> String {
        let specials = self.specials();
        let special = |id: &u32| self.token(*id).filter(|token| specials.contains(token));
        let mut text = String::new();
        for run in ids.chunk_by(|a, b| special(a).is_none() && special(b).is_none()) {
            if let Some(token) = special(&run[0]) {
                text += &token;
            } else {
                let bytes = self.decode(run).unwrap_or_default();
                text += &String::from_utf8_lossy(&bytes);
            }
        }
        text
    }

    /// How special tokens are spelled.
    pub(crate) fn specials(&self) -> Vec<String> {
        let tokens = self.spelled().get_added_tokens_decoder().into_values();
        tokens.filter(|token| token.special).map(|token| token.content).collect()
    }

    /// The tokenizer that finds special tokens in texts.
    fn spelled(&self) -> &tokenizers::Tokenizer {
        self.spelled.get_or_init(|| {
            let mut inner = match &self.kind {
                Kind::Text { inner, .. } => inner.clone(),
                Kind::Bytes => {
                    Box::new(self.json.parse().expect("the byte tokenizer, which is our own"))
                }
            };
            inner.set_encode_special_tokens(false);
            inner
        })
    }

    /// The text of ids; special tokens, ends of documents included, are left out.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>, DataError> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            let reason = format!("id {id} is not below its vocab_size {}", self.vocab_size);
            return Err(DataError::tokenizer(&self.name, reason));
        }
        match &self.kind {
            Kind::Bytes => Ok(ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect()),
            Kind::Text { bytes: Some(bytes), .. } => {
                Ok(ids.iter().flat_map(|&id| bytes[id as usize].iter().copied()).collect())
            }
            Kind::Text { inner, .. } => {
                guarded(&self.name, || inner.decode(ids, true)).map(String::into_bytes)
            }
        }
    }

    /// The documents as one stream, each closed by the end-of-document id. Documents are encoded in
    /// parallel; the stream is the same for any number of threads.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), naming the document.
    pub fn encode_corpus(&self, corpus: &Corpus) -> Result<TokenStream, DataError> {
        let mut stream = TokenStream::empty(self.vocab_size);
        // Groups bound what is held twice, in parts and in the stream.
        for group in groups(&corpus.documents) {
            let mut parts = Vec::new();
            for document in group {
                let of_document = self.parts(&document.bytes, &document.name)?;
                let last = of_document.len() - 1;
                parts
                    .extend(of_document.into_iter().enumerate().map(|(i, part)| (part, i == last)));
                stream.text_bytes += document.bytes.len() as u64;
            }
            let encode = |known: &mut Known, &(part, last): &(&[u8], bool)| {
                let (mut tokens, mut ids) = (Tokens::for_vocabulary(self.vocab_size), Vec::new());
                self.encode_part(part, known, &mut ids)?;
                tokens.extend(ids);
                tokens.extend(last.then_some(self.end_of_document));
                Ok(tokens)
            };
            let encoded = parts.par_iter().map_init(Known::new, encode);
            let encoded = encoded.collect::<Result<Vec<_>, DataError>>();
            let mut starts_document = true;
            for (tokens, &(_, last)) in encoded?.iter().zip(&parts) {
                if starts_document {
                    stream.document_starts.push(stream.len());
                }
                stream.tokens.append(tokens);
                starts_document = last;
            }
        }
        Ok(stream)
    }

    /// Parts of a text that can be encoded one by one: at least one, in their order.
    fn parts<'a>(&self, text: &'a [u8], document: &str) -> Result<Vec<&'a [u8]>, DataError> {
        Ok(match &self.kind {
            Kind::Bytes => vec![text],
            Kind::Text { words, .. } => {
                let text = utf8(text, document)?;
                let pieces = if words.is_some() { pieces::pieces(text) } else { vec![text] };
                pieces.into_iter().map(str::as_bytes).collect()
            }
        })
    }

    fn encode_part(
        &self,
        part: &[u8],
        known: &mut Known,
        ids: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        match &self.kind {
            Kind::Bytes => ids.extend(part.iter().copied().map(u32::from)),
            Kind::Text { inner, words: Some(words), .. } => {
                words.encode(utf8(part, &self.name)?, inner, known, ids)?;
            }
            Kind::Text { inner, .. } => {
                let text = utf8(part, &self.name)?;
                let encoding = guarded(&self.name, || inner.encode_fast(text, false))?;
                ids.extend_from_slice(encoding.get_ids());
            }
        }
        Ok(())
    }

    /// A decoder that is fed ids one by one, as they are generated.
    pub fn stream_decoder(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// The files that `transformers.AutoTokenizer` reads, as names and contents: `tokenizer.json`,
    /// `tokenizer_config.json`, and templates of conversations that are files of their own.
    pub fn files(&self) -> Vec<(String, String)> {
        let config = serde_json::to_string_pretty(&self.config);
        let mut files = vec![
            ("tokenizer.json".to_owned(), self.json.clone()),
            ("tokenizer_config.json".to_owned(), config.expect("JSON with texts for keys")),
        ];
        files.extend(self.templates.files());
        files
    }

    /// Its kind, or the path that it was read from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its `tokenizer.json`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Writes its [`files`](Self::files) into a folder that exists.
    ///
    /// # Errors
    /// [`DataError::Write`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), DataError> {
        for (name, contents) in self.files() {
            let path = folder.as_ref().join(name);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(FileError::new("create", folder))?;
            }
            replace(&path, |out| out.write_all(contents.as_bytes()))?;
        }
        Ok(())
    }
}

/// What the library says of a tokenizer that may be anything; its panics are errors.
fn guarded<T>(name: &str, f: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, DataError> {
    match contain(f) {
        Ok(result) => result.map_err(|error| DataError::tokenizer(name, error.to_string())),
        Err(panic) => Err(DataError::tokenizer(name, format!("is not sound: {panic}"))),
    }
}

/// The text of bytes, or where it stops to be text.
fn utf8<'a>(bytes: &'a [u8], document: &str) -> Result<&'a str, DataError> {
    std::str::from_utf8(bytes).map_err(|error| DataError::NotUtf8 {
        document: document.to_owned(),
        offset: error.valid_up_to(),
    })
}

/// Documents in runs of about 8 MiB.
fn groups(documents: &[Document]) -> impl Iterator<Item = &[Document]> {
    let mut size = 0;
    documents.chunk_by(move |document, _| {
        size += document.bytes.len();
        let more = size < 8 << 20;
        size *= usize::from(more);
        more
    })
}

/// The bytes of each id of a byte-level vocabulary; special tokens have none.
fn byte_level_vocabulary(
    parsed: &Value,
    inner: &tokenizers::Tokenizer,
    vocab_size: usize,
) -> Option<Vec<Vec<u8>>> {
    if parsed["decoder"]["type"] != "ByteLevel" {
        return None;
    }
    let of_character = alphabet::bytes();
    let added = inner.get_added_tokens_decoder();
    let bytes_of = |id: u32| match (added.get(&id), inner.id_to_token(id)) {
        (Some(token), _) if token.special => Some(Vec::new()),
        (Some(token), _) => Some(token.content.clone().into_bytes()),
        (None, Some(token)) => token.chars().map(|c| of_character.get(&c).copied()).collect(),
        (None, None) => Some(Vec::new()),
    };
    (0..vocab_size as u32).map(bytes_of).collect()
}

/// The `tokenizer_config.json` of a tokenizer that came without one.
fn foreign_config(end: Option<&str>) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": end,
        "clean_up_tokenization_spaces": false,
    })
}

/// The `tokenizer_config.json` of the tokenizers made here.
fn own_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_DOCUMENT,
        "eos_token": END_OF_DOCUMENT,
        "unk_token": END_OF_DOCUMENT,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "split_special_tokens": true,
    })
}
