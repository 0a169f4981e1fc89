//! The chat templates that come with a tokenizer.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::Tokenizer;
use crate::chat::{ChatTemplate, Conversation};
use crate::{DataError, Rendered};

/// The file of the default template.
const FILE: &str = "chat_template.jinja";

/// The folder of templates with other names.
const OTHERS: &str = "additional_chat_templates";

/// The name of the template that is used where none is asked for.
const DEFAULT: &str = "default";

/// The name of the template for conversations with tools, in models that have one of their own.
const TOOL_USE: &str = "tool_use";

/// Templates by name, and whether they are files of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct Templates {
    named: Vec<(String, String)>,
    are_files: bool,
}

/// A conversation as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTokens {
    /// The ids.
    pub ids: Vec<u32>,
    /// For each, the number of the part that `{% generation %}` encloses and that it is in or overlaps: what a model is
    /// trained to say.
    pub parts: Vec<Option<usize>>,
}

impl Templates {
    /// The templates of a tokenizer_config.json: a text, or a list of named ones.
    pub fn of_config(config: &Value) -> Self {
        let template = &config["chat_template"];
        let named = match template {
            Value::String(source) => vec![(DEFAULT.to_owned(), source.clone())],
            Value::Array(list) => list.iter().filter_map(named).collect(),
            Value::Object(map) => {
                let pair = |(name, source): (&String, &Value)| {
                    Some((name.clone(), source.as_str()?.to_owned()))
                };
                map.iter().filter_map(pair).collect()
            }
            _ => Vec::new(),
        };
        Self { named, are_files: false }
    }

    /// The template files of a folder, which come before those of its tokenizer_config.json.
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, DataError> {
        let mut named = Vec::new();
        let mut read = |path: &Path, name: &str| -> Result<(), DataError> {
            let source = std::fs::read_to_string(path).map_err(DataError::read(path))?;
            named.push((name.to_owned(), source));
            Ok(())
        };
        let default = folder.join(FILE);
        if default.is_file() {
            read(&default, DEFAULT)?;
        }
        let others = folder.join(OTHERS);
        if others.is_dir() {
            let entries = std::fs::read_dir(&others).map_err(DataError::read(&others))?;
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            let mut paths =
                paths.collect::<Result<Vec<_>, _>>().map_err(DataError::read(&others))?;
            paths.sort();
            for path in
                paths.iter().filter(|path| path.extension().is_some_and(|end| end == "jinja"))
            {
                read(path, &path.file_stem().unwrap_or_default().to_string_lossy())?;
            }
        }
        Ok((!named.is_empty()).then_some(Self { named, are_files: true }))
    }

    /// The files that they are, by their paths in a folder.
    pub fn files(&self) -> impl Iterator<Item = (String, String)> {
        let files = self.named.iter().filter(|_| self.are_files);
        files.map(|(name, source)| {
            let path =
                if name == DEFAULT { FILE.to_owned() } else { format!("{OTHERS}/{name}.jinja") };
            (path, source.clone())
        })
    }

    /// The one that is used where none is asked for.
    pub fn first(&self) -> Option<&str> {
        self.find(DEFAULT)
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, source)| source.as_str())
    }
}

fn named(entry: &Value) -> Option<(String, String)> {
    Some((entry["name"].as_str()?.to_owned(), entry["template"].as_str()?.to_owned()))
}

impl Tokenizer {
    /// The source of the template that is used where none is asked for.
    pub fn chat_template_source(&self) -> Option<&str> {
        self.templates.first()
    }

    /// The template that writes this conversation: the one called `name`, else for conversations with tools the one
    /// called `tool_use` if there is one, else the default.
    ///
    /// # Errors
    /// [`DataError::Chat`] where there is no such template, or it is not valid.
    pub fn chat_template(
        &self,
        name: Option<&str>,
        conversation: &Conversation,
    ) -> Result<ChatTemplate, DataError> {
        let templates = &self.templates;
        let for_tools = || conversation.tools.as_ref().and_then(|_| templates.find(TOOL_USE));
        let source = match name {
            Some(name) => templates.find(name),
            None => for_tools().or_else(|| templates.find(DEFAULT)),
        };
        let Some(source) = source else {
            let names: Vec<&str> = templates.named.iter().map(|(name, _)| name.as_str()).collect();
            let reason = match (name, names.as_slice()) {
                (_, []) => "there is none: it is a model that continues texts and knows no roles; give a text, or put \
                            the template of its family beside its tokenizer.json as chat_template.jinja"
                    .to_owned(),
                (name, names) => format!(
                    "there is none called `{}`; there are: {}",
                    name.unwrap_or(DEFAULT),
                    names.join(", ")
                ),
            };
            return Err(DataError::chat(&self.name, reason));
        };
        let special: Vec<(&str, &str)> = self
            .special_tokens
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str()))
            .collect();
        ChatTemplate::new(&self.name, source, &special)
    }

    /// Gives it a template for conversations, which is saved as chat_template.jinja.
    pub fn set_chat_template(&mut self, source: impl Into<String>) {
        // Templates spell special tokens, which transformers would then take apart.
        if let Some(config) = self.config.as_object_mut() {
            config.remove("split_special_tokens");
        }
        self.templates =
            Templates { named: vec![(DEFAULT.to_owned(), source.into())], are_files: true };
    }

    /// The ids of a conversation that a template wrote. Unlike in [`encode`](Self::encode), special tokens that the
    /// text spells are special tokens; no others are added.
    ///
    /// # Errors
    /// [`DataError::Chat`] where the text begins with two tokens that begin a text.
    pub fn encode_chat(&self, rendered: &Rendered) -> Result<ChatTokens, DataError> {
        self.chat_tokens(&self.encode_spelled(&rendered.text, false)?, &rendered.generated)
    }

    /// The ids of a text to train on, and whether parts of it overlap each. Special tokens that the text spells are
    /// special tokens, and those are added that the tokenizer's post-processor puts around every text.
    ///
    /// # Errors
    /// As [`encode_chat`](Self::encode_chat).
    pub(crate) fn encode_example(
        &self,
        text: &str,
        parts: &[Range<usize>],
    ) -> Result<ChatTokens, DataError> {
        self.chat_tokens(&self.encode_spelled(text, true)?, parts)
    }

    fn chat_tokens(
        &self,
        encoding: &tokenizers::Encoding,
        parts: &[Range<usize>],
    ) -> Result<ChatTokens, DataError> {
        let ids = encoding.get_ids().to_vec();
        let bos = self.special_tokens.get("bos_token");
        if let Some(bos) = bos
            && let Some(id) = self.token_id(bos)
            && ids.starts_with(&[id, id])
        {
            let reason = format!(
                "its text begins with `{bos}` twice, which no model was trained on; take it out of the template or \
                 of the conversation"
            );
            return Err(DataError::chat(&self.name, reason));
        }
        let overlapped = |&(start, end): &(usize, usize)| {
            parts.iter().position(|part| start < part.end && part.start < end)
        };
        let parts = encoding.get_offsets().iter().map(overlapped).collect();
        Ok(ChatTokens { ids, parts })
    }
}
