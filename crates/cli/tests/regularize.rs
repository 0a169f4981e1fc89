//! Regularizers through the binary: what runs leave with them, and that they resume to the same bits.

mod common;

use common::{CONFIG, Place};
use rappel_tensor::TensorFile;
use serde_json::Value;

/// A place with a config `regular.toml`: the tiny one with this list `regularize`.
fn place(list: &str) -> Place {
    let place = Place::new();
    place.write("regular.toml", format!("{CONFIG}\n{list}"));
    place
}

/// The values of a scalar, a step after another.
fn told(place: &Place, run: &str, key: &str) -> Vec<f64> {
    let record = place.read(&format!("{run}/metrics.jsonl"));
    let lines = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line[key].as_f64()).collect()
}

fn weight(place: &Place, run: &str, name: &str) -> (usize, Vec<f32>) {
    let file = TensorFile::open(place.at(run).join("model/model.safetensors")).unwrap();
    let weight = file.tensor(&format!("transformer.{name}")).unwrap();
    (weight.size(weight.rank() - 1), weight.to_vec::<f32>())
}

const EVERYTHING: &str = r#"
[[regularize]]
name = "l2"
lambda = { name = "linear", value = 1e-3 }
[[regularize]]
name = "elastic_net"
lambda = 1e-4
[[regularize]]
name = "group_lasso"
lambda = 1e-2
proximal = true
params = ["*.mlp.c_fc.weight"]
[[regularize]]
name = "orthogonal"
lambda = 1e-4
params = ["*.attn.*.weight"]
[[regularize]]
name = "max_norm"
max_norm = 0.5
groups = "columns"
[[regularize]]
name = "gradient_noise"
eta = 1e-4
[[regularize]]
name = "label_smoothing"
label_smoothing = { name = "linear", value = 0.1 }
[[regularize]]
name = "z_loss"
[[regularize]]
name = "confidence_penalty"
lambda = 0.01
[[regularize]]
name = "r_drop"
alpha = { name = "linear", value = 0.5 }
[[regularize]]
name = "dropout"
p = { name = "linear", value = 0.2 }
[[regularize]]
name = "attention_dropout"
p = 0.1
[[regularize]]
name = "channel_dropout"
p = 0.1
[[regularize]]
name = "stochastic_depth"
p = 0.2
[[regularize]]
name = "neftune"
[[regularize]]
name = "mixup"
"#;

#[test]
fn with_everything_on_a_resumed_run_is_the_run_that_never_stopped() {
    let place = place(EVERYTHING);
    place.ok(&["train", "regular.toml", "--out", "whole"]);
    place.ok(&["train", "regular.toml", "--out", "cut", "--set", "checkpoint.keep=9"]);
    for checkpoint in place.names("cut/checkpoints") {
        if checkpoint != "step-10" {
            std::fs::remove_dir_all(place.at("cut/checkpoints").join(checkpoint)).unwrap();
        }
    }
    std::fs::remove_dir_all(place.at("cut/model")).unwrap();
    place.ok(&["train", "--resume", "cut"]);
    assert_eq!(place.model("cut"), place.model("whole"));
    let threads = ["train", "regular.toml", "--out", "one"];
    let status = place.command(&threads).env("RAYON_NUM_THREADS", "1").status().unwrap();
    assert!(status.success());
    assert_eq!(place.model("one"), place.model("whole"));
    let within = ["--set", "train.update_in_backward=true", "--set", "train.max_grad_norm=0"];
    let after = ["--set", "train.max_grad_norm=0"];
    place.ok(&[&["train", "regular.toml", "--out", "within"], &within[..]].concat());
    place.ok(&[&["train", "regular.toml", "--out", "after"], &after[..]].concat());
    assert_eq!(place.model("within"), place.model("after"));
    place.ok(&["train", "tiny.toml", "--out", "plain"]);
    assert_ne!(place.model("plain"), place.model("whole"));
}

#[test]
fn a_penalty_is_told_apart_from_the_loss_of_the_data() {
    let place = place("[[regularize]]\nname = \"l2\"\nlambda = 0.5");
    place.ok(&["train", "tiny.toml", "--out", "plain"]);
    place.ok(&["train", "regular.toml", "--out", "run"]);
    let (plain, loss) = (told(&place, "plain", "train/loss"), told(&place, "run", "train/loss"));
    let penalty = told(&place, "run", "train/penalty");
    assert!(told(&place, "plain", "train/penalty").is_empty());
    // The first step has a learning rate of 0, so two losses are of the same parameters.
    assert_eq!(loss[0], plain[0]);
    assert_eq!((loss.len(), penalty.len()), (24, 24));
    assert!(penalty[0] > 1.0 && penalty[23] < penalty[0] / 2.0, "{penalty:?}");
}

