//! A GPU's work done by the processor: kernels' own text, built by the system's C++ compiler.
//!
//! `kernels/emulator.hpp` has the words of CUDA: the threads of a block are fibers that run in one of three orders, and
//! barriers and the exchanges of a warp are where they meet. Memory is the host's. It is slow, and shows what a kernel
//! computes: masks, odd sizes, missing barriers, layouts of arguments. It shows no speed and no race between threads that
//! meet nowhere.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use half::bf16;
use libloading::Library;

use super::compiler::hash;
use super::locked;
use super::machine::{Free, Function, Grid, Machine, Matrix, Product, Rounding, Source};
use crate::device::DeviceError;
use crate::dtype::DType;

/// Makes every GPU an emulated one: the order of threads, 0 up, 1 down, 2 mixed.
const VARIABLE: &str = "RAPPEL_CUDA_EMULATOR";
/// The words of CUDA for a C++ compiler.
const HEADER: &str = include_str!("kernels/emulator.hpp");
/// Bytes that an emulated GPU has.
const MEMORY: usize = 4 << 30;

/// How a built function is called: with its arguments, the grid, threads, shared bytes and the order of threads; gives what
/// went wrong, or nothing.
type Entry = unsafe extern "C" fn(*mut *mut c_void, *const u32, u32, u32, u32) -> *const c_char;

static LAUNCH: Mutex<()> = Mutex::new(());

/// A GPU that is none.
#[derive(Debug)]
pub(super) struct Emulator {
    order: u32,
    blocks: Mutex<HashMap<u64, usize>>,
}

impl Emulator {
    /// The emulator, where one is asked for. In this crate's tests every GPU is one, in the order of its number.
    pub fn wanted(index: usize) -> Result<Option<Self>, DeviceError> {
        let order = if cfg!(test) {
            Some(index as u32 % 3)
        } else {
            match std::env::var(VARIABLE).ok().filter(|value| !value.is_empty()) {
                None => None,
                Some(order) => {
                    Some(order.parse().ok().filter(|order| *order < 3).ok_or_else(|| {
                        DeviceError::new(format!(
                            "{VARIABLE}={order:?} is not an order of threads; set it to 0, 1 or 2"
                        ))
                    })?)
                }
            }
        };
        Ok(order.map(|order| Self { order, blocks: Mutex::default() }))
    }

    fn used(&self) -> usize {
        locked(&self.blocks).values().sum()
    }
}

/// Builds a text into a library, with an entry for `function`; kept for later processes.
fn build(source: Source<'_>, function: &str) -> Result<Entry, DeviceError> {
    let failed = |what: &str, told: &str| {
        DeviceError::new(format!("the emulator cannot build a kernel: {what}: {told}"))
    };
    // Where no thread waits for another, none needs a stack of its own.
    let body = source.text.strip_prefix(super::PRELUDE).unwrap_or(source.text);
    let meets = ["__sync", "__shfl", "warp_", "block_"].iter().any(|word| body.contains(word));
    let meets = if meets { "#define RAPPEL_MEETS\n" } else { "" };
    let text = format!("{meets}{HEADER}\n{}\nENTRY({function})\n", source.text);
    let folder = std::env::temp_dir().join(format!("rappel-emulator-{}", user()));
    fs::create_dir_all(&folder).map_err(|error| failed("a folder for it", &error.to_string()))?;
    let path = folder.join(format!("{:032x}.so", hash(&text)));
    if !path.exists() {
        let unfinished = path.with_extension(format!(
            "{}-{:?}.part",
            std::process::id(),
            std::thread::current().id()
        ));
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        let mut command = Command::new(&compiler);
        command.args([
            "-x",
            "c++",
            "-std=c++17",
            "-O1",
            "-w",
            "-ffp-contract=off",
            "-fno-strict-aliasing",
            "-fPIC",
            "-shared",
        ]);
        command
            .arg("-o")
            .arg(&unfinished)
            .args(["-", "-lm"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&compiler, &error.to_string()))?;
        let mut input = child.stdin.take().ok_or_else(|| failed(&compiler, "no input"))?;
        // Who stops reading early says why below.
        let _ = input.write_all(text.as_bytes());
        drop(input);
        let output =
            child.wait_with_output().map_err(|error| failed(&compiler, &error.to_string()))?;
        if !output.status.success() {
            return Err(failed(&compiler, &String::from_utf8_lossy(&output.stderr)));
        }
        fs::rename(&unfinished, &path).map_err(|error| failed("keeping it", &error.to_string()))?;
    }
    // SAFETY: built from this program's own text; it has no initialisers.
    let library =
        unsafe { Library::new(&path) }.map_err(|error| failed("opening it", &error.to_string()))?;
    // SAFETY: the header defines `emulated` as an `Entry`.
    let entry = unsafe { library.get::<Entry>(b"emulated\0") };
    let entry = *entry.map_err(|error| failed("its entry", &error.to_string()))?;
    std::mem::forget(library);
    Ok(entry)
}

