//! Matrix products by cuBLASLt: descriptors and the algorithm of each shape are made once.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

use super::driver::Opened;
use super::library::{self, CublasLt, Found};
use super::machine::{Matrix, Product, Rounding};
use crate::device::DeviceError;
use crate::dtype::DType;

/// Memory that algorithms may use: one stream, so one for all, which makes their bits those of every run.
const WORKSPACE: usize = 32 << 20;

// By the numbers of cuBLASLt's header.
const COMPUTE_32F: c_int = 68;
const COMPUTE_64F: c_int = 70;
const COMPUTE_32F_FAST_16BF: c_int = 75;
const COMPUTE_32F_FAST_TF32: c_int = 77;
const TRANSPOSE_A: c_int = 3;
const TRANSPOSE_B: c_int = 4;
const BATCH_COUNT: c_int = 5;
const BATCH_STEP: c_int = 6;
const MOST_WORKSPACE: c_int = 1;
/// Of A, B, C and D.
const ALIGNMENT: [c_int; 4] = [5, 6, 7, 8];

/// What a heuristic tells; the first 64 bytes are the algorithm.
#[repr(C)]
#[derive(Clone, Copy)]
struct Heuristic {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

/// A product that is ready to run.
#[derive(Clone, Copy)]
struct Ready {
    description: usize,
    /// Of the operands in cuBLASLt's order, which counts columns first.
    layouts: [usize; 3],
    algorithm: [u64; 8],
}

/// cuBLASLt, and what it was asked before.
pub(super) struct Products {
    lt: CublasLt,
    handle: usize,
    workspace: u64,
    ready: Mutex<HashMap<(Product, [u32; 3]), Ready>>,
}

impl Products {
    /// Within the current context, in which it stays.
    pub fn open(opened: &Opened, _stream: *mut c_void) -> Result<Self, DeviceError> {
        let Found { table: lt, .. } = library::cublaslt()?;
        let (mut handle, mut workspace) = (std::ptr::null_mut(), 0);
        // SAFETY: handles to write.
        unsafe {
            check((lt.cublasLtCreate)(&raw mut handle), "cublasLtCreate")?;
            opened.check(
                (opened.driver.cuMemAlloc_v2)(&raw mut workspace, WORKSPACE),
                "workspace of cuBLASLt",
            )?;
        }
        Ok(Self { lt, handle: handle as usize, workspace, ready: Mutex::default() })
    }

    /// # Safety
    /// The addresses of A, B and D lead to as much memory as the product says.
    pub unsafe fn run(
        &self,
        product: &Product,
        [a, b, d]: [u64; 3],
        stream: *mut c_void,
    ) -> Result<(), DeviceError> {
        // Algorithms that need more than what addresses are multiples of are left out.
        let alignment = [b, a, d].map(|address| 1 << address.trailing_zeros().min(8));
        let ready = self.ready(product, alignment)?;
        let [first, second, third] = ready.layouts.map(|layout| layout as *mut c_void);
        let scalars: [[u8; 8]; 2] =
            [1.0, if product.accumulate { 1.0 } else { 0.0 }].map(|x: f64| {
                if product.d.dtype == DType::F64 {
                    x.to_ne_bytes()
                } else {
                    let [p, q, r, s] = (x as f32).to_ne_bytes();
                    [p, q, r, s, 0, 0, 0, 0]
                }
            });
        // A matrix in rows is its transpose in columns: D' = B' A'.
        // SAFETY: the caller's promise; all handles stay.
        let result = unsafe {
            (self.lt.cublasLtMatmul)(
                self.handle as *mut c_void,
                ready.description as *mut c_void,
                scalars[0].as_ptr().cast(),
                b,
                first,
                a,
                second,
                scalars[1].as_ptr().cast(),
                d,
                third,
                d,
                third,
                ready.algorithm.as_ptr().cast(),
                self.workspace,
                WORKSPACE,
                stream,
            )
        };
        check(result, "cublasLtMatmul")
    }

    fn ready(&self, product: &Product, alignment: [u32; 3]) -> Result<Ready, DeviceError> {
        let mut known = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = known.get(&(*product, alignment)) {
            return Ok(*ready);
        }
        let ready = self.describe(product, alignment)?;
        known.insert((*product, alignment), ready);
        Ok(ready)
    }

