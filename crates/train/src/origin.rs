//! Where a run begins that continues from another one.

use rappel_config::ConfigError;

use crate::checkpoint::{Checkpoints, Whole};
use crate::{Config, Observer, TrainError};

/// The config's keys.
pub(crate) const FROM: &str = "from";
pub(crate) const FROM_SHA256: &str = "from_sha256";

/// The checkpoint that the config's `from` means: one itself, or the newest whole one of a run; none
/// where the run begins from nothing. The config that comes with it names that very checkpoint and
/// its hash, so that it means the same one for good.
pub(crate) fn origin(
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<(Config, Option<Whole>), TrainError> {
    let wanted = config.run().from_sha256.as_ref();
    let Some(path) = &config.run().from else { return Ok((config.clone(), None)) };
    observer.stage("checking the checkpoint to begin at")?;
    let step = path.file_name().and_then(|name| name.to_str()?.strip_prefix("step-")?.parse().ok());
    let found = match (step, path.parent()) {
        (Some(step), Some(folder)) => {
            Some(Checkpoints::new(folder.to_owned(), 1).of(step).map_err(|error| match error {
                TrainError::Torn { path, reason } => {
                    let reason = format!(
                        "the run begins at {}, which is not complete: {reason}; bring it back from a copy, \
                         or begin a new run",
                        path.display()
                    );
                    ConfigError::invalid(FROM, reason).into()
                }
                error => error,
            })?)
        }
        _ => Checkpoints::new(path.join("checkpoints"), 1).newest_whole(observer)?,
    };
    let Some(whole) = found else {
        let reason = format!(
            "{} has no checkpoint; give the directory of a run, or of one of its checkpoints",
            path.display()
        );
        return Err(ConfigError::invalid(FROM, reason).into());
    };
    let sha256 = whole.sha256()?;
    if let Some(wanted) = wanted.filter(|wanted| **wanted != sha256) {
        let reason = format!(
            "{} is not the checkpoint that the run begins at: the SHA-256 of its manifest is {sha256}, not \
             {wanted}; bring that one back from a copy, or begin a new run",
            whole.path.display()
        );
        return Err(ConfigError::invalid(FROM_SHA256, reason).into());
    }
    let path = whole.path.to_string_lossy().into_owned();
    let pinned = config.with_keys(&[(FROM, path), (FROM_SHA256, sha256)])?;
    Ok((pinned, Some(whole)))
}
