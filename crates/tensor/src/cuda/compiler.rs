//! CUDA C to machine code: NVRTC, without a header, and the code it made kept on disk.

use std::ffi::{CStr, CString, c_int};
use std::path::PathBuf;
use std::{env, fs, process};

use super::library::{self, Nvrtc};
use crate::device::DeviceError;

/// Options of kernels whose results are the cores', bit for bit: every operation is IEEE's, and products are fused into
/// sums only where a formula says so.
const EXACT: [&str; 4] = ["--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false"];

/// NVRTC, ready to compile.
pub(super) struct Compiler {
    nvrtc: Nvrtc,
    pub place: String,
    pub version: (i32, i32),
}

/// What became of a text.
pub(super) struct Compiled {
    pub cubin: Vec<u8>,
    /// What the assembler says of registers and spills; empty for code from the disk.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the tests that limit registers"))]
    pub log: String,
}

impl Compiler {
    /// Finds the library.
    pub fn open() -> Result<Self, DeviceError> {
        let found = library::nvrtc()?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both are numbers to write.
        unsafe { (found.table.nvrtcVersion)(&raw mut major, &raw mut minor) };
        Ok(Self { nvrtc: found.table, place: found.place, version: (major, minor) })
    }

    /// Code of `text` for `arch`, from the disk where it was made before.
    pub fn cached(&self, text: &str, arch: &str, exact: bool) -> Result<Vec<u8>, DeviceError> {
        let options = options(arch, exact).join(" ");
        let (major, minor) = self.version;
        let hash = hash(&format!("{options}\n{major}.{minor}\n{text}"));
        let path = cache_folder().map(|folder| folder.join(format!("{hash:032x}.cubin")));
        if let Some(cubin) =
            path.as_ref().and_then(|path| fs::read(path).ok()).filter(|cubin| !cubin.is_empty())
        {
            return Ok(cubin);
        }
        let Compiled { cubin, .. } = self.compile(text, arch, exact)?;
        if let Some(path) = path {
            // A cache that cannot be written costs the time of compiling again.
            let _ = keep(&path, &cubin);
        }
        Ok(cubin)
    }

    /// Compiles `text` for `arch`.
    pub fn compile(&self, text: &str, arch: &str, exact: bool) -> Result<Compiled, DeviceError> {
        let nvrtc = &self.nvrtc;
        let text =
            CString::new(text).map_err(|_| DeviceError::new("a kernel's text has a zero byte"))?;
        let options: Vec<CString> =
            options(arch, exact).into_iter().filter_map(|o| CString::new(o).ok()).collect();
        let pointers: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the calls; sizes are the library's own.
        unsafe {
            let name = c"rappel.cu".as_ptr();
            let (none, nothing) = (std::ptr::null(), std::ptr::null());
            self.check(
                (nvrtc.nvrtcCreateProgram)(&raw mut program, text.as_ptr(), name, 0, none, nothing),
                "",
            )?;
            let result =
                (nvrtc.nvrtcCompileProgram)(program, pointers.len() as c_int, pointers.as_ptr());
            let mut size = 0;
            (nvrtc.nvrtcGetProgramLogSize)(program, &raw mut size);
            let mut log = vec![0_u8; size.max(1)];
            (nvrtc.nvrtcGetProgramLog)(program, log.as_mut_ptr().cast());
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
            let compiled = self.check(result, &log).and_then(|()| {
                let mut size = 0;
                self.check((nvrtc.nvrtcGetCUBINSize)(program, &raw mut size), "")?;
                let mut cubin = vec![0_u8; size];
                self.check((nvrtc.nvrtcGetCUBIN)(program, cubin.as_mut_ptr().cast()), "")?;
                Ok(Compiled { cubin, log })
            });
            (nvrtc.nvrtcDestroyProgram)(&raw mut program);
            compiled
        }
    }

    fn check(&self, result: c_int, log: &str) -> Result<(), DeviceError> {
        if result == 0 {
            return Ok(());
        }
        // SAFETY: the library's own text, which stays.
        let told =
            unsafe { CStr::from_ptr((self.nvrtc.nvrtcGetErrorString)(result)) }.to_string_lossy();
        let (major, minor) = self.version;
        let log: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).take(8).collect();
        Err(DeviceError::new(format!(
            "NVRTC {major}.{minor} ({}) could not compile a kernel: {told}: {}; if it does not know this GPU, install a newer \
             NVRTC",
            self.place,
            log.join("; ")
        )))
    }
}

fn options(arch: &str, exact: bool) -> Vec<String> {
    let always = ["--std=c++17", "-w", "--ptxas-options=-v"].map(String::from);
    let exact = if exact { EXACT.map(String::from).to_vec() } else { Vec::new() };
    always.into_iter().chain([format!("--gpu-architecture={arch}")]).chain(exact).collect()
}

/// Where code is kept: in the user's cache.
fn cache_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("RAPPEL_CACHE").or_else(|| {
        let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        caches.map(|caches| caches.join("rappel"))
    })?;
    Some(root.join("kernels"))
}

/// Writes a file under another name first, so that a reader never sees half of one.
fn keep(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension(format!("{}.part", process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(unfinished, path)
}

/// 128 bits of a text (FNV-1a).
pub(super) fn hash(text: &str) -> u128 {
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}