#[test]
fn proximal_steps_leave_exact_zeros_and_max_norm_no_long_column() {
    let list = "[[regularize]]\nname = \"l1\"\nlambda = 0.2\nproximal = true\n\
                params = [\"*.c_proj.weight\"]\n\
                [[regularize]]\nname = \"group_lasso\"\nlambda = 0.6\nproximal = true\n\
                groups = \"columns\"\nparams = [\"*.c_fc.weight\"]\n\
                [[regularize]]\nname = \"max_norm\"\nmax_norm = 0.3\ngroups = \"columns\"\n\
                params = [\"*.c_attn.weight\"]";
    let place = place(list);
    place.ok(&["train", "regular.toml", "--out", "run"]);
    let (_, projection) = weight(&place, "run", "h.0.mlp.c_proj.weight");
    let zeros = projection.iter().filter(|x| **x == 0.0).count();
    assert!(zeros > 50 && zeros < projection.len(), "{zeros} zeros of {}", projection.len());
    let columns = |name: &str| {
        let (width, values) = weight(&place, "run", name);
        let norm = |j: usize| values[j..].iter().step_by(width).map(|x| x * x).sum::<f32>().sqrt();
        (0..width).map(norm).collect::<Vec<_>>()
    };
    let groups = columns("h.1.mlp.c_fc.weight");
    let zeros = groups.iter().filter(|norm| **norm == 0.0).count();
    assert!(zeros > 5 && zeros < groups.len(), "{zeros} columns of {} are 0", groups.len());
    let longest = columns("h.0.attn.c_attn.weight").into_iter().fold(0.0, f32::max);
    assert!((0.299..=0.300_001).contains(&longest), "{longest}");
}

#[test]
fn an_average_takes_weights_in_as_regularizers_leave_them() {
    let place = place(
        "[[regularize]]\nname = \"l1\"\nlambda = 0.2\nproximal = true\nparams = [\"*.c_proj.weight\"]\n\
         [[regularize]]\nname = \"max_norm\"\nmax_norm = 0.3\nparams = [\"*.c_attn.weight\"]",
    );
    place.ok(&["train", "regular.toml", "--out", "run"]);
    let latest = "average={ name = \"latest\", k = 1 }";
    place.ok(&["train", "regular.toml", "--out", "averaged", "--set", latest]);
    assert_eq!(place.model("averaged"), place.model("run"));
    let (_, projection) = weight(&place, "averaged", "h.0.mlp.c_proj.weight");
    assert!(projection.iter().filter(|x| **x == 0.0).count() > 50);
}

#[test]
fn what_cannot_be_is_refused_and_nothing_written() {
    let place = Place::new();
    let before = place.names(".");
    for (list, more, expected) in [
        ("{ name = \"l2\", lambda = -1 }", "seed=7", "`regularize[0].lambda`: -1 is out of range"),
        (
            "{ name = \"l2\", lambda = 1, params = [\"*.kernel\"] }",
            "seed=7",
            "`regularize[0].params`: `*.kernel` matches no trainable parameter; one is `transformer",
        ),
        (
            "{ name = \"max_norm\" }",
            "optimizer={ name = \"schedule_free_adamw\" }",
            "`regularize[0].name`: it changes parameters after a step, but its rule averages",
        ),
        ("{ name = \"gradient_noise\" }", "optimizer={ name = \"lbfgs\" }", "gradient_noise"),
        (
            "{ name = \"dropout\", p = 1.0 }",
            "seed=7",
            "`regularize[0].p`: 1.0 is out of range; expected",
        ),
        (
            "{ name = \"dropout\", p = -0.1 }",
            "seed=7",
            "-0.1 is out of range; expected float in [0, 1)",
        ),
        (
            "{ name = \"stochastic_depth\", p = 2 }",
            "seed=7",
            "2 is out of range; expected float in [0, 1)",
        ),
        (
            "{ name = \"label_smoothing\", label_smoothing = 1.5 }",
            "seed=7",
            "`regularize[0].label_smoothing`: 1.5 is out of range",
        ),
        (
            "{ name = \"mixup\" }",
            "data.document_attention=true",
            "`regularize[0].name`: mixed samples have no documents of their own",
        ),
        ("{ lambda = 1 }", "seed=7", "`regularize[0].name`: missing"),
        ("3", "seed=7", "`regularize[0]`: expected table, got the integer 3"),
    ] {
        let list = format!("regularize=[{list}]");
        let told = place.error(&["train", "tiny.toml", "--set", &list, "--set", more]);
        assert!(told.contains(expected), "{list}: {told}");
        assert_eq!(place.names("."), before, "{list} wrote something");
    }
}

