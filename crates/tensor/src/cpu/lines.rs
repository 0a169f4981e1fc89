//! Loops over elements of any type, one at a time: comparing, choosing, gathering, scattering.

use super::parallel::{Shared, for_pieces};
use crate::autograd::Target;
use crate::dtype::Element;
use crate::kernels::walk::Walk;
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;
use crate::{with_element, with_float};

/// Elements in one task.
const PIECE: usize = 1 << 14;

/// A run of places that several layouts walk evenly.
struct Line<const N: usize> {
    offsets: [usize; N],
    steps: [usize; N],
    /// Its first place in row-major order.
    start: usize,
    len: usize,
}

/// Calls `work` on lines that together are every place of `shape`, in parallel.
fn for_lines<const N: usize>(
    layouts: [Layout; N],
    shape: Shape,
    work: impl Fn(Line<N>) + Sync + Send,
) {
    let walk = Walk::new(layouts, shape);
    let parts = walk.inner.div_ceil(PIECE).max(1);
    let per_task = (PIECE / walk.inner.max(1)).max(1);
    for_pieces(walk.rows * parts, per_task, |range| {
        for unit in range {
            let (row, first) = (unit / parts, unit % parts * PIECE);
            let offsets = walk.offsets(row);
            work(Line {
                offsets: std::array::from_fn(|k| offsets[k] + first * walk.steps[k]),
                steps: walk.steps,
                start: row * walk.inner + first,
                len: (walk.inner - first).min(PIECE),
            });
        }
    });
}

/// The shape that the operands broadcast to.
#[track_caller]
pub(crate) fn common_shape(name: &str, operands: &[&Tensor]) -> Shape {
    operands[1..].iter().fold(operands[0].shape(), |shape, operand| {
        shape.broadcast(&operand.shape()).unwrap_or_else(|| {
            let shapes: Vec<Shape> = operands.iter().map(|operand| operand.shape()).collect();
            panic!("{name}: shapes {shapes:?} do not broadcast together")
        })
    })
}

/// `f` at every place of two operands, broadcast together.
#[track_caller]
pub(crate) fn zip<A: Element, B: Element, C: Element>(
    name: &str,
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(A, B) -> C + Sync + Send,
) -> Tensor {
    let shape = common_shape(name, &[a, b]);
    let mut out = Tensor::uninit(shape, C::DTYPE);
    let to = Shared::new(out.slice_mut::<C>());
    let (pa, pb) = (source::<A>(a), source::<B>(b));
    let layouts = [a, b].map(|x| x.layout.broadcast(shape));
    for_lines(layouts, shape, |Line { offsets: [oa, ob], steps: [sa, sb], start, len }| {
        // SAFETY: the walk stays within the layouts, and lines of the result are disjoint.
        unsafe {
            for i in 0..len {
                *to.at(start + i) = f(*pa.at(oa + i * sa), *pb.at(ob + i * sb));
            }
        }
    });
    out
}

/// `a` where `mask` is not zero, else `b`, broadcast together; `a` and `b` are of one type.
#[track_caller]
pub(crate) fn select(mask: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    let shape = common_shape("select", &[mask, a, b]);
    let mut out = Tensor::uninit(shape, a.dtype());
    let layouts = [mask, a, b].map(|x| x.layout.broadcast(shape));
    with_element!(a.dtype(), T => {
        let to = Shared::new(out.slice_mut::<T>());
        let (pm, pa, pb) = (source::<u8>(mask), source::<T>(a), source::<T>(b));
        for_lines(layouts, shape, |line| {
            let ([om, oa, ob], [sm, sa, sb]) = (line.offsets, line.steps);
            // SAFETY: the walk stays within the layouts, and lines of the result are disjoint.
            unsafe {
                for i in 0..line.len {
                    let (yes, no) = (*pa.at(oa + i * sa), *pb.at(ob + i * sb));
                    *to.at(line.start + i) = if *pm.at(om + i * sm) != 0 { yes } else { no };
                }
            }
        });
    });
    out
}

/// `out[i] = x[i with ids[i] as its index along axis]`, for indices of shape `shape`.
///
/// Whoever calls has checked that ids are below the dimension, and that no other dimension of
/// `shape` is larger than that of `x`.
pub(crate) fn gather(x: &Tensor, axis: usize, ids: &Tensor, shape: Shape) -> Tensor {
    let mut out = Tensor::uninit(shape, x.dtype());
    let ids = ids.slice::<i64>();
    let step = x.layout.strides[axis];
    let mut base = Layout { shape, ..x.layout };
    base.strides[axis] = 0;
    with_element!(x.dtype(), T => {
        let (to, from) = (Shared::new(out.slice_mut::<T>()), source::<T>(x));
        for_lines([base], shape, |Line { offsets: [offset], steps: [by], start, len }| {
            // SAFETY: ids were checked, other indices stay within `x`; lines are disjoint.
            unsafe {
                for i in 0..len {
                    let id = ids[start + i] as usize;
                    *to.at(start + i) = *from.at(offset + i * by + id * step);
                }
            }
        });
    });
    out
}

