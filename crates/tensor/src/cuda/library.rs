//! The libraries of CUDA, found and opened at run time: a table of symbols for each, and where it was looked for.
//!
//! Nothing of CUDA is needed to build the program, and nothing to run it without a GPU. The driver comes with the
//! GPU's driver package and is known to the loader. NVRTC and cuBLASLt may lie in a Python environment or a toolkit,
//! on no loader's path, so these folders are searched.

use std::env;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::device::DeviceError;

/// A folder, or several separated by `:`, that is searched before all others.
pub(crate) const PATH_VARIABLE: &str = "RAPPEL_CUDA_PATH";

/// What the three libraries are called, newest first.
const DRIVER: &[&str] = &["libcuda.so.1", "libcuda.so"];
const NVRTC: &[&str] = &["libnvrtc.so.13", "libnvrtc.so.12"];
const CUBLASLT: &[&str] = &["libcublasLt.so.13", "libcublasLt.so.12"];

/// How the two that the driver does not bring are installed.
const INSTALL: &str = "install NVRTC and cuBLASLt of CUDA 12 or 13 from PyPI (pip install nvidia-cuda-nvrtc nvidia-cublas; \
                       for CUDA 12 nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12) or from the distribution's CUDA packages, or \
                       set RAPPEL_CUDA_PATH to the folder that holds them";

/// Declares a table of a library's functions, and how it is filled.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($symbol:ident ( $($arg:ty),* ) -> $result:ty;)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case, reason = "the library's own names")]
        pub(super) struct $table {
            $(pub $symbol: unsafe extern "C" fn($($arg),*) -> $result,)*
        }

        impl $table {
            /// The table of an open library, which stays open.
            #[allow(non_snake_case, reason = "as above")]
            fn of(library: &Opened) -> Result<Self, DeviceError> {
                $(
                    let name = concat!(stringify!($symbol), "\0").as_bytes();
                    // SAFETY: the type is that of NVIDIA's header for this symbol.
                    let found = unsafe {
                        library.library.get::<unsafe extern "C" fn($($arg),*) -> $result>(name)
                    };
                    let $symbol = *found.map_err(|_| library.lacks(stringify!($symbol)))?;
                )*
                Ok(Self { $($symbol),* })
            }
        }
    };
}

type Handle = *mut c_void;

table! {
    /// The driver: of CUDA 12.0, which has all of these.
    Driver {
        cuInit(c_uint) -> c_int;
        cuDriverGetVersion(*mut c_int) -> c_int;
        cuGetErrorName(c_int, *mut *const c_char) -> c_int;
        cuGetErrorString(c_int, *mut *const c_char) -> c_int;
        cuDeviceGetCount(*mut c_int) -> c_int;
        cuDeviceGet(*mut c_int, c_int) -> c_int;
        cuDeviceGetName(*mut c_char, c_int, c_int) -> c_int;
        cuDeviceGetAttribute(*mut c_int, c_int, c_int) -> c_int;
        cuDeviceTotalMem_v2(*mut usize, c_int) -> c_int;
        cuDevicePrimaryCtxRetain(*mut Handle, c_int) -> c_int;
        cuCtxSetCurrent(Handle) -> c_int;
        cuStreamCreate(*mut Handle, c_uint) -> c_int;
        cuStreamSynchronize(Handle) -> c_int;
        cuEventCreate(*mut Handle, c_uint) -> c_int;
        cuEventRecord(Handle, Handle) -> c_int;
        cuEventSynchronize(Handle) -> c_int;
        cuEventElapsedTime(*mut f32, Handle, Handle) -> c_int;
        cuMemGetInfo_v2(*mut usize, *mut usize) -> c_int;
        cuMemAlloc_v2(*mut u64, usize) -> c_int;
        cuMemFree_v2(u64) -> c_int;
        cuMemHostAlloc(*mut *mut c_void, usize, c_uint) -> c_int;
        cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, Handle) -> c_int;
        cuMemcpyDtoHAsync_v2(*mut c_void, u64, usize, Handle) -> c_int;
        cuMemsetD8Async(u64, u8, usize, Handle) -> c_int;
        cuModuleLoadData(*mut Handle, *const c_void) -> c_int;
        cuModuleGetFunction(*mut Handle, Handle, *const c_char) -> c_int;
        cuFuncSetAttribute(Handle, c_int, c_int) -> c_int;
        cuLaunchKernel(
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
        ) -> c_int;
    }
}

