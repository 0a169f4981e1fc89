//! Messages of a conversation, read from JSON.

use indexmap::IndexMap;
use minijinja::Value;
use minijinja::value::ValueKind;

/// The names under which datasets and APIs give a message's reasoning.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A conversation, with the tools and documents that its template may show to the model.
///
/// ```
/// use rappel_data::Conversation;
/// let json = r#"{"messages": [{"role": "user", "content": "2 + 3?"}], "tools": []}"#;
/// let conversation = Conversation::from_json(json)?;
/// assert_eq!(conversation.messages[0].role, "user");
/// assert_eq!(conversation.messages[0].text(), Some("2 + 3?"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// JSON schemas of the functions that the model may call.
    pub tools: Option<Vec<Value>>,
    /// Documents for retrieval-augmented generation, with `title` and `text`.
    pub documents: Option<Vec<Value>>,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What is said. A message that only calls tools may have none.
    pub content: Option<Content>,
    /// What the model thought first; read from `reasoning_content`, `thinking` or `reasoning`.
    pub reasoning: Option<String>,
    /// The functions that the model calls.
    pub tool_calls: Option<Vec<ToolCall>>,
    /// All other keys, such as `name` and `tool_call_id`, for templates that read them.
    pub more: IndexMap<String, Value>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts with a `type`, such as `{"type": "text", "text": ".."}`.
    Parts(Vec<Value>),
}

/// A call of a function, as the JSON has it: `name` and `arguments`, alone or under `function`.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall(Value);

impl Conversation {
    /// A conversation without tools and documents.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Reads a list of messages, or an object with `messages` and optionally `tools` and `documents`.
    ///
    /// # Errors
    /// What is wrong with the text, naming the message.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let value =
            serde_json::from_str(json).map_err(|error| format!("not valid JSON: {error}"))?;
        Self::from_value(&value)
    }

    /// [`from_json`](Self::from_json) for a value that was read already.
    ///
    /// # Errors
    /// What is wrong with it, naming the message.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        if let Some(messages) = list(value) {
            return Ok(Self::new(read_messages(&messages)?));
        }
        if value.kind() != ValueKind::Map {
            let found = value.kind();
            return Err(format!(
                "expected a list of messages or an object with `messages`, found a {found}"
            ));
        }
        let messages = attribute(value, "messages").ok_or_else(|| {
            "has no `messages`; give a list of {\"role\": .., \"content\": ..}".to_owned()
        })?;
        let messages = list(&messages).ok_or("`messages` is not a list")?;
        let objects = |key: &str| match attribute(value, key) {
            None => Ok(None),
            Some(found) => match list(&found) {
                Some(items) if items.iter().all(|item| item.kind() == ValueKind::Map) => {
                    Ok(Some(items))
                }
                _ => Err(format!("`{key}` is not a list of objects")),
            },
        };
        Ok(Self {
            messages: read_messages(&messages)?,
            tools: objects("tools")?,
            documents: objects("documents")?,
        })
    }
}

impl Message {
    /// A message of plain text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let content = Some(Content::Text(content.into()));
        Self {
            role: role.into(),
            content,
            reasoning: None,
            tool_calls: None,
            more: IndexMap::new(),
        }
    }

    /// Its content, where that is plain text.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Some(Content::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Reads one message. A key whose value is null is the same as none.
    fn from_value(value: &Value) -> Result<Self, String> {
        if value.kind() != ValueKind::Map {
            return Err(format!("expected an object, found a {}", value.kind()));
        }
        let mut fields = IndexMap::new();
        for key in value.try_iter().map_err(|error| error.to_string())? {
            let item = value.get_item(&key).map_err(|error| error.to_string())?;
            if !item.is_none() {
                fields.insert(key.to_string(), item);
            }
        }
        let role = fields.shift_remove("role").ok_or("has no `role`")?;
        let role = role.as_str().ok_or("`role` is not a text")?.to_owned();
        let content = match fields.shift_remove("content") {
            None => None,
            Some(content) => Some(match (content.as_str(), list(&content)) {
                (Some(text), _) => Content::Text(text.to_owned()),
                (None, Some(parts)) => Content::Parts(parts),
                _ => return Err("`content` is neither a text nor a list of parts".to_owned()),
            }),
        };
        let mut reasoning = None;
        for name in REASONING {
            if let Some(found) = fields.shift_remove(name) {
                let text =
                    found.as_str().ok_or_else(|| format!("`{name}` is not a text"))?.to_owned();
                reasoning.get_or_insert(text);
            }
        }
        let tool_calls = match fields.shift_remove("tool_calls") {
            None => None,
            Some(calls) => {
                let calls = list(&calls).ok_or("`tool_calls` is not a list")?;
                Some(calls.into_iter().map(ToolCall::new).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { role, content, reasoning, tool_calls, more: fields })
    }

    /// The message as templates see it: reasoning under both of its usual names.
    pub(super) fn to_value(&self) -> Value {
        let mut fields = vec![("role", Value::from(self.role.clone()))];
        let content = self.content.as_ref().map(|content| match content {
            Content::Text(text) => Value::from(text.clone()),
            Content::Parts(parts) => Value::from(parts.clone()),
        });
        fields.extend(content.map(|content| ("content", content)));
        for name in &REASONING[..2] {
            fields.extend(self.reasoning.clone().map(|text| (*name, Value::from(text))));
        }
        let calls = self.tool_calls.as_ref();
        let calls = calls.map(|calls| calls.iter().map(|call| call.0.clone()).collect::<Vec<_>>());
        fields.extend(calls.map(|calls| ("tool_calls", Value::from(calls))));
        let more = self.more.iter().map(|(key, value)| (key.as_str(), value.clone()));
        Value::from_pairs(fields.into_iter().chain(more))
    }
}

impl ToolCall {
    /// A call that names a function and has arguments.
    ///
    /// # Errors
    /// What it lacks.
    pub fn new(call: Value) -> Result<Self, String> {
        let function = attribute(&call, "function").unwrap_or_else(|| call.clone());
        let is_named = attribute(&function, "name").is_some_and(|name| name.as_str().is_some());
        if is_named { Ok(Self(call)) } else { Err("a tool call has no function `name`".to_owned()) }
    }

    /// The name of the function.
    pub fn name(&self) -> String {
        attribute(&self.function(), "name").map(|name| name.to_string()).unwrap_or_default()
    }

    /// The arguments: an object, or JSON as a text, whichever was given.
    pub fn arguments(&self) -> Option<Value> {
        attribute(&self.function(), "arguments")
    }

    fn function(&self) -> Value {
        attribute(&self.0, "function").unwrap_or_else(|| self.0.clone())
    }
}

fn read_messages(values: &[Value]) -> Result<Vec<Message>, String> {
    let read = |(i, value)| {
        Message::from_value(value).map_err(|reason| format!("message {}: {reason}", i + 1))
    };
    values.iter().enumerate().map(read).collect()
}

/// The value under a key, unless there is none or it is null.
fn attribute(value: &Value, key: &str) -> Option<Value> {
    let found = value.get_attr(key).ok()?;
    (!found.is_undefined() && !found.is_none()).then_some(found)
}

/// The items of a list.
fn list(value: &Value) -> Option<Vec<Value>> {
    (value.kind() == ValueKind::Seq).then(|| value.try_iter().ok().map(Iterator::collect)).flatten()
}
