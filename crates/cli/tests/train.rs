//! Training through the binary: what a run leaves, and that it is the same whatever the machine does.

mod common;

use common::{Place, stderr};
use rappel_tensor::TensorFile;
use serde_json::Value;

#[test]
fn a_run_leaves_all_it_should_in_a_fresh_directory_each_time() {
    let place = Place::new();
    let told = place.ok(&["train", "tiny.toml"]);
    for line in ["train loss", "validation loss", "trigram loss", "runs/tiny-1/model", "--- sample"]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    let mut names = place.names("runs/tiny-1");
    let events = names.remove(3);
    assert!(events.starts_with("events.out.tfevents"), "{events}");
    assert_eq!(names, [".lock", "checkpoints", "config.toml", "metrics.jsonl", "model"]);
    assert_eq!(
        place.names("runs/tiny-1/model"),
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    );
    assert_eq!(place.names("runs/tiny-1/checkpoints"), ["step-20", "step-24"]);

    place.ok(&["train", "tiny.toml"]);
    assert_eq!(place.names("runs"), ["tiny-1", "tiny-2"]);
    assert_eq!(place.model("runs/tiny-1"), place.model("runs/tiny-2"));
}

#[test]
fn the_scalars_of_each_step_are_told_and_the_loss_falls() {
    let place = Place::new();
    place.ok(&["train", "tiny.toml", "--out", "run", "--set", "train.eval_every=8"]);
    let lines: Vec<Value> = place
        .read("run/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |key: &str| -> Vec<(u64, f64)> {
        let value = |line: &Value| Some((line["step"].as_u64()?, line[key].as_f64()?));
        lines.iter().filter_map(value).collect()
    };
    let losses = of("train/loss");
    assert_eq!(
        losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        (1..=24).collect::<Vec<_>>()
    );
    assert!(losses[23].1 < losses[0].1 - 1.0, "{losses:?}");
    let steps = |key| of(key).iter().map(|(step, _)| *step).collect::<Vec<_>>();
    assert_eq!(steps("validation/loss"), [8, 16, 24]);
    let lr = of("train/lr");
    assert_eq!((lr[0].1, lr[2].1, lr[4].1), (0.0, 0.005, 0.01));
    assert!(of("train/grad_norm").iter().all(|(_, norm)| *norm > 0.0));
    assert!(of("train/tokens_per_second").iter().all(|(_, speed)| *speed > 0.0));
}

#[test]
fn a_sample_is_announced_where_one_is_made() {
    let place = Place::new();
    let train = ["train", "tiny.toml"];
    let told = stderr(&place.rappel(&train));
    assert!(told.contains(" tokens/s\n") && told.contains("generating a sample\n"), "{told}");
    let told = stderr(&place.rappel(&[&train[..], &["--set", "sample.max_tokens=0"]].concat()));
    assert!(!told.contains("a sample"), "{told}");
}

#[test]
fn the_json_object_agrees_with_the_record() {
    let place = Place::new();
    let told = place.json(&["train", "tiny.toml", "--json"]);
    assert_eq!((&told["out"], &told["steps"]), (&Value::from("runs/tiny-1"), &Value::from(24)));
    let record = place.read("runs/tiny-1/metrics.jsonl");
    let last: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
    assert_eq!(told["validation_loss"], last["validation/loss"]);
    assert!(told["trigram_loss"].as_f64().is_some_and(|loss| loss > 0.0), "{told}");
    assert!(told["sample"].as_str().is_some_and(|sample| !sample.is_empty()), "{told}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let place = Place::new();
    // Wide enough that kernels cut their work in pieces.
    let wide = [
        "--set",
        "model.n_embd=128",
        "--set",
        "data.sequence_length=32",
        "--set",
        "train.batch_size=16",
        "--set",
        "model.dropout=0.1",
        "--set",
        "train.steps=6",
    ];
    let hash = |threads: &str| {
        let run = format!("run-{threads}");
        place.ok(&[&["train", "tiny.toml", "--out", &run, "--threads", threads], &wide[..]].concat());
        place.model(&run)
    };
    let one = hash("1");
    for threads in ["2", "3", "8"] {
        assert_eq!(hash(threads), one, "{threads} threads");
    }
}

#[test]
fn the_resolved_config_is_whole_and_gives_the_same_run() {
    let place = Place::new();
    place.ok(&["train", "tiny.toml", "--out", "one", "--set", "optimizer.weight_decay=0.2"]);
    let resolved = place.read("one/config.toml");
    for line in
        ["weight_decay = 0.2", "vocab_size = 257", "keep = 2", "gradient_accumulation_steps = 1"]
    {
        assert!(resolved.contains(line), "{line}: {resolved}");
    }
    place.write("again.toml", &resolved);
    place.ok(&["train", "again.toml", "--out", "two"]);
    assert_eq!(place.read("two/config.toml"), resolved.replace("\"one\"", "\"two\""));
    assert_eq!(place.model("one"), place.model("two"));
}

#[test]
fn epochs_count_passes_over_the_data() {
    let place = Place::new();
    let config = common::CONFIG.replace("steps = 24", "epochs = 0.5");
    place.write("tiny.toml", config);
    let told = place.json(&["train", "tiny.toml", "--json"]);
    // 7,000-odd bytes of training text in samples of 16, four a step.
    let steps = told["steps"].as_u64().unwrap();
    assert!((40..80).contains(&steps), "{told}");
}

#[test]
fn accumulated_gradients_are_those_of_the_whole_batch() {
    let place = Place::new();
    let losses = |run: &str, batch: &str, parts: &str| -> Vec<f64> {
        let batch = format!("train.batch_size={batch}");
        let parts = format!("train.gradient_accumulation_steps={parts}");
        // Dropout draws by the part, so that parts differ.
        let double = ["--set", "model.dtype=float64", "--set", "model.dropout=0"];
        let args = ["train", "tiny.toml", "--out", run, "--set", &batch, "--set", &parts];
        place.ok(&[&args[..], &double[..]].concat());
        let text = place.read(&format!("{run}/metrics.jsonl"));
        let value =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["train/loss"].as_f64();
        text.lines().filter_map(value).collect()
    };
    let (whole, parts) = (losses("whole", "32", "1"), losses("parts", "8", "4"));
    assert_eq!((whole.len(), parts.len()), (24, 24));
    for (a, b) in whole.iter().zip(&parts) {
        assert!((a - b).abs() < 1e-10 * a.abs(), "{a} {b}");
    }
}

#[test]
fn the_model_of_a_schedule_free_run_is_the_average() {
    let place = Place::new();
    let set = ["--set", "optimizer.name=schedule_free_adamw", "--set", "train.eval_every=8"];
    place.ok(&[&["train", "tiny.toml", "--out", "run"][..], &set].concat());
    let open = |path: &str| TensorFile::open(place.at(path)).unwrap();
    let trained = open("run/checkpoints/step-24/params.safetensors");
    let state = open("run/checkpoints/step-24/optimizer.safetensors");
    let model = open("run/model/model.safetensors");
    let name = "transformer.h.0.attn.c_attn.weight";
    let values = |file: &TensorFile, name: &str| file.tensor(name).unwrap().to_f64_vec();
    let (y, z) = (values(&trained, name), values(&state, &format!("z.{name}")));
    let got = values(&model, name);
    assert_ne!(y, got);
    // y = 0.9 x + 0.1 z.
    for ((y, z), x) in y.iter().zip(z).zip(got) {
        assert!((y - (0.9 * x + 0.1 * z)).abs() < 1e-6, "{y} of {x} and {z}");
    }
}
