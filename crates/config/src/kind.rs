//! What values an option takes.

use std::fmt;

use crate::{Family, Field, Range};

/// The values one option takes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// An integer between two bounds, both inclusive.
    Int {
        /// The smallest value taken.
        min: i64,
        /// The largest value taken.
        max: i64,
    },
    /// A float in a range; an integer literal is taken for the float of its value.
    Float(Range),
    /// A text.
    Str,
    /// A file or folder, or one of these words.
    Path(&'static [&'static str]),
    /// A list of files, folders or globs.
    Paths,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A list of integers of at least `min`, of any length.
    Ints {
        /// The smallest value taken.
        min: i64,
    },
    /// A list of floats, each in the range, such as `betas`.
    Floats {
        /// How many; `None`: any number of them.
        len: Option<usize>,
        /// The range of each.
        range: Range,
    },
    /// A list of texts of any length.
    Strings,
    /// A float in the range, or a table that the family resolves to a curve over the steps.
    Scheduled {
        /// The range of the float, and of every value of the curve.
        range: Range,
        /// What resolves the table: the registry of schedules.
        by: &'static (dyn Family + Sync),
    },
    /// An integer of at least `min`, one of the words, or a table that the family resolves to a curve
    /// over the steps, which is rounded.
    Count {
        /// The smallest number taken, and the smallest value of the curve.
        min: u32,
        /// Words that stand for numbers.
        words: &'static [&'static str],
        /// What resolves the table: the registry of schedules.
        by: &'static (dyn Family + Sync),
    },
    /// A list, each of whose items is a float in the range or a table that the family resolves to a curve.
    Schedules {
        /// How many; `None`: any number of them.
        len: Option<usize>,
        /// The range of each float, and of every value of each curve.
        range: Range,
        /// What resolves the tables: the registry of schedules.
        by: &'static (dyn Family + Sync),
    },
    /// A table with these fields.
    Table(&'static [Field]),
    /// A list of tables, each with these fields.
    Tables(&'static [Field]),
    /// A table whose key `name` picks an entry of the family, which gives the other fields.
    Section(&'static (dyn Family + Sync)),
    /// A list of tables, each with a key `name` that picks an entry of the family.
    Sections(&'static (dyn Family + Sync)),
    /// Any table, kept as it stands: its reader checks it.
    AnyTable,
    /// Any value, kept as it stands: its reader checks it.
    Raw,
}

impl Kind {
    /// An integer of at least `min`.
    pub const fn int_from(min: i64) -> Self {
        Self::Int { min, max: i64::MAX }
    }

    /// The same kind, whose numbers lie in `range`.
    ///
    /// # Panics
    /// If it takes no numbers, which for a constant is an error of the build.
    #[must_use]
    pub const fn within(self, range: Range) -> Self {
        match self {
            Self::Int { min, max } => {
                let [low, high] = range.integers();
                Self::Int {
                    min: if low > min { low } else { min },
                    max: if high < max { high } else { max },
                }
            }
            Self::Ints { .. } => Self::Ints { min: range.integers()[0] },
            Self::Float(_) => Self::Float(range),
            Self::Floats { len, .. } => Self::Floats { len, range },
            Self::Scheduled { by, .. } => Self::Scheduled { range, by },
            Self::Schedules { len, by, .. } => Self::Schedules { len, range, by },
            Self::Count { words, by, .. } => {
                Self::Count { min: range.integers()[0] as u32, words, by }
            }
            _ => panic!("a range is given to an option that takes no numbers"),
        }
    }

    /// The same kind of list, of exactly `len` items.
    ///
    /// # Panics
    /// If it is not a list whose length can be given, which for a constant is an error of the build.
    #[must_use]
    pub const fn of_length(self, len: usize) -> Self {
        match self {
            Self::Floats { range, .. } => Self::Floats { len: Some(len), range },
            Self::Schedules { range, by, .. } => Self::Schedules { len: Some(len), range, by },
            _ => panic!("lists of this type have no fixed length"),
        }
    }

    /// The range of its numbers, where it takes some.
    pub const fn range(self) -> Option<Range> {
        match self {
            Self::Int { min, max } => Some(Range::from(min as f64).to(max as f64)),
            Self::Ints { min } => Some(Range::from(min as f64)),
            Self::Float(range)
            | Self::Floats { range, .. }
            | Self::Scheduled { range, .. }
            | Self::Schedules { range, .. } => Some(range),
            Self::Count { min, .. } => Some(Range::from(min as f64)),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool => f.write_str("true or false"),
            Self::Int { min: i64::MIN, max: i64::MAX } => f.write_str("integer"),
            Self::Int { min, max: i64::MAX } => write!(f, "integer >= {min}"),
            Self::Int { min, max } => write!(f, "integer in [{min}, {max}]"),
            Self::Float(range) => write!(f, "float in {range}"),
            Self::Str => f.write_str("string"),
            Self::Path([]) => f.write_str("path"),
            Self::Path(words) => write!(f, "{} | path", quoted(words)),
            Self::Paths => f.write_str("list of paths"),
            Self::OneOf(words) => f.write_str(&quoted(words)),
            Self::Ints { min } => write!(f, "list of integers >= {min}"),
            Self::Floats { len: Some(len), range } => write!(f, "list of {len} floats in {range}"),
            Self::Floats { len: None, range } => write!(f, "list of floats in {range}"),
            Self::Strings => f.write_str("list of strings"),
            Self::Scheduled { range, by } => {
                write!(f, "float in {range}, or a {} table", by.kind())
            }
            Self::Count { min, words, by } => {
                write!(f, "integer >= {min}")?;
                words.iter().try_for_each(|word| write!(f, ", \"{word}\""))?;
                write!(f, ", or a {} table", by.kind())
            }
            Self::Schedules { len, range, by } => {
                f.write_str("list of ")?;
                len.map_or(Ok(()), |len| write!(f, "{len} "))?;
                write!(f, "floats in {range} or {}s", by.kind())
            }
            Self::Table(_) | Self::AnyTable => f.write_str("table"),
            Self::Tables(_) => f.write_str("list of tables"),
            Self::Section(family) => write!(f, "table, `name` one of the {}s", family.kind()),
            Self::Sections(family) => {
                write!(f, "list of tables, `name` of each one of the {}s", family.kind())
            }
            Self::Raw => f.write_str("any value"),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" | ")
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({self})")
    }
}
