#![forbid(unsafe_code)]
//! One declarative description of options: it drives config parsing, resolved configs, help texts,
//! `rappel list` and suggestions.
//!
//! A technique (an optimizer, a schedule, a model) describes itself by one [`Entry`]: its name, one
//! line of summary, the paper, its [`Field`]s and a function that builds it. The entries of one kind
//! stand in a [`Registry`]. Nothing about an option is said twice.
//!
//! ```
//! use rappel_registry::{no_more, ConfigError, Entry, Field, Kind, Options, Range, Registry};
//!
//! type Build = fn(&Options) -> Result<f64, ConfigError>;
//!
//! const SGD: Entry<Build> = Entry {
//!     name: "sgd",
//!     summary: "p <- p - lr * g",
//!     reference: "Robbins and Monro, 1951",
//!     fields: &[
//!         Field::required("lr", Kind::Float(Range::above(0.0)), "learning rate")
//!             .aka(&["learning_rate"]),
//!         Field::new("momentum", Kind::Float(Range::from(0.0).below(1.0)), "0.0", "momentum"),
//!     ],
//!     build: |options| Ok(options.f64("lr") * options.f64("momentum")),
//! };
//! static OPTIMIZERS: Registry<Build> =
//!     Registry { kind: "optimizer", common: &[], entries: &[SGD], more: no_more };
//!
//! let given = toml::from_str("name = 'sgd'\nlr = 1").unwrap();
//! let (entry, options) = OPTIMIZERS.resolve("optimizer", &given)?;
//! assert_eq!((entry.build)(&options)?, 0.0);
//! assert_eq!(options.to_toml().to_string(), "name = \"sgd\"\nlr = 1.0\nmomentum = 0.0\n");
//!
//! let given = toml::from_str("name = 'sgd'\nlearning_rate = 1").unwrap();
//! assert_eq!(
//!     OPTIMIZERS.resolve("optimizer", &given).unwrap_err().to_string(),
//!     "config key `optimizer.learning_rate`: unknown; did you mean `lr`? (known: name, lr, momentum)"
//! );
//! # Ok::<(), ConfigError>(())
//! ```

mod conformance;
mod entry;
mod error;
mod field;
mod help;
mod kind;
mod options;
mod paths;
mod range;
mod resolve;
mod suggest;
mod visit;

pub use conformance::{assert_folder_matches, assert_sound};
pub use entry::{Entry, Family, Info, More, Registry, no_more};
pub use error::ConfigError;
pub use field::{Default, Field, joined};
pub use help::{describe, list};
pub use kind::Kind;
pub use options::{Options, Scheduled};
pub use paths::map_paths;
pub use range::Range;
pub use resolve::resolve;
pub use suggest::suggest;
/// The crate whose tables configs are read from and written to.
pub use toml;
pub use visit::{remove_changeable, visit};