table! {
    /// The compiler of CUDA C.
    Nvrtc {
        nvrtcVersion(*mut c_int, *mut c_int) -> c_int;
        nvrtcGetErrorString(c_int) -> *const c_char;
        nvrtcCreateProgram(
            *mut Handle, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
        ) -> c_int;
        nvrtcCompileProgram(Handle, c_int, *const *const c_char) -> c_int;
        nvrtcGetProgramLogSize(Handle, *mut usize) -> c_int;
        nvrtcGetProgramLog(Handle, *mut c_char) -> c_int;
        nvrtcGetCUBINSize(Handle, *mut usize) -> c_int;
        nvrtcGetCUBIN(Handle, *mut c_char) -> c_int;
        nvrtcDestroyProgram(*mut Handle) -> c_int;
    }
}

table! {
    /// Matrix products.
    CublasLt {
        cublasLtGetVersion() -> usize;
        cublasLtCreate(*mut Handle) -> c_int;
        cublasLtMatmulDescCreate(*mut Handle, c_int, c_int) -> c_int;
        cublasLtMatmulDescSetAttribute(Handle, c_int, *const c_void, usize) -> c_int;
        cublasLtMatrixLayoutCreate(*mut Handle, c_int, u64, u64, i64) -> c_int;
        cublasLtMatrixLayoutSetAttribute(Handle, c_int, *const c_void, usize) -> c_int;
        cublasLtMatmulPreferenceCreate(*mut Handle) -> c_int;
        cublasLtMatmulPreferenceSetAttribute(Handle, c_int, *const c_void, usize) -> c_int;
        cublasLtMatmulPreferenceDestroy(Handle) -> c_int;
        cublasLtMatmulAlgoGetHeuristic(
            Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut c_void, *mut c_int
        ) -> c_int;
        cublasLtMatmul(
            Handle, Handle, *const c_void, u64, Handle, u64, Handle, *const c_void, u64, Handle, u64, Handle, *const c_void,
            u64, usize, Handle
        ) -> c_int;
    }
}

/// A library that is open, and where it was found.
struct Opened {
    library: Library,
    place: String,
}

impl Opened {
    fn lacks(&self, symbol: &str) -> DeviceError {
        DeviceError::new(format!(
            "{} has no {symbol}: it is older than CUDA 12.0; {INSTALL}",
            self.place
        ))
    }
}

/// A table and where its library is.
pub(super) struct Found<T> {
    pub table: T,
    pub place: String,
}

/// Opens the driver.
pub(super) fn driver() -> Result<Found<Driver>, DeviceError> {
    let opened = open("the NVIDIA driver", DRIVER, &[
        Path::new("/usr/lib/wsl/lib").into(),
        Path::new("/usr/local/nvidia/lib64").into(),
        Path::new("/usr/lib/x86_64-linux-gnu").into(),
    ])
    .map_err(|looked| {
        DeviceError::new(format!(
            "there is no NVIDIA driver: {looked}; install NVIDIA's driver, 525.60 or newer, and start a container with the GPU \
             (docker run --gpus all)"
        ))
    })?;
    let table = Driver::of(&opened).map_err(|error| {
        DeviceError::new(format!(
            "the NVIDIA driver is too old: {error}; install driver 525.60 or newer"
        ))
    })?;
    Ok(stay(table, opened))
}

/// Opens NVRTC.
pub(super) fn nvrtc() -> Result<Found<Nvrtc>, DeviceError> {
    let opened = open("NVRTC", NVRTC, &folders()).map_err(|looked| {
        DeviceError::new(format!(
            "NVRTC, CUDA's run-time compiler, was not found: {looked}; {INSTALL}"
        ))
    })?;
    Nvrtc::of(&opened).map(|table| stay(table, opened))
}

/// Opens cuBLASLt.
pub(super) fn cublaslt() -> Result<Found<CublasLt>, DeviceError> {
    let opened = open("cuBLASLt", CUBLASLT, &folders()).map_err(|looked| {
        DeviceError::new(format!("cuBLASLt was not found: {looked}; {INSTALL}"))
    })?;
    CublasLt::of(&opened).map(|table| stay(table, opened))
}

/// The table, whose functions stay where they are: a library is never closed.
fn stay<T>(table: T, Opened { library, place }: Opened) -> Found<T> {
    std::mem::forget(library);
    Found { table, place }
}

