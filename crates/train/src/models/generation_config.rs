//! generation_config.json: how a model's makers would have its text generated.

use std::path::Path;

use rappel_model::Sampling;
use serde_json::{Map, Value};

use crate::TrainError;

const FILE: &str = "generation_config.json";

/// What transformers takes for `top_k` where a config that samples does not say.
const TOP_K: u64 = 50;

/// Keys that change what is generated and are not known here, with the value that switches each off.
const OTHERS: &[(&str, f64)] = &[
    ("bad_words_ids", 0.0),
    ("begin_suppress_tokens", 0.0),
    ("constraints", 0.0),
    ("diversity_penalty", 0.0),
    ("dola_layers", 0.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("exponential_decay_length_penalty", 0.0),
    ("force_words_ids", 0.0),
    ("forced_bos_token_id", 0.0),
    ("forced_eos_token_id", 0.0),
    ("guidance_scale", 1.0),
    ("min_length", 0.0),
    ("min_new_tokens", 0.0),
    ("no_repeat_ngram_size", 0.0),
    ("num_beams", 1.0),
    ("penalty_alpha", 0.0),
    ("sequence_bias", 0.0),
    ("suppress_tokens", 0.0),
    ("top_h", 0.0),
    ("typical_p", 1.0),
    ("watermarking_config", 0.0),
];

/// A generation_config.json.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    json: Map<String, Value>,
}

impl GenerationConfig {
    /// Reads that of a folder, if there is one.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let read = serde_json::from_str(&text).map_err(|error| error.to_string());
        let config = read.and_then(|json| {
            let config = Self { json };
            config.check().map(|()| config)
        });
        config.map(Some).map_err(|reason| TrainError::GenerationConfig { path, reason })
    }

    /// How tokens are chosen.
    pub fn sampling(&self) -> Sampling {
        let number =
            |key: &str, default: f64| self.json.get(key).and_then(Value::as_f64).unwrap_or(default);
        let share = |key: &str| self.json.get(key).and_then(Value::as_f64);
        let do_sample = self.json.get("do_sample").and_then(Value::as_bool).unwrap_or(false);
        let top_k = self.json.get("top_k").and_then(Value::as_u64).unwrap_or(TOP_K);
        let temperature = number("temperature", 1.0);
        Sampling {
            do_sample: do_sample && temperature > 0.0,
            temperature: if temperature > 0.0 { temperature } else { 1.0 },
            top_k: (top_k > 0).then_some(top_k as usize),
            top_p: share("top_p"),
            min_p: share("min_p"),
            repetition_penalty: number("repetition_penalty", 1.0),
            presence_penalty: number("presence_penalty", 0.0),
            frequency_penalty: number("frequency_penalty", 0.0),
            seed: 0,
        }
    }

    /// The most tokens of a text, where it says so.
    pub fn max_new_tokens(&self) -> Option<usize> {
        self.json.get("max_new_tokens").and_then(Value::as_u64).map(|most| most as usize)
    }

    /// The tokens that end a text.
    pub fn eos_token_id(&self) -> Vec<u32> {
        let ids = match self.json.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.as_slice(),
            Some(id) => std::slice::from_ref(id),
            None => &[],
        };
        ids.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
    }

    /// Strings that end a text.
    pub fn stop_strings(&self) -> Vec<String> {
        let strings = match self.json.get("stop_strings") {
            Some(Value::Array(strings)) => strings.as_slice(),
            Some(string) => std::slice::from_ref(string),
            None => &[],
        };
        strings.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Its keys that would change what is generated, but are not followed.
    pub fn not_followed(&self) -> Vec<&'static str> {
        let is_on = |(key, off): &&(&'static str, f64)| match self.json.get(*key) {
            None | Some(Value::Null) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(value) => value.as_f64() != Some(*off),
        };
        OTHERS.iter().filter(is_on).map(|(key, _)| *key).collect()
    }

    /// Numbers are numbers, and in their ranges.
    fn check(&self) -> Result<(), String> {
        let wrong = |key: &str, wanted: &str| {
            let value = &self.json[key];
            Err(format!("`{key}` is {value}; it must be {wanted}"))
        };
        let given = |key: &str| self.json.get(key).filter(|value| !value.is_null());
        for key in [
            "temperature",
            "top_p",
            "min_p",
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
        ] {
            if given(key).is_some_and(|value| !value.is_number()) {
                return wrong(key, "a number");
            }
        }
        for key in ["top_k", "max_new_tokens"] {
            if given(key).is_some_and(|value| value.as_u64().is_none()) {
                return wrong(key, "a whole number of at least 0");
            }
        }
        if given("do_sample").is_some_and(|value| !value.is_boolean()) {
            return wrong("do_sample", "true or false");
        }
        self.sampling().check().map_err(|error| error.to_string())
    }
}
