//! How a run multiplies matrices, and on what instructions its bits depend.

use rappel_config::ConfigError;
use rappel_tensor::{Bf16Kernel, DType, MatmulPrecision, check_bf16_kernel, with_matmul_precision};

use crate::task::Task;
use crate::{Config, TrainError};

/// What a run's matrix products are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Precision {
    matmul: MatmulPrecision,
    /// The instructions of products of bfloat16, where the run has any.
    pub kernel: Option<&'static str>,
}

impl Precision {
    /// What a config says of a task's model.
    pub fn new(config: &Config, task: &dyn Task) -> Result<Self, TrainError> {
        let invalid = |reason: String| {
            TrainError::from(ConfigError::invalid("train.matmul_precision", reason))
        };
        let matmul = config.run().train.matmul_precision;
        let layout = task.params().layout();
        let holds = |dtype| layout.entries().iter().any(|entry| entry.dtype == dtype);
        let medium = matmul == MatmulPrecision::Medium;
        if medium && holds(DType::F64) {
            let reason = "medium rounds single precision, and the model is f64; set it to highest, or \
                          give the model another dtype";
            return Err(invalid(reason.to_owned()));
        }
        let rounds = medium || holds(DType::BF16);
        let kernel = rounds.then(check_bf16_kernel).transpose().map_err(invalid)?;
        Ok(Self { matmul, kernel: kernel.map(Bf16Kernel::name) })
    }

    /// Runs a forward pass.
    pub fn within<R>(self, forward: impl FnOnce() -> R) -> R {
        with_matmul_precision(self.matmul, forward)
    }
}
