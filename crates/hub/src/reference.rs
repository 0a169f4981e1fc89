//! Names of models.

use std::fmt;
use std::path::Path;

use crate::error::HubError;

/// A model on the hub: `org/name`, `org/name@revision`, `org/name@revision/file.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Whose it is, and what it is called.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The one file that is meant, such as a GGUF file; else the folder.
    pub file: Option<String>,
}

/// Whether a file is named as GGUF files are.
fn is_gguf(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Files that a model may have beside its config, its weights and its tokenizer.json: what tools that use it look for.
pub const MODEL_FILES: &[&str] = &[
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

/// What a model of sentence-transformers says of its embeddings, beside the files of its modules.
const EMBEDDER_FILES: &[&str] =
    &["config_sentence_transformers.json", "modules.json", "sentence_bert_config.json"];

/// Whether a file is the config of a module of sentence-transformers, such as `1_Pooling/config.json`.
fn is_of_a_module(file: &str) -> bool {
    file.split_once('/').is_some_and(|(folder, name)| {
        folder.starts_with(|c: char| c.is_ascii_digit()) && name == "config.json"
    })
}

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl Reference {
    /// The model that a text names, if it can be such a name. A path that is there is meant as a path: look first.
    ///
    /// ```
    /// use rappel_hub::Reference;
    /// let found = Reference::parse("org/name@v1/model.gguf").unwrap();
    /// assert_eq!((found.repository.as_str(), found.revision.as_str()), ("org/name", "v1"));
    /// assert_eq!(found.file.as_deref(), Some("model.gguf"));
    /// assert!(Reference::parse("./org/name").is_none() && Reference::parse("name").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (organisation, rest) = text.split_once('/')?;
        let (name, file) = match rest.split_once('/') {
            Some((name, file)) => (name, Some(file)),
            None => (rest, None),
        };
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let is_name = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
        };
        let is_file = |file: &str| file.split('/').all(is_name) && is_gguf(file);
        let fits = is_name(organisation) && is_name(name) && is_name(revision);
        (fits && file.is_none_or(is_file)).then(|| Self {
            repository: format!("{organisation}/{name}"),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        })
    }

    /// Of all files of the model, those that are needed; that which says that all is there last.
    pub(crate) fn wanted<'a>(&self, files: &'a [String]) -> Result<Vec<&'a str>, HubError> {
        let named = |name: &str| files.iter().map(String::as_str).find(|file| *file == name);
        let missing = |file: &str| HubError::NoFile {
            model: self.to_string(),
            file: file.to_owned(),
            there: {
                let ggufs = files.iter().filter(|file| is_gguf(file));
                ggufs.cloned().collect()
            },
        };
        if let Some(file) = &self.file {
            return Ok(vec![named(file).ok_or_else(|| missing(file))?]);
        }
        let mut wanted = vec![named("config.json").ok_or_else(|| missing("config.json"))?];
        let beside = ["tokenizer.json"].iter().chain(MODEL_FILES).chain(EMBEDDER_FILES);
        wanted.extend(beside.filter_map(|name| named(name)));
        wanted.extend(files.iter().map(String::as_str).filter(|file| is_of_a_module(file)));
        match (named(WEIGHTS), named(INDEX)) {
            (Some(weights), _) => wanted.push(weights),
            (None, Some(index)) => {
                let is_shard =
                    |file: &&str| file.starts_with("model-") && file.ends_with(".safetensors");
                wanted.extend(files.iter().map(String::as_str).filter(is_shard));
                wanted.push(index);
            }
            (None, None) => return Err(missing(WEIGHTS)),
        }
        Ok(wanted)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.revision)?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))
    }
}
