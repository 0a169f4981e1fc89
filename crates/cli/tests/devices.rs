//! What is said of GPUs where there is none.

mod common;

use common::Place;

/// Whether this machine has a driver, so that these tests say nothing.
fn has_driver() -> bool {
    let said = Place::new().json(&["devices", "--json"]);
    let found = said["driver"]["missing"].is_null();
    if found {
        eprintln!("skipped: this machine has an NVIDIA driver");
    }
    found
}

#[test]
fn what_is_missing_is_said_with_what_to_install() {
    if has_driver() {
        return;
    }
    let place = Place::new();
    let said = place.ok(&["devices"]);
    for part in [
        "cpu ",
        "no GPU:  there is no NVIDIA driver: the NVIDIA driver (libcuda.so.1, libcuda.so) is neither known to the loader",
        "install NVIDIA's driver, 525.60 or newer",
        "pip install nvidia-cuda-nvrtc nvidia-cublas",
        "RAPPEL_CUDA_PATH",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let said = place.json(&["devices", "--json"]);
    assert!(said["threads"].as_u64().unwrap() > 0);
    assert_eq!(said["gpus"].as_array().unwrap().len(), 0);
    assert!(said["no_gpu"].as_str().unwrap().starts_with("there is no NVIDIA driver"), "{said}");
}

#[test]
fn a_run_on_a_gpu_that_is_not_there_writes_nothing() {
    if has_driver() {
        return;
    }
    let place = Place::new();
    for (device, reason) in [
        ("cuda:0", "config key `device`: there is no NVIDIA driver"),
        ("cuda:99", "there is no cuda:99"),
        ("gpu", "config key `device`: \"gpu\" is not a device; expected cpu, or cuda:0"),
    ] {
        let set = format!("device={device}");
        let said = place.error(&["train", "tiny.toml", "--out", "run", "--set", &set]);
        assert!(said.contains(reason), "{device}: {said}");
        assert!(!place.at("run").exists(), "{device} left a folder");
    }
}

#[test]
fn auto_takes_the_processor_where_no_gpu_works_and_says_why() {
    if has_driver() {
        return;
    }
    let place = Place::new();
    let args = ["train", "tiny.toml", "--set", "train.steps=5", "--out"];
    place.ok(&[&args[..], &["a"]].concat());
    let said = place.said(&[&args[..], &["b", "--set", "device=auto"]].concat());
    assert!(
        said.contains("device = \"auto\" trains on the processor: there is no NVIDIA driver"),
        "{said}"
    );
    assert_eq!(place.model("a"), place.model("b"));
}

/// Trains on the emulated GPU, kernels' own text on the processor, and nothing but kernels.
fn on_the_gpu(place: &Place, out: &str, strict: bool, settings: &[&str]) -> Vec<f64> {
    let mut args = vec![
        "train",
        "tiny.toml",
        "--out",
        out,
        "--set",
        "train.steps=5",
        "--set",
        "train.log_every=1",
    ];
    let device = ["--set", "device=cuda:0"];
    args.extend(settings.iter().flat_map(|set| ["--set", set]));
    let mut command = place.command(&[&args[..], &device].concat());
    command.env("RAPPEL_CUDA_EMULATOR", "2").env("RAPPEL_CUDA_POISON", "1");
    if strict {
        command.env("RAPPEL_CUDA_STRICT", "1");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", common::stderr(&output));
    place.recorded(out, "train/loss")
}

fn has_compiler() -> bool {
    let found = std::process::Command::new("c++").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no C++ compiler");
    }
    found
}

#[test]
fn decoders_train_on_a_gpu_by_kernels_alone() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    for (name, settings) in [
        ("gpt2", &["model.name=gpt2"][..]),
        ("dropout", &["model.resid_pdrop=0.1", "model.attn_pdrop=0.1", "model.embd_pdrop=0.1"]),
        ("accumulated", &["train.gradient_accumulation_steps=2", "optimizer.name=sgd"]),
    ] {
        let found = on_the_gpu(&place, name, true, settings);
        let mut args = vec![
            "train",
            "tiny.toml",
            "--out",
            "cpu",
            "--set",
            "train.steps=5",
            "--set",
            "train.log_every=1",
        ];
        args.extend(settings.iter().flat_map(|set| ["--set", set]));
        place.ok(&args);
        let want = place.recorded("cpu", "train/loss");
        std::fs::remove_dir_all(place.at("cpu")).unwrap();
        assert_eq!(found.len(), want.len());
        for (a, b) in found.iter().zip(&want) {
            assert!((a - b).abs() < 2e-4 * b.abs(), "{name}: {found:?} {want:?}");
        }
    }
}

#[test]
fn the_selftest_finds_the_processors_bits_in_every_elementwise_rule() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let mut command = place.command(&["selftest", "--small", "--json"]);
    let output =
        command.env("RAPPEL_CUDA_EMULATOR", "1").env("RAPPEL_CUDA_POISON", "1").output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(output.status.success() && said["failed"] == 0, "{said}");
    assert_eq!(said["hardware"], "emulated GPU");
    let checks = said["checks"].as_array().unwrap();
    let exact = checks.iter().filter(|check| check["found"] == "the processor's bits");
    let exact: Vec<&str> = exact.filter_map(|check| check["name"].as_str()).collect();
    for rule in ["sgd", "adam", "adamw", "adagrad", "rmsprop", "lion", "nadam", "radam", "adadelta"]
    {
        assert!(exact.contains(&rule), "{rule} is not among {exact:?}");
    }
    assert!(exact.len() >= 22, "{exact:?}");
    assert!(said["rates"].as_array().unwrap().len() > 8, "{said}");
}

#[test]
fn what_is_odd_in_variables_is_reported() {
    let place = Place::new();
    let mut command = place.command(&["selftest"]);
    let output = command.env("RAPPEL_CUDA_EMULATOR", "3").output().unwrap();
    let said = common::stderr(&output);
    assert!(said.contains("RAPPEL_CUDA_EMULATOR=\"3\" is not an order of threads"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let said = place.error(&["selftest", "--device", "cpu"]);
    assert!(said.contains("cpu is what others are compared with"), "{said}");
}
