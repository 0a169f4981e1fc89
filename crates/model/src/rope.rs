//! Rotary positions: their options in both dialects of Hugging Face's configs, and the angles of a model's layers.

use rappel_config::{InvalidOption, OptionSet, Options, Range, Words};
use rappel_nn::{Rope, RopeScaling};
use rappel_tensor::{DType, Tensor};
use serde_json::{Map, Value};

/// How frequencies are stretched beyond the lengths that a model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum RopeType {
    /// Not at all.
    Default,
    /// All alike.
    Linear,
    /// As far as the sequence is longer than `max_position_embeddings`.
    Dynamic,
    /// Low ones alone, with a ramp over channels.
    Yarn,
    /// Each by its own factor.
    Longrope,
    /// Low ones alone, with a ramp over wavelengths.
    Llama3,
}

/// One kind of rotary positions, under the names of Hugging Face's `rope_parameters`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RopeTable {
    /// how frequencies are stretched beyond the lengths that the model was trained on
    #[option(default = RopeType::Default, also = "type")]
    pub rope_type: RopeType,
    /// base of the frequencies; by default that beside the table
    #[option(range = Range::above(0.0))]
    pub rope_theta: Option<f64>,
    /// share of a head's channels that have positions; by default that beside the table
    #[option(range = Range::above(0.0).to(1.0))]
    pub partial_rotary_factor: Option<f64>,
    /// by how much frequencies are divided
    #[option(range = 1.0..)]
    pub factor: Option<f64>,
    /// length that the model was trained on; by default max_position_embeddings
    #[option(range = 1..)]
    pub original_max_position_embeddings: Option<usize>,
    /// yarn and longrope: factor on scores; by default from `factor`
    #[option(range = 0.0..)]
    pub attention_factor: Option<f64>,
    /// yarn: turns from which on a frequency is kept; by default 32
    #[option(range = Range::above(0.0))]
    pub beta_fast: Option<f64>,
    /// yarn: turns up to which a frequency is divided by all of `factor`; by default 1
    #[option(range = Range::above(0.0))]
    pub beta_slow: Option<f64>,
    /// yarn: factor on the logarithm from which the factor on scores follows
    #[option(range = 0.0..)]
    pub mscale: Option<f64>,
    /// yarn: the same of what that is divided by
    #[option(range = 0.0..)]
    pub mscale_all_dim: Option<f64>,
    /// yarn: whether the ramp begins and ends at whole channels; by default true
    pub truncate: Option<bool>,
    /// longrope: a divisor for each pair of channels, up to the length that the model was trained on
    #[option(range = Range::above(0.0))]
    pub short_factor: Option<Vec<f64>>,
    /// longrope: the same for longer sequences
    #[option(range = Range::above(0.0))]
    pub long_factor: Option<Vec<f64>>,
    /// llama3: that length over this is the shortest wavelength divided by all of `factor`
    #[option(range = Range::above(0.0))]
    pub low_freq_factor: Option<f64>,
    /// llama3: that length over this is the longest wavelength kept
    #[option(range = Range::above(0.0))]
    pub high_freq_factor: Option<f64>,
}

/// [`RopeTable`], or one for each type of layer.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RopeParameters {
    /// that of all layers
    #[option(flatten)]
    pub all: RopeTable,
    /// that of layers whose queries see everything before them
    pub full_attention: Option<RopeTable>,
    /// that of layers with a window
    pub sliding_attention: Option<RopeTable>,
}

/// Rotary positions: `rope_theta` with `rope_scaling`, or `rope_parameters`, which holds both.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RopeOptions {
    /// base of the frequencies of rotary positions; by default that of the released models
    #[option(range = Range::above(0.0))]
    pub rope_theta: Option<f64>,
    /// how rotary positions are stretched beyond the lengths that the model was trained on
    pub rope_scaling: Option<RopeTable>,
    /// rope_theta and rope_scaling in one table, or in one for each type of layer
    pub rope_parameters: Option<RopeParameters>,
}

/// What an architecture says of its positions.
pub(crate) struct RopeDefaults {
    pub theta: f64,
    /// Channels of a head.
    pub dim: usize,
    pub max_positions: usize,
    pub original: Option<usize>,
    pub partial: f64,
}

