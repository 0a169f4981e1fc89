//! Sums, in an order that depends on sizes alone.

use std::ops::Range;

use super::elementwise::c_type;
use super::{Args, Gpu, Kernel};
use crate::dtype::DType;
use crate::memory::Buffer;
use crate::profile::timed;
use crate::tensor::Tensor;

const BODY: &str = include_str!("kernels/reduce.cu");
/// Numbers of a row that one block adds up, and rows that one thread does.
const PART: usize = 1 << 14;
const ROWS: usize = 64;

fn text(from: DType, to: DType) -> String {
    format!("typedef {} T;\ntypedef {} O;\n{BODY}", c_type(from), c_type(to))
}

/// The sum of a contiguous tensor seen as `[outer, reduced, inner]`, over `reduced`.
pub(crate) fn sum_middle(
    gpu: &Gpu,
    x: &Tensor,
    outer: usize,
    reduced: usize,
    inner: usize,
) -> Tensor {
    let _timer = timed("sum", 0.0, ((x.count() + outer * inner) * x.dtype().size()) as f64);
    let mut out = Tensor::uninit([outer, inner].into(), x.dtype());
    sum(gpu, x, [outer, reduced, inner], &mut out);
    out
}

/// The sum of the rows of a contiguous matrix `[rows, width]`, in the accumulator of its type.
pub(crate) fn sum_of_rows(gpu: &Gpu, x: &Tensor) -> Tensor {
    let (rows, width) = (x.size(0), x.size(1));
    let _timer = timed("sum", 0.0, (x.dtype().size() * rows * width) as f64);
    let mut out = Tensor::uninit([width].into(), x.dtype().accumulator());
    sum(gpu, x, [1, rows, width], &mut out);
    out
}

/// Writes the sums to `out`, of any type of float.
fn sum(gpu: &Gpu, x: &Tensor, [outer, reduced, inner]: [usize; 3], out: &mut Tensor) {
    let text = text(x.dtype(), out.dtype());
    let kernel = |function| Kernel { name: "sum", text: &text, function, exact: false };
    let by_rows = inner == 1;
    let parts = reduced.div_ceil(if by_rows { PART } else { ROWS }).max(1);
    let mut partial = Tensor::uninit([outer, parts, inner].into(), DType::F64);
    let args =
        Args::new().at(x.on(gpu)).at(partial.made_on(gpu)).long(reduced).long(inner).long(parts);
    if by_rows {
        gpu.run(kernel("sum_rows"), [outer * parts, 1, 1], 256, 0, &mut { args });
    } else {
        let count = outer * parts * inner;
        gpu.run_for(kernel("sum_columns"), count, &mut args.long(count));
    }
    let count = outer * inner;
    let args =
        Args::new().at(partial.on(gpu)).at(out.made_on(gpu)).long(parts).long(inner).long(count);
    gpu.run_for(kernel("sum_parts"), count, &mut { args });
}

/// The sum of squares of a contiguous tensor.
pub(crate) fn sum_of_squares(gpu: &Gpu, x: &Tensor) -> f64 {
    let from = x.layout.offset;
    squares_of(gpu, &x.buffer, x.dtype(), std::slice::from_ref(&(from..from + x.count())))
        .into_iter()
        .sum()
}

/// The sums of squares of these parts of a buffer of `dtype`.
pub(crate) fn squares_of(
    gpu: &Gpu,
    buffer: &Buffer,
    dtype: DType,
    parts: &[Range<usize>],
) -> Vec<f64> {
    let total: usize = parts.iter().map(Range::len).sum();
    let _timer = timed("norm", 0.0, (total * dtype.size()) as f64);
    // A block for each piece of a part.
    let pieces: Vec<[i64; 2]> = parts
        .iter()
        .flat_map(|part| {
            part.clone().step_by(PART).map(|at| [at as i64, part.end.min(at + PART) as i64])
        })
        .collect();
    let table = Tensor::from_slice(pieces.as_flattened(), [pieces.len(), 2]);
    let mut sums = Tensor::uninit([pieces.len()].into(), DType::F64);
    let text = text(dtype, DType::F64);
    let from = buffer.on(gpu.device()).unwrap_or_default();
    let args = Args::new().at(from).at(table.on(gpu)).at(sums.made_on(gpu));
    let kernel = Kernel { name: "norm", text: &text, function: "squares", exact: false };
    gpu.run(kernel, [pieces.len(), 1, 1], 256, 0, &mut { args });
    let sums = if pieces.is_empty() { Vec::new() } else { sums.to_vec::<f64>() };
    let mut sums = sums.into_iter();
    parts.iter().map(|part| sums.by_ref().take(part.len().div_ceil(PART)).sum()).collect()
}

/// The place of the first element of a contiguous tensor that is not finite.
pub(crate) fn first_non_finite(gpu: &Gpu, x: &Tensor) -> Option<usize> {
    let _timer = timed("finite", 0.0, (x.count() * x.dtype().size()) as f64);
    let parts = x.count().div_ceil(PART);
    if parts == 0 {
        return None;
    }
    let mut found = Tensor::uninit([parts].into(), DType::I64);
    let text = text(x.dtype(), DType::F64);
    let args = Args::new().at(x.on(gpu)).at(found.made_on(gpu)).long(x.count());
    let kernel = Kernel { name: "finite", text: &text, function: "non_finite", exact: true };
    gpu.run_for(kernel, parts * 256, &mut { args });
    found.to_vec::<i64>().into_iter().min().filter(|at| *at != i64::MAX).map(|at| at as usize)
}
