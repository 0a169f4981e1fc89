//! Which layers an adapter is for.

use rappel_config::{Checked, ConfigError, Kind, OptionValue, Place};
use regex::Regex;
use toml::Value;

use super::lora::is_named;

/// The word that means every linear layer but the head.
pub(super) const ALL: &str = "all-linear";
/// The last part of the names of heads.
const HEADS: [&str; 4] = ["lm_head", "embed_out", "score", "classifier"];

/// Layers by the ends of their names, or by an expression that whole names match, as peft has it.
#[derive(Debug, Clone)]
pub enum Targets {
    /// By the ends of their names, or the one word `all-linear`.
    Ends(Vec<String>),
    /// By a regular expression.
    Regex(Regex),
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        self.write() == other.write()
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self::Ends(vec![ALL.to_owned()])
    }
}

/// A text as a list of it, or as an expression.
fn of_text(text: &str) -> Result<Targets, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text == ALL || (!text.is_empty() && text.chars().all(is_name) && !text.contains(".*")) {
        return Ok(Targets::Ends(vec![text.to_owned()]));
    }
    let whole = Regex::new(&format!("^(?:{text})$"));
    whole.map(Targets::Regex).map_err(|error| format!("not a regular expression: {error}"))
}

impl OptionValue for Targets {
    const KIND: Kind = Kind::Raw;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        let expected = "expected a list of the ends of layers' names, \"all-linear\", or a regular expression \
                        that whole names match";
        let Checked::Value(value) = value else { return Err(place.invalid(expected)) };
        match value {
            Value::String(text) => of_text(text).map_err(|reason| place.invalid(reason)),
            Value::Array(items) => {
                let text = |item: &Value| item.as_str().map(str::to_owned);
                let texts: Option<Vec<String>> = items.iter().map(text).collect();
                Ok(Self::Ends(texts.ok_or_else(|| place.invalid(expected))?))
            }
            _ => Err(place.invalid(expected)),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(match self {
            Self::Ends(names) => Value::Array(names.iter().cloned().map(Value::String).collect()),
            Self::Regex(regex) => {
                let text = regex.as_str();
                text[4..text.len() - 2].into()
            }
        })
    }
}

impl Targets {
    /// Whether a linear layer is meant.
    pub(super) fn has(&self, module: &str) -> bool {
        match self {
            Self::Ends(ends) => ends.iter().any(|target| {
                if target == ALL { is_inner(module) } else { is_named(module, target) }
            }),
            Self::Regex(regex) => regex.is_match(module),
        }
    }

    /// Those that are named one by one.
    pub(super) fn named(&self) -> impl Iterator<Item = &String> {
        let ends = match self {
            Self::Ends(ends) => ends.as_slice(),
            Self::Regex(_) => &[],
        };
        ends.iter().filter(|target| *target != ALL)
    }
}

/// Whether `all-linear` means a module.
fn is_inner(module: &str) -> bool {
    let last = module.rsplit('.').next().unwrap_or(module);
    // Experts and their routers are no linear layers of their own in transformers.
    let is_expert = module.contains(".experts.") || module.ends_with(".mlp.gate");
    !HEADS.contains(&last) && !is_expert
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_names() {
        let targets = of_text(r"model\.layers\.[01]\..*_proj").unwrap();
        assert!(targets.has("model.layers.1.mlp.up_proj"));
        assert!(!targets.has("model.layers.2.mlp.up_proj"));
        assert!(!targets.has("base.model.layers.1.mlp.up_proj"));
        assert_eq!(targets.write(), Some(r"model\.layers\.[01]\..*_proj".into()));
        let one = of_text("q_proj").unwrap();
        assert!(one.has("model.layers.1.self_attn.q_proj"));
        assert!(of_text("(").unwrap_err().contains("regular expression"));
    }
}
