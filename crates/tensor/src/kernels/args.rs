//! What kernels are given beside tensors, whatever processor they run on.

use crate::precision::MatmulPrecision;
use crate::quantized::Weight;
use crate::random::Key;
use crate::real::Real;
use crate::tensor::Tensor;

/// A formula of `N` numbers, written once.
pub(crate) trait Formula<const N: usize>: Copy + Send + Sync + 'static {
    /// The value at one place (or at several side by side).
    fn eval<R: Real>(&self, x: [R; N]) -> R;
}

/// A formula of `N` numbers with two results.
pub(crate) trait Pair<const N: usize>: Copy + Send + Sync + 'static {
    /// The values at one place (or at several side by side).
    fn eval<R: Real>(&self, x: [R; N]) -> [R; 2];
}

/// The last two dimensions of a tensor as matrices, one for each place of the others.
#[derive(Clone)]
pub(crate) struct Matrices {
    pub tensor: Tensor,
    pub rows: usize,
    pub cols: usize,
    pub batch: usize,
    /// Elements from one matrix to the next.
    pub step: usize,
}

impl Matrices {
    /// A tensor of rank 2, or of rank 3 whose first dimension counts matrices.
    pub fn new(tensor: &Tensor) -> Self {
        let rank = tensor.rank();
        debug_assert!(rank == 2 || rank == 3);
        let (rows, cols) = (tensor.size(rank - 2), tensor.size(rank - 1));
        let (batch, step) =
            if rank == 3 { (tensor.size(0), tensor.layout.strides[0]) } else { (1, 0) };
        Self { tensor: tensor.detach(), rows, cols, batch, step }
    }

    /// Every matrix transposed.
    #[must_use]
    pub fn t(&self) -> Self {
        let rank = self.tensor.rank();
        let tensor = self.tensor.transpose(rank - 2, rank - 1);
        Self { tensor, rows: self.cols, cols: self.rows, ..*self }
    }
}

/// Rows `[.., width]` that are added to those of a table.
#[derive(Clone, Copy)]
pub(crate) enum AddedRows<'a> {
    /// One for each id.
    Each(&'a Tensor),
    /// For id `j` of row `i`, row `i` times `factors[i, j]`.
    Times {
        /// `[n, width]`.
        rows: &'a Tensor,
        /// `[n, k]`.
        factors: &'a Tensor,
    },
}

/// Which normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    /// What messages call it.
    pub name: &'static str,
    /// Whether the mean is subtracted.
    pub centred: bool,
    /// Added to the variance, or to the mean square.
    pub eps: f64,
    /// Whether rows are multiplied by one more than the weight.
    pub plus_one: bool,
}

/// Sizes and options of one convolution: heights before widths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub batch: usize,
    pub groups: usize,
    /// Channels of the input, all groups together.
    pub inputs: usize,
    /// Channels of the output, all groups together.
    pub outputs: usize,
    /// Of the input.
    pub size: [usize; 2],
    pub kernel: [usize; 2],
    /// Of the output.
    pub out: [usize; 2],
    pub stride: [usize; 2],
    /// Zeros before the first row and column.
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub precision: MatmulPrecision,
}

impl Convolution {
    /// Input channels of a group.
    pub fn group_inputs(&self) -> usize {
        self.inputs / self.groups
    }

    /// Output channels of a group.
    pub fn group_outputs(&self) -> usize {
        self.outputs / self.groups
    }

    /// Places of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of a channel of the input.
    pub fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Pixels of a channel of the output.
    pub fn places(&self) -> usize {
        self.out[0] * self.out[1]
    }
}

/// What is made of the rows of one or two matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// `exp(x - lse(x))`.
    Softmax,
    /// `x - lse(x)`.
    LogSoftmax,
    /// `lse(x) = ln(sum(exp(x)))`, one number per row.
    LogSumExp,
    /// From `y` and `g`: `y (g - sum(g y))`.
    SoftmaxGrad,
    /// From `y` and `g`: `g - exp(y) sum(g)`.
    LogSoftmaxGrad,
}

/// What is added up for each row of logits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub label_smoothing: f64,
    pub z_loss: f64,
    pub confidence_penalty: f64,
    /// Logits of a product are `softcap tanh(logit / softcap)`.
    pub softcap: Option<f64>,
}

