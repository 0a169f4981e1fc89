#![forbid(unsafe_code)]
//! One declarative description of options: it drives config parsing, resolved configs, help texts,
//! `rappel list` and suggestions.
//!
//! A technique (an optimizer, a schedule, a model) describes itself by one [`Entry`]: its name, one
//! line of summary, the paper, its [`Field`]s and a function that builds it. The entries of one kind
//! stand in a [`Registry`]. Nothing about an option is said twice.
//!
//! ```
//! use rappel_config::{no_more, ConfigError, Entry, OptionSet, Options, Range, Registry};
//!
//! #[derive(Options)]
//! struct Sgd {
//!     /// learning rate
//!     #[option(range = Range::above(0.0), aka("learning_rate"))]
//!     lr: f64,
//!     /// momentum
//!     #[option(default = 0.0, range = 0.0..1.0)]
//!     momentum: f64,
//! }
//!
//! type Build = fn(&Options) -> Result<Sgd, ConfigError>;
//!
//! const SGD: Entry<Build> = Entry {
//!     name: "sgd",
//!     summary: "p <- p - lr * g",
//!     reference: "Robbins and Monro, 1951",
//!     fields: Sgd::FIELDS,
//!     build: Sgd::from_options,
//! };
//! static OPTIMIZERS: Registry<Build> =
//!     Registry { kind: "optimizer", common: &[], entries: &[SGD], more: no_more };
//!
//! let given = toml::from_str("name = 'sgd'\nlr = 1").unwrap();
//! let (entry, options) = OPTIMIZERS.resolve("optimizer", &given)?;
//! assert_eq!((entry.build)(&options)?.lr, 1.0);
//! assert_eq!(options.to_toml().to_string(), "name = \"sgd\"\nlr = 1.0\nmomentum = 0.0\n");
//!
//! let given = toml::from_str("name = 'sgd'\nlearning_rate = 1").unwrap();
//! assert_eq!(
//!     OPTIMIZERS.resolve("optimizer", &given).unwrap_err().to_string(),
//!     "config key `optimizer.learning_rate`: unknown; did you mean `lr`? (known: name, lr, momentum)"
//! );
//! # Ok::<(), ConfigError>(())
//! ```

mod entry;
mod error;
mod field;
mod help;
mod json;
mod kind;
mod options;
mod paths;
mod range;
mod resolve;
mod set;
mod suggest;
mod value;
mod visit;

pub use entry::{Entry, Family, Info, More, Registry, no_more};
pub use error::ConfigError;
pub use field::{Default, Field, count, joined};
pub use help::{describe, list};
pub use json::table_from_json;
pub use kind::Kind;
pub use options::{Checked, Options};
pub use paths::map_paths;
pub use range::Range;
/// Implements `rappel_optim::rule::Descends` by the fields `lr: Schedule` and `maximize: bool`.
pub use rappel_config_derive::Descends;
/// Declares the options of a struct: defaults, ranges, help, TOML and JSON in and out.
///
/// Each field is an option: its name is the key, its doc comment the help text, and its type says which
/// values it takes; see [`OptionValue`]. An `Option` may stay unset; a field without a default must be given.
///
/// ```
/// use rappel_config::{InvalidOption, OptionSet, Options, Range, Words};
///
/// /// Shape of a ramp.
/// #[derive(Debug, Clone, Copy, PartialEq, Words)]
/// enum Shape {
///     Linear,
///     #[word("1-sqrt")]
///     OneMinusSqrt,
/// }
///
/// /// How long a run is, and how it begins.
/// #[derive(Debug, Clone, Options)]
/// #[options(check = Self::check)]
/// struct Train {
///     /// optimizer steps
///     #[option(default = 1000, range = 1.., aka("max_steps"))]
///     steps: u64,
///     /// learning rate
///     #[option(default = 1e-3, range = Range::above(0.0), also = "learning_rate")]
///     lr: f64,
///     /// shape of the warm-up
///     #[option(default = Shape::Linear)]
///     shape: Shape,
///     /// steps of the warm-up; unset: none
///     warmup_steps: Option<u64>,
/// }
///
/// impl Train {
///     fn check(&self) -> Result<(), InvalidOption> {
///         if self.warmup_steps > Some(self.steps) {
///             return Err(InvalidOption::new("warmup_steps", "longer than the run; shorten it"));
///         }
///         Ok(())
///     }
/// }
///
/// assert_eq!(Train::default().steps, 1000);
/// let train = Train::from_toml("train", &toml::from_str("learning_rate = 0.1").unwrap()).unwrap();
/// assert_eq!(train.lr, 0.1);
/// let told = |text| Train::from_toml("train", &toml::from_str(text).unwrap()).unwrap_err().to_string();
/// assert!(told("max_steps = 3").starts_with("config key `train.max_steps`: unknown; did you mean `steps`?"));
/// assert_eq!(told("warmup_steps = 1001"), "config key `train.warmup_steps`: longer than the run; shorten it");
/// ```
///
/// On a field, `#[option(..)]` takes
///
/// | | |
/// |---|---|
/// | `default = VALUE` | the value where a config gives none; literals are converted to the field's type |
/// | `default` | the type's own default, such as that of another set of options, or an empty list |
/// | `default_name = "x"` | a section that names the entry `x` |
/// | `unset = VALUE` | the option may stay unset, and then is not written; the field is this, where `VALUE` may name the fields before it |
/// | `range = 0.0..1.0` | the range of its numbers, as a Rust range or a [`Range`] |
/// | `kind = KIND` | the values taken, where the type does not say it, such as [`Kind::Section`] |
/// | `with = Type` | reads and writes it as the [`OptionAs`] says: for types of crates that know no options |
/// | `name = "x"` | the key, where Rust has no such name |
/// | `also = "x"` | a second key |
/// | `aka("x", "y")` | what it is called elsewhere, for suggestions; see [`Field::aka`] |
/// | `changeable` | a resumed run may be given another value; see [`Field::changeable`] |
/// | `flatten` | the options of another set, as if they were declared here; `flatten, required` where one of them must be given |
/// | `skip` | no option: the field is its type's default |
///
/// On the struct, `#[options(check = path)]` names a `fn(&Self) -> Result<(), InvalidOption>` that looks at the
/// options together: every reader calls it. `#[options(crate = path)]` says where this crate is.
pub use rappel_config_derive::Options;
/// Makes an enum of names the value of an option that takes one of a few words: the variants' names in
/// snake case, or what `#[word("..")]` says. See [`Options`](macro@Options) for an example.
pub use rappel_config_derive::Words;
pub use resolve::resolve;
pub use set::{InvalidOption, OptionSet};
pub use suggest::suggest;
/// The crate whose tables configs are read from and written to.
pub use toml;
pub use value::{Horizon, OptionAs, OptionValue, Place, Words};
#[doc(hidden)]
pub use value::{named, read_set, read_word};
pub use visit::{remove_changeable, visit};