impl RopeOptions {
    /// The one kind that all layers have.
    ///
    /// # Errors
    /// Options that cannot be, and tables by type of layer.
    pub(crate) fn rope(&self, defaults: &RopeDefaults) -> Result<Rope, InvalidOption> {
        if self.rope_parameters.as_ref().is_some_and(RopeParameters::is_nested) {
            let reason =
                "all layers of this architecture have one kind of positions; give one table";
            return Err(InvalidOption::new("rope_parameters", reason));
        }
        let new = self.rope_parameters.as_ref().map(|table| ("rope_parameters", &table.all));
        let (name, table) = match self.rope_scaling.as_ref() {
            Some(old) => ("rope_scaling", Some(old)),
            None => new.map_or(("rope_parameters", None), |(name, table)| (name, Some(table))),
        };
        rope(name, table, self.rope_theta, defaults)
    }

    /// The kinds of layers without and with a window; `thetas` are the defaults of both. Options beside tables by type
    /// of layer are those of layers without a window, but for a theta, which is of both where `shared`.
    ///
    /// # Errors
    /// Options that cannot be.
    pub(crate) fn by_type(
        &self,
        defaults: &RopeDefaults,
        local_theta: f64,
    ) -> Result<[Rope; 2], InvalidOption> {
        let new = self.rope_parameters.as_ref();
        if let Some(flat) = new.filter(|table| !table.is_nested()) {
            let named = flat.all != RopeTable::default();
            if named {
                let reason = "positions differ by type of layer; give the tables `full_attention` and \
                              `sliding_attention` in it";
                return Err(InvalidOption::new("rope_parameters", reason));
            }
        }
        let full = self.rope_scaling.as_ref().map(|table| ("rope_scaling", table));
        let nested = new.and_then(|new| new.full_attention.as_ref());
        let full = full.or(nested.map(|table| ("rope_parameters", table)));
        let (name, full) = full.map_or(("rope_scaling", None), |(name, table)| (name, Some(table)));
        let local = new.and_then(|new| new.sliding_attention.as_ref());
        let of_local = RopeDefaults { theta: local_theta, ..*defaults };
        Ok([
            rope(name, full, self.rope_theta, defaults)?,
            rope("rope_parameters", local, None, &of_local)?,
        ])
    }

    /// Writes both dialects into a config.json: `theta` is that of a config that gives none, `local` that of layers with a
    /// window, where they have positions of their own.
    pub(crate) fn write(&self, json: &mut Map<String, Value>, theta: f64, local: Option<f64>) {
        let new = self.rope_parameters.as_ref();
        let of_new = new.map(|new| new.full_attention.as_ref().unwrap_or(&new.all));
        let full = self.rope_scaling.as_ref().or(of_new);
        let theta = self.rope_theta.unwrap_or(theta);
        let partial = json.get(PARTIAL).and_then(Value::as_f64);
        let whole = written(full, theta, partial);
        let mut scaling = whole.clone();
        scaling.remove(THETA);
        scaling.remove(PARTIAL);
        // Older versions know the type by its older name alone.
        scaling.insert("type".to_owned(), whole["rope_type"].clone());
        let is_plain = whole["rope_type"] == "default";
        json.insert(THETA.to_owned(), whole[THETA].clone());
        json.insert("rope_scaling".to_owned(), if is_plain { Value::Null } else { scaling.into() });
        if let Some(partial) = whole.get(PARTIAL) {
            json.insert(PARTIAL.to_owned(), partial.clone());
        }
        let Some(local) = local else {
            json.insert("rope_parameters".to_owned(), whole.into());
            return;
        };
        let given = json.get(LOCAL_THETA).map(|given| given.as_f64().unwrap_or(local));
        let table = new.and_then(|new| new.sliding_attention.as_ref());
        let local = written(table, given.unwrap_or(theta), None);
        if given.is_some() {
            json.insert(LOCAL_THETA.to_owned(), local[THETA].clone());
        }
        let nested = [("full_attention", whole), ("sliding_attention", local)];
        let nested = nested.into_iter().map(|(name, table)| (name.to_owned(), table.into()));
        json.insert("rope_parameters".to_owned(), Value::Object(nested.collect()));
    }
}

const THETA: &str = "rope_theta";
/// Options of architectures that are part of a table in the newer dialect.
const PARTIAL: &str = "partial_rotary_factor";
const LOCAL_THETA: &str = "rope_local_base_freq";

