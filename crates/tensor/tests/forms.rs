//! Weights that are computed from other parameters, against PyTorch's parametrizations.

use rappel_tensor::{DType, Form, Init, Params, Tensor, mse};
use rappel_testkit::{Golden, assert_close};

fn tensor(golden: &Golden, name: &str) -> Tensor {
    let (shape, values) = golden.f64(name);
    Tensor::from_slice(&values, &shape[..])
}

/// Three steps of SGD on `mean (x w^T - y)^2`, compared with the golden file at each.
fn follow(case: &str, form: Form, start: &[(&str, &str)], parts: &[&str]) {
    let golden = Golden::load("regularize_forms");
    let (x, y) = (tensor(&golden, "x"), tensor(&golden, "y"));
    let (lr, steps): (f64, usize) = (golden.meta("lr"), golden.meta("steps"));
    let mut params = Params::with_dtype(0, DType::F64);
    params.set_form(move |_, _| Some(form));
    let weight = params.scope("").add("weight", [4, 6], Init::Normal { std: 1.0 });
    let part = |params: &Params, name: &str| {
        params.get(&format!("parametrizations.weight.{name}")).unwrap()
    };
    for (name, from) in start {
        let value = tensor(&golden, from);
        let param = part(&params, name);
        params.set(&param, &value.reshape(param.shape())).unwrap();
    }
    params.refresh().unwrap();
    for step in 0..steps {
        let at = |name: &str| golden.f64(&format!("{case}/{step}/{name}")).1;
        let what = |name: &str| format!("{case}, step {step}: {name}");
        let seen = weight.tensor();
        assert_close(&seen.to_vec::<f64>(), &at("weight"), 1e-12, &what("weight"));
        let grads = mse(&x.matmul(&seen.t()), &y).backward();
        drop(seen);
        for name in parts {
            let param = part(&params, name);
            assert_close(&param.tensor().to_vec::<f64>(), &at(name), 1e-12, &what(name));
            let Some(grad) = grads.param(&param) else {
                assert!(name.starts_with("0."), "{} has no gradient", what(name));
                continue;
            };
            let want = at(&format!("grad/{name}"));
            assert_close(&grad.to_vec::<f64>(), &want, 1e-12, &what(&format!("grad {name}")));
            let moved = param.tensor() - grad * lr;
            params.set(&param, &moved).unwrap();
        }
        params.refresh().unwrap();
    }
}

#[test]
fn weight_norm_trains_as_pytorchs() {
    let golden = Golden::load("regularize_forms");
    for (case, columns) in [("rows", false), ("columns", true)] {
        assert_eq!(golden.shape(&format!("{case}/0/original1")), [4, 6]);
        let first = format!("{case}/0/original0");
        let start = [("original0", first.as_str()), ("original1", "weight")];
        follow(case, Form::WeightNorm { columns }, &start, &["original0", "original1"]);
    }
}

#[test]
fn spectral_norm_trains_as_pytorchs() {
    let start = [("original", "weight"), ("0._u", "u"), ("0._v", "v")];
    follow("spectral", Form::SpectralNorm, &start, &["original", "0._u", "0._v"]);
}

/// Two layers, the second with a form.
fn net(form: Option<Form>, dtype: DType) -> (Params, [rappel_tensor::Param; 2]) {
    let mut params = Params::with_dtype(7, dtype);
    params.set_form(move |name, _| form.filter(|_| name.starts_with("b.")));
    let layers = ["a", "b"].map(|name| {
        let weight = params.scope(name).add("weight", [3, 5], Init::Normal { std: 1.0 });
        params.scope(name).add("bias", [3], Init::ONES);
        weight
    });
    (params, layers)
}

#[test]
fn a_weight_begins_as_it_would_without_its_norm_and_files_hold_the_weight() {
    let (plain, _) = net(None, DType::F64);
    for columns in [false, true] {
        let (params, [_, b]) = net(Some(Form::WeightNorm { columns }), DType::F64);
        let merged = params.merged();
        let names: Vec<&str> = merged.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.weight", "a.bias", "b.weight", "b.bias"]);
        for ((name, merged), (_, plain)) in merged.iter().zip(plain.tensors()) {
            assert_close(&merged.to_vec::<f64>(), &plain.to_vec::<f64>(), 1e-15, name);
        }
        assert_eq!(b.tensor().to_vec::<f64>(), merged[2].1.to_vec::<f64>());
        assert_eq!((params.formed(), params.names().len()), (vec!["b.weight".to_owned()], 5));
    }
}

#[test]
fn a_spectral_norm_is_about_one_and_its_vectors_are_not_trained() {
    let (mut params, [_, b]) = net(Some(Form::SpectralNorm), DType::F32);
    assert_eq!(params.trainable_count(), 2 * (15 + 3));
    for _ in 0..200 {
        params.refresh().unwrap();
    }
    // |w x| <= |x|, and the bound is met.
    let mut x = Tensor::ones([5, 1], DType::F32);
    let mut stretch = 0.0;
    for _ in 0..200 {
        let y = b.tensor().matmul(&x);
        stretch = (y.square().sum().item() / x.square().sum().item()).sqrt();
        let z = b.tensor().t().matmul(&y);
        x = &z / z.square().sum().item().sqrt();
    }
    assert!((stretch - 1.0).abs() < 1e-5, "{stretch}");
    let (bf16, [_, b]) = net(Some(Form::SpectralNorm), DType::BF16);
    assert_eq!(b.tensor().dtype(), DType::BF16);
    assert_eq!(bf16.merged()[2].1.dtype(), DType::BF16);
}

#[test]
#[should_panic(expected = "`b.weight` is registered already")]
fn names_of_weights_with_a_form_are_taken() {
    let (mut params, _) = net(Some(Form::SpectralNorm), DType::F32);
    params.scope("b").add("weight", [3, 5], Init::ONES);
}
