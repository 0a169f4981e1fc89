#![forbid(unsafe_code)]
//! What the tests of every crate share; never part of a build for users.
//!
//! - [`Golden`]: values computed by PyTorch and transformers, from the files under `testdata/`.
//! - [`compare`], [`assert_close`]: one strict meaning of "agrees to `rtol`".
//! - [`functions`]: functions with known gradients and minimisers, for optimizers to descend.
//! - [`strd`]: NIST's nonlinear regression problems.
//! - [`import_circles`]: files of a crate that import one another in circles.
//! - [`c`]: functions compiled by the system's C compiler, to compare with ours.
//! - [`assert_folder_matches`], [`assert_sound`]: what every registry must hold.
//! - [`HubServer`]: a server with the paths of the Hugging Face Hub, which can be made to fail.
//! - [`mutated`]: files that are almost right.
//! - [`Random`]: small seeded random numbers, independent of the library's own generator.
//!
//! A helper here panics where a test should fail, at the caller's line.
//!
//! ```
//! use rappel_testkit::{Golden, assert_close};
//!
//! let golden = Golden::load("clip_torch");
//! let (shape, clipped) = golden.f64("f64/norm_00/out/g2");
//! let (_, given) = golden.f64("in/ordinary/g2");
//! let factor = 1.0 / (golden.scalar("f64/norm_00/total_norm") + 1e-6);
//! let ours: Vec<f64> = given.iter().map(|g| g * factor).collect();
//! assert_eq!(shape, [3, 5]);
//! assert_close(&ours, &clipped, 1e-15, "clipped gradient");
//! ```

pub mod c;
mod close;
pub mod functions;
mod golden;
mod hub_server;
mod imports;
mod mutated;
mod random;
mod registries;
pub mod strd;

pub use close::{Mismatch, SCALE_FLOOR, assert_close, assert_close_floor, compare, widen};
pub use golden::Golden;
pub use hub_server::{COMMIT, HubServer, Request, hex_sha256};
pub use imports::import_circles;
pub use mutated::mutated;
pub use random::Random;
pub use registries::{assert_folder_matches, assert_sound};
