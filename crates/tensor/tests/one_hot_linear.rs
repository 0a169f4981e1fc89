//! Sums of looked-up columns against PyTorch's product with zeros and ones, forward and backward.

use rappel_tensor::{DType, Tensor, one_hot_linear};
use rappel_testkit::{Golden, assert_close};

#[test]
fn one_hot_linear_is_pytorchs_linear_layer_on_zeros_and_ones() {
    let golden = Golden::load("one_hot_linear");
    let mut cases: Vec<&str> =
        golden.names("").filter_map(|name| name.strip_suffix("/in/ids")).collect();
    cases.sort_unstable();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let values = |name: &str| golden.f64(&format!("{case}/{name}"));
        let (shape, ids) = golden.i64(&format!("{case}/in/ids"));
        let ids = Tensor::from_slice(&ids, &shape[..]);
        for (dtype, rtol) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let tensor = |name: &str| {
                let (shape, values) = values(name);
                Tensor::from_slice(&values, &shape[..]).to_dtype(dtype)
            };
            let weight = tensor("in/weight").requires_grad();
            let y = one_hot_linear(&ids, &weight);
            let (shape, want) = values("out/y");
            assert_eq!(y.shape()[..], shape[..], "{case}");
            assert_close(&y.to_f64_vec(), &want, rtol, &format!("{case} {dtype}"));
            let grads = (&y * tensor("grad_out/y")).sum().backward();
            let (_, want) = values("grad_in/weight");
            let got = grads.of(&weight).unwrap().to_f64_vec();
            assert_close(&got, &want, rtol, &format!("{case} gradient {dtype}"));
        }
    }
}
