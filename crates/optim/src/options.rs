//! Options of rules: declared once, for the struct, the config, its help and its checks.

use rappel_registry::{ConfigError, Field, Kind, Options, Range, resolve};
use rappel_schedule::{Horizon, Schedule, scheduled};
use toml::{Table, Value};

/// An option that cannot be, alone or beside the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}`: {reason}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// Why it cannot be, and what to do.
    pub reason: String,
}

impl InvalidOption {
    /// An error about `option`.
    pub fn new(option: &'static str, reason: impl Into<String>) -> Self {
        Self { option, reason: reason.into() }
    }
}

/// Checks that an option holds one of its words: rules made in code may hold any text.
pub(crate) fn one_of(
    option: &'static str,
    value: &str,
    words: &[&str],
) -> Result<(), InvalidOption> {
    if words.contains(&value) {
        return Ok(());
    }
    Err(InvalidOption::new(option, format!("`{value}` is none of {}", words.join(", "))))
}

/// A set of options that [`options!`](crate::options) declared.
pub trait OptionSet: Clone + std::fmt::Debug + Send + Sync + Sized + 'static {
    /// The documentation of the set, in Markdown: what `rappel list` shows of the rule.
    const ABOUT: &'static str;
    /// The options as a config gives them.
    const FIELDS: &'static [Field];

    /// Reads checked options of [`FIELDS`](OptionSet::FIELDS) for a run of `horizon`.
    fn from_options(options: &Options, horizon: Horizon) -> Result<Self, ConfigError>;

    /// The learning rate.
    fn lr(&self) -> &Schedule;

    /// Whether steps go up the gradient.
    fn maximize(&self) -> bool;

    /// Checks each number against its range. Curves are not looked at: where they come from a
    /// config, they were.
    fn check_ranges(&self) -> Result<(), InvalidOption>;

    /// Every option at its default.
    fn defaults() -> Self {
        let horizon = Horizon { steps: 1 };
        resolve("", Self::FIELDS, &Table::new())
            .and_then(|options| Self::from_options(&options, horizon))
            .unwrap_or_else(|error| panic!("a default does not pass its own check: {error}"))
    }
}

/// The type of an option's field.
pub trait OptionValue: Sized {
    /// Reads the checked option `key`.
    fn read(options: &Options, key: &str, horizon: Horizon) -> Result<Self, ConfigError>;

    /// What is wrong with the value where it lies outside of `range`.
    fn check(&self, _range: Range) -> Result<(), String> {
        Ok(())
    }
}

impl OptionValue for bool {
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        Ok(options.bool(key))
    }
}

impl OptionValue for f64 {
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        Ok(options.f64(key))
    }

    fn check(&self, range: Range) -> Result<(), String> {
        if range.contains(*self) {
            Ok(())
        } else {
            Err(format!("{self} is out of range; wants {range}"))
        }
    }
}

impl OptionValue for u64 {
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        Ok(options.u64(key))
    }
}

impl OptionValue for usize {
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        Ok(options.usize(key))
    }
}

impl OptionValue for Option<usize> {
    /// An option without a default: [`OPTIONAL`].
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        Ok(options.opt_usize(key))
    }
}

impl OptionValue for String {
    /// One of the option's words, or any text.
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        Ok(options.str(key).to_owned())
    }
}

impl<const N: usize> OptionValue for [f64; N] {
    /// The option is [`Kind::Floats`] of `N`.
    fn read(options: &Options, key: &str, _: Horizon) -> Result<Self, ConfigError> {
        let list = options.floats(key);
        Ok(list.try_into().unwrap_or_else(|_| unreachable!("`{key}` was checked to have {N}")))
    }

    fn check(&self, range: Range) -> Result<(), String> {
        self.iter().try_for_each(|value| value.check(range))
    }
}

impl OptionValue for Schedule {
    fn read(options: &Options, key: &str, horizon: Horizon) -> Result<Self, ConfigError> {
        Self::from_option(options, key, horizon)
    }

    fn check(&self, range: Range) -> Result<(), String> {
        self.number().map_or(Ok(()), |value| value.check(range))
    }
}

impl OptionValue for Option<Schedule> {
    fn read(options: &Options, key: &str, horizon: Horizon) -> Result<Self, ConfigError> {
        options.opt_scheduled(key).map(|_| Schedule::read(options, key, horizon)).transpose()
    }

