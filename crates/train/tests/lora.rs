//! Adapters against peft's: logits, gradients, files, merged weights.

use std::fs;
use std::path::{Path, PathBuf};

use rappel_nn::Forward;
use rappel_tensor::{CrossEntropy, DType, Tensor};
use rappel_testkit::{Golden, assert_close_floor};
use rappel_train::{Model, load_adapted, load_language_model, load_with_adapters, merge};

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

const CASES: [&str; 3] = ["lora", "rslora", "dora"];

/// Compares with the largest number: transformers' norms and positions are in single precision whatever the model is.
#[track_caller]
fn assert_near(got: &[f64], want: &[f64], what: &str) {
    assert_close_floor(got, want, 1e-5, 1.0, what);
}

#[test]
fn logits_and_gradients_are_those_of_peft() {
    let golden = Golden::load("lora/expected");
    let ids = Tensor::from_slice(&golden.i64("ids").1, [1, 7]);
    for case in CASES {
        let (base, folder) = (testdata("gguf/llama.gguf"), testdata(&format!("lora/{case}")));
        let model = load_adapted(&base, &folder, Some(DType::F64)).unwrap();
        let logits = model.model().logits(&ids).to_f64_vec();
        assert_near(&logits, &golden.f64(&format!("{case}.logits")).1, case);
        let [inputs, targets] = [0, 1].map(|first| ids.narrow(1, first, 6).contiguous());
        let options = CrossEntropy::default();
        let pass = Forward::evaluation();
        let loss = model.model().loss(&inputs, &targets, None, &options, &pass);
        assert_near(&[loss.item()], &golden.f64(&format!("{case}.loss")).1, case);
        let grads = loss.backward();
        let params = model.params();
        let mut compared = 0;
        for entry in params.entries() {
            let param = params.get(&entry.name).unwrap();
            let Some(gradient) = grads.param(&param) else {
                assert!(!entry.name.contains("lora_"), "{case}: {}", entry.name);
                continue;
            };
            let wanted = golden.f64(&format!("{case}.grad.{}", entry.name)).1;
            assert_near(&gradient.to_f64_vec(), &wanted, &format!("{case} {}", entry.name));
            compared += 1;
        }
        let parts = if case == "dora" { 3 } else { 2 };
        assert_eq!(compared, parts * if case == "rslora" { 3 } else { 14 }, "{case}");
    }
}

#[test]
fn the_changes_of_several_adapters_are_added_up() {
    let golden = Golden::load("lora/expected");
    let ids = Tensor::from_slice(&golden.i64("ids").1, [1, 7]);
    let folders = ["lora", "rslora"].map(|case| testdata(&format!("lora/{case}")));
    let base = testdata("gguf/llama.gguf");
    let model = load_with_adapters(&base, &folders, Some(DType::F64)).unwrap();
    let logits = model.model().logits(&ids).to_f64_vec();
    assert_near(&logits, &golden.f64("both.logits").1, "both");
}

#[test]
fn merged_models_are_those_with_the_adapter() {
    let golden = Golden::load("lora/expected");
    let ids = Tensor::from_slice(&golden.i64("ids").1, [1, 7]);
    let place = tempfile::tempdir().unwrap();
    for case in CASES {
        let out = place.path().join(case);
        let (base, folder) = (testdata("gguf/llama.gguf"), testdata(&format!("lora/{case}")));
        let merged = merge(&base, &folder, &out).unwrap();
        assert!(merged.difference < 1e-4 * merged.largest_logit, "{case}: {merged:?}");
        assert_eq!(merged.same[0], merged.same[1], "{case}");
        let model = load_language_model(&out, None).unwrap();
        let logits = model.model().logits(&ids).to_f64_vec();
        assert_near(&logits, &golden.f64(&format!("{case}.logits")).1, case);
        let told = merge(&base, &folder, &out).unwrap_err().to_string();
        assert!(told.contains(&out.display().to_string()), "{told}");
    }
}

#[test]
fn adapters_that_do_not_fit_are_errors() {
    let place = tempfile::tempdir().unwrap();
    let base = testdata("gguf/llama.gguf");
    let copy = |name: &str, change: &dyn Fn(String) -> String| {
        let folder = place.path().join(name);
        fs::create_dir(&folder).unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(testdata("lora/lora").join(file), folder.join(file)).unwrap();
        }
        let path = folder.join("adapter_config.json");
        let text = change(fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        load_adapted(&base, &folder, None).unwrap_err().to_string()
    };
    let rank = copy("rank", &|text| text.replace("\"r\": 4", "\"r\": 8"));
    assert!(rank.contains("lora_A.weight` is [4, 32]") && rank.contains("[8, 32]"), "{rank}");
    let kind = copy("kind", &|text| text.replace("LORA", "IA3"));
    assert!(kind.contains("peft_type is \"IA3\""), "{kind}");
    let dora = copy("dora", &|text| text.replace("\"use_dora\": false", "\"use_dora\": true"));
    assert!(dora.contains("has no `") && dora.contains("lora_magnitude_vector"), "{dora}");
    let biases = copy("biases", &|text| text.replace("\"bias\": \"none\"", "\"bias\": \"all\""));
    assert!(biases.contains("bias = \"all\""), "{biases}");
    let other = load_adapted(&testdata("gguf/phi3.gguf"), &testdata("lora/lora"), None);
    let other = other.unwrap_err().to_string();
    assert!(other.contains("adapter of another model"), "{other}");
}
