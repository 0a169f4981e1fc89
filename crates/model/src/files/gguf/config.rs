//! The config.json of a GGUF file's model, from its metadata.

use rappel_config::Entry;
use serde_json::{Map, Value, json};

use rappel_tensor::Shape;

use super::{GgufFile, MetaValue, Metadata};
use crate::{ARCHITECTURES, Architecture};

type Described = Entry<Architecture>;

/// The key that names the architecture.
pub(super) const ARCHITECTURE: &str = "general.architecture";
/// Divisors of the frequencies of positions, for each pair of channels.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";
pub(super) const ROPE_LONG: &str = "rope_factors_long.weight";
pub(super) const ROPE_SHORT: &str = "rope_factors_short.weight";
/// Tensors that say something of positions, and are not parameters.
const OF_POSITIONS: [&str; 3] = [ROPE_FREQS, ROPE_LONG, ROPE_SHORT];

/// Whether a tensor is not a parameter.
pub(in crate::files) fn is_of_positions(name: &str) -> bool {
    OF_POSITIONS.contains(&name) || name.ends_with(".rope_freqs.weight")
}

/// What of a file says something of its model's config.
pub(super) struct Header<'a> {
    pub metadata: &'a Metadata,
    /// The shape of a tensor, if there is one of that name.
    pub shape: &'a dyn Fn(&str) -> Option<Shape>,
    /// The numbers of a tensor, if there is one of that name.
    pub numbers: &'a dyn Fn(&str) -> Option<Vec<f32>>,
}

/// What config.json would say of the file's model, and its architecture.
pub(in crate::files) fn describe(
    file: &GgufFile,
) -> Result<(Map<String, Value>, &'static Described), String> {
    let shape = |name: &str| Some(file.tensors().get(name)?.shape);
    let numbers = |name: &str| {
        let mut numbers = vec![0.0_f32; shape(name)?.count()];
        file.read_into(name, &mut numbers);
        Some(numbers)
    };
    Header { metadata: file.metadata(), shape: &shape, numbers: &numbers }.describe()
}

impl Header<'_> {
    pub(super) fn describe(&self) -> Result<(Map<String, Value>, &'static Described), String> {
        let entry = architecture(self.metadata)?;
        let dialect = &entry.build.gguf;
        let keys = Keys { metadata: self.metadata, name: dialect.name };
        let mut json = Map::new();
        for (key, option) in dialect.keys.iter().copied().flatten() {
            if let Some(value) = keys.number(key)? {
                json.insert((*option).to_owned(), value);
            }
        }
        for (option, value) in dialect.fixed {
            json.insert((*option).to_owned(), (*value).into());
        }
        let has = |tensor: &str| (self.shape)(tensor).is_some();
        let embedding = (self.shape)("token_embd.weight");
        let Some(tokens) = embedding.and_then(|shape| shape.first().copied()) else {
            return Err("has no tensor `token_embd.weight`".to_owned());
        };
        json.insert("vocab_size".to_owned(), tokens.into());
        json.insert("model_type".to_owned(), entry.name.into());
        json.insert("tie_word_embeddings".to_owned(), (!has("output.weight")).into());
        let declares = |option: &str| entry.fields.iter().any(|field| field.is_named(option));
        for (option, tensor) in
            [("attention_bias", "blk.0.attn_q.bias"), ("mlp_bias", "blk.0.ffn_gate.bias")]
        {
            if declares(option) {
                json.insert(option.to_owned(), has(tensor).into());
            }
        }
        if declares("head_dim") {
            attention(&keys, &mut json, &declares)?;
            self.positions(&keys, &mut json)?;
        }
        ids(self.metadata, &mut json);
        Ok((json, entry))
    }
}

/// The architecture that the file names, of those that share the name the one with the most marks.
fn architecture(metadata: &Metadata) -> Result<&'static Described, String> {
    let Some(name) = metadata.text(ARCHITECTURE) else {
        return Err(format!("does not say its architecture: the key `{ARCHITECTURE}` is missing"));
    };
    let has = |mark: &&str| metadata.int(&format!("{name}.{mark}")).is_some_and(|count| count > 0);
    let fits = |entry: &&&Described| {
        let dialect = &entry.build.gguf;
        dialect.name == name && dialect.marks.iter().all(&has)
    };
    let entries = ARCHITECTURES.entries.iter().collect::<Vec<_>>();
    entries
        .iter()
        .filter(fits)
        .max_by_key(|entry| entry.build.gguf.marks.len())
        .copied()
        .ok_or_else(|| {
            let mut known: Vec<&str> =
                ARCHITECTURES.entries.iter().map(|entry| entry.build.gguf.name).collect();
            known.dedup();
            format!(
                "holds a model of the architecture `{name}`, which is not supported (known: {})",
                known.join(", ")
            )
        })
}

