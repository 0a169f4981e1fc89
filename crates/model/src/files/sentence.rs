//! Folders of sentence-transformers: which layers follow an encoder to make embeddings of its states.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::load::read_json;
use super::save::write_json;
use super::{CONFIG, FilesError};
use crate::Pooling;

/// What `modules.json` and the files that it names say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceLayout {
    /// The folder of the encoder: that of `modules.json`, or one in it.
    pub encoder: PathBuf,
    /// How the states of a text's tokens become one.
    pub pooling: Pooling,
    /// Whether embeddings have length 1.
    pub normalize: bool,
    /// The longest text, in tokens, where it is said.
    pub max_length: Option<usize>,
    /// What stands before each text.
    pub prompt: String,
    /// What else is said of sentences, such as further prompts, which is written again.
    pub sentences: Map<String, Value>,
}

const MODULES: &str = "modules.json";
const TRANSFORMER: &str = "sentence_bert_config.json";
const SENTENCES: &str = "config_sentence_transformers.json";
const POOLING: &str = "1_Pooling";

/// The poolings there are, by the keys of a pooling's config.json and by today's names.
const POOLINGS: [(&str, &str, Pooling); 2] = [
    ("pooling_mode_cls_token", "cls", Pooling::Cls),
    ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
];

impl SentenceLayout {
    /// Reads a folder; nothing, where it has no `modules.json`.
    ///
    /// # Errors
    /// Files that are missing or damaged; layers and options that are not supported, which it names.
    pub fn read(dir: impl AsRef<Path>) -> Result<Option<Self>, FilesError> {
        let dir = dir.as_ref();
        let path = dir.join(MODULES);
        if !path.exists() {
            return Ok(None);
        }
        let modules = modules(&path)?;
        let kinds: Vec<&str> = modules.iter().map(|(kind, _)| kind.as_str()).collect();
        let (encoder, pooling, normalize) = match (&kinds[..], &modules[..]) {
            (["Transformer", "Pooling"], [encoder, pooling]) => (encoder, pooling, false),
            (["Transformer", "Pooling", "Normalize"], [encoder, pooling, normalize]) => {
                let path = dir.join(&normalize.1).join(CONFIG);
                if path.exists() {
                    let json = read_json(&path)?;
                    for key in ["module_input_name", "module_output_name"] {
                        only(&path, &json, key, &json!("sentence_embedding"))?;
                    }
                }
                (encoder, pooling, true)
            }
            _ => {
                let reason = format!(
                    "has the layers {}; supported are Transformer, Pooling and then Normalize or none",
                    kinds.join(", ")
                );
                return Err(FilesError::Json { path, reason });
            }
        };
        let folder = dir.join(&encoder.1);
        let path = dir.join(SENTENCES);
        let sentences = if path.exists() { read_json(&path)? } else { Map::new() };
        Ok(Some(Self {
            pooling: read_pooling(&dir.join(&pooling.1).join(CONFIG))?,
            normalize,
            max_length: read_max_length(&folder.join(TRANSFORMER))?,
            prompt: prompt(&path, &sentences)?,
            sentences,
            encoder: folder,
        }))
    }

    /// Writes the files that say it into `dir`, which is there and holds the encoder; embeddings are `width` numbers.
    ///
    /// # Errors
    /// [`FilesError::Write`].
    pub fn write(&self, dir: impl AsRef<Path>, width: usize) -> Result<(), FilesError> {
        let dir = dir.as_ref();
        let module = |i: usize, path: &str, kind: &str| {
            let kind = format!("sentence_transformers.models.{kind}");
            json!({ "idx": i, "name": i.to_string(), "path": path, "type": kind })
        };
        let mut modules = vec![module(0, "", "Transformer"), module(1, POOLING, "Pooling")];
        modules.extend(self.normalize.then(|| module(2, "2_Normalize", "Normalize")));
        let mut pooling = Map::from_iter([("word_embedding_dimension".to_owned(), width.into())]);
        for (key, _, kind) in POOLINGS {
            pooling.insert(key.to_owned(), (kind == self.pooling).into());
        }
        write_json(&dir.join(POOLING).join(CONFIG), &pooling.into())?;
        let transformer = json!({ "max_seq_length": self.max_length, "do_lower_case": false });
        write_json(&dir.join(TRANSFORMER), &transformer)?;
        let mut sentences = self.sentences.clone();
        let mut unsaid = |key: &str, value: Value| {
            sentences.entry(key).or_insert(value);
        };
        if self.prompt.is_empty() {
            unsaid("prompts", json!({}));
            unsaid("default_prompt_name", Value::Null);
        } else {
            unsaid("prompts", json!({ "default": self.prompt }));
            unsaid("default_prompt_name", json!("default"));
        }
        unsaid("similarity_fn_name", json!("cosine"));
        write_json(&dir.join(SENTENCES), &sentences.into())?;
        // Last: it is what makes the folder one of sentence-transformers.
        write_json(&dir.join(MODULES), &modules.into())
    }
}

