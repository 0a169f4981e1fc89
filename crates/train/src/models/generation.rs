//! Texts from a language model.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rappel_data::{Conversation, RenderOptions, StreamDecoder};
use rappel_model::{
    Chosen, GenerateOptions, Generations, Past, Stop, check_prompt, generate_after,
    generate_together,
};

use super::Pretrained;
use crate::TrainError;

/// How texts are generated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextOptions {
    /// How their tokens are. The end of a document and the model's own ends are added.
    pub tokens: GenerateOptions,
    /// A text ends before the first of these.
    pub stop_strings: Vec<String>,
    /// Prompts of one length that are computed together, at most; at least 1.
    pub batch_size: usize,
}

/// What a text follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// The seed of the text.
    pub seed: u64,
}

/// A text that was generated.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedText {
    /// The text, without special tokens and without the string that ended it.
    pub text: String,
    /// Its tokens, those included that ended it.
    pub tokens: Vec<Chosen>,
    /// Why it ended.
    pub stop: Stop,
}

/// How long texts took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speed {
    /// Tokens of prompts that were read.
    pub prompt_tokens: usize,
    /// The time until the first token of every text.
    pub prompt_time: Duration,
    /// Tokens after the first ones.
    pub new_tokens: usize,
    /// The time that they took.
    pub new_time: Duration,
}

/// Is given pieces of texts as they become certain, with the number of their prompt; asked after every token, if
/// only with nothing, whether to continue.
pub type Output<'a> = dyn FnMut(usize, &str) -> io::Result<ControlFlow<()>> + 'a;

/// A text as it grows.
struct Growing<'a> {
    decoder: StreamDecoder<'a>,
    /// What may be the beginning of a string that ends the text.
    held: String,
    text: String,
    tokens: Vec<Chosen>,
}

impl Growing<'_> {
    /// Takes more text; returns what is certain, and whether a string ends it there.
    fn push(&mut self, more: &str, stops: &[String]) -> (String, bool) {
        self.held.push_str(more);
        if let Some(at) = stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (self.give(at), true);
        }
        let begins = |at: &usize| stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        let certain = starts.find(begins).unwrap_or(self.held.len());
        (self.give(certain), false)
    }

    fn give(&mut self, certain: usize) -> String {
        let rest = self.held.split_off(certain);
        let given = std::mem::replace(&mut self.held, rest);
        self.text.push_str(&given);
        given
    }
}

impl Pretrained {
    /// The tokens of a text to continue: with those that the tokenizer puts around every text, and for an empty text
    /// at least the one that begins a document.
    ///
    /// # Errors
    /// A text that the tokenizer cannot read.
    pub fn prompt_ids(&self, text: &str) -> Result<Vec<u32>, TrainError> {
        let tokenizer = self.tokenizer();
        let mut ids = tokenizer.encode_prompt(text)?;
        if ids.is_empty() {
            let begin = tokenizer.special_tokens().get("bos_token");
            let begin = begin.and_then(|token| tokenizer.token_id(token));
            ids.push(begin.unwrap_or(tokenizer.end_of_document()));
        }
        Ok(ids)
    }

    /// The tokens of a conversation, up to where the model answers.
    ///
    /// # Errors
    /// A model without a template for conversations; one that refuses this one or fails on it.
    pub fn chat_ids(
        &self,
        conversation: &Conversation,
        options: &RenderOptions,
    ) -> Result<Vec<u32>, TrainError> {
        let options = RenderOptions { add_generation_prompt: true, ..options.clone() };
        let template = self.tokenizer().chat_template(None, conversation)?;
        let rendered = template.render(conversation, &options)?;
        Ok(self.tokenizer().encode_chat(&rendered)?.ids)
    }

