//! Cross-entropy, embedding and dropout against PyTorch, plain code, and other numbers of threads.

use half::bf16;
use rappel_tensor::{
    CrossEntropy, DType, Init, Key, Params, Tensor, cross_entropy, dropout, embedding,
    linear_cross_entropy, linear_log_probs, no_grad,
};
use rappel_testkit::{Golden, assert_close};
use serde_json::Value;

/// Name and arguments of each case of an operation.
fn cases(golden: &Golden, op: &str) -> Vec<(String, Value)> {
    let cases: Vec<Value> = golden.meta("cases");
    let of_op = cases.into_iter().filter(|case| case["op"] == op);
    let found: Vec<_> = of_op
        .map(|case| (case["name"].as_str().unwrap().to_owned(), case["args"].clone()))
        .collect();
    assert!(!found.is_empty(), "no cases of {op}");
    found
}

fn floats(golden: &Golden, name: &str, dtype: DType) -> Tensor {
    let (shape, values) = golden.f64(name);
    Tensor::from_slice(&values, &shape[..]).to_dtype(dtype)
}

fn integers(golden: &Golden, name: &str) -> Tensor {
    let (shape, values) = golden.i64(name);
    Tensor::from_slice(&values, &shape[..])
}

/// In double precision the reference itself, in the others its rounding.
const PRECISIONS: [(DType, f64); 3] = [(DType::F64, 1e-10), (DType::F32, 1e-4), (DType::BF16, 0.1)];

/// `loss(inputs)` against the golden loss and gradients of `case`.
fn check(
    golden: &Golden,
    (name, args): &(String, Value),
    inputs: &[&str],
    loss: impl Fn(&[Tensor], &Tensor, &CrossEntropy) -> Tensor,
) {
    let targets = integers(golden, &format!("{name}/in/target"));
    let mut options = CrossEntropy {
        ignore_index: args["ignore_index"].as_i64().unwrap(),
        label_smoothing: args["label_smoothing"].as_f64().unwrap(),
        ..CrossEntropy::default()
    };
    let mut want = golden.float(&format!("{name}/out/loss")).1;
    match args["reduction"].as_str().unwrap() {
        "mean" => {}
        "sum" => options.denominator = Some(1.0),
        // A loss for each row: its sum is compared, and no gradient.
        "none" => {
            options.denominator = Some(1.0);
            want = vec![want.iter().sum()];
        }
        other => panic!("{name}: reduction {other}"),
    }
    for (dtype, rtol) in PRECISIONS {
        let leaf =
            |input: &&str| floats(golden, &format!("{name}/in/{input}"), dtype).requires_grad();
        let leaves: Vec<Tensor> = inputs.iter().map(leaf).collect();
        let y = loss(&leaves, &targets, &options);
        let what = format!("{name} {dtype}");
        assert_close(&y.to_f64_vec(), &want, rtol, &what);
        if args["reduction"] == "none" {
            continue;
        }
        let upstream = golden.scalar(&format!("{name}/grad_out/loss"));
        let grads = (y * upstream).backward();
        for (input, leaf) in inputs.iter().zip(&leaves) {
            let want = golden.f64(&format!("{name}/grad_in/{input}")).1;
            let got = grads.of(leaf).unwrap();
            assert_eq!(got.dtype(), dtype);
            if dtype == DType::BF16 {
                let far =
                    want.iter().zip(got.to_f64_vec()).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                let norm = want.iter().map(|a| a * a).sum::<f64>();
                assert!(
                    far <= 0.03_f64.powi(2) * norm,
                    "{what}, gradient of {input}: {far} {norm}"
                );
            } else {
                assert_close(
                    &got.to_f64_vec(),
                    &want,
                    rtol,
                    &format!("{what}, gradient of {input}"),
                );
            }
        }
    }
}

#[test]
fn losses_agree_with_pytorch() {
    let golden = Golden::load("ops_torch");
    for case in cases(&golden, "cross_entropy") {
        check(&golden, &case, &["logits"], |x, t, options| cross_entropy(&x[0], t, options));
    }
    for case in cases(&golden, "linear_cross_entropy") {
        check(&golden, &case, &["hidden", "weight"], |x, t, options| {
            linear_cross_entropy(&x[0], &x[1], t, options)
        });
    }
}

