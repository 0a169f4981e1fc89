//! The commands: one file each, its line here and its variant in `args.rs`.

pub mod cache;
pub mod completions;
pub mod convert;
pub mod embed;
pub mod eval;
pub mod generate;
pub mod inspect;
pub mod list;
pub mod lr_find;
pub mod man;
pub mod predict;
pub mod replay;
pub mod schedule;
pub mod surface;
pub mod train;
