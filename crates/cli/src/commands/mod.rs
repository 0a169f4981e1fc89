//! The commands: one file each, its line here and its variant in `args.rs`.

pub mod cache;
pub mod completions;
pub mod convert;
pub mod data;
pub mod devices;
pub mod embed;
pub mod eval;
pub mod generate;
pub mod inspect;
pub mod list;
pub mod lr_find;
pub mod man;
pub mod merge;
pub mod predict;
pub mod replay;
pub mod schedule;
pub mod selftest;
pub mod surface;
pub mod train;

use std::path::{Path, PathBuf};

use rappel_train::model_folder;

use crate::progress::Progress;

/// Where the model that an argument names is on this machine: one of the hub is downloaded, with a bar.
fn local_model(model: &Path, quiet: bool) -> anyhow::Result<PathBuf> {
    let mut progress = Progress::outside_a_run(quiet);
    let found = model_folder(model, &mut progress);
    progress.finish();
    Ok(found?)
}