/// The keys of an architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    name: &'a str,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&MetaValue> {
        self.metadata.get(&format!("{}.{key}", self.name))
    }

    /// A number as JSON; a list whose numbers are all the same is that number.
    fn number(&self, key: &str) -> Result<Option<Value>, String> {
        Ok(Some(match self.get(key) {
            None => return Ok(None),
            Some(MetaValue::Int(value)) => (*value).into(),
            Some(MetaValue::Float(value)) => decimal(*value).into(),
            Some(MetaValue::Ints(values)) if values.windows(2).all(|two| two[0] == two[1]) => {
                values.first().copied().unwrap_or_default().into()
            }
            Some(_) => {
                let name = self.name;
                return Err(format!(
                    "the key `{name}.{key}` is not a number that is the same for all layers, which is not \
                     supported"
                ));
            }
        }))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, String> {
        Ok(self.number(key)?.and_then(|value| value.as_f64()))
    }

    fn size(&self, key: &str) -> Result<Option<u64>, String> {
        Ok(self.number(key)?.and_then(|value| value.as_u64()))
    }
}

/// The number that was meant by one of single precision: the shortest that is rounded to it.
fn decimal(value: f64) -> f64 {
    let single = value as f32;
    if f64::from(single) == value { single.to_string().parse().unwrap_or(value) } else { value }
}

/// Channels of a head, the factor on scores, windows.
fn attention(
    keys: &Keys<'_>,
    json: &mut Map<String, Value>,
    declares: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    let given = |key: &str| json.get(key).and_then(Value::as_u64).filter(|size| *size > 0);
    let whole = given("hidden_size").zip(given("num_attention_heads"));
    let dim = keys.size("attention.key_length")?;
    let turned = keys.size("rope.dimension_count")?;
    // Only where positions may be in a share of the channels do they not say how many there are.
    let by_turned = turned.filter(|_| !declares("partial_rotary_factor"));
    let dim = dim.or(by_turned).or(whole.map(|(width, heads)| width / heads));
    if let Some(dim) = dim {
        json.insert("head_dim".to_owned(), dim.into());
        if let Some(turned) = turned.filter(|_| declares("partial_rotary_factor") && dim > 0) {
            json.insert("partial_rotary_factor".to_owned(), (turned as f64 / dim as f64).into());
        }
        if declares("query_pre_attn_scalar") {
            let scale = keys.float("attention.scale")?.filter(|scale| *scale > 0.0);
            let by_scale = scale.map(|scale| (1.0 / (scale * scale)).round() as u64);
            json.insert("query_pre_attn_scalar".to_owned(), by_scale.unwrap_or(dim).into());
        }
    }
    match keys.get("attention.sliding_window_pattern") {
        Some(MetaValue::Int(pattern)) if declares("sliding_window_pattern") => {
            json.insert("sliding_window_pattern".to_owned(), (*pattern).into());
        }
        Some(MetaValue::Bools(slides)) if declares("layer_types") => {
            let kind = |slides: &bool| if *slides { "sliding_attention" } else { "full_attention" };
            json.insert("layer_types".to_owned(), slides.iter().map(kind).collect());
        }
        _ => {}
    }
    Ok(())
}