/// A table as the newer dialect has it, with what is beside it in the older one.
fn written(table: Option<&RopeTable>, theta: f64, partial: Option<f64>) -> Map<String, Value> {
    let mut table = table.cloned().unwrap_or_default();
    table.rope_theta = table.rope_theta.or(Some(theta));
    table.partial_rotary_factor = table.partial_rotary_factor.or(partial);
    let mut json = table.to_json();
    json.retain(|_, value| !value.is_null());
    json
}

impl RopeParameters {
    fn is_nested(&self) -> bool {
        self.full_attention.is_some() || self.sliding_attention.is_some()
    }
}

/// Leaves one of two names for the type of positions, and puts today's name for one that is no longer used.
pub(crate) fn one_dialect(json: &mut Map<String, Value>) {
    for key in ["rope_scaling", "rope_parameters", "full_attention", "sliding_attention"] {
        let Some(Value::Object(table)) = json.get_mut(key) else { continue };
        if table.contains_key("rope_type") {
            table.remove("type");
        }
        for key in ["rope_type", "type"] {
            if let Some(name) = table.get_mut(key).filter(|name| **name == "su") {
                *name = "longrope".into();
            }
        }
        one_dialect(table);
    }
}

/// The positions of a table; `name` is what errors call it.
fn rope(
    name: &'static str,
    table: Option<&RopeTable>,
    theta: Option<f64>,
    defaults: &RopeDefaults,
) -> Result<Rope, InvalidOption> {
    let plain = RopeTable::default();
    let table = table.unwrap_or(&plain);
    let invalid = |reason: String| Err(InvalidOption::new(name, reason));
    let theta = table.rope_theta.or(theta).unwrap_or(defaults.theta);
    let partial = table.partial_rotary_factor.unwrap_or(defaults.partial);
    let dim = (defaults.dim as f64 * partial) as usize;
    if dim == 0 || !dim.is_multiple_of(2) {
        return invalid(format!(
            "{dim} of a head's {} channels would have positions; make it even",
            defaults.dim
        ));
    }
    if let Some(key) = table.without_effect() {
        let kind = table.rope_type.word();
        return invalid(format!("`{key}` has no effect with rope_type `{kind}`; remove it"));
    }
    match table.scaling(dim, defaults) {
        Ok(RopeScaling::Dynamic { .. }) if dim == 2 => {
            invalid("rope_type `dynamic` needs more than one pair of channels".to_owned())
        }
        Ok(scaling) => Ok(Rope::new(theta, dim, scaling)),
        Err(reason) => invalid(reason),
    }
}

