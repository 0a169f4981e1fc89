//! Attention of queries to keys, without a stored score matrix.

#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::DType;
use crate::kernels::args::{Problem, Saved};
use crate::kernels::attention::{backward, backward_packed, forward};
use crate::precision::matmul_precision;
use crate::random::Key;
use crate::tensor::Tensor;

/// What a query may see, and how scores become probabilities.
///
/// The default sees every key, scales by `1 / sqrt(dim)` and drops nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionOptions<'a> {
    /// Whether a query sees only keys up to its own place. With more keys than queries, as behind a
    /// key-value cache, the last query stands beside the last key.
    pub causal: bool,
    /// The factor on scores; `1 / sqrt(dim)` where not given.
    pub scale: Option<f64>,
    /// `u8`, `[batch, keys]`: 1 for a key that counts, 0 for padding that nobody sees.
    pub key_padding: Option<&'a Tensor>,
    /// `i64`, `[batch, time]`: the document of each place; a query sees only keys of its own.
    /// Needs as many keys as queries.
    pub documents: Option<&'a Tensor>,
    /// A query sees only keys fewer than so many places away: with `causal` the last `window` keys, its own
    /// among them. Mistral's and Gemma's sliding window.
    pub window: Option<usize>,
    /// Scores become `softcap tanh(score / softcap)` before the softmax, as in Gemma 2.
    pub softcap: Option<f64>,
    /// Sets each probability to zero with probability `p` in `0..1` and divides the others by
    /// `1 - p`; what is dropped is a pure function of the key and the places of batch, head, query
    /// and key.
    pub dropout: Option<(f64, Key)>,
}

/// `softmax(scale q k^T) v` for every head, over the keys that a query sees.
///
/// `q` is `[batch, time, heads, dim]`; `k` and `v` are `[batch, keys, kv_heads, dim]`, where
/// `heads` is a multiple of `kv_heads` and consecutive heads of queries share one of keys. Any of
/// them may be a strided view. The result is `[batch, time, heads, dim]`; a query that sees no key
/// gives zeros. Scores are never stored whole: the backward pass computes them again from one
/// number per query.
///
/// Vaswani and others, <https://arxiv.org/abs/1706.03762>; grouped heads: Ainslie and others,
/// <https://arxiv.org/abs/2305.13245>; PyTorch's `scaled_dot_product_attention`, but for the order
/// of dimensions and the place of causal queries.
///
/// # Panics
/// Where shapes, types or options do not meet.
///
/// ```
/// use rappel_tensor::{AttentionOptions, DType, Tensor, attention};
/// // One key: whatever the query, its value is the answer.
/// let q = Tensor::arange(4, DType::F32).reshape([1, 1, 2, 2]);
/// let v = Tensor::from_slice(&[5.0_f32, 6.0], [1, 1, 1, 2]);
/// let y = attention(&q, &v, &v, &AttentionOptions::default());
/// assert_eq!(y.to_vec::<f32>(), [5.0, 6.0, 5.0, 6.0]);
/// ```
#[track_caller]
#[must_use]
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Tensor {
    let p = problem(q, k, v, options);
    let [sq, sk, sv] = [q.detach(), k.detach(), v.detach()];
    let (out, lse) = forward(&p, &sq, &sk, &sv);
    let saved = Saved { q: sq, k: sk, v: sv, out: out.clone(), lse };
    out.record(&[q, k, v], move |grad, sink| {
        let [dq, dk, dv] = backward(&p, &saved, &grad.contiguous());
        sink.add(0, || dq);
        sink.add(1, || dk);
        sink.add(2, || dv);
    })
}

/// [`attention`] of queries, keys and values that lie side by side, as GPT-2's `c_attn` gives them.
///
/// `qkv` is `[batch, time, 3 * heads * dim]`: all heads of the queries, then of the keys, then of
/// the values; the result is `[batch, time, heads * dim]`. The backward pass writes the gradient of
/// `qkv` as a whole.
///
/// # Panics
/// As [`attention`], and where the last dimension is not three times a multiple of `heads`.
///
/// ```
/// use rappel_tensor::{AttentionOptions, DType, Key, Tensor, attention_packed};
/// let qkv = Tensor::randn([2, 5, 3 * 8], DType::F32, Key::new(0));
/// let options = AttentionOptions { causal: true, ..Default::default() };
/// assert_eq!(*attention_packed(&qkv, 4, &options).shape(), [2, 5, 8]);
/// ```
#[track_caller]
#[must_use]
pub fn attention_packed(qkv: &Tensor, heads: usize, options: &AttentionOptions) -> Tensor {
    let shape = qkv.shape();
    assert!(
        shape.rank() == 3 && heads > 0 && shape[2].is_multiple_of(3 * heads),
        "attention_packed: {shape} is not [batch, time, 3 * {heads} heads * dim]"
    );
    let (batch, time, width) = (shape[0], shape[1], shape[2] / 3);
    let whole = qkv.detach();
    let part = |i| whole.narrow(2, i * width, width).reshape([batch, time, heads, width / heads]);
    let (q, k, v) = (part(0), part(1), part(2));
    let p = problem(&q, &k, &v, options);
    let (out, lse) = forward(&p, &q, &k, &v);
    let saved = Saved { q, k, v, out: out.clone(), lse };
    out.reshape([batch, time, width]).record(&[qkv], move |grad, sink| {
        let grad = grad.contiguous().reshape([batch, time, heads, width / heads]);
        sink.add(0, || backward_packed(&p, &saved, &grad));
    })
}

