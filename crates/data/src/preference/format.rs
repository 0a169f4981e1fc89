//! What the columns of a row with preferences mean.

use minijinja::Value;
use minijinja::value::ValueKind;
use rappel_config::Words;

use crate::sft::format::{Chat, Example, items, required, string, system};
use crate::sft::rows::Fields;

/// What the columns of a file with preferences mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum PreferenceFormat {
    /// `chosen`, `rejected` and optionally `prompt`: texts or messages; without a prompt, it is what both begin with.
    Preference,
    /// `conversations` of `from` and `value`, then `chosen` and `rejected`.
    PreferenceSharegpt,
    /// `instruction`, `chosen`, `rejected`, and optionally `input`.
    PreferenceAlpaca,
    /// `prompt`, `completion` and `label`.
    Labelled,
    /// `messages`, of which the last is the answer, and `label`.
    LabelledMessages,
    /// `conversations`, of which the last is the answer, and `label`.
    LabelledSharegpt,
}

/// Other names of the column `label`.
const LABELS: [&str; 2] = ["label", "kto_tag"];

impl PreferenceFormat {
    const ALL: [Self; 6] = [
        Self::Preference,
        Self::PreferenceSharegpt,
        Self::PreferenceAlpaca,
        Self::Labelled,
        Self::LabelledMessages,
        Self::LabelledSharegpt,
    ];

    /// The columns that rows of it have.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Preference => &["chosen", "rejected"],
            Self::PreferenceSharegpt => &["conversations", "chosen", "rejected"],
            Self::PreferenceAlpaca => &["instruction", "chosen", "rejected"],
            Self::Labelled => &["prompt", "completion", "label"],
            Self::LabelledMessages => &["messages", "label"],
            Self::LabelledSharegpt => &["conversations", "label"],
        }
    }

    /// Whether its rows have an answer with a label, in place of two answers.
    fn has_labels(self) -> bool {
        matches!(self, Self::Labelled | Self::LabelledMessages | Self::LabelledSharegpt)
    }

    /// The one format that a file with these columns has, among pairs or, where `labels` can be learned from, all.
    pub(super) fn told(columns: &[&str], labels: bool) -> Result<Self, String> {
        let has = |column: &&str| {
            columns.contains(column) || *column == "label" && columns.contains(&LABELS[1])
        };
        let usable = |format: &Self| labels || !format.has_labels();
        let fits = |format: &Self| format.columns().iter().all(has);
        let mut found: Vec<Self> = Self::ALL.into_iter().filter(usable).filter(fits).collect();
        if found.len() > 1 && !columns.contains(&"prompt") {
            found.retain(|format| *format != Self::Preference);
        }
        let described =
            |format: &Self| format!("{} ({})", format.word(), format.columns().join(", "));
        let listed =
            |formats: &[Self]| formats.iter().map(described).collect::<Vec<_>>().join("; ");
        match found[..] {
            [format] => Ok(format),
            [] if !labels && Self::ALL.iter().any(fits) => Err(
                "has answers with labels and no pairs of them; learn from those with task = \"kto\" or \"bco\"".to_owned(),
            ),
            [] => {
                let all: Vec<Self> = Self::ALL.into_iter().filter(usable).collect();
                Err(format!(
                    "its columns are of no format with preferences: it has {}; expected those of one of {}",
                    columns.join(", "),
                    listed(&all)
                ))
            }
            _ => Err(format!(
                "its columns fit more than one format: {}; say which one in data.format",
                listed(&found)
            )),
        }
    }
}

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Preference {
    /// Two answers behind one prompt, the better first, and by how much it should be better.
    Pair { answers: Box<[Example; 2]>, margin: Option<f32> },
    /// An answer, and whether it is good.
    Labelled { answer: Example, label: bool },
}

/// A prompt or an answer.
enum Said {
    Text(String),
    Messages(Vec<Value>),
}

impl Preference {
    /// What a row of this format says.
    pub fn of(format: PreferenceFormat, fields: &Fields) -> Result<Self, String> {
        match format {
            PreferenceFormat::Labelled => {
                let [prompt, completion] =
                    ["prompt", "completion"].map(|name| said(required(fields, name)?, name));
                Self::labelled(fields, example(fields, prompt?, completion?)?)
            }
            PreferenceFormat::LabelledMessages => Self::last(fields, "messages"),
            PreferenceFormat::LabelledSharegpt => Self::last(fields, "conversations"),
            PreferenceFormat::Preference
            | PreferenceFormat::PreferenceSharegpt
            | PreferenceFormat::PreferenceAlpaca => Self::pair(format, fields),
        }
    }