const TABLE: &str = "
task = 'classification'
data = { file = 'table.csv', target = 'band' }
model = { name = 'mlp', hidden_sizes = [8] }
optimizer = { name = 'adam', lr = 0.02 }
train = { steps = 12, batch_size = 16 }
checkpoint = { every = 5 }
";

#[test]
fn tables_are_regularized_as_text_is() {
    let place = Place::new();
    let row = |i: usize| {
        format!("{},{},{}\n", i * 37 % 90, i % 7, if i * 37 % 90 > 40 { "dear" } else { "fair" })
    };
    place.write("table.csv", format!("x,y,band\n{}", (0..60).map(row).collect::<String>()));
    place.write("table.toml", TABLE);
    place.ok(&["train", "table.toml", "--out", "plain"]);
    let plain = place.model("plain");
    let all = [
        "{ name = \"l2\", lambda = 1e-2 }",
        "{ name = \"dropout\", p = 0.3 }",
        "{ name = \"label_smoothing\", label_smoothing = 0.2 }",
        "{ name = \"z_loss\", lambda = 0.1 }",
        "{ name = \"confidence_penalty\" }",
        "{ name = \"r_drop\" }, { name = \"dropout\", p = 0.3 }",
        "{ name = \"mixup\" }",
        "{ name = \"neftune\" }",
    ];
    for (i, one) in all.iter().enumerate() {
        let (run, list) = (format!("run-{i}"), format!("regularize=[{one}]"));
        place.ok(&["train", "table.toml", "--out", &run, "--set", &list]);
        assert_ne!(place.model(&run), plain, "{one} does nothing");
    }
    for (list, settings, expected) in [
        (
            "{ name = \"stochastic_depth\", p = 0.1 }",
            "seed=1",
            "`regularize[0].name`: the model has nothing that it could act on",
        ),
        (
            "{ name = \"dropout\", p = 0.1 }",
            "model={ name = \"linear\" }",
            "`regularize[0].name`: the model has no dropout layer",
        ),
    ] {
        let list = format!("regularize=[{list}]");
        let told = place.error(&["train", "table.toml", "--set", &list, "--set", settings]);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn weights_in_other_forms_resume_to_the_same_bits_and_are_saved_as_weights() {
    let place = place(
        "[[regularize]]\nname = \"weight_norm\"\nparams = [\"*.mlp.*\"]\ngroups = \"columns\"\n\
         [[regularize]]\nname = \"spectral_norm\"\nparams = [\"*.attn.*\"]\n\
         [[regularize]]\nname = \"l2\"\nlambda = 1e-3",
    );
    place.ok(&["train", "tiny.toml", "--out", "plain"]);
    place.ok(&["train", "regular.toml", "--out", "whole"]);
    place.ok(&["train", "regular.toml", "--out", "cut", "--set", "checkpoint.keep=9"]);
    for checkpoint in place.names("cut/checkpoints") {
        if checkpoint != "step-10" {
            std::fs::remove_dir_all(place.at("cut/checkpoints").join(checkpoint)).unwrap();
        }
    }
    std::fs::remove_dir_all(place.at("cut/model")).unwrap();
    place.ok(&["train", "--resume", "cut"]);
    assert_eq!(place.model("cut"), place.model("whole"));
    assert_ne!(place.model("plain"), place.model("whole"));
    // The folder is one of Hugging Face's, whatever stood in the weights' place.
    let names = |run: &str| {
        let file = TensorFile::open(place.at(run).join("model/model.safetensors")).unwrap();
        file.names()
    };
    assert_eq!(names("whole"), names("plain"));
    let evaluated =
        place.json(&["eval", "--model", "whole/model", "--file", "corpus.txt", "--json"]);
    assert!(evaluated["loss"].as_f64().is_some_and(|loss| loss < 5.0), "{evaluated}");
    let list = "regularize=[{ name = \"weight_norm\", params = [\"*.kernel\"] }]";
    let told = place.error(&["train", "tiny.toml", "--set", list]);
    assert!(told.contains("`regularize[0].params`: `*.kernel` matches no trainable"), "{told}");
}
