//! What can be wrong with a config.

use thiserror::Error;

/// What is wrong with a config: which key, what is wrong with it, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that no option bears.
    #[error("config key `{key}`: unknown{} (known: {})", did_you_mean(suggestion.as_deref()), listed(known))]
    UnknownKey {
        /// The key with its path, such as `optimizer.lerning_rate`.
        key: String,
        /// The known key nearest to it, if one is near.
        suggestion: Option<String>,
        /// The keys known there.
        known: Vec<String>,
    },
    /// A value of another type than the option's.
    #[error("config key `{key}`: expected {expected}, got {got}")]
    WrongType {
        /// The key with its path.
        key: String,
        /// The values it takes.
        expected: String,
        /// What the config gives.
        got: String,
    },
    /// A value of the right type outside the values taken.
    #[error("config key `{key}`: {value} is out of range; expected {range}")]
    OutOfRange {
        /// The key with its path.
        key: String,
        /// What the config gives.
        value: String,
        /// The values it takes.
        range: String,
    },
    /// A key without a default that the config does not give.
    #[error("config key `{key}`: missing; give {expected} ({doc})")]
    Missing {
        /// The key with its path.
        key: String,
        /// The values it takes.
        expected: String,
        /// What the key is for.
        doc: String,
    },
    /// A name that no entry of a registry bears.
    #[error("{}no {kind} is named `{name}`{} (known: {})", at(key), did_you_mean(suggestion.as_deref()), listed(known))]
    UnknownName {
        /// The key that gives the name, with its path; empty if no config does.
        key: String,
        /// The registry's kind, such as `optimizer`.
        kind: String,
        /// The name asked for.
        name: String,
        /// The known name nearest to it, if one is near.
        suggestion: Option<String>,
        /// The names known.
        known: Vec<String>,
    },
    /// A value that is well formed but cannot be, mostly for its relation to others.
    #[error("config key `{key}`: {reason}")]
    Invalid {
        /// The key with its path.
        key: String,
        /// Why it cannot be and what to do.
        reason: String,
    },
}

impl ConfigError {
    /// The value at `key`, with its path, cannot be: `reason` says why and what to do.
    pub fn invalid(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { key: key.into(), reason: reason.into() }
    }
}

fn at(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("config key `{key}`: ") }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
