//! What the columns of a row mean.

use minijinja::Value;
use minijinja::value::ValueKind;
use rappel_config::Words;

use super::rows::Fields;
use crate::{Conversation, Message};

/// What the columns of a file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Format {
    /// `text`: plain text.
    Text,
    /// `messages`, and optionally `tools`.
    Messages,
    /// `prompt` and `completion`, both texts or both lists of messages.
    PromptCompletion,
    /// `conversations` of `from` and `value`, and optionally `system` and `tools`.
    Sharegpt,
    /// `instruction` and `output`, and optionally `input`, `system` and `history`.
    Alpaca,
}

impl Format {
    const ALL: [Self; 5] =
        [Self::Text, Self::Messages, Self::PromptCompletion, Self::Sharegpt, Self::Alpaca];

    /// The columns that rows of it have.
    fn columns(self, text_field: &str) -> Vec<&str> {
        match self {
            Self::Text => vec![text_field],
            Self::Messages => vec!["messages"],
            Self::PromptCompletion => vec!["prompt", "completion"],
            Self::Sharegpt => vec!["conversations"],
            Self::Alpaca => vec!["instruction", "output"],
        }
    }

    /// The one format that a file with these columns has.
    pub(super) fn told(columns: &[&str], text_field: &str) -> Result<Self, String> {
        let fits = |format: &Self| {
            format.columns(text_field).iter().all(|column| columns.contains(column))
        };
        let found: Vec<Self> = Self::ALL.into_iter().filter(fits).collect();
        let described = |format: &Self| {
            format!("{} ({})", format.word(), format.columns(text_field).join(", "))
        };
        match found[..] {
            [format] => Ok(format),
            [] if ["chosen", "rejected"].iter().all(|column| columns.contains(column)) => Err(
                "has pairs of a chosen and a rejected answer: learn from both with task = \"dpo\" and the like, or name the \
                 chosen one `completion`"
                    .to_owned(),
            ),
            [] => {
                let all: Vec<_> = Self::ALL.iter().map(described).collect();
                Err(format!(
                    "its columns are of no known format: it has {}; expected those of one of {}",
                    columns.join(", "),
                    all.join("; ")
                ))
            }
            _ => {
                let all: Vec<_> = found.iter().map(described).collect();
                Err(format!(
                    "its columns fit more than one format: {}; say which one in data.format",
                    all.join("; ")
                ))
            }
        }
    }
}

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Example {
    /// All of a text.
    Text(String),
    /// A text that follows another.
    Completion { prompt: String, completion: String },
    /// A conversation.
    Chat(Chat),
}

/// A conversation, and what of it is trained.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chat {
    pub conversation: Conversation,
    /// How many messages are the prompt, where the format separates prompts from completions.
    pub prompt: Option<usize>,
    /// The weight that each message says it has.
    pub weights: Vec<Option<f32>>,
    /// Other variables of the template.
    pub variables: Vec<(String, Value)>,
}

