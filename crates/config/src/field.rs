//! One option: its key, the values it takes, its default and its help.

use toml::{Table, Value};

use crate::Kind;

/// What an option is where the config does not give it.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// The config must give it.
    Required,
    /// It stays unset; a field of type `Option` is `None`.
    Absent,
    /// This value, checked like a given one.
    Value {
        /// The value as its declaration writes it; empty where that is not a number.
        text: &'static str,
        /// The value; `None` where no config can give it.
        value: fn() -> Option<Value>,
    },
}

impl Default {
    /// The default as TOML; `None` where there is none.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Required | Self::Absent => None,
            Self::Value { text: "", value } => match value() {
                // All its own defaults.
                Some(Value::Table(_)) => Some("{}".to_owned()),
                value => value.map(|value| value.to_string()),
            },
            Self::Value { text, .. } => Some(text.to_owned()),
        }
    }
}

/// One option of an entry or of a config section.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key in the config, named as PyTorch or Hugging Face name it.
    pub name: &'static str,
    /// The values it takes.
    pub kind: Kind,
    /// Its value where the config gives none.
    pub default: Default,
    /// One line of help: what it is, with its unit.
    pub doc: &'static str,
    /// A second name that the config may give it by, where one original has two.
    pub also: Option<&'static str>,
    /// Names the same thing bears elsewhere: they are suggested from, never accepted.
    pub aka: &'static [&'static str],
    /// Whether a run that is resumed may be given another value: it cannot change what is computed.
    pub changeable: bool,
}

impl Field {
    /// A table whose options all have defaults, which they take where the config has no such table.
    pub const fn table(name: &'static str, fields: &'static [Self], doc: &'static str) -> Self {
        let default = Default::Value { text: "", value: || Some(Value::Table(Table::new())) };
        Self { default, ..Self::optional(name, Kind::Table(fields), doc) }
    }

    /// An option that the config must give.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { default: Default::Required, ..Self::optional(name, kind, doc) }
    }

    /// An option that may stay unset.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        let default = Default::Absent;
        Self { name, kind, default, doc, also: None, aka: &[], changeable: false }
    }

    /// The same option, which may be given by this name too.
    #[must_use]
    pub const fn also(self, name: &'static str) -> Self {
        Self { also: Some(name), ..self }
    }

    /// Whether `key` is a name of this option.
    pub fn is_named(&self, key: &str) -> bool {
        self.name == key || self.also == Some(key)
    }

    /// The same option, whose value cannot change what a run computes, so that one which is resumed may
    /// be given another: how often something is logged, where files are.
    #[must_use]
    pub const fn changeable(self) -> Self {
        Self { changeable: true, ..self }
    }

    /// The same option with names it bears elsewhere, for suggestions.
    #[must_use]
    pub const fn aka(self, names: &'static [&'static str]) -> Self {
        Self { aka: names, ..self }
    }
}

/// How many options some lists have together.
pub const fn count(lists: &[&[Field]]) -> usize {
    let (mut list, mut all) = (0, 0);
    while list < lists.len() {
        all += lists[list].len();
        list += 1;
    }
    all
}

/// Lists of options, one after the other, as one constant of their [`count`].
///
/// # Panics
/// If `N` is not their count, which for a constant is an error of the build.
///
/// ```
/// use rappel_config::{Field, Kind, count, joined};
/// const OWN: &[Field] = &[Field::required("k", Kind::int_from(1), "how many")];
/// const SHARED: &[Field] = &[Field::optional("every", Kind::int_from(1), "steps")];
/// const LISTS: &[&[Field]] = &[OWN, SHARED];
/// const ALL: &[Field] = &joined::<{ count(LISTS) }>(LISTS);
/// assert_eq!(ALL.iter().map(|field| field.name).collect::<Vec<_>>(), ["k", "every"]);
/// ```
pub const fn joined<const N: usize>(lists: &[&[Field]]) -> [Field; N] {
    assert!(N == count(lists), "N is how many options the lists have");
    let mut fields = [Field::required("", Kind::Bool, ""); N];
    let (mut list, mut all) = (0, 0);
    while list < lists.len() {
        let mut i = 0;
        while i < lists[list].len() {
            fields[all] = lists[list][i];
            (i, all) = (i + 1, all + 1);
        }
        list += 1;
    }
    fields
}