impl RopeTable {
    /// A key that its type does not look at.
    fn without_effect(&self) -> Option<&'static str> {
        use RopeType::{Default, Llama3, Longrope, Yarn};
        let kind = self.rope_type;
        let trained = matches!(kind, Yarn | Longrope | Llama3);
        let (yarn, long, llama) = (kind == Yarn, kind == Longrope, kind == Llama3);
        let given = [
            ("factor", self.factor.is_some(), kind != Default),
            (
                "original_max_position_embeddings",
                self.original_max_position_embeddings.is_some(),
                trained,
            ),
            ("attention_factor", self.attention_factor.is_some(), yarn || long),
            ("beta_fast", self.beta_fast.is_some(), yarn),
            ("beta_slow", self.beta_slow.is_some(), yarn),
            ("mscale", self.mscale.is_some(), yarn),
            ("mscale_all_dim", self.mscale_all_dim.is_some(), yarn),
            ("truncate", self.truncate.is_some(), yarn),
            ("short_factor", self.short_factor.is_some(), long),
            ("long_factor", self.long_factor.is_some(), long),
            ("low_freq_factor", self.low_freq_factor.is_some(), llama),
            ("high_freq_factor", self.high_freq_factor.is_some(), llama),
        ];
        given.into_iter().find(|(_, given, used)| *given && !used).map(|(key, ..)| key)
    }

    fn scaling(&self, dim: usize, defaults: &RopeDefaults) -> Result<RopeScaling, String> {
        let kind = self.rope_type.word();
        let missing = |key: &str| format!("rope_type `{kind}` needs `{key}`");
        let factor = || self.factor.ok_or_else(|| missing("factor"));
        let max_positions = defaults.max_positions;
        let of_table = self.original_max_position_embeddings;
        let original = defaults.original.or(of_table).unwrap_or(max_positions);
        let ratio = self.factor.unwrap_or(max_positions as f64 / original as f64);
        Ok(match self.rope_type {
            RopeType::Default => RopeScaling::Default,
            RopeType::Linear => RopeScaling::Linear { factor: factor()? },
            RopeType::Dynamic => RopeScaling::Dynamic { factor: factor()?, max_positions },
            RopeType::Yarn => RopeScaling::Yarn {
                factor: ratio,
                original,
                betas: [self.beta_fast.unwrap_or(32.0), self.beta_slow.unwrap_or(1.0)],
                truncate: self.truncate.unwrap_or(true),
                attention: self.attention_factor.unwrap_or_else(|| self.yarn_attention(ratio)),
            },
            RopeType::Longrope => {
                let divisors = |key: &'static str, divisors: &Option<Vec<f64>>| {
                    let divisors = divisors.clone().ok_or_else(|| missing(key))?;
                    let (found, wanted) = (divisors.len(), dim / 2);
                    let reason = format!(
                        "`{key}` has {found} numbers, one for each of {wanted} pairs is needed"
                    );
                    if found == wanted { Ok(divisors) } else { Err(reason) }
                };
                let spread = (1.0 + ratio.ln() / (original as f64).ln()).sqrt();
                let by_default = if ratio <= 1.0 { 1.0 } else { spread };
                RopeScaling::LongRope {
                    short: divisors("short_factor", &self.short_factor)?,
                    long: divisors("long_factor", &self.long_factor)?,
                    original,
                    attention: self.attention_factor.unwrap_or(by_default),
                }
            }
            RopeType::Llama3 => {
                let number = |key: &str, number: Option<f64>| number.ok_or_else(|| missing(key));
                let low = number("low_freq_factor", self.low_freq_factor)?;
                let high = number("high_freq_factor", self.high_freq_factor)?;
                if high <= low {
                    return Err(format!(
                        "high_freq_factor {high} is not above low_freq_factor {low}"
                    ));
                }
                RopeScaling::Llama3 { factor: factor()?, low, high, original }
            }
        })
    }

    /// The factor on scores that YaRN's authors suggest.
    fn yarn_attention(&self, factor: f64) -> f64 {
        let mscale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
        match (self.mscale, self.mscale_all_dim) {
            (Some(a), Some(b)) if a != 0.0 && b != 0.0 => mscale(a) / mscale(b),
            _ => mscale(1.0),
        }
    }
}

/// Cosines and sines of positions, `[time, turned]`.
pub(crate) type Angles = [Tensor; 2];

/// The kinds of positions that layers have, each once, and which kind each layer has.
#[derive(Debug)]
pub(crate) struct Ropes {
    kinds: Vec<Rope>,
    of_layer: Vec<Option<usize>>,
    dtype: DType,
}

impl Ropes {
    /// Those of layers, `None` for one that knows nothing of positions; angles get `dtype`.
    pub fn new<'a>(layers: impl Iterator<Item = Option<&'a Rope>>, dtype: DType) -> Self {
        let mut kinds: Vec<Rope> = Vec::new();
        let mut kind = |rope: &Rope| {
            kinds.iter().position(|kind| kind == rope).unwrap_or_else(|| {
                kinds.push(rope.clone());
                kinds.len() - 1
            })
        };
        let of_layer = layers.map(|rope| rope.map(&mut kind)).collect();
        Self { kinds, of_layer, dtype }
    }

    /// The angles of each layer at `time` positions from `start` on.
    pub fn angles(&self, start: usize, time: usize) -> Vec<Option<Angles>> {
        self.of_layers(|rope| rope.angles(start, time, self.dtype))
    }

    /// The angles of each layer at these positions, `[batch, time]`, and one more than the last of them.
    pub fn angles_at(&self, positions: &Tensor) -> (Vec<Option<Angles>>, usize) {
        let last = positions.to_vec::<i64>().into_iter().max();
        let end = last.map_or(0, |last| last as usize + 1);
        let (sizes, all) = (positions.shape(), positions.reshape([positions.count()]));
        let angles = self.of_layers(|rope| {
            rope.angles(0, end, self.dtype).map(|angles| {
                let dim = angles.size(1);
                angles.index_select(0, &all).reshape([sizes[0], sizes[1], dim])
            })
        });
        (angles, end)
    }

    fn of_layers(&self, angles: impl Fn(&Rope) -> Angles) -> Vec<Option<Angles>> {
        let kinds: Vec<Angles> = self.kinds.iter().map(angles).collect();
        self.of_layer.iter().map(|kind| kind.map(|kind| kinds[kind].clone())).collect()
    }
}