/// Checks that everything meets.
#[track_caller]
fn problem(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Problem {
    let (sq, sk, sv) = (q.shape(), k.shape(), v.shape());
    let meet = sq.rank() == 4
        && sk.rank() == 4
        && sk == sv
        && (sq[0], sq[3]) == (sk[0], sk[3])
        && (sq[2] == sk[2] || (sk[2] > 0 && sq[2].is_multiple_of(sk[2])));
    assert!(meet, "attention: queries {sq}, keys {sk} and values {sv} do not meet");
    assert!(
        q.dtype() == k.dtype() && q.dtype() == v.dtype(),
        "attention: queries are {}, keys {}, values {}",
        q.dtype(),
        k.dtype(),
        v.dtype()
    );
    let (batch, time, keys, dim) = (sq[0], sq[1], sk[1], sq[3]);
    let mask = |what: &str, mask: Option<&Tensor>, shape: [usize; 2], dtype: DType| {
        mask.map(|mask| {
            assert!(
                *mask.shape() == shape && mask.dtype() == dtype,
                "attention: {what} is {} {}, not {dtype} {shape:?}",
                mask.dtype(),
                mask.shape()
            );
            mask.detach().contiguous()
        })
    };
    let key_padding = mask("key_padding", options.key_padding, [batch, keys], DType::U8);
    let documents = mask("documents", options.documents, [batch, time], DType::I64);
    assert!(
        documents.is_none() || time == keys,
        "attention: documents need as many keys as queries, not {keys} for {time}"
    );
    assert!(options.window != Some(0), "attention: a window of 0 hides every key");
    assert!(
        options.softcap.is_none_or(|softcap| softcap > 0.0),
        "attention: softcap {:?} is not positive",
        options.softcap
    );
    let dropout = options.dropout.filter(|&(p, _)| p != 0.0);
    assert!(
        dropout.is_none_or(|(p, _)| (0.0..1.0).contains(&p)),
        "attention: dropout {dropout:?} is not in 0..1"
    );
    let starts = documents.as_ref().and_then(|documents| starts(documents.as_slice(), time));
    let scale = options.scale.unwrap_or(1.0 / (dim as f64).sqrt());
    let (heads, kv_heads, causal) = (sq[2], sk[2], options.causal);
    Problem {
        batch,
        time,
        keys,
        heads,
        kv_heads,
        dim,
        scale,
        causal,
        precision: matmul_precision(),
        key_padding,
        documents,
        starts,
        window: options.window,
        softcap: options.softcap,
        dropout,
    }
}

/// Where the document of each place begins in its row, if documents come one after another.
fn starts(documents: &[i64], time: usize) -> Option<Vec<i64>> {
    let mut starts = Vec::with_capacity(documents.len());
    for row in documents.chunks(time.max(1)) {
        if row.windows(2).any(|pair| pair[1] < pair[0]) {
            return None;
        }
        let mut start = 0;
        for (place, document) in row.iter().enumerate() {
            if place > 0 && *document != row[place - 1] {
                start = place as i64;
            }
            starts.push(start);
        }
    }
    Some(starts)
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "attention",
    samples: |draw| {
        let (b, t, more, d) = (draw.size(1, 2), draw.size(1, 5), draw.size(0, 3), draw.size(1, 4));
        let (kv, group) = (draw.size(1, 2), draw.size(1, 2));
        let mut inputs = |keys: usize| {
            let kv_shape = [b, keys, kv, d];
            vec![draw.normal([b, t, kv * group, d]), draw.normal(kv_shape), draw.normal(kv_shape)]
        };
        let (same, cached, full, padded, split, dropped) =
            (inputs(t), inputs(t + more), inputs(t + more), inputs(t), inputs(t), inputs(t + more));
        let (near, around, capped) = (inputs(t + more), inputs(t), inputs(t));
        let real = draw.indices([b, t], 2).to_dtype(DType::U8);
        let documents = draw.indices([b, t], 2);
        let pieces: Vec<i64> = (0..b * t).map(|place| (place % t) as i64 * 2 / t as i64).collect();
        let pieces = Tensor::from_slice(&pieces, [b, t]);
        let (row, both) = (split.clone(), split.clone());
        let pieces_too = pieces.clone();
        let key = draw.key();
        let packed = draw.normal([b, t, 3 * kv * d]);
        let causal = |x: &[Tensor]| {
            let options = AttentionOptions { causal: true, ..Default::default() };
            attention(&x[0], &x[1], &x[2], &options)
        };
        vec![
            Sample::new("causal", same, causal),
            Sample::new("cached", cached, causal),
            Sample::new("full", full, |x| {
                let options = AttentionOptions { scale: Some(0.7), ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("padding", padded, move |x| {
                let key_padding = Some(&real);
                let options = AttentionOptions { key_padding, ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("documents", split, move |x| {
                let documents = Some(&documents);
                let options = AttentionOptions { documents, causal: true, ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("documents one after another", row, move |x| {
                let documents = Some(&pieces);
                let options = AttentionOptions { documents, causal: true, ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("documents around", both, move |x| {
                let documents = Some(&pieces_too);
                let options = AttentionOptions { documents, ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("dropout", dropped, move |x| {
                let options = AttentionOptions { dropout: Some((0.4, key)), ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("window", near, |x| {
                let options =
                    AttentionOptions { window: Some(2), causal: true, ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("window on both sides", around, |x| {
                let options = AttentionOptions { window: Some(2), ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("softcap", capped, |x| {
                let options =
                    AttentionOptions { softcap: Some(0.5), causal: true, ..Default::default() };
                attention(&x[0], &x[1], &x[2], &options)
            }),
            Sample::new("packed", vec![packed], move |x| {
                let options = AttentionOptions { causal: true, ..Default::default() };
                attention_packed(&x[0], kv, &options)
            }),
        ]
    },
};
