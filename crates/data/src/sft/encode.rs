//! Token ids of a row, and with what weight each is trained.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{NaiveDate, NaiveDateTime};

use super::format::{ASSISTANT, Chat, Example, Format};
use super::section::RowsConfig;
use crate::{ChatTemplate, Conversation, DataError, RenderOptions, Rendered, Tokenizer};

/// A row as a model reads it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Encoded {
    pub ids: Vec<u32>,
    /// With what weight each token is trained to follow those before it; 0: not at all.
    pub weights: Vec<f32>,
    /// Tokens that were cut off.
    pub cut: usize,
}

impl Encoded {
    /// Where the first token is that is trained.
    pub fn first_trained(&self) -> Option<usize> {
        self.weights.iter().position(|weight| *weight > 0.0)
    }

    /// Cuts its end off, but for `most` tokens.
    pub fn cut_end(&mut self, most: usize) -> Result<(), String> {
        let first = self.first_trained().unwrap_or(usize::MAX);
        if self.ids.len() <= most {
            return Ok(());
        }
        self.cut = self.ids.len() - most;
        self.ids.truncate(most);
        self.weights.truncate(most);
        if first >= most {
            return Err(format!(
                "cut to data.max_length = {most} tokens, nothing of it is trained: its first token that is trained is \
                 number {}",
                first + 1
            ));
        }
        Ok(())
    }
}

/// What of rows is trained, where the config says so.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trained {
    pub assistant_only: Option<bool>,
    pub completion_only: Option<bool>,
}

/// Makes tokens of rows.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    /// Of conversations without tools, and with them.
    templates: [Option<ChatTemplate>; 2],
    /// How special tokens are spelled.
    specials: Vec<String>,
    /// The token that ends a text.
    eos: u32,
    trained: Trained,
}

impl<'a> Encoder<'a> {
    pub fn new(
        rows: &RowsConfig,
        tokenizer: &'a Tokenizer,
        trained: Trained,
    ) -> Result<Self, DataError> {
        let eos = match &rows.eos_token {
            None => tokenizer.end_of_document(),
            Some(token) => tokenizer.token_id(token).ok_or_else(|| {
                let reason = format!("has no token `{token}`, which data.eos_token names");
                DataError::tokenizer(tokenizer.name(), reason)
            })?,
        };
        let specials = tokenizer.specials();
        Ok(Self { tokenizer, templates: [None, None], specials, eos, trained })
    }