    fn check(&self, range: Range) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), |scalar| scalar.check(range))
    }
}

/// The range of each decay rate of a moving average.
pub const BETA: Range = Range::from(0.0).below(1.0);

impl<const N: usize> OptionValue for [Schedule; N] {
    /// The option is [`Kind::Raw`]: a list of `N`, each a number or a schedule's table.
    fn read(options: &Options, key: &str, horizon: Horizon) -> Result<Self, ConfigError> {
        let value = options.raw(key);
        let Some(Value::Array(list)) = value.filter(|v| v.as_array().is_some_and(|l| l.len() == N))
        else {
            let got = value.map_or("nothing".to_owned(), |value| format!("`{value}`"));
            let wants = format!("wants a list of {N} floats in {BETA} or schedules, got {got}");
            return Err(options.invalid(key, wants));
        };
        let read: Vec<Schedule> = list
            .iter()
            .enumerate()
            .map(|(i, value)| item(options, key, i, value, horizon))
            .collect::<Result<_, _>>()?;
        Ok(read.try_into().unwrap_or_else(|_| unreachable!("the list has {N}")))
    }

    fn check(&self, range: Range) -> Result<(), String> {
        self.iter().try_for_each(|beta| beta.check(range))
    }
}

/// Reads the item `i` of a list of decay rates: a number or a schedule's table.
pub(crate) fn item(
    options: &Options,
    key: &str,
    i: usize,
    value: &Value,
    horizon: Horizon,
) -> Result<Schedule, ConfigError> {
    let name = INDICES[i];
    let fields = [Field::required(name, scheduled(BETA), "decay rate")];
    let given = Table::from_iter([(name.to_owned(), value.clone())]);
    Schedule::read(&resolve(&format!("{}.{key}", options.path()), &fields, &given)?, name, horizon)
}

/// What the items of a list are called in errors.
const INDICES: [&str; 4] = ["0", "1", "2", "3"];

/// The default of an option that may stay unset.
pub const OPTIONAL: &str = "";

/// The field of an option with this default; unset where it is [`OPTIONAL`].
pub const fn field_of(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Field {
    if default.is_empty() {
        Field::optional(name, kind, doc)
    } else {
        Field::new(name, kind, default, doc)
    }
}

/// The range that the numbers of an option keep.
pub const fn range_of(kind: Kind) -> Range {
    match kind {
        Kind::Scheduled { range, .. } | Kind::Float(range) | Kind::Floats { range, .. } => range,
        Kind::Raw => BETA,
        _ => Range::FINITE,
    }
}

/// A rule's options, said once: it makes the struct with its `Default`, and the
/// [`Field`]s that configs, help texts and resolved configs are made from.
///
/// Each option is its doc comment, name and type, the default as a TOML literal (`""`: unset), and its
/// [`Kind`]. There must be `lr: Schedule` and `maximize: bool`.
#[macro_export]
macro_rules! options {
    ($(#[doc = $about:literal])* pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $kind:expr;)*
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
        }

        impl $crate::rule::OptionSet for $name {
            const ABOUT: &'static str = concat!($($about, "\n"),*);
            const FIELDS: &'static [$crate::rule::Field] = &[$(
                $crate::__options::field_of(
                    stringify!($field),
                    $kind,
                    $default,
                    concat!($($doc),+).trim_ascii(),
                )
            ),*];

            fn from_options(
                options: &$crate::rule::Options,
                horizon: $crate::rule::Horizon,
            ) -> Result<Self, $crate::rule::ConfigError> {
                Ok(Self {
                    $($field: $crate::rule::OptionValue::read(options, stringify!($field), horizon)?,)*
                })
            }

            fn lr(&self) -> &$crate::rule::Schedule {
                &self.lr
            }

            fn maximize(&self) -> bool {
                self.maximize
            }

            fn check_ranges(&self) -> Result<(), $crate::rule::InvalidOption> {
                $(
                    $crate::rule::OptionValue::check(&self.$field, $crate::__options::range_of($kind))
                        .map_err(|reason| $crate::rule::InvalidOption::new(stringify!($field), reason))?;
                )*
                Ok(())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                <Self as $crate::rule::OptionSet>::defaults()
            }
        }
    };
}
