//! Text, token by token.

use rappel_tensor::Tensor;

use crate::{Cache, LanguageModel, Sampling, SamplingError};

/// What can go wrong with generation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the prompt has no tokens; give at least one")]
    EmptyPrompt,
    /// The prompt leaves no room for a token.
    #[error(
        "the prompt has {tokens} tokens, the model positions for {positions}; \
         shorten it to at most {positions}"
    )]
    LongPrompt {
        /// Of the prompt.
        tokens: usize,
        /// Of the model.
        positions: usize,
    },
    /// A token that the model does not have.
    #[error("token {id} of the prompt is outside the model's vocabulary of {vocab_size}")]
    UnknownToken {
        /// The token.
        id: u32,
        /// Of the model.
        vocab_size: usize,
    },
    /// An option of the sampling is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The model computed a NaN or an infinity.
    #[error(
        "the model gives {value} for token {id} after {tokens} tokens: its weights are not sound"
    )]
    NonFinite {
        /// What it computed.
        value: f64,
        /// For which token.
        id: usize,
        /// How many tokens it had read.
        tokens: usize,
    },
}

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// At most this many tokens.
    pub max_new_tokens: usize,
    /// How each is chosen.
    pub sampling: Sampling,
    /// Stop after any of these, which is still given out.
    pub eos_token_id: Vec<u32>,
}

impl Default for GenerateOptions {
    /// Greedy, up to 128 tokens.
    fn default() -> Self {
        Self { max_new_tokens: 128, sampling: Sampling::Greedy, eos_token_id: Vec::new() }
    }
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The last token is one of `eos_token_id`.
    EndOfText,
    /// There are `max_new_tokens`.
    MaxNewTokens,
    /// The model has no position left to read a further token at. Its window does not slide:
    /// learned positions would all change, and with them all that was cached.
    Positions,
}

/// Tokens that follow a prompt, each computed when it is asked for.
///
/// The tokens are a pure function of the model, the prompt and the options.
pub struct Generation<'a> {
    model: &'a dyn LanguageModel,
    options: GenerateOptions,
    cache: Cache,
    unread: Vec<u32>,
    produced: usize,
    stop: Option<Stop>,
}

/// Continues `prompt`.
///
/// # Errors
/// A prompt that is empty, too long or not of the model's vocabulary; sampling options out of range.
/// While generating, [`GenerateError::NonFinite`] ends the iteration.
///
/// ```
/// use rappel_model::{GenerateOptions, Gpt2Config, ModelConfig, Stop, generate};
/// use rappel_tensor::Params;
/// let config = Gpt2Config {
///     n_layer: 1, n_head: 2, n_embd: 8, n_positions: 16, vocab_size: 50, ..Gpt2Config::default()
/// };
/// let mut params = Params::new(1);
/// let model = config.build(&mut params);
/// let options = GenerateOptions { max_new_tokens: 5, ..GenerateOptions::default() };
/// let mut tokens = generate(&*model, &[3, 1, 4], options)?;
/// let text = tokens.by_ref().collect::<Result<Vec<u32>, _>>()?;
/// assert_eq!((text.len(), tokens.stopped()), (5, Some(Stop::MaxNewTokens)));
/// # Ok::<(), rappel_model::GenerateError>(())
/// ```
pub fn generate<'a>(
    model: &'a dyn LanguageModel,
    prompt: &[u32],
    options: GenerateOptions,
) -> Result<Generation<'a>, GenerateError> {
    options.sampling.check()?;
    let (tokens, positions) = (prompt.len(), model.config().max_positions());
    let vocab_size = model.config().vocab_size();
    if tokens == 0 {
        return Err(GenerateError::EmptyPrompt);
    }
    if tokens > positions {
        return Err(GenerateError::LongPrompt { tokens, positions });
    }
    if let Some(&id) = prompt.iter().find(|id| **id as usize >= vocab_size) {
        return Err(GenerateError::UnknownToken { id, vocab_size });
    }
    let stop = (options.max_new_tokens == 0).then_some(Stop::MaxNewTokens);
    let room = tokens.saturating_add(options.max_new_tokens).min(positions);
    let cache = model.new_cache(1, room);
    Ok(Generation { model, options, cache, unread: prompt.to_vec(), produced: 0, stop })
}

impl Generation<'_> {
    /// Why it ended; `None` while it goes on and after an error.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop
    }

    /// Reads what is unread and chooses a token.
    fn step(&mut self) -> Result<u32, GenerateError> {
        let ids: Vec<i64> = self.unread.drain(..).map(i64::from).collect();
        let ids = Tensor::from_slice(&ids, [1, ids.len()]);
        let logits = self.model.decode(&ids, &mut self.cache).to_f64_vec();
        if let Some(id) = logits.iter().position(|logit| !logit.is_finite()) {
            let (value, tokens) = (logits[id], self.cache.len());
            return Err(GenerateError::NonFinite { value, id, tokens });
        }
        Ok(self.options.sampling.choose(&logits, self.produced as u64) as u32)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<u32, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        // After an error nothing is left to read.
        if self.stop.is_some() || self.unread.is_empty() {
            return None;
        }
        let token = match self.step() {
            Ok(token) => token,
            Err(error) => return Some(Err(error)),
        };
        self.produced += 1;
        self.unread.push(token);
        self.stop = if self.options.eos_token_id.contains(&token) {
            Some(Stop::EndOfText)
        } else if self.produced == self.options.max_new_tokens {
            Some(Stop::MaxNewTokens)
        } else if self.cache.len() == self.model.config().max_positions() {
            Some(Stop::Positions)
        } else {
            None
        };
        Some(Ok(token))
    }
}
