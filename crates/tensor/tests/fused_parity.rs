//! Fused operations against PyTorch and transformers, forward and backward.

use rappel_tensor::{
    AttentionOptions, DType, Tensor, attention, attention_packed, gated_gelu, gated_gelu_tanh,
    layer_norm, rms_norm, rms_norm_plus_one, rotary,
};
use rappel_testkit::{Golden, assert_close};

/// What a case computes, from its inputs; outputs in the order of their names.
type Function = dyn Fn(&Golden, &str, &[Tensor]) -> Vec<Tensor>;

/// The agreement that double precision reaches; the softmax of huge scores loses digits.
fn tolerance(case: &str, dtype: DType) -> f64 {
    match (dtype, case) {
        (DType::F64, "attention/causal_large_scores") => 1e-8,
        (DType::F64, _) => 1e-10,
        (_, "attention/causal_large_scores") => 2e-1,
        _ => 1e-3,
    }
}

/// The cases of an operation.
fn cases(golden: &Golden, op: &str) -> Vec<String> {
    let prefix = format!("{op}/");
    let mut cases: Vec<String> = golden
        .names(&prefix)
        .map(|name| name.splitn(3, '/').take(2).collect::<Vec<_>>().join("/"))
        .collect();
    cases.dedup();
    assert!(cases.len() > 2, "{op} has cases");
    cases
}

fn tensor(golden: &Golden, name: &str, dtype: DType) -> Tensor {
    let (shape, values) = golden.f64(name);
    Tensor::from_slice(&values, &shape[..]).to_dtype(dtype)
}

/// An option of a case, from the metadata.
fn argument(golden: &Golden, case: &str, name: &str) -> Option<f64> {
    let cases: serde_json::Value = golden.meta("cases");
    let case = cases.as_array().unwrap().iter().find(|c| c["name"] == case).unwrap();
    let value = &case["args"][name];
    value.as_bool().map(|b| f64::from(u8::from(b))).or_else(|| value.as_f64())
}

/// Runs every case of `op` with the `inputs` it has, and compares outputs and all gradients.
fn check(op: &str, inputs: &[&str], outputs: &[&str], function: &Function) {
    let golden = Golden::load("ops_torch");
    for case in cases(&golden, op) {
        for dtype in [DType::F64, DType::F32] {
            let name = |kind: &str, what: &str| format!("{case}/{kind}/{what}");
            let given: Vec<&str> =
                inputs.iter().copied().filter(|i| golden.contains(&name("in", i))).collect();
            let leaves: Vec<Tensor> = given
                .iter()
                .map(|input| tensor(&golden, &name("in", input), dtype).requires_grad())
                .collect();
            let results = function(&golden, &case, &leaves);
            let rtol = tolerance(&case, dtype);
            let mut loss = Tensor::scalar(0.0, dtype);
            for (result, output) in results.iter().zip(outputs) {
                let (shape, want) = golden.f64(&name("out", output));
                assert_eq!(result.shape()[..], shape[..], "{case}");
                let what = format!("{case} {output} {dtype}");
                assert_close(&result.to_f64_vec(), &want, rtol, &what);
                loss = loss + (result * tensor(&golden, &name("grad_out", output), dtype)).sum();
            }
            let grads = loss.backward();
            for (leaf, input) in leaves.iter().zip(&given) {
                let (_, want) = golden.f64(&name("grad_in", input));
                let got = grads.of(leaf).unwrap().to_f64_vec();
                assert_close(&got, &want, rtol, &format!("{case} gradient of {input} {dtype}"));
            }
        }
    }
}

/// The weight, or ones where the case has none.
fn weight(inputs: &[Tensor]) -> Tensor {
    let width = inputs[0].shape()[inputs[0].rank() - 1];
    inputs.get(1).cloned().unwrap_or_else(|| Tensor::ones([width], inputs[0].dtype()))
}

#[test]
fn layer_norm_agrees() {
    check("layer_norm", &["x", "weight", "bias"], &["y"], &|golden, case, x| {
        let eps = argument(golden, case, "eps").unwrap();
        vec![layer_norm(&x[0], &weight(x), x.get(2), eps)]
    });
}

#[test]
fn rms_norm_agrees() {
    check("rms_norm", &["x", "weight"], &["y"], &|golden, case, x| {
        vec![rms_norm(&x[0], &weight(x), argument(golden, case, "eps").unwrap())]
    });
}

/// The dimension a case works along.
fn axis(golden: &Golden, case: &str, x: &Tensor) -> usize {
    let dim = argument(golden, case, "dim").unwrap();
    if dim < 0.0 { x.rank() - (-dim) as usize } else { dim as usize }
}

#[test]
fn softmax_agrees() {
    check("softmax", &["x"], &["y"], &|golden, case, x| {
        vec![x[0].softmax(axis(golden, case, &x[0]))]
    });
}

