//! Jinja templates with the settings and functions of transformers.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use chrono::NaiveDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use regex::Regex;

use super::json::to_json;
use super::message::{Conversation, Message};
use super::time::strftime;
use crate::DataError;

/// The name of the one template of an environment.
const TEMPLATE: &str = "chat_template";

/// What a template may spend before it counts as endless: about an instruction each, or 64 bytes of text.
const FUEL: u64 = 10_000_000;

/// Stand around what `{% generation %}` encloses. Both are noncharacters, which text never has.
const MARKS: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];

/// `{% generation %}` and `{% endgeneration %}`, which Jinja does not know. In transformers they are a call
/// block, so that is what they become.
static GENERATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("a pattern that compiles")
});

/// A model's way to write a conversation as text.
///
/// Templates run with the settings of transformers: `trim_blocks`, `lstrip_blocks`, `break` and `continue`,
/// methods of Python's strings and dicts, `raise_exception`, `strftime_now`, `tojson` as `json.dumps`, and
/// `{% generation %}` around what the model says.
///
/// ```
/// use rappel_data::{ChatTemplate, Conversation, Message, RenderOptions};
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}";
/// let template = ChatTemplate::new("example", source, &[])?;
/// let conversation = Conversation::new(vec![Message::new("user", "Hello")]);
/// assert_eq!(template.render(&conversation, &RenderOptions::default())?.text, "<user>Hello\n");
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct ChatTemplate {
    /// For messages: where it comes from.
    name: String,
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, Value>,
    marks_generation: bool,
}

/// How a conversation is rendered.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// End with what comes before an answer of the model.
    pub add_generation_prompt: bool,
    /// Other variables of the template, such as `enable_thinking`.
    pub variables: BTreeMap<String, Value>,
    /// The time of `strftime_now`. Unset: the clock's.
    pub now: Option<NaiveDateTime>,
}

/// A conversation as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text, special tokens included.
    pub text: String,
    /// The parts of the text that `{% generation %}` encloses, in bytes: what a model is trained to say.
    pub generated: Vec<Range<usize>>,
}

/// A conversation that the template itself refuses.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

impl ChatTemplate {
    /// Compiles a template. `name` says in errors where it comes from; `special_tokens` are pairs such as
    /// `("bos_token", "<s>")`, which are variables of the template.
    ///
    /// # Errors
    /// [`DataError::Chat`] for a template that is not valid.
    pub fn new(
        name: impl Into<String>,
        source: &str,
        special_tokens: &[(&str, &str)],
    ) -> Result<Self, DataError> {
        let name = name.into();
        let marks_generation = GENERATION.is_match(source);
        let source = GENERATION.replace_all(source, |found: &regex::Captures<'_>| {
            let tag = if found.get(2).is_some() { "endcall" } else { "call __generation()" };
            format!("{{%{} {tag} {}%}}", &found[1], &found[3])
        });
        let mut environment = environment();
        if let Err(error) = environment.add_template_owned(TEMPLATE, source.into_owned()) {
            return Err(refused(&name, &error));
        }
        let special = special_tokens.iter();
        let special =
            special.map(|(key, token)| ((*key).to_owned(), Value::from(*token))).collect();
        Ok(Self { name, environment, special_tokens: special, marks_generation })
    }

    /// Whether it marks what the model says with `{% generation %}`.
    pub fn marks_generation(&self) -> bool {
        self.marks_generation
    }

    /// The conversation as text.
    ///
    /// # Errors
    /// [`DataError::Chat`] where the template refuses the conversation, fails on it or does not end.
    pub fn render(
        &self,
        conversation: &Conversation,
        options: &RenderOptions,
    ) -> Result<Rendered, DataError> {
        let list = |items: &Option<Vec<Value>>| items.clone().map_or(().into(), Value::from);
        let messages: Vec<Value> = conversation.messages.iter().map(Message::to_value).collect();
        let now = options.now;
        let mut context = self.special_tokens.clone();
        context.extend([
            ("messages".to_owned(), Value::from(messages)),
            ("tools".to_owned(), list(&conversation.tools)),
            ("documents".to_owned(), list(&conversation.documents)),
            ("add_generation_prompt".to_owned(), options.add_generation_prompt.into()),
            (
                "strftime_now".to_owned(),
                Value::from_function(move |format: &str| strftime(now, format)),
            ),
        ]);
        context.extend(options.variables.clone());
        let template = self.environment.get_template(TEMPLATE);
        let text = template.and_then(|template| template.render(Value::from_pairs(context)));
        let text = text.map_err(|error| refused(&self.name, &error))?;
        self.spans(&text)
    }

    /// Takes the marks out of a text and keeps what they enclose.
    fn spans(&self, marked: &str) -> Result<Rendered, DataError> {
        let (mut text, mut generated, mut open) = (String::new(), Vec::new(), None);
        for c in marked.chars() {
            match (MARKS.iter().position(|mark| *mark == c), open) {
                (None, _) => text.push(c),
                (Some(0), None) => open = Some(text.len()),
                (Some(1), Some(start)) => {
                    generated.push(start..text.len());
                    open = None;
                }
                _ => {
                    let reason = "its marks of `{% generation %}` do not pair up; are they nested, or does \
                                  the conversation hold U+FDD0 or U+FDD1? Remove them";
                    return Err(DataError::chat(&self.name, reason));
                }
            }
        }
        Ok(Rendered { text, generated })
    }
}

/// The settings and functions of transformers.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("delimiters that differ"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("tojson", to_json);
    // In Python, texts and dicts have a length and items, too.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
    environment.add_function("raise_exception", |message: &str| -> Result<Value, Error> {
        let error = Error::new(ErrorKind::InvalidOperation, message.to_owned());
        Err(error.with_source(Raised(message.to_owned())))
    });
    environment.add_function("__generation", |state: &mut State, options: Kwargs| {
        let caller: Value = options.get("caller")?;
        let said = caller.call(state, &[])?;
        Ok::<_, Error>(format!("{}{said}{}", MARKS[0], MARKS[1]))
    });
    environment
}

/// An error of a template in words: what, where, and what to do.
fn refused(name: &str, error: &Error) -> DataError {
    let mut causes: Vec<&(dyn std::error::Error + 'static)> = vec![error];
    while let Some(cause) = causes.last().and_then(|last| last.source()) {
        causes.push(cause);
    }
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    if let Some(Raised(message)) = causes.iter().find_map(|cause| cause.downcast_ref()) {
        return DataError::chat(name, format!("it refuses the conversation{line}: {message}"));
    }
    let templates = causes.iter().filter_map(|cause| cause.downcast_ref::<Error>());
    if templates.clone().any(|error| error.kind() == ErrorKind::OutOfFuel) {
        let reason = format!(
            "it took more than {FUEL} steps{line}: a loop in it does not end, or the conversation is \
             far too long"
        );
        return DataError::chat(name, reason);
    }
    let details: Vec<String> = templates
        .map(|error| match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        })
        .collect();
    DataError::chat(name, format!("it fails{line}: {}", details.join(": ")))
}
