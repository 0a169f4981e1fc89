//! Text, token by token.

use rappel_tensor::Tensor;

use crate::sampling::Said;
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
    /// Give the log-probability of each token beside it.
    pub log_probs: bool,
}

impl Default for GenerateOptions {
    /// Greedy, up to 128 tokens.
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            sampling: Sampling::default(),
            eos_token_id: Vec::new(),
            log_probs: false,
        }
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
    /// The text has a string that ends it.
    StopString,
    /// Whoever asked for it wants no more.
    Interrupted,
}

/// A token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The token.
    pub id: u32,
    /// Its natural log-probability by the model itself, before penalties, temperature and what is cut off; 0 where
    /// it was not asked for.
    pub log_prob: f64,
}

/// Continuations of several prompts of one length, computed together a token at a time.
///
/// Each is what it would be alone, bit for bit.
#[derive(Debug)]
pub struct Generations<'a> {
    model: &'a dyn LanguageModel,
    options: GenerateOptions,
    cache: Cache,
    /// What the first row's part of the cache holds.
    read: Vec<u32>,
    /// `[batch, time]`.
    unread: Vec<u32>,
    rows: Vec<Row>,
    failed: bool,
}

/// One of the continuations.
#[derive(Debug)]
struct Row {
    sampling: Sampling,
    said: Said,
    produced: usize,
    stop: Option<Stop>,
}

/// Tokens that a model has read, with their keys and values: a prompt that begins with the same ones need not be read whole.
#[derive(Debug)]
pub struct Past {
    cache: Cache,
    ids: Vec<u32>,
}

/// Tokens that follow a prompt, each computed when it is asked for.
///
/// The tokens are a pure function of the model, the prompt and the options.
#[derive(Debug)]
pub struct Generation<'a>(Generations<'a>);

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
    let seed = options.sampling.seed;
    Ok(Generation(generate_together(model, &[(prompt, seed)], options)?))
}

/// Continues several prompts of one length, each with its own seed in place of `options.sampling.seed`.
///
/// # Errors
/// As [`generate`].
///
/// # Panics
/// Without prompts, and where their lengths differ.
#[track_caller]
pub fn generate_together<'a>(
    model: &'a dyn LanguageModel,
    prompts: &[(&[u32], u64)],
    options: GenerateOptions,
) -> Result<Generations<'a>, GenerateError> {
    options.sampling.check()?;
    let tokens = prompts.first().expect("generate: no prompts").0.len();
    let stop = (options.max_new_tokens == 0).then_some(Stop::MaxNewTokens);
    let (mut unread, mut rows) = (Vec::new(), Vec::new());
    for (prompt, seed) in prompts {
        assert!(
            prompt.len() == tokens,
            "generate: prompts of {tokens} and {} tokens",
            prompt.len()
        );
        check_prompt(model, prompt)?;
        unread.extend_from_slice(prompt);
        let sampling = Sampling { seed: *seed, ..options.sampling };
        rows.push(Row { sampling, said: Said::new(prompt), produced: 0, stop });
    }
    let room = tokens.saturating_add(options.max_new_tokens).min(model.config().max_positions());
    let cache = model.new_cache(rows.len(), room);
    Ok(Generations { model, options, cache, read: Vec::new(), unread, rows, failed: false })
}

/// Continues one prompt, of which the tokens that `past` begins with, too, are not read again. `past` is of the same model.
///
/// # Errors
/// As [`generate`].
pub fn generate_after<'a>(
    model: &'a dyn LanguageModel,
    past: Option<Past>,
    prompt: &[u32],
    options: GenerateOptions,
) -> Result<Generations<'a>, GenerateError> {
    let seed = options.sampling.seed;
    let mut generations = generate_together(model, &[(prompt, seed)], options)?;
    if let Some(Past { mut cache, mut ids }) = past {
        let shared = ids.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // The last token is read in any case: it says what follows.
        let shared = shared.min(prompt.len() - 1);
        cache.truncate(shared);
        ids.truncate(shared);
        let room = generations.cache.positions();
        if cache.positions() < room {
            // A talk grows: room for as much again, so that it is not moved at every turn.
            let room = (2 * room).min(model.config().max_positions());
            cache = cache.moved_to(model.new_cache(1, room));
        }
        generations.unread.drain(..shared);
        (generations.cache, generations.read) = (cache, ids);
    }
    Ok(generations)
}

