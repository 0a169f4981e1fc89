//! What a GPU does: memory, copies, compiled functions and products. Behind it is NVIDIA's driver, or the emulator that
//! runs the same kernels' text on the processor.

use std::ffi::c_void;
use std::fmt;

use crate::device::DeviceError;
use crate::dtype::DType;

/// A text of CUDA C, complete but for the prelude, and how it is compiled.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    /// Whether results are the cores' bit for bit.
    pub exact: bool,
}

/// A compiled function, as its machine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function(pub usize);

/// Blocks of threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub blocks: [u32; 3],
    pub threads: u32,
    /// Bytes of shared memory whose size is given here, beside what the function declares.
    pub shared: u32,
}

/// One operand of a product: matrices in rows or columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Matrix {
    pub dtype: DType,
    /// Whether neighbouring elements of a row lie side by side; else those of a column.
    pub by_rows: bool,
    /// Elements from one row (or column) to the next.
    pub leading: usize,
    /// Elements from one matrix to the next.
    pub step: usize,
}

/// `D[i] = A[i] B[i] (+ D[i])` of `batch` matrices, `D [m, n]` in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub batch: usize,
    pub a: Matrix,
    pub b: Matrix,
    pub d: Matrix,
    pub accumulate: bool,
    /// Whether single-precision operands are rounded to TF32, or to bfloat16.
    pub rounding: Rounding,
}

/// What a product's single-precision operands are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rounding {
    None,
    Tf32,
    Bf16,
}

/// Bytes of a GPU's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Free {
    pub free: usize,
    pub total: usize,
}

/// A GPU, all of whose work is done in the order that it was asked for.
pub(super) trait Machine: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;
    fn memory(&self) -> Result<Free, DeviceError>;
    /// An address of so many bytes; `None` where there is no memory for them.
    fn allocate(&self, bytes: usize) -> Result<Option<u64>, DeviceError>;
    fn release(&self, address: u64);
    fn send(&self, from: &[u8], address: u64) -> Result<(), DeviceError>;
    fn fetch(&self, address: u64, to: &mut [u8]) -> Result<(), DeviceError>;
    fn fill(&self, address: u64, bytes: usize, value: u8) -> Result<(), DeviceError>;
    fn compile(&self, source: Source<'_>, function: &str) -> Result<Function, DeviceError>;
    /// # Safety
    /// `args` point to what the function takes, and its addresses to as much memory as it uses.
    unsafe fn launch(
        &self,
        function: Function,
        grid: Grid,
        args: &mut [*mut c_void],
    ) -> Result<(), DeviceError>;
    /// # Safety
    /// The addresses of A, B and D lead to as much memory as the product says.
    unsafe fn product(&self, product: &Product, addresses: [u64; 3]) -> Result<(), DeviceError>;
    /// Waits until all that was asked for is done.
    fn finish(&self) -> Result<(), DeviceError>;
    /// Milliseconds between here and what `work` asked for being done.
    fn timed(&self, work: &mut dyn FnMut() -> Result<(), DeviceError>) -> Result<f64, DeviceError>;
}