    /// A text for each prompt, in their order; prompts of one length are computed together. Each text is the same, bit
    /// for bit, whatever the others are.
    ///
    /// # Errors
    /// A prompt that cannot be, options out of range, weights that are not finite, what `out` returns.
    pub fn generate_texts(
        &self,
        prompts: &[Prompt],
        options: &TextOptions,
        out: &mut Output<'_>,
    ) -> Result<(Vec<GeneratedText>, Speed), TrainError> {
        for prompt in prompts {
            check_prompt(self.model(), &prompt.ids)?;
        }
        let tokens = self.token_options(options);
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|i| prompts[*i].ids.len());
        let mut texts: Vec<Option<GeneratedText>> = prompts.iter().map(|_| None).collect();
        let mut speed = Speed::default();
        for same in order.chunk_by(|a, b| prompts[*a].ids.len() == prompts[*b].ids.len()) {
            for batch in same.chunks(options.batch_size.max(1)) {
                let rows: Vec<(&[u32], u64)> =
                    batch.iter().map(|i| (prompts[*i].ids.as_slice(), prompts[*i].seed)).collect();
                let mut rows = generate_together(self.model(), &rows, tokens.clone())?;
                let out = &mut |row: usize, text: &str| out(batch[row], text);
                let generated = self.write(&mut rows, &options.stop_strings, out, &mut speed)?;
                for (i, text) in batch.iter().zip(generated) {
                    texts[*i] = Some(text);
                }
            }
        }
        Ok((texts.into_iter().flatten().collect(), speed))
    }

    /// The text that follows one prompt of a talk. What was read stays in `past`, so that of the next prompt, which mostly begins
    /// with this one and its answer, only the rest is read.
    ///
    /// # Errors
    /// As [`generate_texts`](Self::generate_texts).
    pub fn answer(
        &self,
        prompt: &Prompt,
        options: &TextOptions,
        past: &mut Option<Past>,
        out: &mut Output<'_>,
    ) -> Result<GeneratedText, TrainError> {
        let mut tokens = self.token_options(options);
        tokens.sampling.seed = prompt.seed;
        let mut row = generate_after(self.model(), past.take(), &prompt.ids, tokens)?;
        let texts = self.write(&mut row, &options.stop_strings, out, &mut Speed::default())?;
        *past = Some(row.into_past());
        Ok(texts.into_iter().next().expect("a text for the prompt"))
    }

    /// With the tokens that end a text.
    fn token_options(&self, options: &TextOptions) -> GenerateOptions {
        let mut tokens = options.tokens.clone();
        tokens.eos_token_id.push(self.tokenizer().end_of_document());
        tokens.eos_token_id.extend(self.eos_token_id());
        tokens
    }

    /// Writes the texts out as their tokens come, each with its row.
    fn write(
        &self,
        generations: &mut Generations<'_>,
        stops: &[String],
        out: &mut Output<'_>,
        speed: &mut Speed,
    ) -> Result<Vec<GeneratedText>, TrainError> {
        let unread = generations.unread() * generations.len();
        let new = || Growing {
            decoder: self.tokenizer().stream_decoder(),
            held: String::new(),
            text: String::new(),
            tokens: Vec::new(),
        };
        let mut texts: Vec<Growing<'_>> = (0..generations.len()).map(|_| new()).collect();
        let mut give = |row: usize, text: &str| out(row, text).map_err(TrainError::Output);
        let mut began = Instant::now();
        while let Some(step) = generations.next() {
            let step = step?;
            let said = step.iter().flatten().count();
            if speed_is_of_prompt(&texts) {
                speed.prompt_tokens += unread;
                speed.prompt_time += began.elapsed();
            } else {
                speed.new_tokens += said;
                speed.new_time += began.elapsed();
            }
            for (row, chosen) in step.into_iter().enumerate() {
                let Some(chosen) = chosen else { continue };
                let growing = &mut texts[row];
                growing.tokens.push(chosen);
                let piece = growing.decoder.push(chosen.id)?;
                let (certain, ended) = growing.push(&piece, stops);
                if ended {
                    generations.end(row, Stop::StopString);
                }
                if give(row, &certain)?.is_break() {
                    generations.end(row, Stop::Interrupted);
                }
            }
            began = Instant::now();
        }
        let finish = |(row, mut growing): (usize, Growing<'_>)| {
            let stop = generations.stopped(row).unwrap_or(Stop::MaxNewTokens);
            if stop != Stop::StopString {
                let last =
                    std::mem::replace(&mut growing.decoder, self.tokenizer().stream_decoder());
                let (mut rest, ended) = growing.push(&last.finish(), stops);
                if !ended {
                    rest += &growing.give(growing.held.len());
                }
                let _ = give(row, &rest)?;
            }
            Ok(GeneratedText { text: growing.text, tokens: growing.tokens, stop })
        };
        texts.into_iter().enumerate().map(finish).collect()
    }
}

/// Whether no text has a token yet, so that the step was over the prompts.
fn speed_is_of_prompt(texts: &[Growing<'_>]) -> bool {
    texts.iter().all(|text| text.tokens.is_empty())
}