/// Names of roles in other formats.
const ROLES: [(&str, &str); 12] = [
    ("human", "user"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("model", "assistant"),
    ("function_call", "assistant"),
    ("tool_call", "assistant"),
    ("observation", "tool"),
    ("function_response", "tool"),
    ("tool_response", "tool"),
    ("function", "function"),
];
/// Roles that templates know.
const KNOWN: [&str; 8] =
    ["system", "developer", "user", "assistant", "tool", "function", "ipython", "environment"];
/// The role of what the model says.
pub(crate) const ASSISTANT: &str = "assistant";
/// Keys of a message that say whether, or with what weight, it is trained.
const WEIGHTS: [&str; 4] = ["train", "training", "weight", "loss_weight"];

impl Example {
    /// What a row of this format says.
    pub fn of(format: Format, text_field: &str, fields: &Fields) -> Result<Self, String> {
        match format {
            Format::Text => Ok(Self::Text(string(fields, text_field)?)),
            Format::Messages => {
                Chat::new(fields, &items(required(fields, "messages")?, "messages")?)
                    .map(Self::Chat)
            }
            Format::Sharegpt => {
                let mut messages: Vec<Value> =
                    fields.get("system").into_iter().filter_map(system).collect();
                messages.extend(items(required(fields, "conversations")?, "conversations")?);
                Chat::new(fields, &messages).map(Self::Chat)
            }
            Format::PromptCompletion => completion(fields),
            Format::Alpaca => alpaca(fields).map(Self::Chat),
        }
    }
}

fn completion(fields: &Fields) -> Result<Example, String> {
    let [prompt, completion] = ["prompt", "completion"].map(|name| required(fields, name));
    let (prompt, completion) = (prompt?, completion?);
    match (prompt.as_str(), completion.as_str()) {
        (Some(prompt), Some(completion)) => {
            Ok(Example::Completion { prompt: prompt.to_owned(), completion: completion.to_owned() })
        }
        (None, None) => {
            let mut messages = items(prompt, "prompt")?;
            let prompt = messages.len();
            messages.extend(items(completion, "completion")?);
            let chat = Chat::new(fields, &messages)?;
            Ok(Example::Chat(Chat { prompt: Some(prompt), ..chat }))
        }
        _ => {
            Err("`prompt` and `completion` must both be texts or both lists of messages".to_owned())
        }
    }
}

/// A conversation of an instruction and its answer, behind those that came before it.
fn alpaca(fields: &Fields) -> Result<Chat, String> {
    let message = |role: &str, text: &str| {
        Value::from_pairs([("role", Value::from(role)), ("content", Value::from(text))])
    };
    let mut messages: Vec<Value> = fields.get("system").into_iter().filter_map(system).collect();
    if let Some(history) = fields.get("history") {
        for (i, turn) in items(history, "history")?.iter().enumerate() {
            let wrong = || format!("turn {} of `history` is not a pair of texts", i + 1);
            let turn = items(turn, "history").map_err(|_| wrong())?;
            let [Some(question), Some(answer)] =
                [0, 1].map(|i| turn.get(i).and_then(Value::as_str).filter(|_| turn.len() == 2))
            else {
                return Err(wrong());
            };
            messages.extend([message("user", question), message(ASSISTANT, answer)]);
        }
    }
    let (instruction, output) = (string(fields, "instruction")?, string(fields, "output")?);
    let input = fields.get("input").and_then(Value::as_str).unwrap_or_default();
    let asked = [instruction.as_str(), input];
    let asked: Vec<&str> = asked.into_iter().filter(|text| !text.is_empty()).collect();
    messages.extend([message("user", &asked.join("\n")), message(ASSISTANT, &output)]);
    Chat::new(fields, &messages)
}

/// A message of the column `system`, where it is not empty.
pub(crate) fn system(text: &Value) -> Option<Value> {
    let said = text.as_str().is_none_or(|text| !text.is_empty());
    said.then(|| Value::from_pairs([("role", Value::from("system")), ("content", text.clone())]))
}

impl Chat {
    pub fn new(fields: &Fields, messages: &[Value]) -> Result<Self, String> {
        if messages.is_empty() {
            return Err("the conversation has no messages".to_owned());
        }
        let in_message = |i: usize, reason: String| format!("message {}: {reason}", i + 1);
        let mut conversation = Conversation::default();
        let mut weights = Vec::new();
        for (i, value) in messages.iter().enumerate() {
            let value = usual(value).map_err(|reason| in_message(i, reason))?;
            let read = Conversation::from_value(&Value::from(vec![value]));
            let read = read
                .map_err(|reason| reason.replace("message 1:", &format!("message {}:", i + 1)))?;
            for mut message in read.messages {
                check(&message).map_err(|reason| in_message(i, reason))?;
                weights.push(weight(&mut message).map_err(|reason| in_message(i, reason))?);
                conversation.messages.push(message);
            }
        }
        if let Some(tools) = fields.get("tools").filter(|tools| tools.as_str() != Some("")) {
            let tools = items(tools, "tools")?.iter().map(schema).collect::<Vec<_>>();
            conversation.tools = (!tools.is_empty()).then_some(tools);
        }
        let variables = match fields.get("chat_template_kwargs") {
            Some(map) if map.kind() == ValueKind::Map => {
                let keys = map.try_iter().map_err(|error| error.to_string())?;
                keys.filter_map(|key| Some((key.to_string(), map.get_item(&key).ok()?))).collect()
            }
            Some(_) => return Err("`chat_template_kwargs` is not an object".to_owned()),
            None => Vec::new(),
        };
        Ok(Self { conversation, prompt: None, weights, variables })
    }
}

/// A message with `role` and `content`, as it is or from one with `from` and `value`.
fn usual(value: &Value) -> Result<Value, String> {
    if value.kind() != ValueKind::Map {
        return Err(format!("expected an object, found a {}", value.kind()));
    }
    let get = |key: &str| value.get_attr(key).ok().filter(|found| !found.is_undefined());
    let Some(from) = get("from").filter(|_| get("role").is_none()) else {
        return Ok(value.clone());
    };
    let from = from.as_str().ok_or("`from` is not a text")?;
    let said = get("value").ok_or("has no `value`")?;
    let role = ROLES.iter().find(|(name, _)| *name == from).map_or(from, |(_, role)| role);
    let mut pairs = vec![("role".to_owned(), Value::from(role))];
    if matches!(from, "function_call" | "tool_call") {
        let text = said.as_str().ok_or("`value` is not a text")?;
        let calls: Value = serde_json::from_str(text)
            .map_err(|error| format!("its call of a function is not valid JSON: {error}"))?;
        let calls =
            if calls.kind() == ValueKind::Seq { items(&calls, "value")? } else { vec![calls] };
        pairs.extend([
            ("content".to_owned(), Value::from("")),
            ("tool_calls".to_owned(), calls.iter().map(wrapped).collect()),
        ]);
    } else {
        pairs.push(("content".to_owned(), said));
    }
    for key in value.try_iter().map_err(|error| error.to_string())? {
        if !matches!(key.as_str(), Some("from" | "value")) {
            let item = value.get_item(&key).map_err(|error| error.to_string())?;
            pairs.push((key.to_string(), item));
        }
    }
    Ok(Value::from_pairs(pairs))
}

/// A function as `{"type": "function", "function": ..}`, which templates read.
fn wrapped(function: &Value) -> Value {
    let has = |key: &str| function.get_attr(key).is_ok_and(|found| !found.is_undefined());
    if has("function") {
        return function.clone();
    }
    Value::from_pairs([("type", Value::from("function")), ("function", function.clone())])
}

fn schema(tool: &Value) -> Value {
    tool.as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .map_or_else(|| wrapped(tool), |tool: Value| wrapped(&tool))
}

fn check(message: &Message) -> Result<(), String> {
    if KNOWN.contains(&message.role.as_str()) {
        return Ok(());
    }
    Err(format!("unknown role `{}`; known: {}", message.role, KNOWN.join(", ")))
}

/// What a message says of its weight, which its template does not see.
fn weight(message: &mut Message) -> Result<Option<f32>, String> {
    let mut found = None;
    for key in WEIGHTS {
        let Some(value) = message.more.shift_remove(key) else { continue };
        let number = match value.kind() {
            ValueKind::Bool => f64::from(u8::from(value.is_true())),
            _ => f64::try_from(value)
                .map_err(|_| format!("`{key}` is neither a truth nor a number"))?,
        };
        if !(number.is_finite() && number >= 0.0) {
            return Err(format!("`{key}` = {number}: expected a number of 0 or more"));
        }
        found = Some(number as f32);
    }
    Ok(found)
}

pub(crate) fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a Value, String> {
    fields.get(name).ok_or_else(|| format!("has no `{name}`"))
}

pub(crate) fn string(fields: &Fields, name: &str) -> Result<String, String> {
    let value = required(fields, name)?;
    value.as_str().map(str::to_owned).ok_or_else(|| format!("`{name}` is not a text"))
}

pub(crate) fn items(value: &Value, name: &str) -> Result<Vec<Value>, String> {
    if let Some(text) = value.as_str() {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("`{name}` is not a list of JSON: {error}"))?;
        return if value.as_str().is_some() {
            Err(format!("`{name}` is not a list"))
        } else {
            items(&value, name)
        };
    }
    if value.kind() != ValueKind::Seq {
        return Err(format!("`{name}` is not a list"));
    }
    Ok(value.try_iter().map_err(|error| error.to_string())?.collect())
}