/// Checks that a model can continue a prompt, before anything is computed.
///
/// # Errors
/// A prompt that is empty, too long or not of the model's vocabulary.
pub fn check_prompt(model: &dyn LanguageModel, prompt: &[u32]) -> Result<(), GenerateError> {
    let (tokens, positions) = (prompt.len(), model.config().max_positions());
    let vocab_size = model.config().vocab_size();
    if tokens == 0 {
        return Err(GenerateError::EmptyPrompt);
    }
    if tokens > positions {
        return Err(GenerateError::LongPrompt { tokens, positions });
    }
    match prompt.iter().find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(GenerateError::UnknownToken { id, vocab_size }),
        None => Ok(()),
    }
}

impl Generations<'_> {
    /// How many continuations there are.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Tokens of each row that are read next.
    pub fn unread(&self) -> usize {
        self.unread.len() / self.rows.len()
    }

    /// What was read, for a prompt that begins with the same; of one continuation.
    ///
    /// # Panics
    /// Of several.
    #[track_caller]
    pub fn into_past(self) -> Past {
        assert!(self.rows.len() == 1, "generate: the past of {} continuations", self.rows.len());
        Past { cache: self.cache, ids: self.read }
    }

    /// Why a continuation ended; `None` while it continues and after an error.
    pub fn stopped(&self, row: usize) -> Option<Stop> {
        self.rows[row].stop
    }

    /// Ends a continuation, whose last token was just given out, for this reason.
    pub fn end(&mut self, row: usize, why: Stop) {
        self.rows[row].stop = Some(why);
    }

    /// The next token of each continuation that has not ended; `None` when all have.
    ///
    /// # Errors
    /// [`GenerateError::NonFinite`], after which all have ended.
    #[expect(clippy::should_implement_trait, reason = "an iterator of rows would hide the batch")]
    pub fn next(&mut self) -> Option<Result<Vec<Option<Chosen>>, GenerateError>> {
        if self.failed || self.rows.iter().all(|row| row.stop.is_some()) {
            return None;
        }
        let chosen = self.step();
        self.failed = chosen.is_err();
        Some(chosen)
    }

    /// Reads what is unread and chooses a token for each row.
    fn step(&mut self) -> Result<Vec<Option<Chosen>>, GenerateError> {
        let batch = self.rows.len();
        self.read.extend(&self.unread[..self.unread()]);
        let ids: Vec<i64> = self.unread.drain(..).map(i64::from).collect();
        let ids = Tensor::from_slice(&ids, [batch, ids.len() / batch]);
        let mut logits = self.model.decode(&ids, &mut self.cache).to_f64_vec();
        let vocab_size = logits.len() / batch;
        let mut chosen = Vec::with_capacity(batch);
        for (row, logits) in self.rows.iter_mut().zip(logits.chunks_exact_mut(vocab_size)) {
            if row.stop.is_some() {
                // The rows after an end are computed with the others and read by nobody.
                self.unread.push(0);
                chosen.push(None);
                continue;
            }
            if let Some(id) = logits.iter().position(|logit| !logit.is_finite()) {
                let (value, tokens) = (logits[id], self.cache.len());
                return Err(GenerateError::NonFinite { value, id, tokens });
            }
            let normalizer = if self.options.log_probs { log_sum_exp(logits) } else { 0.0 };
            // Penalties change the logits.
            let own = if self.options.log_probs { logits.to_vec() } else { Vec::new() };
            let id = row.sampling.choose(logits, &row.said, row.produced as u64);
            let log_prob = own.get(id).map_or(0.0, |logit| logit - normalizer);
            let id = id as u32;
            row.said.push(id);
            row.produced += 1;
            self.unread.push(id);
            chosen.push(Some(Chosen { id, log_prob }));
            row.stop = if self.options.eos_token_id.contains(&id) {
                Some(Stop::EndOfText)
            } else if row.produced == self.options.max_new_tokens {
                Some(Stop::MaxNewTokens)
            } else if self.cache.len() == self.model.config().max_positions() {
                Some(Stop::Positions)
            } else {
                None
            };
        }
        Ok(chosen)
    }
}

/// `ln(sum of exp(x))`.
fn log_sum_exp(x: &[f64]) -> f64 {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

impl Generation<'_> {
    /// Why it ended; `None` while it continues and after an error.
    pub fn stopped(&self) -> Option<Stop> {
        self.0.stopped(0)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<u32, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chosen = self.0.next()?;
        chosen.map(|rows| rows[0].map(|chosen| chosen.id)).transpose()
    }
}