/// Rows of logits, and what is added up over them and divided by.
pub(crate) struct Rows<'a> {
    /// `[.., vocab]`; contiguous.
    pub logits: &'a Tensor,
    /// `[..]` of `i64`: a class of the vocabulary or `ignored`; contiguous.
    pub targets: &'a Tensor,
    pub ignored: i64,
    pub terms: Terms,
    pub denominator: f64,
}

/// `logits = hidden weight^T` with a target for each row.
pub(crate) struct Head<'a> {
    /// `[rows, width]`.
    pub hidden: &'a Tensor,
    /// `[vocab, width]`.
    pub weight: &'a Weight,
    /// `[rows]` of `i64`, classes of the vocabulary; contiguous.
    pub targets: &'a Tensor,
    pub terms: Terms,
    pub precision: MatmulPrecision,
    /// What losses are divided by, and slopes.
    pub denominator: f64,
    /// `[rows]` of `f64`: what each row's slopes are multiplied by, in place of being divided.
    pub scales: Option<&'a Tensor>,
}

/// The loss, and the slopes that were asked for.
pub(crate) struct HeadLoss {
    /// The sum over rows, over the denominator: a scalar in the accumulator of the type.
    pub loss: Tensor,
    /// That of each row, not divided, in double precision.
    pub rows: Tensor,
    /// Of `hidden`, in its type.
    pub hidden: Option<Tensor>,
    /// Of `weight`, in the accumulator of its type.
    pub weight: Option<Tensor>,
}

/// Sizes and options of one attention.
#[derive(Clone)]
pub(crate) struct Problem {
    pub batch: usize,
    pub time: usize,
    pub keys: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub scale: f64,
    pub causal: bool,
    pub precision: MatmulPrecision,
    /// `[batch, keys]` of `u8`, zero where a key is to be ignored; contiguous.
    pub key_padding: Option<Tensor>,
    /// `[batch, time]` of `i64`; contiguous.
    pub documents: Option<Tensor>,
    /// `[batch, time]` of `i64`: the place where the document of each place begins, where each document is one piece.
    pub starts: Option<Vec<i64>>,
    /// A query sees only keys fewer places away than this.
    pub window: Option<usize>,
    /// Scores are `softcap tanh(score / softcap)`.
    pub softcap: Option<f64>,
    /// The probability of dropping a probability, and where the numbers come from.
    pub dropout: Option<(f64, Key)>,
}

/// What the forward pass of attention read and left.
pub(crate) struct Saved {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    /// The output, contiguous.
    pub out: Tensor,
    /// The logarithm of the sum of exponentials of each query.
    pub lse: Tensor,
}

/// Windows of an image whose largest element is taken: heights before widths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// Of the input.
    pub size: [usize; 2],
    pub kernel: [usize; 2],
    /// Of the output.
    pub out: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

/// A linear map along one dimension, of few elements for each result.
#[derive(Clone, Debug)]
pub(crate) struct Taps {
    /// Where the elements of each result end; they begin where those of the one before end.
    pub ends: Vec<usize>,
    /// Which elements.
    pub index: Vec<usize>,
    /// What each is multiplied by.
    pub weight: Vec<f64>,
}

impl Taps {
    /// The map whose result `i` is the sum of `taps(i)`, elements with what they are multiplied by.
    pub fn new<I: IntoIterator<Item = (usize, f64)>>(
        results: usize,
        taps: impl Fn(usize) -> I,
    ) -> Self {
        let mut map = Self { ends: Vec::new(), index: Vec::new(), weight: Vec::new() };
        for i in 0..results {
            for (index, weight) in taps(i) {
                map.index.push(index);
                map.weight.push(weight);
            }
            map.ends.push(map.index.len());
        }
        map
    }

    /// The elements of result `i`, with what they are multiplied by.
    pub fn of(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        let range = start..self.ends[i];
        self.index[range.clone()].iter().copied().zip(self.weight[range].iter().copied())
    }

    /// The map back, from results to `elements`.
    pub fn transposed(&self, elements: usize) -> Self {
        let mut lists = vec![Vec::new(); elements];
        for result in 0..self.ends.len() {
            for (index, weight) in self.of(result) {
                lists[index].push((result, weight));
            }
        }
        Self::new(elements, |i| lists[i].iter().copied())
    }
}
