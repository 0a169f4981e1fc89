//! Moving elements: gathering views, placing parts, converting, adding up.

use super::elementwise::c_type;
use super::{Args, Gpu, Kernel};
use crate::autograd::Target;
use crate::dtype::DType;
use crate::kernels::walk::Walk;
use crate::memory::DeviceMemory;
use crate::profile::timed;
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;

const BODY: &str = include_str!("kernels/copy.cu");

/// The text for elements that are read as `from` and written as `to`.
fn text(from: &str, to: &str) -> String {
    format!("typedef {from} A;\ntypedef {to} B;\n{BODY}")
}

/// An unsigned integer of so many bytes, to move elements of any type.
fn bits(dtype: DType) -> &'static str {
    match dtype.size() {
        1 => "u8",
        2 => "u16",
        4 => "u32",
        _ => "u64",
    }
}

/// The elements of a view in row-major order, in a buffer of their own.
pub(crate) fn contiguous(gpu: &Gpu, tensor: &Tensor) -> Tensor {
    let shape = tensor.shape();
    let mut out = Tensor::uninit(shape, tensor.dtype());
    place(gpu, &mut out, Layout::contiguous(shape), tensor);
    out
}

/// Zeros of `shape`, but `part` at `start..` of dimension `axis`.
pub(crate) fn embed(gpu: &Gpu, part: &Tensor, shape: Shape, axis: usize, start: usize) -> Tensor {
    let mut out = Tensor::uninit(shape, part.dtype());
    let to = out.made_on(gpu);
    gpu.clear(to, shape.count() * part.dtype().size());
    let mut layout = Layout::contiguous(shape);
    layout.offset = start * layout.strides[axis];
    layout.shape[axis] = part.shape()[axis];
    place(gpu, &mut out, layout, part);
    out
}

/// Writes `from` where `layout`, of the same shape, puts its elements in `to`, a new tensor of the same type.
pub(crate) fn place(gpu: &Gpu, to: &mut Tensor, layout: Layout, from: &Tensor) {
    let (shape, dtype) = (from.shape(), from.dtype());
    let _timer = timed("copy", 0.0, (2 * shape.count() * dtype.size()) as f64);
    let walk = Walk::new([layout, from.layout], shape);
    let source = from.buffer.on(gpu.device()).unwrap_or_default();
    let text = text(bits(dtype), bits(dtype));
    let args = Args::new().at(source).at(to.made_on(gpu)).words(&walk.words()).long(shape.count());
    let kernel = Kernel { name: "copy", text: &text, function: "converted", exact: true };
    gpu.run_for(kernel, shape.count(), &mut { args });
}

/// Adds a gradient to what is in `target`, or copies it there.
pub(crate) fn accumulate(gpu: &Gpu, grad: &Tensor, target: &mut Target<'_>) {
    let (add, to_type) = (target.accumulate, target.dtype);
    let bytes = grad.count() * grad.dtype().size() * if add { 3 } else { 2 };
    let _timer = timed("accumulate", 0.0, bytes as f64);
    let (count, to) = (target.count(), target.on(gpu));
    assert_eq!(count, grad.count(), "gradient: has {} elements, not {count}", grad.count());
    // Rounded to the target's type before it is added, as on the cores.
    let shape = grad.shape();
    let walk = Walk::new([Layout::contiguous(shape), grad.layout], shape);
    let source = grad.buffer.on(gpu.device()).unwrap_or_default();
    let text = text(c_type(grad.dtype()), c_type(to_type));
    let function = if add { "added" } else { "converted" };
    let args = Args::new().at(source).at(to).words(&walk.words()).long(count);
    gpu.run_for(Kernel { name: "accumulate", text: &text, function, exact: true }, count, &mut {
        args
    });
}

/// Whether [`convert`] has a kernel for these types.
pub(crate) fn converts(_from: DType, to: DType) -> bool {
    to.is_float()
}

/// The same values as another type of float: rounded to nearest.
pub(crate) fn convert(gpu: &Gpu, tensor: &Tensor, dtype: DType) -> Tensor {
    let shape = tensor.shape();
    let mut out = Tensor::uninit(shape, dtype);
    let walk = Walk::new([Layout::contiguous(shape), tensor.layout], shape);
    let source = tensor.buffer.on(gpu.device()).unwrap_or_default();
    let text = text(c_type(tensor.dtype()), c_type(dtype));
    let args = Args::new().at(source).at(out.made_on(gpu)).words(&walk.words()).long(shape.count());
    let kernel = Kernel { name: "convert", text: &text, function: "converted", exact: true };
    gpu.run_for(kernel, shape.count(), &mut { args });
    out
}

/// Adds a row of numbers to every row of a new tensor `[rows, width]`.
pub(super) fn add_row(gpu: &Gpu, to: &mut Tensor, row: &Tensor) {
    let (count, name) = (to.count(), c_type(to.dtype()));
    let text = text(name, name);
    let args = Args::new().at(row.on(gpu)).at(to.made_on(gpu)).long(row.count()).long(count);
    gpu.run_for(
        Kernel { name: "bias", text: &text, function: "add_row", exact: true },
        count,
        &mut { args },
    );
}

/// `to *= factor`, a scalar that lies on the GPU.
pub(crate) fn multiply(gpu: &Gpu, to: &mut Tensor, factor: &Tensor) {
    let count = to.count();
    let text = text(c_type(factor.dtype()), c_type(to.dtype()));
    let args = Args::new().at(factor.on(gpu)).at(to.made_on(gpu)).long(count);
    gpu.run_for(
        Kernel { name: "multiply", text: &text, function: "multiplied", exact: true },
        count,
        &mut { args },
    );
}
