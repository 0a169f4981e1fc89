//! Attention without a stored score matrix: a block of threads a query, and on the way back a block a query and one a key.

use rand_chacha::rand_core::Rng;

use super::elementwise::c_type;
use super::{Args, Gpu, Kernel};
use crate::dtype::DType;
use crate::kernels::args::{Problem, Saved};
use crate::profile::timed;
use crate::tensor::Tensor;

const BODY: &str = include_str!("kernels/attention.cu");
/// Keys, or queries, that a block takes at a time, and its threads.
const TILE: usize = 128;
/// The widest head: four numbers a thread.
const WIDEST: usize = 4 * TILE;

/// Whether kernels serve heads of this width.
pub(crate) fn serves(p: &Problem) -> bool {
    p.dim <= WIDEST
}

/// Where the rows of heads are: the first address, and elements from one batch, time, head and channel to the next.
#[derive(Clone, Copy)]
struct Heads {
    address: u64,
    strides: [u64; 4],
}

impl Heads {
    fn of(gpu: &Gpu, x: &Tensor) -> Self {
        let strides = std::array::from_fn(|d| x.layout.strides[d] as u64);
        Self { address: x.on(gpu), strides }
    }

    /// `dim` columns for each head from column `first` on, in rows of `width`.
    fn within(address: u64, dtype: DType, [time, width, dim, first]: [usize; 4]) -> Self {
        let strides = [time * width, width, dim, 1].map(|stride| stride as u64);
        Self { address: address + (first * dtype.size()) as u64, strides }
    }

    fn words(self) -> [u64; 5] {
        let [b, t, h, d] = self.strides;
        [self.address, b, t, h, d]
    }
}

/// What keeps tensors that only a launch reads.
struct Masks {
    words: Vec<u64>,
    _seeds: Option<Tensor>,
}

/// The structure `Problem` of the kernels.
fn masks(gpu: &Gpu, p: &Problem) -> Masks {
    let beyond = if p.causal { Some(1) } else { p.window };
    let seeds = p.dropout.map(|(_, key)| {
        let mut rng = key.at(0);
        let seeds: Vec<i64> =
            (0..p.batch * p.heads * p.time).map(|_| rng.next_u64() as i64).collect();
        Tensor::from_slice(&seeds, [seeds.len()])
    });
    let below = p.dropout.map_or(0, |(share, _)| (share * 2.0_f64.powi(32)) as u32);
    let upscale = p.dropout.map_or(1.0, |(share, _)| 1.0 / (1.0 - share));
    let at = |tensor: &Option<Tensor>| tensor.as_ref().map_or(0, |tensor| tensor.on(gpu));
    let none = u64::MAX;
    let words = vec![
        p.time as u64,
        p.keys as u64,
        p.heads as u64,
        p.kv_heads as u64,
        p.dim as u64,
        beyond.map_or(none, |beyond| beyond as u64),
        p.window.map_or(none, |window| window as u64),
        at(&p.key_padding),
        at(&p.documents),
        at(&seeds),
        u64::from(below),
        p.scale.to_bits(),
        p.softcap.unwrap_or(0.0).to_bits(),
        upscale.to_bits(),
    ];
    Masks { words, _seeds: seeds }
}

fn text(dtype: DType) -> String {
    format!("typedef {} T;\n{BODY}", c_type(dtype))
}

/// The output `[batch, time, heads, dim]`, and the logarithm of the sum of exponentials of each query.
pub(crate) fn forward(
    gpu: &Gpu,
    p: &Problem,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> (Tensor, Tensor) {
    let dtype = q.dtype();
    let _timer = timed("attention", 0.0, 0.0);
    let mut out = Tensor::uninit([p.batch, p.time, p.heads, p.dim].into(), dtype);
    let mut lse = Tensor::uninit([p.batch, p.heads, p.time].into(), DType::F64);
    let to = Heads::within(out.made_on(gpu), dtype, [p.time, p.heads * p.dim, p.dim, 0]);
    let masks = masks(gpu, p);
    let [q, k, v] = [q, k, v].map(|x| Heads::of(gpu, x).words());
    let args = Args::new()
        .words(&masks.words)
        .words(&q)
        .words(&k)
        .words(&v)
        .words(&to.words())
        .at(lse.made_on(gpu));
    let text = text(dtype);
    let kernel = Kernel { name: "attention", text: &text, function: "forward", exact: false };
    gpu.run(kernel, [p.batch * p.heads * p.time, 1, 1], TILE, 0, &mut { args });
    (out, lse)
}

/// The gradients of queries, keys and values.
pub(crate) fn backward(gpu: &Gpu, p: &Problem, saved: &Saved, grad: &Tensor) -> [Tensor; 3] {
    let dtype = grad.dtype();
    let (wide, narrow) = (p.heads * p.dim, p.kv_heads * p.dim);
    let mut dq = Tensor::uninit([p.batch, p.time, p.heads, p.dim].into(), dtype);
    let mut dk = Tensor::uninit([p.batch, p.keys, p.kv_heads, p.dim].into(), dtype);
    let mut dv = Tensor::uninit(dk.shape(), dtype);
    let to = [
        Heads::within(dq.made_on(gpu), dtype, [p.time, wide, p.dim, 0]),
        Heads::within(dk.made_on(gpu), dtype, [p.keys, narrow, p.dim, 0]),
        Heads::within(dv.made_on(gpu), dtype, [p.keys, narrow, p.dim, 0]),
    ];
    run(gpu, p, saved, grad, to);
    [dq, dk, dv]
}

/// The same side by side, `[batch, time, 3 heads dim]`.
pub(crate) fn backward_packed(gpu: &Gpu, p: &Problem, saved: &Saved, grad: &Tensor) -> Tensor {
    let (width, dtype) = (p.heads * p.dim, grad.dtype());
    let mut all = Tensor::uninit([p.batch, p.time, 3 * width].into(), dtype);
    let address = all.made_on(gpu);
    let to =
        [0, 1, 2].map(|i| Heads::within(address, dtype, [p.time, 3 * width, p.dim, i * width]));
    run(gpu, p, saved, grad, to);
    all
}

fn run(gpu: &Gpu, p: &Problem, saved: &Saved, grad: &Tensor, to: [Heads; 3]) {
    let _timer = timed("attention", 0.0, 0.0);
    let text = text(grad.dtype());
    let kernel = |function| Kernel { name: "attention", text: &text, function, exact: false };
    let masks = masks(gpu, p);
    let [q, k, v, out, g] =
        [&saved.q, &saved.k, &saved.v, &saved.out, grad].map(|x| Heads::of(gpu, x).words());
    let [dq, dk, dv] = to.map(Heads::words);
    let mut delta = Tensor::uninit(saved.lse.shape(), DType::F64);
    let args = Args::new().words(&masks.words).words(&out).words(&g).at(delta.made_on(gpu));
    let queries = p.batch * p.heads * p.time;
    gpu.run_for(kernel("deltas"), queries, &mut args.long(queries));
    let base = || Args::new().words(&masks.words).words(&q).words(&k).words(&v).words(&g);
    let args = base().words(&dq).at(saved.lse.on(gpu)).at(delta.on(gpu));
    gpu.run(kernel("backward_queries"), [queries, 1, 1], TILE, 0, &mut { args });
    let args = base().words(&dk).words(&dv).at(saved.lse.on(gpu)).at(delta.on(gpu));
    gpu.run(kernel("backward_keys"), [p.batch * p.kv_heads * p.keys, 1, 1], TILE, 0, &mut { args });
}
