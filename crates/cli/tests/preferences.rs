//! Learning from preferences through the binary, against TRL, resumed, with every kind of reference.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Place, stderr, testdata, train};
use rappel_tensor::{Tensor, TensorFile, write_tensors_to};
use serde_json::Value;

const DPO: &str = r#"
task = "dpo"

[data]
files = ["pairs.jsonl"]
chat_template = "template.jinja"
eos_token = "<|endoftext|>"
validation_fraction = 0.0
shuffle = false
on_bad_row = "skip"

[model]
pretrained = "base"

[optimizer]
name = "adamw"
lr = 1e-3
weight_decay = 0.0

[train]
steps = 4
batch_size = 2
max_grad_norm = 0.0
log_every = 1
"#;

/// A folder with a small Llama `base`, pairs of answers and a template.
fn place() -> Place {
    let place = Place::with_llama();
    for name in ["pairs.jsonl", "texts.jsonl", "apart.jsonl"] {
        place.write(name, fs::read(testdata("preferences").join(name)).unwrap());
    }
    place.write("dpo.toml", DPO);
    place
}

/// The same model with a head that gives rewards, in the folder `scored`.
fn scored(place: &Place) {
    let base = TensorFile::open(place.at("base/model.safetensors")).unwrap();
    let tensor = |name: String| (name.clone(), base.tensor(&name).unwrap());
    let mut tensors: Vec<(String, Tensor)> = base.names().into_iter().map(tensor).collect();
    let score: Vec<f32> = (0..32).map(|i| (i as f32).cos() / 4.0).collect();
    tensors.push(("score.weight".to_owned(), Tensor::from_slice(&score, [1, 32])));
    fs::create_dir(place.at("scored")).unwrap();
    for name in place.names("base") {
        place.write(&format!("scored/{name}"), fs::read(place.at("base").join(&name)).unwrap());
    }
    let mut out = fs::File::create(place.at("scored/model.safetensors")).unwrap();
    write_tensors_to(&mut out, tensors, &BTreeMap::new()).unwrap();
    let config = place.read("base/config.json").replace("ForCausalLM", "ForSequenceClassification");
    place.write("scored/config.json", config);
}