/// Opens the first of `names` that is in one of the `folders` that the user named, or known to the loader, or in another
/// of the folders; else says where it was looked for.
fn open(what: &str, names: &[&str], folders: &[PathBuf]) -> Result<Opened, String> {
    let mut refused = String::new();
    let wished = wished_folders();
    let rest = || folders.iter().filter(|folder| !wished.contains(folder));
    let paths = |folders: &mut dyn Iterator<Item = &PathBuf>| -> Vec<PathBuf> {
        let paths = folders.flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        paths.filter(|path| path.exists()).collect()
    };
    let by_name = names.iter().map(PathBuf::from);
    let candidates = paths(&mut wished.iter()).into_iter().chain(by_name).chain(paths(&mut rest()));
    for path in candidates {
        open_builtins(&path);
        // SAFETY: these libraries have no initialisers but their own set-up.
        match unsafe { Library::new(&path) } {
            Ok(library) => return Ok(Opened { library, place: path.display().to_string() }),
            Err(error) if path.is_absolute() => {
                let _ = write!(refused, "; {} cannot be opened ({error})", path.display());
            }
            Err(_) => {}
        }
    }
    let looked: Vec<String> =
        wished.iter().chain(rest()).map(|folder| folder.display().to_string()).collect();
    Err(format!(
        "{what} ({}) is neither known to the loader nor in {}{refused}",
        names.join(", "),
        if looked.is_empty() { "a folder".into() } else { looked.join(", ") },
    ))
}

/// NVRTC opens its builtins by their bare name at its first compilation: from a folder that the loader does not know,
/// they must be there already.
fn open_builtins(path: &Path) {
    let Some(folder) = path.parent().filter(|_| path.is_absolute()) else { return };
    if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc.so")) {
        return;
    }
    for builtins in entries(folder, |name| name.starts_with("libnvrtc-builtins.so")) {
        // SAFETY: as in `open`.
        if let Ok(library) = unsafe { Library::new(&builtins) } {
            std::mem::forget(library);
        }
    }
}

/// The folders of `RAPPEL_CUDA_PATH`: themselves, and where packages keep libraries below.
fn wished_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for root in split(PATH_VARIABLE) {
        folders.extend([root.clone(), root.join("lib"), root.join("lib64")]);
        folders.extend(entries(&root, |_| true).into_iter().map(|below| below.join("lib")));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

/// Where NVIDIA's libraries may lie: the user's wish, Python's packages, toolkits, distributions.
fn folders() -> Vec<PathBuf> {
    let mut folders = wished_folders();
    folders.extend(split("LD_LIBRARY_PATH"));
    let mut roots: Vec<PathBuf> =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().flat_map(split).collect();
    let pythons = split("PATH").into_iter().filter(|folder| folder.join("python3").exists());
    roots.extend(pythons.filter_map(|folder| folder.parent().map(Path::to_path_buf)));
    for root in roots {
        for python in entries(&root.join("lib"), |name| name.starts_with("python3")) {
            for packages in ["site-packages", "dist-packages"] {
                let nvidia = python.join(packages).join("nvidia");
                folders.extend(
                    entries(&nvidia, |_| true).into_iter().map(|package| package.join("lib")),
                );
            }
        }
        folders.push(root.join("lib"));
    }
    for toolkit in entries(Path::new("/usr/local"), |name| name.starts_with("cuda")) {
        folders.extend([toolkit.join("lib64"), toolkit.join("targets/x86_64-linux/lib")]);
    }
    folders.extend(
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]
            .map(PathBuf::from),
    );
    let mut unique: Vec<PathBuf> = Vec::new();
    for folder in folders {
        if folder.is_dir() && !unique.contains(&folder) {
            unique.push(folder);
        }
    }
    unique
}

/// The paths of a variable.
fn split(variable: &str) -> Vec<PathBuf> {
    let value = env::var_os(variable).unwrap_or_default();
    env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// What a folder holds under such names, the last first: newer versions before older ones.
fn entries(folder: &Path, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = read
        .filter(|entry| entry.file_name().to_str().is_some_and(&keep))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_places_that_were_searched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libnothing.so.7"), "not a library").unwrap();
        let folders = [folder.path().to_path_buf()];
        let told = open("Nothing", &["libnothing.so.7"], &folders).err().unwrap();
        assert!(
            told.starts_with("Nothing (libnothing.so.7) is neither known to the loader nor in "),
            "{told}"
        );
        let path = folder.path().display().to_string();
        assert!(
            told.contains(&format!("{path}; {path}/libnothing.so.7 cannot be opened")),
            "{told}"
        );
    }
}
