//! Where values lie and work runs.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::memory::DeviceMemory;

/// Where parameters lie, and with them gradients, optimizer state, and the operations that read
/// them: an operation runs where its operands are. Only whoever makes [`Params`](crate::Params)
/// names one.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor's cores and their memory.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by the number that the driver gives it.
    Cuda(usize),
    /// A second memory without a processor of its own.
    #[cfg(test)]
    Echo(&'static crate::memory::Echo),
}

impl Device {
    /// The best that there is: the first GPU that works, else the processor, and why no GPU.
    pub fn auto() -> (Self, Option<DeviceError>) {
        match Self::Cuda(0).open() {
            Ok(()) => (Self::Cuda(0), None),
            Err(reason) => (Self::Cpu, Some(reason)),
        }
    }

    /// Makes the device ready, so that its first use cannot fail for what is known now.
    ///
    /// # Errors
    /// What is missing, where it was looked for, and what to do.
    pub fn open(self) -> Result<(), DeviceError> {
        match self {
            Self::Cuda(index) => crate::cuda::gpu(index).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// What the device is called: `NVIDIA H100`; the processor has no name here.
    pub fn hardware(self) -> Option<String> {
        match self {
            Self::Cuda(index) => crate::cuda::gpu(index).ok().map(|gpu| gpu.hardware().to_owned()),
            _ => None,
        }
    }

    /// The device's own memory; `None` where it is the processor's.
    ///
    /// # Panics
    /// Where the device does not work; [`open`](Self::open) tells before.
    pub(crate) fn memory(self) -> Option<&'static dyn DeviceMemory> {
        match self {
            Self::Cpu => None,
            Self::Cuda(index) => Some(crate::cuda::gpu(index).unwrap_or_else(|error| fail(error))),
            #[cfg(test)]
            Self::Echo(memory) => Some(memory),
        }
    }
}

/// The name, as in a config: `cpu`, `cuda:0`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            #[cfg(test)]
            Self::Echo(_) => f.write_str("echo"),
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let number = |text: &str| {
            text.parse::<usize>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
        };
        match (name, name.strip_prefix("cuda:").and_then(number)) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(index)) => Ok(Self::Cuda(index)),
            _ => Err(DeviceError::new(format!(
                "{name:?} is not a device; expected cpu, or cuda:0, cuda:1, .."
            ))),
        }
    }
}

/// What keeps a device from being used, or made its work fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeviceError {
    message: String,
}

impl DeviceError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// The first failure of a device at work.
static FAILED: OnceLock<DeviceError> = OnceLock::new();

/// The first failure of a device at work, if there was one: to tell the panic that came of it from others. Nothing that
/// was computed since then holds.
pub fn device_failure() -> Option<DeviceError> {
    FAILED.get().cloned()
}

/// Panics because a device failed.
pub(crate) fn fail(error: DeviceError) -> ! {
    panic!("{}", FAILED.get_or_init(|| error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "cuda:0", "cuda:13"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        for wrong in ["gpu", "cuda:", "cuda:-1", "cuda:+1", "CUDA:0", "auto"] {
            let told = wrong.parse::<Device>().unwrap_err().to_string();
            assert_eq!(
                told,
                format!("{wrong:?} is not a device; expected cpu, or cuda:0, cuda:1, ..")
            );
        }
    }
}
