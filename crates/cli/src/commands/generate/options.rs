//! How tokens are chosen: the options of the command line over those of the model.

use rappel_model::{GenerateOptions, Sampling};
use rappel_train::{GenerationConfig, Pretrained, TextOptions};

use crate::output::say;

/// Tokens of a text where neither the command line nor the model says.
const MAX_NEW_TOKENS: usize = 128;

#[derive(Debug, clap::Args)]
pub(super) struct SamplingArgs {
    /// How many tokens to generate at most. Default: as the model's generation_config.json says, or 128
    #[arg(long, alias = "max-tokens", value_name = "N")]
    max_new_tokens: Option<usize>,
    /// Take the most likely token each time
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p", "seed"])]
    greedy: bool,
    /// Divides the logits: below 1 sharpens, above 1 flattens, 0 takes the most likely token each time
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Draw among the K likeliest tokens
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw among the fewest likeliest tokens whose probabilities reach P
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Draw among tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Divides the positive logits of tokens that the prompt or the text has, and multiplies the negative ones
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f64>,
    /// Taken from the logits of tokens that the text has
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,
    /// Taken from the logits of tokens for each time that the text has them
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,
    /// End a text before this one comes; may be given several times
    #[arg(long = "stop-strings", alias = "stop", value_name = "TEXT")]
    stop_strings: Vec<String>,
    /// Chooses the draws: the same seed gives the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl SamplingArgs {
    /// Checks the options that were given, before a model is read.
    pub fn check(&self) -> anyhow::Result<()> {
        self.over(Sampling::default()).check()?;
        if self.stop_strings.iter().any(String::is_empty) {
            anyhow::bail!("--stop-strings: an empty text ends every text; give one that is not");
        }
        Ok(())
    }

    /// The options for a model.
    pub fn resolve(
        &self,
        model: &Pretrained,
        log_probs: bool,
        batch_size: usize,
    ) -> anyhow::Result<TextOptions> {
        let config = model.generation_config();
        let not_followed = config.map(GenerationConfig::not_followed).unwrap_or_default();
        if !not_followed.is_empty() {
            let keys = not_followed.join(", ");
            say(format_args!(
                "note: generation_config.json has keys that are not followed: {keys}"
            ));
        }
        let sampling = config.map_or_else(|| Sampling::random(0), GenerationConfig::sampling);
        let sampling = self.over(sampling);
        sampling.check()?;
        let mut stop_strings = config.map(GenerationConfig::stop_strings).unwrap_or_default();
        stop_strings.extend(self.stop_strings.iter().cloned());
        let of_model = config.and_then(GenerationConfig::max_new_tokens);
        let max_new_tokens = self.max_new_tokens.or(of_model).unwrap_or(MAX_NEW_TOKENS);
        let tokens =
            GenerateOptions { max_new_tokens, sampling, log_probs, eos_token_id: Vec::new() };
        Ok(TextOptions { tokens, stop_strings, batch_size })
    }

    /// The options that were given in place of those of `sampling`. One that only matters where tokens are drawn has
    /// them drawn.
    fn over(&self, sampling: Sampling) -> Sampling {
        let draws = [self.top_p, self.min_p].iter().any(Option::is_some)
            || self.top_k.is_some()
            || self.temperature.is_some();
        // No randomness is left at temperature 0, as everywhere.
        let greedy = self.greedy || self.temperature == Some(0.0);
        Sampling {
            do_sample: !greedy && (draws || sampling.do_sample),
            temperature: self.temperature.filter(|_| !greedy).unwrap_or(sampling.temperature),
            top_k: self.top_k.or(sampling.top_k),
            top_p: self.top_p.or(sampling.top_p),
            min_p: self.min_p.or(sampling.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(sampling.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(sampling.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(sampling.frequency_penalty),
            seed: self.seed,
        }
    }
}
