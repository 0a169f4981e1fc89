use super::mask::bits;
use crate::dtype::DType;
use crate::random::Key;
use crate::tensor::Tensor;
use crate::{AttentionOptions, attention};

/// Sizes: batch, time, keys, heads, heads of keys, channels of a head.
type Sizes = [usize; 6];

fn draw(key: u64, shape: [usize; 4], dtype: DType) -> Tensor {
    Tensor::randn(shape, DType::F64, Key::new(key)).to_dtype(dtype)
}

fn inputs([b, t, s, h, kv, d]: Sizes, dtype: DType) -> [Tensor; 4] {
    let keys = [b, s, kv, d];
    let queries = [b, t, h, d];
    [draw(1, queries, dtype), draw(2, keys, dtype), draw(3, keys, dtype), draw(4, queries, dtype)]
}

/// Output and gradients by the formulas, from a matrix of weights; `keep` are the factors that
/// dropout puts on probabilities.
fn plain(
    [batch, time, keys, heads, kv_heads, dim]: Sizes,
    [q, k, v, g]: [Vec<f64>; 4],
    sees: &dyn Fn(usize, usize, usize) -> bool,
    keep: &dyn Fn(usize, usize, usize, usize) -> f64,
    softcap: Option<f64>,
) -> [Vec<f64>; 4] {
    let mut out = [vec![0.0; q.len()], vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]];
    let scale = 1.0 / (dim as f64).sqrt();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let add = |to: &mut [f64], from: &[f64], by: f64| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += by * from);
    };
    for (b, h, t) in
        (0..batch * heads * time).map(|i| (i / time / heads, i / time % heads, i % time))
    {
        let at = |s: usize| ((b * keys + s) * kv_heads + h / (heads / kv_heads)) * dim;
        let row = ((b * time + t) * heads + h) * dim;
        let (row, seen) = (row..row + dim, (0..keys).filter(|&s| sees(b, t, s)));
        let seen: Vec<usize> = seen.collect();
        let score = |s: usize| scale * dot(&q[row.clone()], &k[at(s)..at(s) + dim]);
        let tanh = |s: usize| softcap.map_or(0.0, |cap| (score(s) / cap).tanh());
        let e = |s: usize| softcap.map_or_else(|| score(s), |cap| cap * tanh(s)).exp();
        let sum: f64 = seen.iter().map(|&s| e(s)).sum();
        let weights: Vec<f64> = seen.iter().map(|&s| e(s) / sum).collect();
        let slopes: Vec<f64> = seen
            .iter()
            .map(|&s| dot(&g[row.clone()], &v[at(s)..at(s) + dim]) * keep(b, h, t, s))
            .collect();
        let mean: f64 = weights.iter().zip(&slopes).map(|(w, s)| w * s).sum();
        for ((&s, weight), slope) in seen.iter().zip(&weights).zip(&slopes) {
            let key = at(s)..at(s) + dim;
            let kept = weight * keep(b, h, t, s);
            let bend = 1.0 - tanh(s) * tanh(s);
            let slope = scale * weight * (slope - mean) * bend;
            add(&mut out[0][row.clone()], &v[key.clone()], kept);
            add(&mut out[1][row.clone()], &k[key.clone()], slope);
            add(&mut out[2][key.clone()], &q[row.clone()], slope);
            add(&mut out[3][key.clone()], &g[row.clone()], kept);
        }
    }
    out
}

/// Output and gradients of the operation.
fn computed([q, k, v, g]: &[Tensor; 4], options: &AttentionOptions) -> [Vec<f64>; 4] {
    let leaves = [q, k, v].map(Tensor::requires_grad);
    let y = attention(&leaves[0], &leaves[1], &leaves[2], options);
    let grads = (&y * g).sum().backward();
    let [dq, dk, dv] = leaves.map(|leaf| grads.of(&leaf).unwrap().to_f64_vec());
    [y.to_f64_vec(), dq, dk, dv]
}

fn assert_near(got: &[Vec<f64>; 4], want: &[Vec<f64>; 4], tolerance: f64, what: &str) {
    for (name, (got, want)) in ["y", "dq", "dk", "dv"].iter().zip(got.iter().zip(want)) {
        let scale = want.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let near = (got - want).abs() <= tolerance * scale;
            assert!(near, "{what}: {name}[{i}] is {got}, not {want}");
        }
    }
}

const TYPES: [(DType, f64); 3] = [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::BF16, 5e-2)];

#[test]
fn odd_sizes_follow_the_formula() {
    let sizes: [Sizes; 7] = [
        [1, 1, 1, 1, 1, 1],
        [2, 3, 5, 2, 1, 7],
        [1, 57, 57, 2, 2, 16],
        [2, 113, 113, 3, 1, 17],
        [1, 9, 130, 2, 2, 33],
        [1, 130, 9, 2, 1, 5],
        // More keys than a block holds.
        [1, 60, 1100, 1, 1, 8],
    ];
    for sizes in sizes {
        for causal in [false, true] {
            for (dtype, tolerance) in TYPES {
                let [_, time, keys, ..] = sizes;
                let given = inputs(sizes, dtype);
                let options = AttentionOptions { causal, ..AttentionOptions::default() };
                let sees = |_, t, s| !causal || s + time <= t + keys;
                let plain_inputs = given.clone().map(|x| x.to_f64_vec());
                let want = plain(sizes, plain_inputs, &sees, &|_, _, _, _| 1.0, None);
                let what = format!("{sizes:?} causal {causal} {dtype}");
                assert_near(&computed(&given, &options), &want, tolerance, &what);
            }
        }
    }
}

