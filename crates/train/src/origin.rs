//! Where a run begins that goes on from another one.

use std::path::Path;

use crate::checkpoint::{Checkpoints, Whole};
use crate::{Config, Observer, TrainError};

/// The config's key.
pub(crate) const FROM: &str = "from";

/// The checkpoint that the config's `from` means: one itself, or the newest whole one of a run; none
/// where the run begins from nothing.
pub(crate) fn origin(
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<Option<Whole>, TrainError> {
    let Some(path) = config.options().opt_str(FROM).map(Path::new) else { return Ok(None) };
    let step = path.file_name().and_then(|name| name.to_str()?.strip_prefix("step-")?.parse().ok());
    let found = match (step, path.parent()) {
        (Some(step), Some(folder)) => Some(Checkpoints::new(folder.to_owned(), 1).of(step)?),
        _ => Checkpoints::new(path.join("checkpoints"), 1)
            .newest_whole(&mut |note| observer.note(note))?,
    };
    if found.is_none() {
        let reason = format!(
            "{} has no checkpoint; give the directory of a run, or of one of its checkpoints",
            path.display()
        );
        return Err(config.options().invalid(FROM, reason).into());
    }
    Ok(found)
}
