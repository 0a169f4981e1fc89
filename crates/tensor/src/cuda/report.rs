//! What there is of GPUs and their libraries, and what is missing.

use super::compiler::Compiler;
use super::driver::Opened;
use super::library;
use crate::device::DeviceError;

/// A GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// What the card is called.
    pub name: String,
    /// Its compute capability, as `9.0`.
    pub capability: String,
    /// Its multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of its memory.
    pub memory_bytes: usize,
    /// Why it cannot be used, if it cannot.
    pub refusal: Option<String>,
}

/// A library.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryInfo {
    /// Where it is: a path, or the name that the loader knows.
    pub place: String,
    /// Its version.
    pub version: String,
}

/// What this machine has to run on beside its processor.
#[derive(Debug, Clone)]
pub struct DevicesReport {
    /// The driver; its version is that of the CUDA it serves.
    pub driver: Result<LibraryInfo, DeviceError>,
    /// The GPUs that the driver shows.
    pub gpus: Result<Vec<DeviceInfo>, DeviceError>,
    /// The compiler of kernels.
    pub nvrtc: Result<LibraryInfo, DeviceError>,
    /// The library of matrix products.
    pub cublaslt: Result<LibraryInfo, DeviceError>,
}

/// Looks for GPUs and all that running on one needs.
pub fn devices() -> DevicesReport {
    let opened = Opened::open();
    let driver = opened.as_ref().map(|opened| LibraryInfo {
        place: opened.place.clone(),
        version: format!("CUDA {}.{}", opened.version / 1000, opened.version % 1000 / 10),
    });
    let gpus = opened.as_ref().map_err(Clone::clone).and_then(Opened::cards).map(|cards| {
        let info = cards.iter().map(|card| DeviceInfo {
            name: card.name.clone(),
            capability: card.capability.map(|n| n.to_string()).join("."),
            multiprocessors: card.multiprocessors,
            memory_bytes: card.bytes,
            refusal: card.refusal(),
        });
        info.collect()
    });
    let nvrtc = Compiler::open().map(|compiler| LibraryInfo {
        version: format!("{}.{}", compiler.version.0, compiler.version.1),
        place: compiler.place,
    });
    let cublaslt = library::cublaslt().map(|found| {
        // SAFETY: no arguments.
        let version = unsafe { (found.table.cublasLtGetVersion)() };
        LibraryInfo { place: found.place, version: version_of(version) }
    });
    DevicesReport { driver: driver.map_err(Clone::clone), gpus, nvrtc, cublaslt }
}

/// cuBLAS counts 130000 for 13.0.0 and, before that, 120803 for 12.8.3.
fn version_of(number: usize) -> String {
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}
