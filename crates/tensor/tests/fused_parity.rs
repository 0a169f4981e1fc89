//! Fused operations against PyTorch and transformers, forward and backward.

use rappel_tensor::{
    AttentionOptions, DType, Tensor, attention, attention_packed, gated_gelu, gated_gelu_tanh,
    layer_norm, rms_norm, rms_norm_plus_one, rotary,
};
use rappel_testkit::Golden;

mod parity;
use parity::{Function, argument, tensor};

/// Compares every case of an operation.
fn check(op: &str, inputs: &[&str], outputs: &[&str], function: &Function) {
    parity::check("ops_torch", op, inputs, outputs, function);
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