#[test]
fn embeddings_agree_with_pytorch() {
    let golden = Golden::load("ops_torch");
    for (name, _) in cases(&golden, "embedding") {
        for (dtype, rtol) in PRECISIONS {
            let table = floats(&golden, &format!("{name}/in/weight"), dtype).requires_grad();
            let ids = integers(&golden, &format!("{name}/in/ids"));
            let y = embedding(&ids, &table);
            assert_close(&y.to_f64_vec(), &golden.f64(&format!("{name}/out/y")).1, rtol, &name);
            let upstream = floats(&golden, &format!("{name}/grad_out/y"), dtype);
            let grads = (y * upstream).sum().backward();
            let want = golden.f64(&format!("{name}/grad_in/weight")).1;
            assert_close(&grads.of(&table).unwrap().to_f64_vec(), &want, rtol, &name);
        }
    }
}

/// Rows enough for several chunks: the chunks of a loss add up to that of whole logits, whatever
/// the number of threads, on views that are not contiguous.
#[test]
fn chunked_loss_is_that_of_whole_logits_on_any_number_of_threads() {
    let (rows, width, vocab) = (701, 24, 20_011);
    let key = Key::new(5);
    let hidden = Tensor::randn([width, rows + 3], DType::F32, key.with(0)).t().narrow(0, 2, rows);
    let weight = Tensor::randn([vocab, width + 5], DType::F32, key.with(1)).narrow(1, 5, width);
    let ids = Tensor::rand([rows], 0.0, vocab as f64, DType::F64, key.with(2)).to_dtype(DType::I64);
    let mut ids = ids.to_vec::<i64>();
    ids.iter_mut().step_by(7).for_each(|id| *id = -100);
    let targets = Tensor::from_slice(&ids, [rows]);
    let options = CrossEntropy { label_smoothing: 0.1, z_loss: 1e-3, ..CrossEntropy::default() };
    let run = |fused: bool| {
        let (h, w) = (hidden.requires_grad(), weight.requires_grad());
        let loss = if fused {
            linear_cross_entropy(&h, &w, &targets, &options)
        } else {
            cross_entropy(&h.matmul(&w.t()), &targets, &options)
        };
        let value = loss.item();
        let grads = loss.backward();
        [vec![value as f32], grads.of(&h).unwrap().to_vec(), grads.of(&w).unwrap().to_vec::<f32>()]
    };
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let one = pool(1).install(|| run(true));
    for threads in [2, 3, 8] {
        assert!(pool(threads).install(|| run(true)) == one, "{threads} threads give other bits");
    }
    for (got, want) in one.iter().zip(run(false)) {
        let wide = |x: &[f32]| rappel_testkit::widen(x);
        assert_close(&wide(got), &wide(&want), 1e-4, "against whole logits");
    }
}

#[test]
fn only_wanted_gradients_are_computed_and_none_without_recording() {
    let key = Key::new(8);
    let hidden = Tensor::randn([5, 4], DType::F64, key.with(0));
    let weight = Tensor::randn([9, 4], DType::F64, key.with(1));
    let targets = Tensor::from_slice(&[1_i64, 8, 0, 3, 3], [5]);
    let loss =
        |h: &Tensor, w: &Tensor| linear_cross_entropy(h, w, &targets, &CrossEntropy::default());
    let (h, w) = (hidden.requires_grad(), weight.requires_grad());
    let both = loss(&h, &w).backward();
    let one = loss(&h, &weight).backward();
    let other = loss(&hidden, &w).backward();
    assert_eq!(both.of(&h).unwrap().to_vec::<f64>(), one.of(&h).unwrap().to_vec::<f64>());
    assert_eq!(both.of(&w).unwrap().to_vec::<f64>(), other.of(&w).unwrap().to_vec::<f64>());
    assert!(!no_grad(|| loss(&h, &w)).needs_grad());
}

#[test]
fn ignored_targets_and_forbidden_tokens() {
    let logits = Tensor::from_slice(&[0.0_f64, f64::NEG_INFINITY, 1.0, 2.0, 0.5, -1.0], [2, 3]);
    let leaf = logits.requires_grad();
    let targets = Tensor::from_slice(&[2_i64, -100], [2]);
    let loss = cross_entropy(&leaf, &targets, &CrossEntropy::default());
    let p = 1.0 / (1.0 + (-1.0_f64).exp());
    assert!((loss.item() + p.ln()).abs() < 1e-15);
    let grad = loss.backward().of(&leaf).unwrap().to_vec::<f64>();
    assert_close(&grad, &[1.0 - p, 0.0, p - 1.0, 0.0, 0.0, 0.0], 1e-14, "gradient");

    let ignored = Tensor::from_slice(&[-100_i64, -100], [2]);
    let (h, w) = (logits.requires_grad(), Tensor::ones([4, 3], DType::F64).requires_grad());
    let loss = linear_cross_entropy(&h, &w, &ignored, &CrossEntropy::default());
    assert!(loss.item().is_nan());
    let none = CrossEntropy { denominator: Some(2.0), ..CrossEntropy::default() };
    let grads = linear_cross_entropy(&h, &w, &ignored, &none).backward();
    assert_eq!(grads.of(&h).unwrap().to_vec::<f64>(), [0.0; 6]);
    assert_eq!(grads.of(&w).unwrap().to_vec::<f64>(), [0.0; 12]);
}