    /// The token that ends a text.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// Compiles the templates that these examples need.
    pub fn prepare<'b>(
        &mut self,
        mut examples: impl Iterator<Item = &'b Example>,
    ) -> Result<(), DataError> {
        let mut first: [Option<&Conversation>; 2] = [None, None];
        while let (Some(example), true) = (examples.next(), first.contains(&None)) {
            if let Example::Chat(chat) = example {
                let kind = usize::from(chat.conversation.tools.is_some());
                first[kind].get_or_insert(&chat.conversation);
            }
        }
        for (template, conversation) in self.templates.iter_mut().zip(first) {
            if let (None, Some(conversation)) = (&template, conversation) {
                *template = Some(self.tokenizer.chat_template(None, conversation)?);
            }
        }
        Ok(())
    }

    /// The tokens of a row, or what is wrong with it.
    pub fn encode(&self, format: Format, example: &Example) -> Result<Encoded, String> {
        let mut encoded = self.whole(format, example)?;
        // Nothing comes before the first token that it could be predicted from.
        if let Some(first) = encoded.weights.first_mut() {
            *first = 0.0;
        }
        match encoded.first_trained() {
            Some(_) => Ok(encoded),
            None => Err("nothing of it is trained".to_owned()),
        }
    }

    /// The tokens of a row, the first among those that are trained where its text is.
    pub fn whole(&self, format: Format, example: &Example) -> Result<Encoded, String> {
        match example {
            Example::Text(text) => self.text(text, 0..text.len()),
            Example::Completion { prompt, completion } => {
                let text = format!("{prompt}{completion}");
                let only = self.trained.completion_only.unwrap_or(true);
                self.text(&text, if only { prompt.len() } else { 0 }..text.len())
            }
            Example::Chat(chat) => self.chat(format, chat),
        }
    }

    /// A text that ends, trained within `part`.
    fn text(&self, text: &str, part: Range<usize>) -> Result<Encoded, String> {
        let tokens =
            self.tokenizer.encode_example(text, &[part]).map_err(|error| error.to_string())?;
        let weights = tokens.parts.iter().map(|part| f32::from(u8::from(part.is_some())));
        let mut encoded = Encoded { weights: weights.collect(), ids: tokens.ids, cut: 0 };
        if encoded.ids.last() == Some(&self.eos) {
            encoded.weights.pop();
            encoded.weights.push(1.0);
        } else {
            encoded.ids.push(self.eos);
            encoded.weights.push(1.0);
        }
        Ok(encoded)
    }

    fn chat(&self, format: Format, chat: &Chat) -> Result<Encoded, String> {
        let template = self.templates[usize::from(chat.conversation.tools.is_some())].as_ref();
        let template = template.expect("prepared for it");
        let variables: BTreeMap<_, _> = chat.variables.iter().cloned().collect();
        let options = RenderOptions { now: Some(today()), variables, ..RenderOptions::default() };
        let written = Written { template, conversation: &chat.conversation, options };
        let Rendered { text, generated } = written.upto(chat.conversation.messages.len(), false)?;
        let usual = matches!(format, Format::Sharegpt | Format::Alpaca);
        let assistant_only = self.trained.assistant_only.unwrap_or(usual);
        let says = chat.weights.iter().any(Option::is_some);
        let prompt = chat.prompt.filter(|_| self.trained.completion_only.unwrap_or(true));
        let mut parts: Vec<(Range<usize>, f32)> = Vec::new();
        if assistant_only || says {
            let of_message = |(i, weight): (usize, &Option<f32>)| {
                let is_assistant = chat.conversation.messages[i].role == ASSISTANT;
                let weight = weight.unwrap_or(f32::from(u8::from(is_assistant)));
                if prompt.is_some_and(|prompt| i < prompt) { 0.0 } else { weight }
            };
            let weights: Vec<f32> = chat.weights.iter().enumerate().map(of_message).collect();
            let messages = chat.conversation.messages.iter();
            let assistants: Vec<usize> =
                messages.enumerate().filter(|(_, m)| m.role == ASSISTANT).map(|(i, _)| i).collect();
            let others = (0..weights.len()).any(|i| weights[i] > 0.0 && !assistants.contains(&i));
            if template.marks_generation() && !others {
                if generated.len() != assistants.len() {
                    return Err(format!(
                        "its template marks {} parts with {{% generation %}}, but the model speaks {} times",
                        generated.len(),
                        assistants.len()
                    ));
                }
                let marked = assistants.iter().zip(generated);
                parts.extend(marked.map(|(i, part)| (part, weights[*i])));
            } else {
                for (i, weight) in
                    weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0)
                {
                    parts.push((self.said(&written, i, &text)?, weight));
                }
            }
        } else if let Some(prompt) = prompt {
            let asks =
                chat.conversation.messages[..prompt].last().is_none_or(|m| m.role != ASSISTANT);
            let before = written.upto(prompt, asks)?.text;
            if !text.starts_with(&before) {
                return Err(not_preserving(prompt));
            }
            parts.push((before.len()..text.len(), 1.0));
        } else {
            parts.push((0..text.len(), 1.0));
        }
        let (generated, weights): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let rendered = Rendered { text, generated };
        let tokens = self.tokenizer.encode_chat(&rendered).map_err(|error| error.to_string())?;
        let weights = tokens.parts.iter().map(|part| part.map_or(0.0, |part| weights[part]));
        Ok(Encoded { weights: weights.collect(), ids: tokens.ids, cut: 0 })
    }

    /// The part of the text that message `i` is: what it adds to the messages before it, without white space behind
    /// the token that ends its turn.
    fn said(&self, written: &Written<'_>, i: usize, text: &str) -> Result<Range<usize>, String> {
        let is_assistant = written.conversation.messages[i].role == ASSISTANT;
        let before = written.upto(i, is_assistant)?.text;
        let after = written.upto(i + 1, false)?.text;
        if !(after.starts_with(&before) && text.starts_with(&after)) {
            return Err(not_preserving(i + 1));
        }
        let said = &after[before.len()..];
        let trimmed = said.trim_end();
        let ends = self.specials.iter().any(|special| trimmed.ends_with(special.as_str()));
        Ok(before.len()..before.len() + if ends { trimmed.len() } else { said.len() })
    }
}

fn not_preserving(message: usize) -> String {
    format!(
        "its chat template writes the messages up to number {message} in another way when more follow, so that what \
         the model says cannot be told from the rest; put {{% generation %}} around it in the template \
         (data.chat_template), or train all with assistant_only_loss = false"
    )
}

/// Conversations as a template writes them.
struct Written<'a> {
    template: &'a ChatTemplate,
    conversation: &'a Conversation,
    options: RenderOptions,
}

impl Written<'_> {
    /// The first messages, and what comes before an answer where `asks`.
    fn upto(&self, messages: usize, asks: bool) -> Result<Rendered, String> {
        let conversation = Conversation {
            messages: self.conversation.messages[..messages].to_vec(),
            ..self.conversation.clone()
        };
        let options = RenderOptions { add_generation_prompt: asks, ..self.options.clone() };
        self.template.render(&conversation, &options).map_err(|error| error.to_string())
    }
}

/// The day that templates write, for the same tokens on every day: the one that those of Llama have without a clock.
fn today() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2024, 7, 26).and_then(|day| day.and_hms_opt(0, 0, 0)).expect("a day")
}