/// The kinds of layers, without the modules of Python that they are in, and their folders.
fn modules(path: &Path) -> Result<Vec<(String, String)>, FilesError> {
    let wrong = |reason: String| FilesError::Json { path: path.to_owned(), reason };
    let text =
        std::fs::read(path).map_err(|source| FilesError::Io { path: path.to_owned(), source })?;
    let listed: Value =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("not valid JSON: {error}")))?;
    let module = |module: &Value| {
        let kind = module["type"].as_str()?.rsplit('.').next()?;
        let folder = module["path"].as_str()?;
        // A list must not reach outside its folder.
        let inside = folder.is_empty() || Path::new(folder).file_name()? == folder;
        inside.then(|| (kind.to_owned(), folder.to_owned()))
    };
    let listed = listed.as_array().and_then(|all| all.iter().map(module).collect());
    listed.ok_or_else(|| {
        wrong("expected a list of objects with `type` and `path`, a folder beside it".to_owned())
    })
}

/// The one pooling that is switched on.
fn read_pooling(path: &Path) -> Result<Pooling, FilesError> {
    let json = read_json(path)?;
    only(path, &json, "include_prompt", &json!(true))?;
    let wrong = |reason: String| Err(FilesError::Json { path: path.to_owned(), reason });
    let known = POOLINGS.map(|(_, name, _)| name).join(", ");
    if let Some(named) = json.get("pooling_mode").filter(|named| !named.is_null()) {
        let found = POOLINGS.iter().find(|(_, name, _)| *named == *name);
        return match found {
            Some((.., pooling)) => Ok(*pooling),
            None => {
                wrong(format!("`pooling_mode` is {named}, which is not supported (known: {known})"))
            }
        };
    }
    let on: Vec<&String> = json
        .iter()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == true)
        .map(|(key, _)| key)
        .collect();
    let found = POOLINGS.iter().find(|(key, ..)| on == [*key]);
    match found {
        Some((.., pooling)) => Ok(*pooling),
        None => wrong(format!("switches on {on:?}, expected one of the poolings {known}")),
    }
}

fn read_max_length(path: &Path) -> Result<Option<usize>, FilesError> {
    if !path.exists() {
        return Ok(None);
    }
    let json = read_json(path)?;
    only(path, &json, "do_lower_case", &json!(false))?;
    only(path, &json, "transformer_task", &json!("feature-extraction"))?;
    only(path, &json, "module_output_name", &json!("token_embeddings"))?;
    let Some(given) = json.get("max_seq_length").filter(|given| !given.is_null()) else {
        return Ok(None);
    };
    let most = given.as_u64().filter(|most| *most > 0).ok_or_else(|| {
        let reason = format!("`max_seq_length` is {given}, expected a number of tokens");
        FilesError::Json { path: path.to_owned(), reason }
    })?;
    Ok(Some(most as usize))
}

/// Refuses another value of a key than this one.
fn only(
    path: &Path,
    json: &Map<String, Value>,
    key: &str,
    supported: &Value,
) -> Result<(), FilesError> {
    match json.get(key).filter(|value| !value.is_null() && *value != supported) {
        None => Ok(()),
        Some(value) => {
            let reason =
                format!("`{key}` is {value}, which is not supported; it must be {supported}");
            Err(FilesError::Json { path: path.to_owned(), reason })
        }
    }
}

/// The prompt that is put before each text where nobody asks for another.
fn prompt(path: &Path, json: &Map<String, Value>) -> Result<String, FilesError> {
    let Some(name) = json.get("default_prompt_name").and_then(Value::as_str) else {
        return Ok(String::new());
    };
    let prompt = json.get("prompts").and_then(|prompts| prompts.get(name)).and_then(Value::as_str);
    prompt.map(str::to_owned).ok_or_else(|| {
        let reason = format!("`default_prompt_name` is `{name}`, which `prompts` does not have");
        FilesError::Json { path: path.to_owned(), reason }
    })
}