#[test]
fn a_nan_is_not_lost() {
    for at in [0, 1999, 2047, 2048, 4100] {
        let mut row = vec![f32::NEG_INFINITY; 4101];
        row[7] = 1.0;
        row[at] = f32::NAN;
        let logits = Tensor::from_slice(&row, [1, row.len()]);
        let loss =
            cross_entropy(&logits, &Tensor::from_slice(&[7_i64], [1]), &CrossEntropy::default());
        assert!(loss.item().is_nan(), "NaN at {at}");
    }
}

#[test]
#[should_panic(
    expected = "target 11 at position 1 is not one of 11 classes, nor ignore_index -100"
)]
fn a_target_beyond_the_classes_is_named() {
    let targets = Tensor::from_slice(&[3_i64, 11], [2]);
    let _ = cross_entropy(&Tensor::zeros([2, 11], DType::F32), &targets, &CrossEntropy::default());
}

#[test]
#[should_panic(expected = "embedding: id 13 at position 2 is outside a vocabulary of 13")]
fn an_id_beyond_the_vocabulary_is_named() {
    let ids = Tensor::from_slice(&[3_i64, 0, 13], [3]);
    let _ = embedding(&ids, &Tensor::zeros([13, 2], DType::F32));
}

/// A table that is also the output matrix gets both gradients, in the parameter's arena, with the
/// same bits on any number of threads.
#[test]
fn a_tied_table_gathers_both_gradients() {
    let (vocab, width) = (3001, 65);
    for dtype in [DType::F32, DType::BF16] {
        let mut params = Params::with_dtype(1, dtype);
        let table = params.scope("").add("wte", [vocab, width], Init::Normal { std: 0.02 });
        let ids = Tensor::rand([4, 50], 0.0, 40.0, DType::F64, Key::new(2)).to_dtype(DType::I64);
        let run = |tied: bool| {
            let w = table.tensor();
            let head = if tied { w.clone() } else { w.detach() };
            let hidden = embedding(&ids, &w);
            let loss = linear_cross_entropy(&hidden, &head, &ids, &CrossEntropy::default());
            (loss * 3.0).backward().param(&table).unwrap().to_vec::<f32>()
        };
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let one = pool(1).install(|| run(true));
        for threads in [2, 3, 8] {
            assert!(pool(threads).install(|| run(true)) == one, "{threads} threads, {dtype}");
        }
        let input_only = run(false);
        let w = table.tensor().detach().requires_grad();
        let hidden = embedding(&ids, &w.detach());
        let loss = linear_cross_entropy(&hidden, &w, &ids, &CrossEntropy::default()) * 3.0;
        let output_only = loss.backward().of(&w).unwrap().to_f64_vec();
        let sum: Vec<f64> =
            input_only.iter().zip(output_only).map(|(&a, b)| f64::from(a) + b).collect();
        let rtol = if dtype == DType::F32 { 1e-5 } else { 1e-2 };
        assert_close(&rappel_testkit::widen(&one), &sum, rtol, "sum of both gradients");
    }
}

#[test]
fn dropout_keeps_the_mean_and_draws_the_same_again() {
    let n = 1 << 20;
    let x = Tensor::ones([n], DType::F32).requires_grad();
    for p in [0.1, 0.5, 0.9] {
        let y = dropout(&x, p, Key::new(3));
        let values = y.to_vec::<f32>();
        let kept = values.iter().filter(|&&y| y != 0.0).count() as f64;
        let sigma = (n as f64 * p * (1.0 - p)).sqrt();
        assert!((kept - n as f64 * (1.0 - p)).abs() < 4.0 * sigma, "p {p}: {kept} kept");
        let scale = (1.0 / (1.0 - p)) as f32;
        assert!(values.iter().all(|&y| y == 0.0 || y == scale));
        assert_eq!(y.sum().backward().of(&x).unwrap().to_vec::<f32>(), values);
    }
    assert_eq!(dropout(&x, 0.0, Key::new(3)).to_vec::<f32>(), x.to_vec::<f32>());
}

