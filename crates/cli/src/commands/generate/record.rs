//! A text as a JSON object.

use rappel_model::Stop;
use rappel_train::{GeneratedText, Pretrained, Speed};
use serde_json::{Map, Value, json};

/// A generated text and where it comes from.
pub(super) struct Record<'a> {
    /// The text that it continues, where that is one.
    pub prompt: Option<&'a str>,
    /// Which of the texts of its prompt.
    pub n: usize,
    pub text: &'a GeneratedText,
    pub prompt_tokens: usize,
}

impl Record<'_> {
    /// The text and why it ended.
    pub fn plain(&self) -> Map<String, Value> {
        let Self { prompt, n, text, prompt_tokens } = self;
        let stop = match text.stop {
            Stop::EndOfText => "eos_token",
            Stop::MaxNewTokens => "max_new_tokens",
            Stop::Positions => "max_position_embeddings",
            Stop::StopString => "stop_string",
            Stop::Interrupted => "interrupted",
        };
        let mut object = Map::new();
        object.extend(prompt.map(|prompt| ("prompt".to_owned(), prompt.into())));
        for (key, value) in [
            ("sample", json!(n)),
            ("text", json!(text.text)),
            ("stop", json!(stop)),
            ("prompt_tokens", json!(prompt_tokens)),
            ("new_tokens", json!(text.tokens.len())),
        ] {
            object.insert(key.to_owned(), value);
        }
        object
    }

    /// With its tokens, and the speed of all that was computed with it.
    pub fn with_tokens(&self, model: &Pretrained, speed: &Speed) -> Value {
        let mut object = self.plain();
        let token = |chosen: &rappel_model::Chosen| {
            let token = model.tokenizer().token(chosen.id);
            json!({"id": chosen.id, "token": token, "log_prob": chosen.log_prob})
        };
        object.insert("tokens".to_owned(), self.text.tokens.iter().map(token).collect());
        let a_second = |tokens: usize, time: std::time::Duration| {
            (tokens > 0).then(|| tokens as f64 / time.as_secs_f64().max(1e-9))
        };
        let speed = json!({
            "prompt_tokens_per_second": a_second(speed.prompt_tokens, speed.prompt_time),
            "new_tokens_per_second": a_second(speed.new_tokens, speed.new_time),
        });
        object.insert("speed".to_owned(), speed);
        Value::Object(object)
    }
}
