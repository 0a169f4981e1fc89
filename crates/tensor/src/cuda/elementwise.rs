//! Formulas over broadcast, strided operands: their text is traced, their constants are arguments.

use std::fmt::Write;

use super::{Args, Gpu, Kernel};
use crate::dtype::DType;
use crate::kernels::args::{Formula, Pair};
use crate::kernels::walk::{Walk, common};
use crate::profile::timed;
use crate::real::{Program, trace};
use crate::tensor::Tensor;

/// The body of both kernels, behind [`formula_text`].
const BODY: &str = include_str!("kernels/elementwise.cu");

/// The name of a type in kernels.
pub(super) fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        DType::BF16 => "bf16",
        DType::I64 => "i64",
        DType::U8 => "u8",
    }
}

/// What a kernel's text must know of a formula on numbers of `dtype`: its types and the function `formula(x, y, c)`.
pub(super) fn formula_text(program: &Program, dtype: DType) -> String {
    let Program { body, constants, inputs, outputs } = program;
    let mut text = String::new();
    let _ = writeln!(text, "typedef {} T;\ntypedef Real<T>::type real;", c_type(dtype));
    let _ = writeln!(text, "#define INPUTS {inputs}\n#define OUTPUTS {outputs}");
    let _ = writeln!(text, "struct Constants {{ real c[{}]; }};", constants.len().max(1));
    let _ = writeln!(text, "DEV void formula(const real* x, real* y, const real* c) {{\n{body}}}");
    text
}

impl<const N: usize> Walk<N> {
    /// The walk as kernels take it: the structure `Walk` of the prelude.
    pub(super) fn words(&self) -> Vec<u64> {
        let mut words = vec![self.rows, self.inner, self.depth];
        words.extend(self.steps);
        words.extend(self.offset);
        words.extend(self.outer.iter().map(|(size, _)| *size));
        words.extend(self.outer.iter().flat_map(|(_, strides)| *strides));
        words.into_iter().map(|word| word as u64).collect()
    }
}

/// The formula at every place of the operands, broadcast together.
#[track_caller]
pub(crate) fn map<const N: usize, F: Formula<N>>(
    gpu: &Gpu,
    name: &'static str,
    operands: [&Tensor; N],
    formula: F,
) -> Tensor {
    let (shape, dtype) = common(name, &operands);
    assert!(dtype.is_float(), "{name}: needs floating-point numbers, got {dtype}");
    let moved: usize = operands.iter().map(|operand| operand.count()).sum();
    let _timer = timed(name, 0.0, ((moved + shape.count()) * dtype.size()) as f64);
    let program = trace(N, |x| vec![formula.eval(std::array::from_fn(|k| x[k]))]);
    let mut out = Tensor::uninit(shape, dtype);
    run(gpu, name, &program, operands, [&mut out]);
    out
}

/// Both values at every place of operands of one shape and type.
pub(crate) fn map_pair<const N: usize, F: Pair<N>>(
    gpu: &Gpu,
    name: &'static str,
    operands: [&Tensor; N],
    formula: F,
) -> [Tensor; 2] {
    let (shape, dtype) = common(name, &operands);
    assert!(operands.iter().all(|x| x.shape() == shape), "{name}: operands");
    let _timer = timed(name, 0.0, ((N + 2) * shape.count() * dtype.size()) as f64);
    let program = trace(N, |x| formula.eval(std::array::from_fn(|k| x[k])).to_vec());
    let mut out = [Tensor::uninit(shape, dtype), Tensor::uninit(shape, dtype)];
    let [a, b] = &mut out;
    run(gpu, name, &program, operands, [a, b]);
    out
}

fn run<const N: usize, const M: usize>(
    gpu: &Gpu,
    name: &'static str,
    program: &Program,
    operands: [&Tensor; N],
    out: [&mut Tensor; M],
) {
    let (shape, dtype) = (out[0].shape(), out[0].dtype());
    let count = shape.count();
    if count == 0 {
        return;
    }
    let walk = Walk::new(operands.map(|operand| operand.layout.broadcast(shape)), shape);
    let text = format!("{}{BODY}", formula_text(program, dtype));
    let from = operands.map(|operand| operand.buffer.on(gpu.device()).unwrap_or_default());
    let to: Vec<u64> = out.into_iter().map(|out| out.made_on(gpu)).collect();
    // Numbers of 16 bytes at a time, where every operand lies in order or is one number.
    let vector = 16 / dtype.size();
    let flat = walk.rows == 1
        && (0..N).all(|k| match walk.steps[k] {
            0 => true,
            1 => (walk.offset[k] * dtype.size()).is_multiple_of(16) && from[k].is_multiple_of(16),
            _ => false,
        });
    let args =
        Args::new().words(&from).words(&to).words(&walk.words()).reals(&program.constants, dtype);
    let (function, threads) =
        if flat { ("flat", count.div_ceil(vector)) } else { ("walked", count) };
    gpu.run_for(
        Kernel { name, text: &text, function, exact: true },
        threads,
        &mut args.long(count),
    );
}

impl Tensor {
    /// The address of the first element on a GPU, to read.
    pub(super) fn on(&self, gpu: &Gpu) -> u64 {
        let start = self.buffer.on(gpu.device()).unwrap_or_default();
        start + (self.layout.offset * self.dtype().size()) as u64
    }

    /// The address of the first element of a tensor that nobody else holds, to write all of it.
    pub(super) fn made_on(&mut self, gpu: &Gpu) -> u64 {
        let offset = (self.layout.offset * self.dtype().size()) as u64;
        let buffer = std::sync::Arc::get_mut(&mut self.buffer).expect("a new tensor has one owner");
        buffer.on_mut(gpu.device()).unwrap_or_default() + offset
    }
}
