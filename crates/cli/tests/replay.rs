//! `rappel replay` against a run of PyTorch, and what it refuses.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::Place;
use rappel_tensor::{DType, Tensor, TensorFile, write_tensors};
use rappel_testkit::assert_close;

const CONFIG: &str = r#"
[optimizer]
name = "adamw"
lr = 0.02
weight_decay = 0.1
groups = [{ params = ["*bias"], weight_decay = 0.0 }]

[schedule]
name = "linear"
warmup_steps = 4

[train]
max_grad_norm = 1.0
"#;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn replayed(place: &Place, config: &str, input: &str) -> TensorFile {
    place.write("optimizer.toml", config);
    place.ok(&["replay", "optimizer.toml", "--input", input, "--output", "out.safetensors"]);
    TensorFile::open(place.at("out.safetensors")).unwrap()
}

fn save(place: &Place, name: &str, tensors: Vec<(String, Tensor)>) {
    write_tensors(place.at(name), tensors, &BTreeMap::new()).unwrap();
}

/// PyTorch's run in the type asked for.
fn input(place: &Place, dtype: DType) -> Vec<(String, Tensor)> {
    let file = TensorFile::open(golden("replay_input.safetensors")).unwrap();
    let names = file.names().into_iter();
    let tensors: Vec<_> =
        names.map(|name| (name.clone(), file.tensor(&name).unwrap().to_dtype(dtype))).collect();
    save(place, "in.safetensors", tensors.clone());
    tensors
}

#[test]
fn groups_schedule_and_clipping_follow_pytorch() {
    let expected = TensorFile::open(golden("replay_expected.safetensors")).unwrap();
    for (dtype, rtol) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
        let place = Place::new();
        input(&place, dtype);
        let got = replayed(&place, CONFIG, "in.safetensors");
        assert_eq!(got.names(), expected.names());
        for name in expected.names() {
            let (value, want) = (got.tensor(&name).unwrap(), expected.tensor(&name).unwrap());
            assert_eq!((value.dtype(), value.shape()), (dtype, want.shape()), "{name}");
            assert_close(&value.to_f64_vec(), &want.to_f64_vec(), rtol, &name);
        }
    }
}

#[test]
fn other_sections_of_a_runs_config_are_passed_over() {
    let place = Place::new();
    input(&place, DType::F64);
    let alone = replayed(&place, "optimizer = { name = 'sgd', lr = 0.1 }", "in.safetensors");
    let whole = common::CONFIG.replace("\"adamw\"", "\"sgd\"").replace("1e-2", "0.1");
    let whole = whole.replace("name = \"cosine\"\nwarmup_steps = 4", "name = \"constant\"");
    let other = replayed(&place, &whole, "in.safetensors");
    for name in alone.names() {
        let bits = |file: &TensorFile| file.tensor(&name).unwrap().to_vec::<f64>();
        assert_eq!(bits(&alone), bits(&other), "{name}");
    }
}

#[test]
fn it_tells_what_it_did_as_json() {
    let place = Place::new();
    input(&place, DType::F32);
    place.write("optimizer.toml", CONFIG);
    let args =
        ["replay", "optimizer.toml", "--input", "in.safetensors", "--output", "out", "--json"];
    let told = place.json(&args);
    assert_eq!((&told["optimizer"], &told["steps"]), (&"adamw".into(), &12.into()));
    assert_eq!((&told["tensors"], &told["state_bytes"]), (&3.into(), &(16 * 8).into()));
    let told = place.ok(&args[..6]);
    assert_eq!(told, "12 steps of adamw on 3 tensors, written to out\n");
}

#[test]
fn what_does_not_fit_is_named_and_nothing_is_written() {
    let place = Place::new();
    let good = input(&place, DType::F64);
    let with = |name: &str, tensor: Tensor| {
        let others = good.iter().filter(|(other, _)| other != name).cloned();
        others.chain([(name.to_owned(), tensor)]).collect::<Vec<_>>()
    };
    let one = || Tensor::ones([2], DType::F64);
    let without = |gone: &dyn Fn(&str) -> bool| {
        good.iter().filter(|(name, _)| !gone(name)).cloned().collect::<Vec<_>>()
    };
    let cases = [
        (with("extra", one()), "tensor `extra`: expected `param.NAME` or `grad.STEP.NAME`"),
        (with("grad.x.scale", one()), "tensor `grad.x.scale`: expected"),
        (with("grad.3.other", one()), "holds `grad.3.other` without `param.other`"),
        (with("grad.3.scale", one()), "tensor `grad.3.scale` is f64 [2]; its parameter is f64 []"),
        (
            with("param.scale", one().to_dtype(DType::I64)),
            "tensor `param.scale` is i64 [2]; wanted",
        ),
        (without(&|name| name.starts_with("grad.7.")), "holds no gradient `grad.7.NAME`"),
        (without(&|name| name.starts_with("grad.")), "holds no gradient `grad.0.NAME`"),
        (without(&|name| name.starts_with("param.")), "holds no tensor `param.NAME`"),
    ];
    place.write("optimizer.toml", CONFIG);
    for (tensors, message) in cases {
        save(&place, "bad.safetensors", tensors);
        let args = ["replay", "optimizer.toml", "--input", "bad.safetensors", "--output", "no"];
        let told = place.error(&args);
        assert!(told.contains(message), "{told}");
        assert!(!place.at("no").exists());
    }
    for (config, message) in [
        ("schedule.name = 'constant'", "`optimizer`: missing"),
        ("optimiser = { name = 'sgd' }", "did you mean `optimizer`?"),
        ("optimizer = { name = 'sgd', lr = -1.0 }", "`optimizer.lr`"),
        ("optimizer = { name = 'adamw', betas = [0.9, 1.0] }", "`optimizer.betas[1]`"),
        ("optimizer = { name = 'adamw', eps = -1e-8 }", "`optimizer.eps`"),
        ("optimizer = { name = 'adamw', groups = [{ params = ['none*'] }] }", "matches no"),
    ] {
        place.write("optimizer.toml", config);
        let args = ["replay", "optimizer.toml", "--input", "in.safetensors", "--output", "no"];
        let told = place.error(&args);
        assert!(told.contains(message), "{told}");
        assert!(!place.at("no").exists());
    }
}