#[test]
fn log_softmax_agrees() {
    check("log_softmax", &["x"], &["y"], &|golden, case, x| {
        vec![x[0].log_softmax(axis(golden, case, &x[0]))]
    });
}

/// A case's masks: key padding, documents.
fn masks(golden: &Golden, case: &str) -> [Option<Tensor>; 2] {
    let padding = format!("{case}/in/key_padding_mask");
    let padding = golden.contains(&padding).then(|| {
        let (shape, keep) = golden.bool(&padding);
        let keep: Vec<u8> = keep.into_iter().map(u8::from).collect();
        Tensor::from_slice(&keep, &shape[..])
    });
    let documents = format!("{case}/in/document_ids");
    let documents = golden.contains(&documents).then(|| {
        let (shape, ids) = golden.i64(&documents);
        Tensor::from_slice(&ids, &shape[..])
    });
    [padding, documents]
}

const QKV: [&str; 3] = ["query", "key", "value"];

#[test]
fn attention_agrees() {
    check("attention", &QKV, &["y"], &|golden, case, x| {
        let [key_padding, documents] = masks(golden, case);
        let options = AttentionOptions {
            window: None,
            softcap: None,
            causal: argument(golden, case, "causal") == Some(1.0),
            scale: argument(golden, case, "scale"),
            key_padding: key_padding.as_ref(),
            documents: documents.as_ref(),
            dropout: None,
        };
        let [q, k, v] = [0, 1, 2].map(|i| x[i].transpose(1, 2));
        vec![attention(&q, &k, &v, &options).transpose(1, 2)]
    });
}

/// The packed form computes the same bits as the plain one, gradients included.
#[test]
fn packed_attention_is_attention() {
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        let (batch, time, heads, dim) = (2, 150, 3, 20);
        let key = rappel_tensor::Key::new(3);
        let qkv = Tensor::randn([batch, time, 3 * heads * dim], dtype, key).requires_grad();
        let options = AttentionOptions {
            window: None,
            softcap: None,
            causal: true,
            dropout: Some((0.3, key)),
            ..AttentionOptions::default()
        };
        let packed = attention_packed(&qkv, heads, &options);
        let parts: Vec<Tensor> = qkv
            .split(2, &[heads * dim; 3])
            .into_iter()
            .map(|part| part.reshape([batch, time, heads, dim]))
            .collect();
        let plain = attention(&parts[0], &parts[1], &parts[2], &options).reshape(packed.shape());
        assert_eq!(packed.to_f64_vec(), plain.to_f64_vec());
        let upstream = Tensor::randn(packed.shape(), dtype, key.with(1));
        let of = |y: &Tensor| (y * &upstream).sum().backward().of(&qkv).unwrap().to_f64_vec();
        assert_eq!(of(&packed), of(&plain));
    }
}

#[test]
fn rotary_agrees() {
    check("rotary", &["query", "key"], &["query", "key"], &|golden, case, x| {
        let dtype = x[0].dtype();
        let [cos, sin] =
            ["cos", "sin"].map(|what| tensor(golden, &format!("{case}/{what}"), dtype));
        let turned = |x: &Tensor| rotary(&x.transpose(1, 2), &cos, &sin).transpose(1, 2);
        vec![turned(&x[0]), turned(&x[1])]
    });
}

#[test]
fn gated_gelus_agree() {
    check("gated_gelu", &["gate", "up"], &["y"], &|_, _, x| vec![gated_gelu(&x[0], &x[1])]);
    let tanh: &Function = &|_, _, x| vec![gated_gelu_tanh(&x[0], &x[1])];
    check("gated_gelu_tanh", &["gate", "up"], &["y"], tanh);
}

#[test]
fn soft_caps_agree() {
    check("softcap", &["x"], &["y"], &|golden, case, x| {
        vec![x[0].softcap(argument(golden, case, "softcap").unwrap())]
    });
}

#[test]
fn norms_with_a_weight_from_one_agree() {
    check("rms_norm_plus_one", &["x", "weight"], &["y"], &|golden, case, x| {
        vec![rms_norm_plus_one(&x[0], &x[1], argument(golden, case, "eps").unwrap())]
    });
}

#[test]
fn attention_with_windows_and_soft_caps_agrees() {
    check("attention_bounded", &QKV, &["y"], &|golden, case, x| {
        let options = AttentionOptions {
            causal: argument(golden, case, "causal") == Some(1.0),
            window: argument(golden, case, "window").map(|window| window as usize),
            softcap: argument(golden, case, "softcap"),
            ..AttentionOptions::default()
        };
        let [q, k, v] = [0, 1, 2].map(|i| x[i].transpose(1, 2));
        vec![attention(&q, &k, &v, &options).transpose(1, 2)]
    });
}