    fn pair(format: PreferenceFormat, fields: &Fields) -> Result<Self, String> {
        let [chosen, rejected] =
            ["chosen", "rejected"].map(|name| said(required(fields, name)?, name));
        let (chosen, rejected) = (chosen?, rejected?);
        let prompt = match format {
            PreferenceFormat::PreferenceSharegpt => {
                let said = items(required(fields, "conversations")?, "conversations")?;
                Some(Said::Messages(with_system(fields, said)))
            }
            PreferenceFormat::PreferenceAlpaca => Some(Said::Messages(instruction(fields)?)),
            _ => fields.get("prompt").map(|prompt| said(prompt, "prompt")).transpose()?,
        };
        let answers = match (prompt, chosen, rejected) {
            // Some datasets have the prompt as a text, too, where the messages begin with it.
            (None | Some(Said::Text(_)), Said::Messages(chosen), Said::Messages(rejected)) => {
                let same = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
                if same == 0 {
                    return Err("`chosen` and `rejected` begin with other messages, so that there is no prompt".to_owned());
                }
                [answer(fields, &chosen, same)?, answer(fields, &rejected, same)?]
            }
            (None, Said::Text(chosen), Said::Text(rejected)) => implicit(&chosen, &rejected),
            (Some(Said::Text(prompt)), Said::Text(chosen), Said::Text(rejected)) => {
                [chosen, rejected]
                    .map(|completion| Example::Completion { prompt: prompt.clone(), completion })
            }
            (Some(Said::Messages(prompt)), chosen, rejected) => {
                [behind(fields, &prompt, chosen)?, behind(fields, &prompt, rejected)?]
            }
            _ => {
                return Err(
                    "`prompt`, `chosen` and `rejected` must all be texts or all be messages"
                        .to_owned(),
                );
            }
        };
        let margin = match fields.get("margin") {
            None => None,
            Some(value) => Some(number(value).ok_or("`margin` is not a number")? as f32),
        };
        Ok(Self::Pair { answers: Box::new(answers), margin })
    }

    fn labelled(fields: &Fields, answer: Example) -> Result<Self, String> {
        let value = LABELS.iter().find_map(|name| fields.get(*name)).ok_or("has no `label`")?;
        let label = match (value.kind(), value.as_str(), number(value)) {
            (ValueKind::Bool, ..) => value.is_true(),
            (_, Some("true" | "True" | "1"), _) => true,
            (_, Some("false" | "False" | "0"), _) => false,
            (_, None, Some(number)) if number == 0.0 || number == 1.0 => number == 1.0,
            _ => return Err(format!("`label` = {value}: expected true or false")),
        };
        Ok(Self::Labelled { answer, label })
    }

    /// A conversation whose last message is the answer.
    fn last(fields: &Fields, name: &str) -> Result<Self, String> {
        let messages = with_system(fields, items(required(fields, name)?, name)?);
        if messages.len() < 2 {
            return Err(format!("`{name}` has no prompt and answer"));
        }
        let prompt = messages.len() - 1;
        Self::labelled(fields, answer(fields, &messages, prompt)?)
    }
}

/// A text, a list of messages, or a message alone.
fn said(value: &Value, name: &str) -> Result<Said, String> {
    let is_text = value.as_str().is_some_and(|text| !text.trim_start().starts_with("[{"));
    match (is_text, value.kind()) {
        (true, _) => Ok(Said::Text(value.as_str().unwrap_or_default().to_owned())),
        (_, ValueKind::Map) => Ok(Said::Messages(vec![value.clone()])),
        _ => items(value, name).map(Said::Messages),
    }
}

fn number(value: &Value) -> Option<f64> {
    let read =
        value.as_str().map_or_else(|| f64::try_from(value.clone()).ok(), |text| text.parse().ok());
    read.filter(|number| number.is_finite())
}

fn example(fields: &Fields, prompt: Said, completion: Said) -> Result<Example, String> {
    match (prompt, completion) {
        (Said::Text(prompt), Said::Text(completion)) => {
            Ok(Example::Completion { prompt, completion })
        }
        (Said::Messages(prompt), completion) => behind(fields, &prompt, completion),
        _ => {
            Err("`prompt` and `completion` must both be texts or both lists of messages".to_owned())
        }
    }
}

/// Messages of a prompt with the answer behind them.
fn behind(fields: &Fields, prompt: &[Value], said: Said) -> Result<Example, String> {
    let said = match said {
        Said::Messages(said) => said,
        Said::Text(text) => vec![message("assistant", &text)],
    };
    answer(fields, &[prompt, &said].concat(), prompt.len())
}

/// Messages, of which the first are the prompt.
fn answer(fields: &Fields, messages: &[Value], prompt: usize) -> Result<Example, String> {
    let chat = Chat::new(fields, messages)?;
    if prompt == 0 || prompt >= chat.conversation.messages.len() {
        return Err("a prompt and an answer need a message each".to_owned());
    }
    Ok(Example::Chat(Chat { prompt: Some(prompt), ..chat }))
}

/// Two texts, whose prompt is what both begin with, without a space at its end, as in TRL.
fn implicit(chosen: &str, rejected: &str) -> [Example; 2] {
    let pairs = chosen.char_indices().zip(rejected.chars());
    let same =
        pairs.take_while(|((_, a), b)| a == b).last().map_or(0, |((at, c), _)| at + c.len_utf8());
    let prompt = &chosen[..same];
    let prompt = prompt.strip_suffix(' ').unwrap_or(prompt);
    [chosen, rejected].map(|text| Example::Completion {
        prompt: prompt.to_owned(),
        completion: text[prompt.len()..].to_owned(),
    })
}

fn message(role: &str, text: &str) -> Value {
    Value::from_pairs([("role", Value::from(role)), ("content", Value::from(text))])
}

/// Messages behind that of the column `system`, where there is one.
fn with_system(fields: &Fields, messages: Vec<Value>) -> Vec<Value> {
    fields.get("system").and_then(system).into_iter().chain(messages).collect()
}

fn instruction(fields: &Fields) -> Result<Vec<Value>, String> {
    let instruction = string(fields, "instruction")?;
    let input = fields.get("input").and_then(Value::as_str).unwrap_or_default();
    let asked = [instruction.as_str(), input];
    let asked: Vec<&str> = asked.into_iter().filter(|text| !text.is_empty()).collect();
    Ok(with_system(fields, vec![message("user", &asked.join("\n"))]))
}
