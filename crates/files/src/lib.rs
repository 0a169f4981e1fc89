#![forbid(unsafe_code)]
//! Files that survive: durable writes, places to write output to, and locks.
//!
//! Whatever must not be lost is written through this crate, and nothing else renames files. A file is
//! written by [`replace`]; a folder is filled by [`create`] and put in place by [`publish`]. Both are
//! synced to the disk first, so that after a crash or a power failure the old content is there, or the
//! new, never a part of it. New files get the permissions that the umask leaves.

mod checksum;
mod destination;
mod durable;
mod error;
mod lock;
mod stream;

pub use checksum::{hex, sha256_of_file};
pub use destination::Destination;
pub use durable::{
    clear_leftovers, create, fresh_folder, make_folder, move_over, parent, partial, prepared,
    publish, remove, replace, sync_folder, sync_tree,
};
pub use error::{FileError, advice};
pub use lock::{Holder, Lock, LockError, host};
