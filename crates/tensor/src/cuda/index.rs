//! Rows chosen by number, rotations of pairs of channels, and elements dropped at random.

use rand_chacha::rand_core::Rng;

use super::elementwise::c_type;
use super::{Args, Gpu, Kernel};
use crate::autograd::Target;
use crate::dtype::DType;
use crate::memory::DeviceMemory;
use crate::profile::timed;
use crate::random::Key;
use crate::tensor::Tensor;

const BODY: &str = include_str!("kernels/index.cu");
/// Elements whose draws share a seed, as on the cores.
const DROPPED: usize = 1 << 14;

fn text(from: DType, to: DType) -> String {
    // Integers are taken by number and nothing else.
    let floats = if from.is_float() { "#define RAPPEL_FLOATS\n" } else { "" };
    format!("typedef {} T;\ntypedef {} O;\n{floats}{BODY}", c_type(from), c_type(to))
}

/// Rows `ids` of the middle dimension of a contiguous tensor, seen as `[outer, count, inner]`.
pub(crate) fn take(
    gpu: &Gpu,
    x: &Tensor,
    [outer, count, inner]: [usize; 3],
    ids: &Tensor,
) -> Tensor {
    let (dtype, chosen) = (x.dtype(), ids.count());
    let _timer = timed("take rows", 0.0, (2 * outer * chosen * inner * dtype.size()) as f64);
    let mut out = Tensor::uninit([outer, chosen, inner].into(), dtype);
    let args = Args::new()
        .at(x.on(gpu))
        .at(ids.on(gpu))
        .at(out.made_on(gpu))
        .long(count)
        .long(chosen)
        .long(inner);
    let text = text(dtype, dtype);
    let kernel = Kernel { name: "take rows", text: &text, function: "take", exact: true };
    gpu.run_for(kernel, out.count(), &mut args.long(outer * chosen * inner));
    out
}

/// The gradient of [`take`]: each row of `grad` added to the row that it was copied from, by ascending position.
pub(crate) fn add_taken(
    gpu: &Gpu,
    grad: &Tensor,
    [outer, count, inner]: [usize; 3],
    ids: &Tensor,
    target: &mut Target<'_>,
) {
    let (size, to_type) = (target.dtype.size(), target.dtype);
    let cleared = if target.accumulate { 0 } else { target.count() * size };
    let _timer = timed("add rows", 0.0, (3 * grad.count() * size + cleared) as f64);
    assert_eq!(target.count(), outer * count * inner, "gradient of another size");
    let grad = grad.detach().contiguous();
    let to = target.on(gpu);
    if !target.accumulate {
        gpu.clear(to, target.count() * size);
    }
    // Positions by row: ids come from the host, which has them. A run of equal ids is one row's.
    let ids = ids.slice::<i64>();
    if ids.is_empty() {
        return;
    }
    let mut order: Vec<i64> = (0..ids.len() as i64).collect();
    order.sort_by_key(|&i| ids[i as usize]);
    let starts = (0..order.len())
        .filter(|&k| k == 0 || ids[order[k] as usize] != ids[order[k - 1] as usize]);
    let mut starts: Vec<i64> = starts.map(|k| k as i64).collect();
    let rows = starts.len();
    starts.push(order.len() as i64);
    let sorted: Vec<i64> = order.iter().map(|&i| ids[i as usize]).collect();
    let table = Tensor::from_slice(&[order, sorted, starts].concat(), [2 * ids.len() + rows + 1]);
    let args = Args::new().at(grad.on(gpu)).at(table.on(gpu)).at(to);
    let args = args.long(ids.len()).long(count).long(inner).long(rows).long(outer * rows * inner);
    let text = text(grad.dtype(), to_type);
    let kernel = Kernel { name: "add rows", text: &text, function: "add_rows", exact: true };
    gpu.run_for(kernel, outer * rows * inner, &mut { args });
}

/// Turns each pair of channels of `x [batch, time, heads, dim]` by the angles of its time.
pub(crate) fn rotate(gpu: &Gpu, x: &Tensor, cos: &Tensor, sin: &Tensor, back: bool) -> Tensor {
    let [batch, time, heads, dim] = [0, 1, 2, 3].map(|d| x.size(d));
    let turned = cos.size(2);
    let own = if cos.size(0) == batch { time * turned } else { 0 };
    let strides = x.layout.strides;
    let _timer = timed("rotary", 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    let args = Args::new().at(x.on(gpu)).at(cos.on(gpu)).at(sin.on(gpu)).at(out.made_on(gpu));
    let args = args.words(&[strides[0], strides[1], strides[2]].map(|stride| stride as u64));
    let args = args
        .long(time)
        .long(heads)
        .long(dim)
        .long(turned)
        .long(own)
        .int(back.into())
        .long(x.count());
    let text = text(x.dtype(), x.dtype());
    gpu.run_for(
        Kernel { name: "rotary", text: &text, function: "rotate", exact: true },
        x.count(),
        &mut { args },
    );
    out
}

/// `x / (1 - p)`, and zero with probability `p`: for a contiguous tensor; the places are the cores'.
pub(crate) fn dropout(gpu: &Gpu, x: &Tensor, p: f64, key: Key) -> Tensor {
    let _timer = timed("dropout", 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let least = ((p * (1_u64 << 32) as f64).round() as u64).min(u32::MAX.into()) as usize;
    let seeds: Vec<i64> = (0..x.count().div_ceil(DROPPED))
        .map(|piece| {
            let mut rng = key.with(piece as u64).at(0);
            let [a, b] = [rng.next_u32(), rng.next_u32()];
            (u64::from(a) | u64::from(b) << 32) as i64
        })
        .collect();
    let seeds = Tensor::from_slice(&seeds, [seeds.len()]);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    let args = Args::new().at(x.on(gpu)).at(out.made_on(gpu)).at(seeds.on(gpu)).int(least);
    let args = args.real(1.0 / (1.0 - p), x.dtype()).long(x.count());
    let text = text(x.dtype(), x.dtype());
    gpu.run_for(
        Kernel { name: "dropout", text: &text, function: "dropout", exact: true },
        x.count(),
        &mut { args },
    );
    out
}
