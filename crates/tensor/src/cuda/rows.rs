//! Kernels that take a row at a time: normalisation, softmax and cross-entropy.

use super::elementwise::c_type;
use super::product::{products_at, products_with_rows_of};
use super::{Args, Gpu, Kernel, copy};
use crate::autograd::Target;
use crate::dtype::DType;
use crate::kernels::args::{Head, HeadLoss, Matrices, Norm, RowKind, Rows, Terms};
use crate::profile::timed;
use crate::quantized::Weight;
use crate::tensor::Tensor;

const NORM: &str = include_str!("kernels/norm.cu");
const SOFTMAX: &str = include_str!("kernels/softmax.cu");
const CROSS_ENTROPY: &str = include_str!("kernels/cross_entropy.cu");

/// Threads of a row of `width`: no more than it has numbers for.
fn threads(width: usize) -> usize {
    (width / 4).next_power_of_two().clamp(32, 512)
}

fn text(dtype: DType, body: &str) -> String {
    format!("typedef {} T;\n{body}", c_type(dtype))
}

/// `[rows, width]` normalised, and for each row its mean and the reciprocal of its deviation.
pub(crate) fn norm_forward(
    gpu: &Gpu,
    norm: Norm,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> (Tensor, Tensor) {
    let (rows, width) = (x.size(0), x.size(1));
    let _timer = timed(norm.name, 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    let mut stats = Tensor::uninit([rows, 2].into(), DType::F64);
    let args = Args::new().at(x.on(gpu)).at(weight.on(gpu)).at(bias.map_or(0, |bias| bias.on(gpu)));
    let args = args.at(out.made_on(gpu)).at(stats.made_on(gpu)).long(width);
    let args = args.double(norm.eps).int(norm.centred.into()).int(norm.plus_one.into());
    let text = text(x.dtype(), NORM);
    let kernel = Kernel { name: norm.name, text: &text, function: "norm_forward", exact: false };
    gpu.run(kernel, [rows, 1, 1], threads(width), 0, &mut { args });
    (out, stats)
}

/// The gradient of the input, if `with_input`, and partial sums of the others', `[pieces, 2, width]`.
pub(crate) fn norm_backward(
    gpu: &Gpu,
    norm: Norm,
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    stats: &Tensor,
    with_input: bool,
) -> (Option<Tensor>, Tensor) {
    let (rows, width) = (x.size(0), x.size(1));
    let _timer = timed(norm.name, 0.0, (3 * x.count() * x.dtype().size()) as f64);
    let text = text(x.dtype(), NORM);
    let kernel = |function| Kernel { name: norm.name, text: &text, function, exact: false };
    let dx = with_input.then(|| {
        let mut dx = Tensor::uninit(x.shape(), x.dtype());
        let args = Args::new().at(grad.on(gpu)).at(x.on(gpu)).at(weight.on(gpu)).at(stats.on(gpu));
        let args =
            args.at(dx.made_on(gpu)).long(width).int(norm.centred.into()).int(norm.plus_one.into());
        gpu.run(kernel("norm_input"), [rows, 1, 1], threads(width), 0, &mut { args });
        dx
    });
    // At most 256 partial rows, so that adding them up is short.
    let each = rows.div_ceil(256).max(32);
    let pieces = rows.div_ceil(each);
    let mut sums = Tensor::uninit([pieces, 2, width].into(), x.dtype().accumulator());
    let args = Args::new().at(grad.on(gpu)).at(x.on(gpu)).at(stats.on(gpu)).at(sums.made_on(gpu));
    let args = args.long(rows).long(width).long(each).long(pieces * width);
    gpu.run_for(kernel("norm_weight"), pieces * width, &mut { args });
    (dx, sums)
}

/// Writes, or adds, the weight's gradient (`which` 0) or the bias's (1).
pub(crate) fn add_up(gpu: &Gpu, partial: &Tensor, which: usize, target: &mut Target<'_>) {
    let (pieces, width) = (partial.size(0), partial.size(2));
    let text = text(target.dtype, NORM);
    let args = Args::new().at(partial.on(gpu)).at(target.on(gpu));
    let args = args.long(pieces).long(width).int(which).int(target.accumulate.into());
    gpu.run_for(
        Kernel { name: "norm", text: &text, function: "add_up", exact: false },
        width,
        &mut { args },
    );
}

/// Applies `kind` to the rows of the contiguous `x` and of `grad`.
pub(crate) fn rows(
    gpu: &Gpu,
    name: &'static str,
    kind: RowKind,
    x: &Tensor,
    grad: Option<&Tensor>,
) -> Tensor {
    let mut shape = x.shape();
    let last = shape.rank() - 1;
    let width = shape[last];
    let count: usize = shape[..last].iter().product();
    if kind == RowKind::LogSumExp {
        shape[last] = 1;
    }
    let mut out = Tensor::uninit(shape, x.dtype());
    let operands = 2 + usize::from(grad.is_some());
    let _timer = timed(name, 0.0, (operands * x.count() * x.dtype().size()) as f64);
    let function = match kind {
        RowKind::Softmax => "softmax",
        RowKind::LogSoftmax => "log_softmax",
        RowKind::LogSumExp => "log_sum_exp",
        RowKind::SoftmaxGrad => "softmax_grad",
        RowKind::LogSoftmaxGrad => "log_softmax_grad",
    };
    let args =
        Args::new().at(x.on(gpu)).at(grad.unwrap_or(x).on(gpu)).at(out.made_on(gpu)).long(width);
    let text = text(x.dtype(), SOFTMAX);
    gpu.run(
        Kernel { name, text: &text, function, exact: false },
        [count, 1, 1],
        threads(width),
        0,
        &mut { args },
    );
    out
}

impl Terms {
    /// Whether kernels know all terms.
    pub(crate) fn on_gpu(self) -> bool {
        self.confidence_penalty == 0.0 && self.softcap.is_none()
    }

    fn args(self, args: Args) -> Args {
        args.double(self.label_smoothing).double(self.z_loss)
    }
}

fn cross_entropy_text(logits: DType, slopes: DType) -> String {
    format!("typedef {} L;\ntypedef {} T;\n{CROSS_ENTROPY}", c_type(logits), c_type(slopes))
}

/// The loss of rows of logits at `logits`, one number each, and their logarithms of sums of exponentials.
fn row_losses(
    gpu: &Gpu,
    dtype: DType,
    (logits, targets): (u64, u64),
    [count, width]: [usize; 2],
    ignored: i64,
    terms: Terms,
    (losses, stats): (u64, u64),
) {
    let args = Args::new()
        .at(logits)
        .at(targets)
        .at(losses)
        .at(stats)
        .long(width)
        .words(&[ignored as u64]);
    let text = cross_entropy_text(dtype, dtype);
    let kernel = Kernel { name: "cross_entropy", text: &text, function: "losses", exact: false };
    gpu.run(kernel, [count, 1, 1], threads(width), 0, &mut terms.args(args).long(width));
}

/// The sum of losses over the denominator, a scalar.
fn total(gpu: &Gpu, losses: &Tensor, denominator: f64, dtype: DType) -> Tensor {
    let mut out = Tensor::uninit(().into(), dtype);
    let text = cross_entropy_text(dtype, dtype);
    let args = Args::new()
        .at(losses.on(gpu))
        .at(out.made_on(gpu))
        .long(losses.count())
        .double(denominator);
    let kernel = Kernel { name: "cross_entropy", text: &text, function: "total", exact: false };
    gpu.run(kernel, [1, 1, 1], 256, 0, &mut { args });
    out
}

/// As on the cores: the loss, and what slopes need of each row.
pub(crate) fn losses(gpu: &Gpu, asked: &Rows<'_>) -> (Tensor, Tensor) {
    let (count, dtype) = (asked.targets.count(), asked.logits.dtype());
    let width = asked.logits.size(asked.logits.rank() - 1);
    let _timer = timed("cross_entropy", 0.0, (asked.logits.count() * dtype.size()) as f64);
    let mut stats = Tensor::uninit([count, 2].into(), DType::F64);
    let mut each = Tensor::uninit([count].into(), DType::F64);
    let operands = (asked.logits.on(gpu), asked.targets.on(gpu));
    let found = (each.made_on(gpu), stats.made_on(gpu));
    row_losses(gpu, dtype, operands, [count, width], asked.ignored, asked.terms, found);
    (total(gpu, &each, asked.denominator, dtype.accumulator()), stats)
}

/// The slopes of the loss times `grad`, a scalar.
pub(crate) fn slopes(gpu: &Gpu, asked: &Rows<'_>, found: &Tensor, grad: &Tensor) -> Tensor {
    let (count, dtype) = (asked.targets.count(), asked.logits.dtype());
    let width = asked.logits.size(asked.logits.rank() - 1);
    let _timer = timed("cross_entropy", 0.0, (2 * asked.logits.count() * dtype.size()) as f64);
    let mut out = Tensor::uninit(asked.logits.shape(), dtype);
    let grad = if grad.dtype() == DType::F64 {
        grad.clone()
    } else {
        copy::convert(gpu, grad, DType::F64)
    };
    let args = Args::new().at(asked.logits.on(gpu)).at(asked.targets.on(gpu)).at(found.on(gpu));
    let args =
        args.at(grad.on(gpu)).at(0).at(out.made_on(gpu)).long(width).words(&[asked.ignored as u64]);
    let text = cross_entropy_text(dtype, dtype);
    let kernel = Kernel { name: "cross_entropy", text: &text, function: "slopes", exact: false };
    let args = asked.terms.args(args).double(1.0 / asked.denominator).long(width);
    gpu.run(kernel, [count, 1, 1], threads(width), 0, &mut { args });
    out
}

/// Bytes of logits that are in memory at a time, at most.
const CHUNK_BYTES: usize = 1 << 30;

/// Whether [`head`] serves this.
pub(crate) fn serves_head(head: &Head<'_>) -> bool {
    head.terms.on_gpu() && matches!(head.weight, Weight::Dense(_)) && head.hidden.size(0) > 0
}

/// The loss of a product's rows, and the slopes that were asked for, a chunk of rows at a time.
pub(crate) fn head(gpu: &Gpu, head: &Head<'_>, slope_hidden: bool, slope_weight: bool) -> HeadLoss {
    let Weight::Dense(weight) = head.weight else { unreachable!("`serves_head` looked") };
    let (rows, width, vocab) = (head.hidden.size(0), head.hidden.size(1), weight.size(0));
    let dtype = head.hidden.dtype();
    let acc = dtype.accumulator();
    let tensor = |wanted: bool, sizes: [usize; 2], dtype| {
        wanted.then(|| Tensor::uninit(sizes.into(), dtype))
    };
    let mut hidden = tensor(slope_hidden, [rows, width], dtype);
    let mut weights = tensor(slope_weight, [vocab, width], acc);
    let mut losses = Tensor::uninit([rows].into(), DType::F64);
    let mut stats = Tensor::uninit([rows, 2].into(), DType::F64);
    let (to_losses, to_stats) = (losses.made_on(gpu), stats.made_on(gpu));
    let chunk = (CHUNK_BYTES / (vocab * acc.size()).max(1)).clamp(1, rows);
    // Rows of a multiple of 16 bytes, or products fall to a quarter of their speed.
    let stride = vocab.next_multiple_of(8);
    let mut logits = Tensor::uninit([chunk, stride].into(), acc);
    let mut slopes = Tensor::uninit([chunk, stride].into(), dtype);
    let matrix = weight.detach();
    for start in (0..rows).step_by(chunk) {
        let m = chunk.min(rows - start);
        let part = Matrices::new(&head.hidden.detach().narrow(0, start, m));
        let at = logits.made_on(gpu);
        let across = Matrices::new(&matrix).t();
        products_with_rows_of(gpu, &part, &across, head.precision, (at, acc), stride);
        let targets = head.targets.on(gpu) + 8 * start as u64;
        let found = (to_losses + 8 * start as u64, to_stats + 16 * start as u64);
        let asked = (at, targets);
        let text = cross_entropy_text(acc, dtype);
        let kernel =
            |function| Kernel { name: "cross_entropy", text: &text, function, exact: false };
        let args = Args::new()
            .at(asked.0)
            .at(asked.1)
            .at(found.0)
            .at(found.1)
            .long(vocab)
            .words(&[u64::MAX]);
        let args = head.terms.args(args).long(stride);
        gpu.run(kernel("losses"), [m, 1, 1], threads(vocab), 0, &mut { args });
        if !(slope_hidden || slope_weight) {
            continue;
        }
        let scales = head.scales.map_or(0, |scales| scales.on(gpu) + 8 * start as u64);
        let args = Args::new()
            .at(asked.0)
            .at(asked.1)
            .at(found.1)
            .at(0)
            .at(scales)
            .at(slopes.made_on(gpu));
        let args = head
            .terms
            .args(args.long(vocab).words(&[u64::MAX]))
            .double(1.0 / head.denominator)
            .long(stride);
        gpu.run(kernel("slopes"), [m, 1, 1], threads(vocab), 0, &mut { args });
        let seen = slopes.narrow(0, 0, m).narrow(1, 0, vocab);
        if let Some(hidden) = &mut hidden {
            let to = hidden.made_on(gpu) + (start * width * dtype.size()) as u64;
            products_at(
                gpu,
                &Matrices::new(&seen),
                &Matrices::new(&matrix),
                head.precision,
                (to, dtype, false),
            );
        }
        if let Some(weights) = &mut weights {
            let to = (weights.made_on(gpu), acc, start > 0);
            products_at(gpu, &Matrices::new(&seen).t(), &part, head.precision, to);
        }
        drop(seen);
    }
    let loss = total(gpu, &losses, head.denominator, acc);
    HeadLoss { loss, rows: losses, hidden, weight: weights }
}