fn golden() -> Value {
    let text = fs::read(testdata("preferences/golden.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Numbers that TRL found, by what it calls them, and what a run recorded.
#[track_caller]
fn assert_as_trl(place: &Place, run: &str, wanted: &Value) {
    for (name, values) in wanted.as_object().unwrap() {
        let want: Vec<f64> =
            values.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let got = place.recorded(run, &format!("train/{name}"));
        assert_eq!(got.len(), want.len(), "{run} {name}");
        for (got, want) in got.iter().zip(&want) {
            // Rewards are small differences of numbers near 70 in single precision there.
            let tolerance =
                1e-4 * want.abs() + if name.starts_with("rewards") { 1e-4 } else { 1e-6 };
            assert!((got - want).abs() <= tolerance, "{run} {name}: {got}, not {want}");
        }
    }
}

/// Settings that make what TRL calls these options.
const CASES: &[(&str, &[&str])] = &[
    ("sigmoid", &[]),
    ("beta", &["loss.beta=0.5", "train.gradient_accumulation_steps=2"]),
    ("hinge", &["loss.loss_type=hinge"]),
    ("ipo", &["loss.loss_type=ipo"]),
    ("exo_pair", &["loss.loss_type=exo_pair", "loss.label_smoothing=1e-3"]),
    ("nca_pair", &["loss.loss_type=nca_pair"]),
    ("robust", &["loss.loss_type=robust", "loss.label_smoothing=0.1"]),
    ("bco_pair", &["loss.loss_type=bco_pair"]),
    ("sppo_hard", &["loss.loss_type=sppo_hard"]),
    ("aot", &["loss.loss_type=aot", "loss.label_smoothing=0.05"]),
    ("aot_unpaired", &["loss.loss_type=aot_unpaired"]),
    ("apo_zero", &["loss.loss_type=apo_zero"]),
    ("apo_down", &["loss.loss_type=apo_down"]),
    ("discopop", &["loss.loss_type=discopop"]),
    ("sft", &["loss.loss_type=sft"]),
    ("sigmoid_norm", &["loss.loss_type=sigmoid_norm"]),
    (
        "several",
        &[
            "loss.loss_type=[\"sigmoid\", \"bco_pair\", \"sft\"]",
            "loss.loss_weights=[0.8, 0.2, 1.0]",
        ],
    ),
    ("ld_alpha", &["loss.ld_alpha=0.3"]),
    ("use_weighting", &["loss.use_weighting=true"]),
    ("forward_kl", &["loss.f_divergence_type=forward_kl"]),
    ("js_divergence", &["loss.f_divergence_type=js_divergence"]),
    (
        "alpha_divergence",
        &["loss.f_divergence_type=alpha_divergence", "loss.f_alpha_divergence_coef=0.7"],
    ),
    ("precomputed", &["loss.precompute_ref_log_probs=true"]),
    ("short", &["data.max_length=29"]),
    ("texts", &["data.files=[\"texts.jsonl\"]"]),
];

#[test]
fn every_loss_of_pairs_is_that_of_trl() {
    let (place, golden) = (place(), golden());
    let known = golden["dpo"].as_object().unwrap();
    assert_eq!(known.len(), CASES.len());
    for (name, settings) in CASES {
        place.ok(&train("dpo.toml", name, settings));
        assert_as_trl(&place, name, &known[*name]);
    }
}

#[test]
fn every_kind_of_reference_gives_the_same_numbers() {
    let place = place();
    let keys = ["train/loss", "train/rewards/margins", "train/grad_norm"];
    let numbers = |run: &str, settings: &[&str]| {
        place.ok(&train("dpo.toml", run, settings));
        keys.map(|key| place.recorded(run, key))
    };
    let held_out = "data.validation_fraction=0.25";
    let kept = numbers("kept", &[held_out]);
    assert_eq!(numbers("computed", &[held_out, "loss.precompute_ref_log_probs=true"]), kept);
    assert_eq!(numbers("named", &[held_out, "loss.ref_model=base"]), kept);
    let both = ["loss.ref_model=base", "loss.precompute_ref_log_probs=true"];
    assert_eq!(numbers("both", &[&both[..], &[held_out]].concat()), kept);
    let measured = |run: &str| place.recorded(run, "validation/rewards/margins");
    assert_eq!(measured("computed"), measured("kept"));
    let lora = "model.lora={ r = 2, lora_alpha = 4 }";
    let off = numbers("off", &[lora]);
    assert_eq!(numbers("off-computed", &[lora, "loss.precompute_ref_log_probs=true"]), off);
    assert_eq!(numbers("off-named", &[lora, "loss.ref_model=base"]), off);
    assert_eq!(off[0][0] as f32, std::f32::consts::LN_2);
    assert!(off[1][3] > 0.0, "{off:?}");
    // What is trained whole is not off with the adapter.
    let saved = "model.lora={ r = 2, modules_to_save = [\"norm\"] }";
    let whole = numbers("whole", &[saved]);
    assert_eq!(numbers("whole-named", &[saved, "loss.ref_model=base"]), whole);
    // Weights of few bits are those of the reference, too.
    let few = "model.quantization={ load_in_4bit = true }";
    let quantized = numbers("few", &[lora, few]);
    assert_eq!(
        numbers("few-computed", &[lora, few, "loss.precompute_ref_log_probs=true"]),
        quantized
    );
    assert_eq!(quantized[0][0], off[0][0]);
    assert_eq!(numbers("few-whole", &[saved, few])[0][0], off[0][0]);
}

#[test]
fn the_reference_of_an_adapter_that_begins_as_something_is_the_model_with_it() {
    let place = place();
    place.ok(&train("dpo.toml", "first", &["model.lora={ r = 2, lora_alpha = 4 }"]));
    for (name, lora) in [
        ("saved", "model.lora={ adapter_name_or_path = \"first/model\" }"),
        ("pissa", "model.lora={ r = 2, lora_alpha = 4, init_lora_weights = \"pissa\" }"),
    ] {
        let numbers = |run: &str, more: &[&str]| {
            place.ok(&train("dpo.toml", run, &[&[lora][..], more].concat()));
            ["train/loss", "train/rewards/margins"].map(|key| place.recorded(run, key))
        };
        let kept = numbers(name, &[]);
        let computed = format!("{name}-computed");
        assert_eq!(numbers(&computed, &["loss.precompute_ref_log_probs=true"]), kept);
        // The first step's policy is the reference.
        assert_eq!(kept[0][0] as f32, std::f32::consts::LN_2, "{name}");
        assert_eq!(kept[1][0], 0.0, "{name}");
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bits_on_any_number_of_threads() {
    let place = place();
    for (kind, more) in [
        ("full", vec![]),
        ("computed", vec!["loss.precompute_ref_log_probs=true"]),
        ("lora", vec!["model.lora={ r = 2, lora_alpha = 4, lora_dropout = 0.1 }"]),
    ] {
        let settings =
            ["checkpoint.every=1", "train.steps=20", "data.shuffle=true", "train.log_every=4"];
        let settings = [&settings[..], &more].concat();
        let whole = format!("{kind}-whole");
        place.ok(&train("dpo.toml", &whole, &settings));
        let file = if kind == "lora" { "adapter_model.safetensors" } else { "model.safetensors" };
        let saved = |run: &str| common::sha256(place.at(run).join("model").join(file));
        for (i, threads) in ["1", "2"].into_iter().enumerate() {
            let run = format!("{kind}-{i}");
            place.kill_and_resume(&run, threads, &train("dpo.toml", &run, &settings), 2 + i);
            assert_eq!(saved(&run), saved(&whole), "{run}");
            for key in ["train/loss", "train/rewards/margins"] {
                assert_eq!(place.recorded(&run, key), place.recorded(&whole, key), "{run} {key}");
            }
        }
    }
}

#[test]
fn what_cannot_be_learned_from_preferences_says_why() {
    let place = place();
    let told = |more: &[&str]| {
        let told = place.error(&train("dpo.toml", "run", more));
        assert!(!place.at("run").exists());
        told
    };
    for (setting, said) in [
        ("loss.loss_type=kto_pair", "did you mean task = \"kto\""),
        ("loss.loss_type=sigmoidd", "did you mean `sigmoid`?"),
        ("loss.pref_beta=0.2", "did you mean `beta`?"),
        ("loss.loss_type=exo_pair", "exo_pair needs a number above 0"),
        ("loss.loss_weights=[1.0, 2.0]", "2 weights for 1 losses"),
        ("loss.ref_model=nowhere/at/all", "ref_model"),
        ("regularize=[{name = 'label_smoothing', label_smoothing = 0.1}]", "no cross-entropy"),
    ] {
        let found = told(&[setting]);
        assert!(found.contains(said), "{setting}: {found}");
    }
    let both = told(&["loss.f_divergence_type=forward_kl", "loss.loss_type=apo_zero"]);
    assert!(both.contains("`apo_zero` is made for reverse_kl"), "{both}");
    place.write("same.jsonl", r#"{"prompt": "a", "chosen": "b", "rejected": "b"}"#);
    let same = told(&["data.files=[\"same.jsonl\"]", "data.on_bad_row=error"]);
    assert!(same.contains("same.jsonl, line 1: ") && same.contains("are the same"), "{same}");
    place.ok(&["convert", testdata("gguf/phi3.gguf").to_str().unwrap(), "--to", "other"]);
    let other = told(&["loss.ref_model=other"]);
    assert!(other.contains("`loss.ref_model`") && other.contains("same tokenizer"), "{other}");
}

#[test]
fn a_run_tells_how_it_was_read() {
    let place = place();
    let output = place.rappel(&train("dpo.toml", "run", &["data.max_length=29"]));
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(" pairs") && told.contains("are left out, the first: "), "{told}");
}

/// Settings of other tasks, by TRL's trainer and the golden file's name of the case.
const OTHERS: &[(&str, &str, &str, &[&str])] = &[
    ("kto", "kto", "kto", &[]),
    (
        "kto",
        "kto",
        "weights",
        &["loss.desirable_weight=0.8", "loss.undesirable_weight=1.5", "loss.beta=0.4"],
    ),
    ("kto", "kto", "apo_zero_unpaired", &["loss.loss_type=apo_zero_unpaired"]),
    ("bco", "bco", "bco", &["loss.beta=0.3"]),
    ("cpo", "cpo", "sigmoid", &[]),
    ("cpo", "cpo", "hinge", &["loss.loss_type=hinge"]),
    ("cpo", "cpo", "ipo", &["loss.loss_type=ipo"]),
    ("simpo", "cpo", "simpo", &["loss.beta=2"]),
    (
        "cpo",
        "cpo",
        "label_smoothing",
        &["loss.label_smoothing=0.1", "loss.cpo_alpha=0.5", "train.gradient_accumulation_steps=2"],
    ),
    ("simpo", "cpo", "alpha", &["loss.alpha=0.1", "loss.beta=1"]),
    ("reward", "reward", "plain", &["model.pretrained=scored"]),
    (
        "reward",
        "reward",
        "centred",
        &["model.pretrained=scored", "loss.center_rewards_coefficient=0.05"],
    ),
    ("reward", "reward", "margin", &["model.pretrained=scored"]),
    ("orpo", "orpo", "orpo", &[]),
    ("orpo", "orpo", "beta", &["loss.beta=0.7"]),
];

#[test]
fn tasks_of_preferences_are_those_of_trl() {
    let (place, golden) = (place(), golden());
    for name in ["labelled.jsonl", "margins.jsonl"] {
        place.write(name, fs::read(testdata("preferences").join(name)).unwrap());
    }
    scored(&place);
    for (task, trainer, name, settings) in OTHERS {
        let of_task = format!("task={task}");
        let labels = ["data.files=[\"labelled.jsonl\"]", "train.batch_size=4"];
        let texts = ["data.files=[\"apart.jsonl\"]"];
        let margins = ["data.files=[\"margins.jsonl\"]"];
        let more: &[&str] = match (*task, *name) {
            ("kto" | "bco", _) => &labels,
            ("reward", "margin") => &margins,
            ("reward", _) => &[],
            _ => &texts,
        };
        let run = format!("{task}-{name}");
        place.ok(&train("dpo.toml", &run, &[&[of_task.as_str()], more, settings].concat()));
        assert_as_trl(&place, &run, &golden[*trainer][*name]);
    }
}

#[test]
fn a_reward_model_keeps_its_head_and_judges_pairs() {
    let place = place();
    let lora = "model.lora={ r = 4, lora_alpha = 8 }";
    let settings =
        ["task=reward", "train.steps=30", "optimizer.lr=5e-3", "data.validation_fraction=0.25"];
    place.ok(&train("dpo.toml", "run", &settings));
    let accuracy = place.recorded("run", "validation/accuracy");
    let config: Value = serde_json::from_str(&place.read("run/model/config.json")).unwrap();
    assert_eq!(config["architectures"][0], "LlamaForSequenceClassification");
    assert_eq!(config["id2label"]["0"], "LABEL_0");
    let names = TensorFile::open(place.at("run/model/model.safetensors")).unwrap().names();
    assert!(names.contains(&"score.weight".to_owned()), "{names:?}");
    assert!(!names.contains(&"lm_head.weight".to_owned()), "{names:?}");
    let found = place.json(&["eval", "--model", "run", "--file", "pairs.jsonl", "--json"]);
    assert!(found["accuracy"].as_f64().unwrap() >= 0.75, "{found} {accuracy:?}");
    // Its own head goes on where it is trained again.
    let again = ["task=reward", "train.steps=1", "model.pretrained=run/model"];
    place.ok(&train("dpo.toml", "again", &again));
    assert!(place.recorded("again", "train/loss")[0] < 0.6);
    place.ok(&train("dpo.toml", "lora", &[&settings[..], &[lora]].concat()));
    let json: Value = serde_json::from_str(&place.read("lora/model/adapter_config.json")).unwrap();
    assert_eq!(
        (&json["task_type"], &json["modules_to_save"][0]),
        (&"SEQ_CLS".into(), &"score".into())
    );
    let told = place.error(&["generate", "--model", "run", "--prompt", "a"]);
    assert!(told.contains("a reward model"), "{told}");
}

#[test]
fn the_second_matrices_of_a_reward_model_learn_at_a_rate_of_their_own() {
    let place = place();
    let lora = |more: &str| format!("model.lora={{ r = 2{more} }}");
    let settings = ["task=reward", "train.steps=1", "optimizer.name=sgd", "optimizer.lr=0.01"];
    let [plain, ratio] = ["", ", loraplus_lr_ratio = 16"].map(|more| {
        let (run, lora) = (format!("run{}", more.len()), lora(more));
        place.ok(&train("dpo.toml", &run, &[&settings[..], &[&lora]].concat()));
        TensorFile::open(place.at(run).join("model/adapter_model.safetensors")).unwrap()
    });
    let names = plain.names().into_iter().filter(|name| name.contains("lora_B"));
    for name in names {
        let [one, other] = [&plain, &ratio].map(|file| file.tensor(&name).unwrap().to_f64_vec());
        for (one, other) in one.iter().zip(&other) {
            assert!((16.0 * one - other).abs() <= 1e-5 * other.abs(), "{name}: {one}, {other}");
        }
        assert!(one.iter().any(|x| *x != 0.0), "{name}");
    }
}

#[test]
fn killed_runs_of_every_task_resume_to_the_same_bits() {
    let place = place();
    for task in ["reward", "kto", "bco", "orpo", "cpo", "simpo"] {
        let of_task = format!("task={task}");
        let settings =
            [of_task.as_str(), "checkpoint.every=1", "train.steps=12", "data.shuffle=true"];
        let whole = format!("{task}-whole");
        place.ok(&train("dpo.toml", &whole, &settings));
        for (i, threads) in ["1", "2"].into_iter().enumerate() {
            let run = format!("{task}-{i}");
            place.kill_and_resume(&run, threads, &train("dpo.toml", &run, &settings), 2 + i);
            assert_eq!(place.model(&run), place.model(&whole), "{run}");
            assert_eq!(
                place.recorded(&run, "train/loss"),
                place.recorded(&whole, "train/loss"),
                "{run}"
            );
        }
    }
}

#[test]
fn rows_are_shown_as_they_are_compared() {
    let place = place();
    let shown = place.ok(&["data", "dpo.toml", "--set", "data.max_length=29"]);
    assert!(shown.contains("rows        12 to train on, 0 to validate, 2 left out"), "{shown}");
    assert!(shown.contains(", line 1, chosen: 27 tokens, 7 trained"), "{shown}");
    assert!(shown.contains("[[ x0 + 0<|endoftext|>\n]]"), "{shown}");
    let second = place.json(&["data", "dpo.toml", "--row", "2", "--json"]);
    assert_eq!(second["role"], "rejected");
    let labels = ["data", "dpo.toml", "--set", "task=kto", "--row", "2", "--json"];
    assert_eq!(place.json(&labels)["role"], "bad");
    let told = place.error(&["data", "tiny.toml"]);
    assert!(told.contains("has no rows to show") && told.contains("dpo"), "{told}");
}

#[test]
fn what_teaches_nothing_is_told_or_ends_the_run() {
    let place = place();
    for hopeless in [
        &["loss.beta=0.0"][..],
        &["model.lora={ r = 2, lora_alpha = 0 }"],
        &["task=kto", "loss.beta=0.0"],
    ] {
        let told = place.error(&train("dpo.toml", "none", hopeless));
        assert!(told.contains("step 1: no parameter has a gradient"), "{told}");
        fs::remove_dir_all(place.at("none")).unwrap();
    }
    let steps = "train.steps=60";
    let still = place.said(&train("dpo.toml", "still", &[steps, "optimizer.lr=1e-30"]));
    assert!(still.contains("after 10 steps the policy still is its reference"), "{still}");
    let slow = place.said(&train("dpo.toml", "slow", &[steps, "optimizer.lr=1e-8"]));
    assert!(slow.contains("after 50 steps the loss is still 0.693"), "{slow}");
    assert!(!slow.contains("still is its reference"), "{slow}");
    let far = ["train.steps=12", "optimizer={ name = \"sgd\", lr = 3.0, momentum = 0.9 }"];
    let far = place.said(&train(
        "dpo.toml",
        "far",
        &[&far[..], &["loss.loss_type=hinge", "loss.beta=0.01"]].concat(),
    ));
    assert!(far.contains("the policy is far from its reference"), "{far}");
    let sound = place.said(&train("dpo.toml", "sound", &[steps]));
    assert!(!sound.contains("note: "), "{sound}");
}

#[test]
fn a_template_that_the_model_does_not_know_is_told() {
    let place = place();
    // A model that learned answers alone, by heart.
    let rows = place.read("pairs.jsonl");
    let answers = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name][0]["content"].as_str().unwrap().to_owned();
        let line = |name: &str| serde_json::json!({ "text": text(name) }).to_string();
        [line("chosen"), line("rejected")].join("\n")
    };
    place.write("alone.jsonl", rows.lines().map(answers).collect::<Vec<_>>().join("\n"));
    let alone = [
        "task=sft",
        "data.files=[\"alone.jsonl\"]",
        "train.steps=80",
        "optimizer.lr=1e-2",
        "train.batch_size=8",
    ];
    let sft = DPO.replace("chat_template = \"template.jinja\"", "");
    place.write("sft.toml", sft);
    let told = place.said(&train("sft.toml", "alone", &alone));
    assert!(!told.contains("chat template"), "{told}");
    let strange = ["model.pretrained=alone/model", "train.steps=2"];
    let told = place.said(&train("dpo.toml", "strange", &strange));
    assert!(told.contains("less likely behind their prompts"), "{told}");
    assert!(
        !place
            .said(&train("dpo.toml", "sound", &["train.steps=2"]))
            .contains("behind their prompts")
    );
}
