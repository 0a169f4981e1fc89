//! adapter_config.json.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::lora::{InitLora, LoraOptions};
use super::{Adapter, CONFIG, TaskType};
use crate::TrainError;

/// What an adapter_config.json may switch on that changes the model and is not known here.
const OTHERS: [&str; 12] = [
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
    "megatron_config",
];

impl Adapter {
    /// The adapter_config.json, in which peft reads all that it needs.
    pub fn to_json(&self, targets: &[String], fan_in_fan_out: bool) -> Value {
        let options = self.saved_options();
        let LoraOptions {
            r,
            lora_alpha,
            lora_dropout,
            use_rslora,
            use_dora,
            modules_to_save,
            layers_to_transform,
            ..
        } = &options;
        let saved = (!modules_to_save.is_empty()).then_some(modules_to_save);
        json!({
            "peft_type": "LORA",
            "task_type": match self.task_type {
                TaskType::CausalLm => "CAUSAL_LM",
                TaskType::SeqCls => "SEQ_CLS",
            },
            "base_model_name_or_path": self.base,
            "revision": null,
            "inference_mode": true,
            "r": r,
            "lora_alpha": number(*lora_alpha),
            "lora_dropout": lora_dropout,
            "target_modules": targets,
            "use_rslora": use_rslora,
            "use_dora": use_dora,
            "bias": "none",
            "fan_in_fan_out": fan_in_fan_out,
            "init_lora_weights": match options.init_lora_weights {
                InitLora::Gaussian => json!("gaussian"),
                _ => json!(true),
            },
            "modules_to_save": saved,
            "rank_pattern": options.rank_pattern,
            "alpha_pattern": options.alpha_pattern,
            "layers_to_transform": layers_to_transform,
            "layers_pattern": null,
        })
    }

    /// The options of what is saved: where weights lost what the adapter began as, that is subtracted by as many further
    /// ranks, as peft converts such adapters.
    fn saved_options(&self) -> LoraOptions {
        let options = self.options.clone();
        if self.initial.is_empty() {
            return options;
        }
        let wider = if options.use_rslora { 2.0_f64.sqrt() } else { 2.0 };
        let times = |pattern: toml::Table, factor: f64, whole: bool| {
            let value = |value: toml::Value| {
                let number = value.as_float().or_else(|| Some(value.as_integer()? as f64));
                let number = factor * number.unwrap_or_default();
                if whole { toml::Value::from(number as i64) } else { toml::Value::from(number) }
            };
            pattern.into_iter().map(|(name, given)| (name, value(given))).collect()
        };
        // Where only ranks or only alphas have patterns, the others follow from the whole.
        LoraOptions {
            r: 2 * options.r,
            lora_alpha: wider * options.lora_alpha,
            rank_pattern: times(options.rank_pattern, 2.0, true),
            alpha_pattern: times(options.alpha_pattern, wider, false),
            ..options
        }
    }

    /// Reads the adapter_config.json of a folder. Which layers are adapted is the tensors' to say.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(CONFIG);
        let wrong = |reason: String| TrainError::File { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        let json: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("not a JSON object: {error}")))?;
        let of = |key: &str| json.get(key).unwrap_or(&Value::Null);
        if of("peft_type") != "LORA" {
            return Err(wrong(format!("peft_type is {}; expected \"LORA\"", of("peft_type"))));
        }
        let is_off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        if let Some(key) = OTHERS.iter().find(|key| !is_off(of(key))) {
            return Err(wrong(format!("`{key}` = {} is not known", of(key))));
        }
        if !matches!(of("bias"), Value::Null) && of("bias") != "none" {
            return Err(wrong(format!(
                "bias = {}: adapters with biases are not known",
                of("bias")
            )));
        }
        let positive = |key: &str, default: f64| match of(key) {
            Value::Null => Ok(default),
            value => value.as_f64().filter(|x| x.is_finite() && *x >= 0.0).ok_or_else(|| {
                wrong(format!("`{key}` = {value}: expected a number of at least 0"))
            }),
        };
        let table = |key: &str| match of(key) {
            Value::Null => Ok(toml::Table::new()),
            value => toml::Table::try_from(value)
                .map_err(|error| wrong(format!("`{key}` is not a table of numbers: {error}"))),
        };
        let names = |key: &str| -> Result<Vec<String>, TrainError> {
            match of(key) {
                Value::Null => Ok(Vec::new()),
                value => serde_json::from_value(value.clone())
                    .map_err(|_| wrong(format!("`{key}` is not a list of names"))),
            }
        };
        let default = LoraOptions::default();
        let options = LoraOptions {
            r: positive("r", default.r as f64)? as usize,
            lora_alpha: positive("lora_alpha", default.lora_alpha)?,
            lora_dropout: positive("lora_dropout", 0.0)?.min(0.999),
            use_rslora: of("use_rslora") == true,
            use_dora: of("use_dora") == true,
            modules_to_save: names("modules_to_save")?,
            rank_pattern: table("rank_pattern")?,
            alpha_pattern: table("alpha_pattern")?,
            ..default
        };
        let base = of("base_model_name_or_path").as_str().unwrap_or_default().into();
        let scores = of("task_type") == "SEQ_CLS";
        let task_type = if scores { TaskType::SeqCls } else { TaskType::CausalLm };
        Ok(Self { options, base, task_type, initial: Vec::new() })
    }
}

/// A whole number as peft writes it.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}
