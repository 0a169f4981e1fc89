//! Where values lie and work runs.

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
    /// A second memory without a processor of its own.
    #[cfg(test)]
    Echo(&'static crate::memory::Echo),
}

impl Device {
    /// The device's own memory; `None` where it is the processor's.
    pub(crate) fn memory(self) -> Option<&'static dyn DeviceMemory> {
        match self {
            Self::Cpu => None,
            #[cfg(test)]
            Self::Echo(memory) => Some(memory),
        }
    }
}