/// A name for what is this user's.
fn user() -> String {
    std::env::var("USER").unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect()
}

impl Machine for Emulator {
    fn name(&self) -> &'static str {
        "emulated GPU"
    }

    fn memory(&self) -> Result<Free, DeviceError> {
        Ok(Free { free: MEMORY.saturating_sub(self.used()), total: MEMORY })
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, DeviceError> {
        if self.used() + bytes > MEMORY {
            return Ok(None);
        }
        // Nothing may be read that was not written: bytes that are no number.
        let block = vec![u128::MAX; bytes.div_ceil(16)].into_boxed_slice();
        let address = Box::into_raw(block).cast::<u8>() as u64;
        locked(&self.blocks).insert(address, bytes);
        Ok(Some(address))
    }

    fn release(&self, address: u64) {
        if let Some(bytes) = locked(&self.blocks).remove(&address) {
            let block =
                std::ptr::slice_from_raw_parts_mut(address as *mut u128, bytes.div_ceil(16));
            // SAFETY: made by `allocate`, of the same size.
            drop(unsafe { Box::from_raw(block) });
        }
    }

    fn send(&self, from: &[u8], address: u64) -> Result<(), DeviceError> {
        // SAFETY: buffers keep within their blocks.
        unsafe { (address as *mut u8).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }

    fn fetch(&self, address: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        // SAFETY: as in `send`.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(address as *const u8, to.len()) };
        Ok(())
    }

    fn fill(&self, address: u64, bytes: usize, value: u8) -> Result<(), DeviceError> {
        // SAFETY: as in `send`.
        unsafe { (address as *mut u8).write_bytes(value, bytes) };
        Ok(())
    }

    fn compile(&self, source: Source<'_>, function: &str) -> Result<Function, DeviceError> {
        CString::new(function)
            .map_err(|_| DeviceError::new("a function's name has a zero byte"))?;
        build(source, function).map(|entry| Function(entry as usize))
    }

    unsafe fn launch(
        &self,
        function: Function,
        grid: Grid,
        args: &mut [*mut c_void],
    ) -> Result<(), DeviceError> {
        // A library's threads and shared memory are its variables.
        let _one_at_a_time = locked(&LAUNCH);
        // SAFETY: `compile` made it of an `Entry`; the caller's promise.
        let told = unsafe {
            let entry: Entry = std::mem::transmute(function.0);
            entry(args.as_mut_ptr(), grid.blocks.as_ptr(), grid.threads, grid.shared, self.order)
        };
        if told.is_null() {
            return Ok(());
        }
        // SAFETY: a text of the library's.
        Err(DeviceError::new(unsafe { CStr::from_ptr(told) }.to_string_lossy()))
    }

    unsafe fn product(&self, product: &Product, [a, b, d]: [u64; 3]) -> Result<(), DeviceError> {
        let Product { m, n, k, batch, .. } = *product;
        let round = |x: f64| match product.rounding {
            Rounding::Bf16 => f64::from(bf16::from_f64(x)),
            _ => x,
        };
        for i in 0..batch {
            for row in 0..m {
                for col in 0..n {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let term = |j: usize| {
                            round(read(&product.a, a, i, row, j))
                                * round(read(&product.b, b, i, j, col))
                        };
                        let before =
                            if product.accumulate { read(&product.d, d, i, row, col) } else { 0.0 };
                        write(&product.d, d, (i, row, col), before + (0..k).map(term).sum::<f64>());
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn timed(&self, work: &mut dyn FnMut() -> Result<(), DeviceError>) -> Result<f64, DeviceError> {
        let since = Instant::now();
        work()?;
        Ok(since.elapsed().as_secs_f64() * 1e3)
    }
}

fn place(matrix: &Matrix, i: usize, row: usize, col: usize) -> usize {
    let within =
        if matrix.by_rows { row * matrix.leading + col } else { col * matrix.leading + row };
    i * matrix.step + within
}

/// # Safety
/// The element is there.
unsafe fn read(matrix: &Matrix, address: u64, i: usize, row: usize, col: usize) -> f64 {
    let at = place(matrix, i, row, col);
    // SAFETY: the caller's promise.
    unsafe {
        match matrix.dtype {
            DType::F64 => (address as *const f64).add(at).read(),
            DType::BF16 => (address as *const bf16).add(at).read().to_f64(),
            _ => f64::from((address as *const f32).add(at).read()),
        }
    }
}

/// # Safety
/// The element is there.
unsafe fn write(matrix: &Matrix, address: u64, (i, row, col): (usize, usize, usize), value: f64) {
    let at = place(matrix, i, row, col);
    // SAFETY: the caller's promise.
    unsafe {
        match matrix.dtype {
            DType::F64 => (address as *mut f64).add(at).write(value),
            DType::BF16 => (address as *mut bf16).add(at).write(bf16::from_f64(value)),
            _ => (address as *mut f32).add(at).write(value as f32),
        }
    }
}