/// `target[i with ids[i] as its index along axis] += src[i]`; `target` is of shape `whole`, and zero
/// where it holds no sum yet.
///
/// Places that differ in another dimension than `axis` have different targets: tasks are cut
/// there, and add along `axis` in order, so the bits do not depend on the number of threads.
pub(crate) fn scatter_add(
    target: &mut Target<'_>,
    whole: Shape,
    axis: usize,
    ids: &Tensor,
    src: &Tensor,
) {
    let src = src.detach().to_dtype(target.dtype);
    let fresh = !target.accumulate;
    with_float!(target.dtype, "scatter_add", T => {
        let to = target.slice::<T>();
        if fresh {
            to.fill(T::from_f64(0.0));
        }
        scatter(to, whole, axis, ids.slice::<i64>(), &src);
    });
}

fn scatter<T: Element>(to: &mut [T], whole: Shape, axis: usize, ids: &[i64], src: &Tensor) {
    let shape = src.shape();
    let (target, chosen) = (Layout::contiguous(whole), Layout::contiguous(shape));
    let [to_step, id_step, src_step] = [&target, &chosen, &src.layout].map(|x| x.strides[axis]);
    let (to, from) = (Shared::new(to), source::<T>(src));
    let across = shape.removed(axis);
    let layouts = [target, chosen, src.layout].map(|x| without(x, axis, across));
    for_lines(layouts, across, |line| {
        let ([ot, oi, os], [st, si, ss]) = (line.offsets, line.steps);
        let add = |j: usize, a: usize| {
            let id = ids[oi + j * si + a * id_step] as usize;
            // SAFETY: ids were checked, other indices stay within both tensors; only this task
            // writes where `j` leads.
            unsafe {
                let place = to.at(ot + j * st + id * to_step);
                let value = *from.at(os + j * ss + a * src_step);
                *place = T::from_f64((*place).to_f64() + value.to_f64());
            }
        };
        // The loop that walks memory in steps of one runs innermost.
        if si == 1 {
            (0..shape[axis]).for_each(|a| (0..line.len).for_each(|j| add(j, a)));
        } else {
            (0..line.len).for_each(|j| (0..shape[axis]).for_each(|a| add(j, a)));
        }
    });
}

/// A layout without a dimension, of a shape that is no larger elsewhere.
fn without(layout: Layout, axis: usize, shape: Shape) -> Layout {
    let mut strides = layout.strides;
    strides.copy_within(axis + 1.., axis);
    Layout { shape, strides, offset: layout.offset }
}

/// Where the first extremum of each line of a contiguous `[outer, count, inner]` is along `count`;
/// `better(x, best)` says that `x` replaces `best`. The result is `[outer, inner]`.
pub(crate) fn first_best<T: Element>(
    x: &Tensor,
    [outer, count, inner]: [usize; 3],
    better: impl Fn(T, T) -> bool + Sync + Send,
) -> Tensor {
    let values = x.slice::<T>();
    let parts = count.div_ceil(PIECE);
    let best = |line: usize, candidates: &mut dyn Iterator<Item = usize>| {
        let first = line / inner * count * inner + line % inner;
        let value = |i: usize| values[first + i * inner];
        candidates.reduce(|best, i| if better(value(i), value(best)) { i } else { best })
    };
    let mut found = vec![0; outer * inner * parts];
    let shared = Shared::new(&mut found);
    for_pieces(outer * inner * parts, (PIECE / count).max(1), |range| {
        for unit in range {
            let (line, start) = (unit / parts, unit % parts * PIECE);
            let best = best(line, &mut (start..count.min(start + PIECE)));
            // SAFETY: each part of a line writes its own place.
            unsafe { *shared.at(unit) = best.unwrap_or(start) };
        }
    });
    let mut out = Tensor::uninit([outer, inner].into(), crate::dtype::DType::I64);
    for (line, index) in out.slice_mut::<i64>().iter_mut().enumerate() {
        let candidates = &found[line * parts..(line + 1) * parts];
        *index = best(line, &mut candidates.iter().copied()).unwrap_or(0) as i64;
    }
    out
}

/// The buffer of a tensor, for reading.
fn source<T: Element>(x: &Tensor) -> Shared<T> {
    Shared::from_ptr(x.buffer.as_ptr::<T>().cast_mut())
}
