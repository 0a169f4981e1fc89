//! What a run's TensorBoard file holds, and that drawing it changes no number.

mod common;

use std::fmt::Write;

use common::Place;

const FLOWERS: &str = "
task = 'classification'
data = { file = 'flowers.csv', target = 'kind' }
model = { name = 'mlp', hidden_sizes = [8] }
optimizer = { name = 'adam', lr = 0.02 }
train = { steps = 40, batch_size = 16, eval_every = 8 }
";

/// The event files of a run, one after the other.
fn events(place: &Place, run: &str) -> Vec<u8> {
    let names = place.names(run).into_iter().filter(|name| name.starts_with("events."));
    names.flat_map(|name| std::fs::read(place.at(run).join(name)).unwrap()).collect()
}

/// How often a tag stands in a run's event files.
fn count(place: &Place, run: &str, tag: &str) -> usize {
    events(place, run).windows(tag.len()).filter(|bytes| *bytes == tag.as_bytes()).count()
}

fn train(place: &Place, config: &str, run: &str, settings: &[&str]) {
    place.ok(&common::train(config, run, settings));
}

fn sinks(histograms: u64, images: u64) -> String {
    format!(
        "telemetry.sinks=[{{ name = 'jsonl' }}, \
         {{ name = 'tensorboard', histogram_every = {histograms}, image_every = {images} }}]"
    )
}

#[test]
fn a_classification_shows_distributions_pictures_and_curves() {
    let place = Place::new();
    let mut table = "petal,sepal,kind\n".to_owned();
    for i in 0..90 {
        let (kind, petal) = (["iris", "rose", "größe"][i % 3], i * 7 % 10 + 10 * (i % 3));
        writeln!(table, "{petal},{},{kind}", i * 5 % 11).unwrap();
    }
    place.write("flowers.csv", table);
    place.write("flowers.toml", FLOWERS);
    train(&place, "flowers.toml", "often", &[&sinks(10, 16)]);
    for (tag, times) in [
        ("weights/", 4 * 4),
        ("gradients/", 4 * 4),
        ("updates/", 4 * 4),
        ("schedule/learning_rate", 1),
        // The first validation from step 16 and from step 32 on, and the end.
        ("validation/confusion_matrix", 3),
        ("precision_recall/iris", 3),
        ("precision_recall/größe", 3),
        ("_hparams_/session_start_info", 1),
        ("_hparams_/session_end_info", 1),
        ("custom_scalars__config__", 1),
        ("config/text_summary", 1),
        ("final/validation_accuracy", 1),
    ] {
        assert_eq!(count(&place, "often", tag), times, "{tag}");
    }
    // By default there are those of the end.
    train(&place, "flowers.toml", "plain", &[]);
    for tag in ["weights/", "gradients/", "updates/"] {
        assert_eq!(count(&place, "plain", tag), 4, "{tag}");
    }
    assert_eq!(count(&place, "plain", "validation/confusion_matrix"), 1);
    train(&place, "flowers.toml", "never", &[&sinks(0, 0)]);
    for tag in ["weights/", "gradients/", "updates/", "learning_rate", "confusion", "precision_"] {
        assert_eq!(count(&place, "never", tag), 0, "{tag}");
    }
    let never = place.model("never");
    assert_eq!([place.model("often"), place.model("plain")], [never.clone(), never]);
}

#[test]
fn a_language_model_shows_its_sample_and_updates_within_the_pass_only_weights() {
    let place = Place::new();
    let every_step = sinks(1, 1);
    train(&place, "tiny.toml", "run", &[&every_step]);
    train(&place, "tiny.toml", "without", &["telemetry.sinks=[]"]);
    assert_eq!(place.model("run"), place.model("without"));
    let parameters = count(&place, "run", "weights/") / 24;
    assert!(parameters > 10);
    for tag in ["gradients/", "updates/"] {
        assert_eq!(count(&place, "run", tag), 24 * parameters, "{tag}");
    }
    assert_eq!(count(&place, "run", "sample/text_summary"), 1);
    assert_eq!(count(&place, "run", "confusion"), 0);
    let within = ["train.update_in_backward=true", "train.max_grad_norm=0", &every_step];
    train(&place, "tiny.toml", "within", &within);
    assert_eq!(count(&place, "within", "weights/"), 24 * parameters);
    assert_eq!(count(&place, "within", "gradients/") + count(&place, "within", "updates/"), 0);
}

#[test]
fn a_resumed_run_draws_on() {
    let place = Place::new();
    train(&place, "tiny.toml", "run", &[&sinks(4, 1)]);
    let parameters = count(&place, "run", "weights/") / 6;
    std::fs::remove_dir_all(place.at("run/checkpoints/step-24")).unwrap();
    place.ok(&["train", "--resume", "run"]);
    // Step 24 once more; TensorBoard drops the first of the two.
    assert_eq!(count(&place, "run", "updates/"), 7 * parameters);
}
