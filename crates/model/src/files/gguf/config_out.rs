//! The metadata of a GGUF file that says what a config.json does.

use serde_json::{Map, Value};

use super::config::{ARCHITECTURE, Llama3, ROPE_FREQS, ROPE_LONG, ROPE_SHORT};
use super::{MetaValue, Metadata};
use crate::GgufDialect;

/// Tensors that are not parameters, and their numbers.
pub(super) type Factors = Vec<(&'static str, Vec<f32>)>;

/// What a file says of a model with this config.json, and the tensors that say something of its positions.
///
/// # Errors
/// Options that GGUF files have no way to say.
pub(super) fn metadata(
    dialect: &GgufDialect,
    config: &Map<String, Value>,
) -> Result<(Metadata, Factors), String> {
    let mut metadata = Metadata::default();
    metadata.set(ARCHITECTURE, MetaValue::Text(dialect.name.to_owned()));
    metadata.set("general.type", MetaValue::Text("model".to_owned()));
    let mut set = |key: &str, value: MetaValue| {
        metadata.set(format!("{}.{key}", dialect.name), value);
    };
    for (key, option) in dialect.keys.iter().copied().flatten() {
        if let Some(value) = config.get(*option).and_then(number) {
            set(key, value);
        }
    }
    for (option, wanted) in dialect.fixed {
        let given = config.get(*option).and_then(Value::as_bool).unwrap_or_default();
        if given != *wanted {
            return Err(format!("readers of GGUF files compute with `{option}` = {wanted}"));
        }
    }
    let size = |option: &str| config.get(option).and_then(Value::as_u64);
    if let Some(vocabulary) = size("vocab_size") {
        set("vocab_size", MetaValue::Int(vocabulary as i64));
    }
    if let (Some(width), Some(Value::Null) | None) = (size("n_embd"), config.get("n_inner")) {
        set("feed_forward_length", MetaValue::Int(4 * width as i64));
    }
    let Some(dim) = size("head_dim") else { return Ok((metadata, Vec::new())) };
    set("attention.key_length", MetaValue::Int(dim as i64));
    set("attention.value_length", MetaValue::Int(dim as i64));
    let partial = config.get("partial_rotary_factor").and_then(Value::as_f64).unwrap_or(1.0);
    let turned = (dim as f64 * partial) as i64;
    set("rope.dimension_count", MetaValue::Int(turned));
    if let Some(scalar) = size("query_pre_attn_scalar").filter(|scalar| *scalar != dim) {
        set("attention.scale", MetaValue::Float((scalar as f64).sqrt().recip()));
    }
    if let Some(pattern) = size("sliding_window_pattern")
        && config.get("layer_types").is_none_or(Value::is_null)
        && Some(pattern as usize) != dialect.window_period
    {
        set("attention.sliding_window_pattern", MetaValue::Int(pattern as i64));
    }
    let has_window = dialect.keys.iter().copied().flatten().any(|key| key.1 == "sliding_window");
    if let Some(slides) = layer_types(config, dialect.window_period).filter(|_| has_window) {
        set("attention.sliding_window_pattern", MetaValue::Bools(slides));
    }
    let factors = positions(dialect, config, turned as usize, &mut set)?;
    Ok((metadata, factors))
}

fn number(value: &Value) -> Option<MetaValue> {
    if let Some(value) = value.as_i64() {
        return Some(MetaValue::Int(value));
    }
    value.as_f64().map(MetaValue::Float)
}

/// Which layers have a window, where that is not what readers take for granted.
pub(super) fn layer_types(config: &Map<String, Value>, period: Option<usize>) -> Option<Vec<bool>> {
    let types = config.get("layer_types")?.as_array()?;
    let slides: Vec<bool> = types.iter().map(|kind| kind == "sliding_attention").collect();
    let known = |i: usize| period.is_some_and(|period| !(i + 1).is_multiple_of(period));
    let is_known = slides.iter().enumerate().all(|(i, slides)| *slides == known(i));
    (!is_known).then_some(slides)
}

/// How positions are stretched.
fn positions(
    dialect: &GgufDialect,
    config: &Map<String, Value>,
    dim: usize,
    set: &mut dyn FnMut(&str, MetaValue),
) -> Result<Factors, String> {
    let Some(table) = config.get("rope_scaling").and_then(Value::as_object) else {
        return Ok(Vec::new());
    };
    let given = |key: &str| table.get(key).and_then(Value::as_f64);
    let needed = |key: &str| given(key).ok_or_else(|| format!("`rope_scaling.{key}` is missing"));
    let longest = config.get("max_position_embeddings").and_then(Value::as_f64).unwrap_or(0.0);
    let original = config.get("original_max_position_embeddings").and_then(Value::as_f64);
    let original = given("original_max_position_embeddings").or(original).unwrap_or(longest);
    let kind = table.get("rope_type").and_then(Value::as_str).unwrap_or_default();
    let text = |kind: &str| MetaValue::Text(kind.to_owned());
    match kind {
        "linear" => {
            set("rope.scaling.type", text("linear"));
            set("rope.scaling.factor", MetaValue::Float(needed("factor")?));
        }
        "yarn" => {
            if let Some(key) = ["mscale", "mscale_all_dim", "truncate"].iter().find(|key| {
                table.get(**key).is_some_and(|value| !value.is_null() && *value != true)
            }) {
                return Err(format!("GGUF files have no way to say `rope_scaling.{key}`"));
            }
            let factor = given("factor").unwrap_or(longest / original);
            set("rope.scaling.type", text("yarn"));
            set("rope.scaling.factor", MetaValue::Float(factor));
            set("rope.scaling.original_context_length", MetaValue::Int(original as i64));
            for key in ["beta_fast", "beta_slow"] {
                if let Some(value) = given(key) {
                    set(&format!("rope.scaling.yarn_{key}"), MetaValue::Float(value));
                }
            }
            if let Some(attention) = given("attention_factor") {
                let share = attention / (1.0 + 0.1 * factor.ln());
                set("rope.scaling.attn_factor", MetaValue::Float(share));
            }
        }
        "llama3" => {
            let llama3 = Llama3 {
                factor: needed("factor")?,
                low: needed("low_freq_factor")?,
                high: needed("high_freq_factor")?,
                original,
            };
            let theta = config.get("rope_theta").and_then(Value::as_f64).unwrap_or(10_000.0);
            let divisors = llama3.divisors(theta, dim).into_iter().map(|x| x as f32).collect();
            return Ok(vec![(ROPE_FREQS, divisors)]);
        }
        "longrope" => {
            let list = |key: &str| -> Option<Vec<f32>> {
                let list = table.get(key)?.as_array()?;
                list.iter().map(|number| Some(number.as_f64()? as f32)).collect()
            };
            let missing = || "`rope_scaling` needs `short_factor` and `long_factor`".to_owned();
            let (short, long) =
                list("short_factor").zip(list("long_factor")).ok_or_else(missing)?;
            let attention = given("attention_factor");
            if dialect.name != GgufDialect::PHI3.name {
                if short == long && attention == Some(1.0) {
                    return Ok(vec![(ROPE_FREQS, short)]);
                }
                let name = dialect.name;
                return Err(format!(
                    "GGUF files of `{name}` have no way to say rope_type `longrope`"
                ));
            }
            let ratio = (given("factor").unwrap_or(longest / original)).max(1.0);
            let by_default = (1.0 + ratio.ln() / original.ln()).sqrt();
            set("rope.scaling.original_context_length", MetaValue::Int(original as i64));
            set("rope.scaling.attn_factor", MetaValue::Float(attention.unwrap_or(by_default)));
            return Ok(vec![(ROPE_SHORT, short), (ROPE_LONG, long)]);
        }
        other => {
            return Err(format!("GGUF files have no way to say rope_type `{other}`"));
        }
    }
    Ok(Vec::new())
}
