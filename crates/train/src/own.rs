//! Runs of a program's own dataset, model and objective.

use std::path::Path;

use crate::parts::Parts;
use crate::{Config, Learner, Objective, Observer, Run, RunDir, TrainError};

impl Run {
    /// A run of a program's own learner in `dir`: from the start where there is none, else from its newest
    /// complete checkpoint, to the same bits as if it had never been interrupted.
    ///
    /// `config` is what a config file says of the optimizer, the schedule, regularization, the length of the
    /// run, checkpoints and telemetry, and in the section `data` of the order of samples; see
    /// [`Config::own`].
    ///
    /// # Errors
    /// Whatever is wrong with the config or the directory; a run that is there with another config or
    /// other data.
    pub fn own<O: Objective + 'static>(
        config: &Config,
        learner: Learner<O>,
        dir: impl AsRef<Path>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let dir = dir.as_ref();
        let build = |config: &Config, observer: &mut dyn Observer| {
            Parts::of(config, Box::new(learner), observer)
        };
        if RunDir::is_at(dir) {
            let old = Config::parse(&RunDir::open(dir)?.config()?, &[])?;
            config.check_changes(&old)?;
            return Self::resume_with(dir, &[], observer, build);
        }
        let name = |path: &Path| TrainError::Name { path: path.to_owned() };
        let out = dir.to_str().ok_or_else(|| name(dir))?.to_owned();
        let config = config.with_keys(&[("out", out)])?;
        Self::create_with(&config, "", observer, build)
    }
}