/// Masks are independent of their neighbours, of other pieces and of other keys: correlations of
/// a million signs stay within what chance allows.
#[test]
fn dropout_is_independent_between_positions_and_keys() {
    let n = 1 << 20;
    let signs = |key: Key| -> Vec<f64> {
        let y = dropout(&Tensor::ones([n], DType::F32), 0.5, key).to_vec::<f32>();
        y.into_iter().map(|y| f64::from(y) - 1.0).collect()
    };
    let (a, b) = (signs(Key::new(1)), signs(Key::new(1).with(0)));
    let bound = 4.5 / (n as f64).sqrt();
    let correlation = |x: &[f64], y: &[f64]| {
        x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / x.len().min(y.len()) as f64
    };
    assert!(correlation(&a, &b).abs() < bound, "keys");
    for lag in (1..40).chain([64, 256, 768, 1024, 4096, 16_384, 50_000]) {
        let found = correlation(&a, &a[lag..]);
        assert!(found.abs() < bound, "lag {lag}: {found}");
    }
    // Every pattern of eight neighbours is as frequent as any other: chi-squared, 255 degrees.
    let mut counts = [0.0_f64; 256];
    for byte in a.chunks(8) {
        counts[byte.iter().fold(0, |sum, &x| 2 * sum + usize::from(x > 0.0))] += 1.0;
    }
    let expected = n as f64 / 8.0 / 256.0;
    let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    assert!((255.0 - 5.0 * 22.6..255.0 + 5.0 * 22.6).contains(&chi), "{chi}");
}

#[test]
fn dropout_is_the_same_for_every_type_view_and_number_of_threads() {
    let (rows, width, key) = (391, 257, Key::new(9));
    let x = Tensor::randn([width, rows], DType::F32, key.with(7));
    let mask = dropout(&Tensor::ones([rows, width], DType::F32), 0.3, key).to_vec::<f32>();
    let x = x.t();
    let want: Vec<f32> = x.to_vec::<f32>().iter().zip(&mask).map(|(x, m)| x * m).collect();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let got = pool.install(|| dropout(&x, 0.3, key)).to_vec::<f32>();
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-7 * b.abs();
        assert!(got.iter().zip(&want).all(close), "{threads} threads");
    }
    let half = dropout(&x.to_dtype(DType::BF16), 0.3, key).to_vec::<bf16>();
    assert!(half.iter().zip(&mask).all(|(y, m)| (*m == 0.0) == (y.to_f32() == 0.0)));
}

#[test]
#[should_panic(expected = "dropout: p is 1, which is outside 0..1")]
fn dropout_of_everything_is_refused() {
    let _ = dropout(&Tensor::ones([3], DType::F32), 1.0, Key::new(0));
}

#[test]
fn log_probabilities_and_gradients_of_each_row_are_those_of_all_logits() {
    // So many that logits are computed in several parts.
    let (rows, width, vocab) = (450, 8, 20_000);
    let draw = |shape: [usize; 2], name: &str, dtype| {
        Tensor::randn(shape, dtype, Key::new(3).with_name(name)).requires_grad()
    };
    let ids: Vec<i64> =
        (0..rows).map(|i| if i % 5 == 0 { -100 } else { (i * 37 % vocab) as i64 }).collect();
    let targets = Tensor::from_slice(&ids, [rows]);
    let kept: Vec<i64> = (0..rows as i64).filter(|i| i % 5 != 0).collect();
    let kept = Tensor::from_slice(&kept, [kept.len()]);
    for (dtype, rtol) in [(DType::F64, 1e-9), (DType::F32, 1e-3)] {
        let (hidden, weight) = (draw([rows, width], "h", dtype), draw([vocab, width], "w", dtype));
        let factors = Tensor::randn([rows], dtype, Key::new(5));
        let found = linear_log_probs(&hidden, &weight, &targets, None);
        let grads = (&found * &factors).sum().backward();
        let (whole, of_kept) =
            (hidden.index_select(0, &kept).matmul(&weight.t()), targets.index_select(0, &kept));
        let plain = whole.log_softmax(1).gather(1, &of_kept.unsqueeze(1)).squeeze(1);
        let wanted = (&plain * &factors.index_select(0, &kept)).sum().backward();
        let got = found.index_select(0, &kept).to_f64_vec();
        assert_close(&got, &plain.to_f64_vec(), rtol, "log-probabilities");
        assert!(found.to_f64_vec().iter().step_by(5).all(|value| *value == 0.0));
        for leaf in [&hidden, &weight] {
            let [got, want] = [&grads, &wanted].map(|grads| grads.of(leaf).unwrap().to_f64_vec());
            rappel_testkit::assert_close_floor(&got, &want, rtol, 1.0, "gradients");
        }
    }
}