    fn describe(&self, product: &Product, alignment: [u32; 3]) -> Result<Ready, DeviceError> {
        let Product { m, n, k, batch, a, b, d, .. } = *product;
        let (compute, scale) = match (d.dtype, product.rounding) {
            (DType::F64, _) => (COMPUTE_64F, DType::F64),
            (_, Rounding::Tf32) => (COMPUTE_32F_FAST_TF32, DType::F32),
            (_, Rounding::Bf16) => (COMPUTE_32F_FAST_16BF, DType::F32),
            (_, Rounding::None) => (COMPUTE_32F, DType::F32),
        };
        let lt = &self.lt;
        let mut description = std::ptr::null_mut();
        // SAFETY: handles and attributes of the sizes that the header gives.
        unsafe {
            check(
                (lt.cublasLtMatmulDescCreate)(&raw mut description, compute, number(scale)),
                "cublasLtMatmulDescCreate",
            )?;
            for (which, matrix) in [(TRANSPOSE_A, b), (TRANSPOSE_B, a)] {
                let transposed = c_int::from(!matrix.by_rows);
                let result = (lt.cublasLtMatmulDescSetAttribute)(
                    description,
                    which,
                    (&raw const transposed).cast(),
                    4,
                );
                check(result, "cublasLtMatmulDescSetAttribute")?;
            }
            let layouts = [
                self.layout(&b, k, n, batch)?,
                self.layout(&a, m, k, batch)?,
                self.layout(&d, m, n, batch)?,
            ];
            let mut preference = std::ptr::null_mut();
            check(
                (lt.cublasLtMatmulPreferenceCreate)(&raw mut preference),
                "cublasLtMatmulPreferenceCreate",
            )?;
            let most = WORKSPACE as u64;
            (lt.cublasLtMatmulPreferenceSetAttribute)(
                preference,
                MOST_WORKSPACE,
                (&raw const most).cast(),
                8,
            );
            let [first, second, result] = alignment;
            for (which, bytes) in ALIGNMENT.into_iter().zip([first, second, result, result]) {
                (lt.cublasLtMatmulPreferenceSetAttribute)(
                    preference,
                    which,
                    (&raw const bytes).cast(),
                    4,
                );
            }
            let mut found: Heuristic = std::mem::zeroed();
            let mut count = 0;
            let [first, second, third] = layouts.map(|layout| layout as *mut c_void);
            let handle = self.handle as *mut c_void;
            let result = (lt.cublasLtMatmulAlgoGetHeuristic)(
                handle,
                description,
                first,
                second,
                third,
                third,
                preference,
                1,
                (&raw mut found).cast(),
                &raw mut count,
            );
            (lt.cublasLtMatmulPreferenceDestroy)(preference);
            if result != 0 || count == 0 {
                return Err(DeviceError::new(format!(
                    "cuBLASLt has no product for {product:?} (status {result})"
                )));
            }
            Ok(Ready { description: description as usize, layouts, algorithm: found.algorithm })
        }
    }

    /// The layout of a matrix of `rows` by `cols`.
    fn layout(
        &self,
        matrix: &Matrix,
        rows: usize,
        cols: usize,
        batch: usize,
    ) -> Result<usize, DeviceError> {
        let (long, many) = if matrix.by_rows { (cols, rows) } else { (rows, cols) };
        let mut layout = std::ptr::null_mut();
        let (count, step) = (batch as c_int, matrix.step as i64);
        let lt = &self.lt;
        // SAFETY: as in `describe`.
        unsafe {
            let result = (lt.cublasLtMatrixLayoutCreate)(
                &raw mut layout,
                number(matrix.dtype),
                long as u64,
                many as u64,
                matrix.leading.max(long) as i64,
            );
            check(result, "cublasLtMatrixLayoutCreate")?;
            if batch > 1 {
                let set = lt.cublasLtMatrixLayoutSetAttribute;
                check(
                    set(layout, BATCH_COUNT, (&raw const count).cast(), 4),
                    "cublasLtMatrixLayoutSetAttribute",
                )?;
                check(
                    set(layout, BATCH_STEP, (&raw const step).cast(), 8),
                    "cublasLtMatrixLayoutSetAttribute",
                )?;
            }
        }
        Ok(layout as usize)
    }
}

/// CUDA's number for a type.
fn number(dtype: DType) -> c_int {
    match dtype {
        DType::F64 => 1,
        DType::BF16 => 14,
        _ => 0,
    }
}

fn check(status: c_int, what: &str) -> Result<(), DeviceError> {
    match status {
        0 => Ok(()),
        status => Err(DeviceError::new(format!("{what}: cuBLAS status {status}"))),
    }
}