impl Header<'_> {
    /// The numbers of a tensor that divide frequencies.
    fn divisors(&self, name: &str) -> Option<Vec<f64>> {
        let numbers = (self.numbers)(name)?;
        Some(numbers.into_iter().map(|number| decimal(f64::from(number))).collect())
    }

    /// How positions are stretched.
    fn positions(&self, keys: &Keys<'_>, json: &mut Map<String, Value>) -> Result<(), String> {
        let kind = keys.get("rope.scaling.type");
        let kind = match kind {
            None => "none",
            Some(MetaValue::Text(kind)) => kind.as_str(),
            Some(_) => {
                return Err(format!("the key `{}.rope.scaling.type` is not text", keys.name));
            }
        };
        let factor = keys.float("rope.scaling.factor")?.filter(|factor| *factor > 0.0);
        let factor = factor.or(keys.float("rope.scale_linear")?).unwrap_or(1.0);
        let original = keys.size("rope.scaling.original_context_length")?;
        let attention = keys.float("rope.scaling.attn_factor")?;
        let longest = json.get("max_position_embeddings").cloned().unwrap_or_default();
        let scaling = if let Some(divisors) = self.divisors(ROPE_FREQS) {
            llama3(&divisors, json).unwrap_or_else(|| {
                json!({
                    "rope_type": "longrope", "short_factor": divisors, "long_factor": divisors,
                    "original_max_position_embeddings": longest, "attention_factor": 1.0,
                })
            })
        } else if let Some((short, long)) = self.divisors(ROPE_SHORT).zip(self.divisors(ROPE_LONG))
        {
            let mut table = json!({
                "rope_type": "longrope", "short_factor": short, "long_factor": long,
            });
            if let Some(attention) = attention {
                table["attention_factor"] = attention.into();
            }
            table
        } else {
            match kind {
                "none" | "longrope" => return Ok(()),
                "linear" if factor == 1.0 => return Ok(()),
                "linear" => json!({ "rope_type": "linear", "factor": factor }),
                "yarn" => {
                    let mut table = json!({ "rope_type": "yarn", "factor": factor });
                    if let Some(original) = original {
                        table["original_max_position_embeddings"] = original.into();
                    }
                    for (key, option) in
                        [("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")]
                    {
                        if let Some(value) = keys.float(&format!("rope.scaling.{key}"))? {
                            table[option] = value.into();
                        }
                    }
                    if let Some(factor_of_scores) = attention.filter(|given| *given != 1.0) {
                        table["attention_factor"] =
                            (factor_of_scores * (1.0 + 0.1 * factor.ln())).into();
                    }
                    table
                }
                other => {
                    return Err(format!(
                        "stretches positions by `{other}`, which is not supported (known: none, linear, yarn, \
                     longrope)"
                    ));
                }
            }
        };
        json.insert("rope_scaling".to_owned(), scaling);
        Ok(())
    }
}

/// The options of Llama 3's way to stretch positions, where they give these divisors: files keep the divisors alone.
fn llama3(divisors: &[f64], json: &Map<String, Value>) -> Option<Value> {
    let theta = json.get("rope_theta")?.as_f64()?;
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    // The only ones that released models have.
    let (low, high, original) = (1.0, 4.0, 8192.0);
    let table = Llama3 { factor, low, high, original };
    let found = table.divisors(theta, 2 * divisors.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * b.abs();
    found.iter().zip(divisors).all(near).then(|| {
        json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original as u64,
        })
    })
}

/// Llama 3's way to stretch positions.
pub(super) struct Llama3 {
    pub factor: f64,
    pub low: f64,
    pub high: f64,
    pub original: f64,
}

impl Llama3 {
    /// What the frequency of each pair of `dim` channels is divided by.
    pub fn divisors(&self, theta: f64, dim: usize) -> Vec<f64> {
        let divisor = |pair: usize| {
            let frequency = theta.powf(-2.0 * pair as f64 / dim as f64);
            let turns = self.original * frequency / std::f64::consts::TAU;
            if turns > self.high {
                1.0
            } else if turns < self.low {
                self.factor
            } else {
                let share = (turns - self.low) / (self.high - self.low);
                1.0 / ((1.0 - share) / self.factor + share)
            }
        };
        (0..dim / 2).map(divisor).collect()
    }
}

/// The tokens that begin and end texts, and that fill them up.
fn ids(metadata: &Metadata, json: &mut Map<String, Value>) {
    let id = |key: &str| metadata.int(&format!("tokenizer.ggml.{key}_token_id"));
    let mut ends: Vec<i64> = ["eos", "eot"].into_iter().filter_map(id).collect();
    ends.dedup();
    let ends = match ends[..] {
        [] => Value::Null,
        [one] => one.into(),
        _ => ends.into(),
    };
    let one = |key: &str| id(key).map_or(Value::Null, Value::from);
    for (key, value) in
        [("eos_token_id", ends), ("bos_token_id", one("bos")), ("pad_token_id", one("padding"))]
    {
        json.insert(key.to_owned(), value);
    }
}
