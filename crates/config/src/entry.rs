//! Entries, and the registries they stand in.

use toml::{Table, Value};

use crate::resolve::{join, resolve};
use crate::{ConfigError, Field, Kind, Options, suggest};

/// One technique: what it is called, what it does, where it comes from, its options, how it is built.
///
/// `B` is the function that builds it, whatever its kind needs: `fn(&Options) -> Result<...>`.
#[derive(Debug, Clone, Copy)]
pub struct Entry<B> {
    /// The name in configs, and of its source file.
    pub name: &'static str,
    /// What it computes, in one line.
    pub summary: &'static str,
    /// The paper, or the implementation it agrees with.
    pub reference: &'static str,
    /// Its options.
    pub fields: &'static [Field],
    /// Builds it from its options.
    pub build: B,
}

/// All entries of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Registry<B: 'static> {
    /// What the entries are, in the singular: `optimizer`.
    pub kind: &'static str,
    /// Options that every entry takes, after its own.
    pub common: &'static [Field],
    /// The entries.
    pub entries: &'static [Entry<B>],
    /// What else an entry says of itself; [`no_more`] where that is nothing.
    pub more: fn(&Entry<B>) -> More,
}

/// What an entry says of itself beyond its line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct More {
    /// Figures of the entry: the column's head, and the figure.
    pub figures: Vec<(&'static str, String)>,
    /// Its formula and what else there is to know, in Markdown.
    pub about: &'static str,
}

/// An entry whose line says it all.
pub fn no_more<B>(_: &Entry<B>) -> More {
    More::default()
}

/// The key that picks an entry in a config section.
const NAME: Field = Field::required("name", Kind::Str, "which one");

impl<B> Registry<B> {
    /// The names of the entries in their order.
    pub fn names(&self) -> Vec<&'static str> {
        self.entries.iter().map(|entry| entry.name).collect()
    }

    /// The entry named `name`.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with the nearest name.
    pub fn lookup(&self, name: &str) -> Result<&'static Entry<B>, ConfigError> {
        self.lookup_at("", name)
    }

    /// The entry named `name`, which the config key `key` gives; the key leads the error's text.
    ///
    /// # Errors
    /// [`ConfigError::UnknownName`] with the nearest name.
    pub fn lookup_at(&self, key: &str, name: &str) -> Result<&'static Entry<B>, ConfigError> {
        let unknown = || ConfigError::UnknownName {
            key: key.to_owned(),
            kind: self.kind.to_owned(),
            name: name.to_owned(),
            suggestion: suggest(name, self.names()).map(str::to_owned),
            known: self.names().into_iter().map(str::to_owned).collect(),
        };
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(unknown)
    }

    /// The entry that the section's key `name` picks, and the section's options: `name`, the
    /// entry's own, then those common to the registry.
    ///
    /// # Errors
    /// A missing or unknown name, and whatever [`resolve`] finds.
    pub fn resolve(
        &self,
        path: &str,
        given: &Table,
    ) -> Result<(&'static Entry<B>, Options), ConfigError> {
        let key = join(path, NAME.name);
        let expected = format!("one of the {}s by name", self.kind);
        let entry = match given.get(NAME.name) {
            Some(Value::String(name)) => self.lookup_at(&key, name)?,
            Some(other) => {
                let got = format!("the {} {other}", other.type_str());
                return Err(ConfigError::WrongType { key, expected, got });
            }
            None => {
                let doc = format!("known: {}", self.names().join(", "));
                return Err(ConfigError::Missing { key, expected, doc });
            }
        };
        let options = resolve(path, &self.fields_of(entry), given)?;
        Ok((entry, options))
    }

    /// Every key of a section that names `entry`: `name`, the entry's own, the common ones.
    pub fn fields_of(&self, entry: &Entry<B>) -> Vec<Field> {
        [&[NAME], entry.fields, self.common].concat()
    }
}

/// What an entry says of itself, without the function that builds it.
#[derive(Debug, Clone)]
pub struct Info {
    /// The name in configs.
    pub name: &'static str,
    /// What it computes, in one line.
    pub summary: &'static str,
    /// The paper, or the implementation it agrees with.
    pub reference: &'static str,
    /// Its options, the common ones included, without `name`.
    pub fields: Vec<Field>,
    /// What it says beyond its line.
    pub more: More,
}

/// A [`Registry`] whatever it builds: what help texts, `rappel list` and nested sections need.
pub trait Family {
    /// What the entries are, in the singular.
    fn kind(&self) -> &'static str;

    /// What each entry says of itself, in their order.
    fn infos(&self) -> Vec<Info>;

    /// Checks a section that names an entry, and fills in its defaults; see [`Registry::resolve`].
    fn resolve_options(&self, path: &str, given: &Table) -> Result<Options, ConfigError>;

    /// What the entry named `name` says of itself, or [`ConfigError::UnknownName`].
    fn info(&self, name: &str) -> Result<Info, ConfigError>;
}

impl<B> Family for Registry<B> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn infos(&self) -> Vec<Info> {
        self.entries.iter().map(|entry| self.info_of(entry)).collect()
    }

    fn resolve_options(&self, path: &str, given: &Table) -> Result<Options, ConfigError> {
        self.resolve(path, given).map(|(_, options)| options)
    }

    fn info(&self, name: &str) -> Result<Info, ConfigError> {
        self.lookup(name).map(|entry| self.info_of(entry))
    }
}

impl<B> Registry<B> {
    fn info_of(&self, entry: &Entry<B>) -> Info {
        let Entry { name, summary, reference, fields, .. } = *entry;
        let fields = [fields, self.common].concat();
        Info { name, summary, reference, fields, more: (self.more)(entry) }
    }
}