#[test]
fn masks_and_dropout_follow_the_formula() {
    let sizes = [2, 70, 70, 4, 2, 12];
    let real: Vec<u8> = (0..140).map(|i| u8::from(i % 7 != 3 && i != 70)).collect();
    let documents: Vec<i64> =
        (0..140).map(|i| i64::from(i % 70 > 22) + i64::from(i > 100)).collect();
    let key = Key::new(5);
    let (padding, ids) =
        (Tensor::from_slice(&real, [2, 70]), Tensor::from_slice(&documents, [2, 70]));
    let options = AttentionOptions {
        causal: true,
        scale: None,
        key_padding: Some(&padding),
        documents: Some(&ids),
        dropout: Some((0.25, key)),
        ..AttentionOptions::default()
    };
    let sees = |b: usize, t: usize, s: usize| {
        s <= t && real[b * 70 + s] == 1 && documents[b * 70 + s] == documents[b * 70 + t]
    };
    let keep = |b: usize, h: usize, t: usize, s: usize| {
        let place = 2 * ((b * 4 + h) * 70 + t) as u64;
        let seed = u64::from(key.bits(place)) | u64::from(key.bits(place + 1)) << 32;
        if bits(seed, s as u32) < 1 << 30 { 0.0 } else { 1.0 / 0.75 }
    };
    for (dtype, tolerance) in TYPES {
        let given = inputs(sizes, dtype);
        let want =
            plain(sizes, given.clone().map(|x| x.to_f64_vec()), &sees, &keep, options.softcap);
        assert_near(&computed(&given, &options), &want, tolerance, &format!("{dtype}"));
    }
}

#[test]
fn windows_and_soft_caps_follow_the_formula() {
    let sizes: [Sizes; 5] = [
        [1, 9, 9, 2, 1, 5],
        [2, 130, 130, 2, 1, 9],
        [1, 3, 70, 2, 2, 8],
        // A window that begins in a later block of keys, and one that is wider than a block.
        [1, 60, 2300, 1, 1, 8],
        [1, 70, 3, 1, 1, 4],
    ];
    for sizes in sizes {
        for (causal, window, softcap) in [
            (true, Some(1), None),
            (true, Some(4), Some(0.3)),
            (true, Some(60), None),
            (true, Some(1500), Some(2.0)),
            (false, Some(3), None),
            (true, None, Some(0.3)),
            (false, None, Some(0.3)),
        ] {
            let [_, time, keys, ..] = sizes;
            let options =
                AttentionOptions { causal, window, softcap, ..AttentionOptions::default() };
            let sees = |_, t: usize, s: usize| {
                let place = (t + keys) as isize - time as isize;
                let ahead = s as isize - place;
                (!causal || ahead <= 0) && window.is_none_or(|w| ahead.unsigned_abs() < w)
            };
            for (dtype, tolerance) in TYPES {
                let given = inputs(sizes, dtype);
                let plain_inputs = given.clone().map(|x| x.to_f64_vec());
                let want = plain(sizes, plain_inputs, &sees, &|_, _, _, _| 1.0, softcap);
                let what = format!("{sizes:?} causal {causal} {window:?} {softcap:?} {dtype}");
                assert_near(&computed(&given, &options), &want, tolerance, &what);
            }
        }
    }
}

#[test]
fn strided_operands_are_read_where_they_lie() {
    let whole = draw(1, [2, 3, 61, 40], DType::F32);
    // [batch, heads, time, dim] seen as [batch, time, heads, dim], in a part of the channels.
    let view = whole.transpose(1, 2).narrow(3, 5, 19);
    let copy = view.contiguous();
    // Channels that do not lie side by side.
    let scattered = copy.transpose(1, 3).contiguous().transpose(1, 3);
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let want = computed(&[copy.clone(), copy.clone(), copy.clone(), copy.clone()], &options);
    for other in [view, scattered] {
        let given = [other.clone(), other.clone(), other.clone(), copy.clone()];
        assert_near(&computed(&given, &options), &want, 1e-6, "view");
    }
}

#[test]
fn dropout_drops_its_share_evenly() {
    let n = 1 << 16;
    for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
        let share = (0..n).filter(|&i| bits(seed, i) < 1 << 30).count() as f64 / f64::from(n);
        assert!((share - 0.25).abs() < 0.01, "seed {seed}: {share}");
        let pairs = (1..n).filter(|&i| bits(seed, i) < 1 << 30 && bits(seed, i - 1) < 1 << 30);
        let share = pairs.count() as f64 / f64::from(n);
        assert!((share - 0.0625).abs() < 0.006, "seed {seed}: neighbours {share}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let options = AttentionOptions {
                causal: true,
                dropout: Some((0.1, Key::new(6))),
                ..AttentionOptions::default()
            };
            computed(&inputs([2, 131, 131, 6, 3, 20], DType::F32), &options)
                .map(|values| values.into_iter().map(f64::to_bits).collect::<Vec<_>>())
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert!(run(threads) == one, "{threads} threads");
    }
}
