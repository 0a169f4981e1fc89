//! Updates within the backward pass, through the binary.

mod common;

use common::Place;

const WITHIN: &str = "train.update_in_backward=true";

fn train<'a>(run: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "tiny.toml", "--out", run, "--set", "train.max_grad_norm=0"];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    args
}

#[test]
fn the_model_is_that_of_updates_after_it_also_when_resumed() {
    for optimizer in ["lomo", "adalomo", "adamw"] {
        let place = Place::new();
        let name = format!("optimizer={{ name = \"{optimizer}\", lr = 0.01 }}");
        place.ok(&train("after", &[&name]));
        let model = place.model("after");
        place.ok(&train("within", &[&name, WITHIN, "checkpoint.keep=9"]));
        assert_eq!(place.model("within"), model, "{optimizer}");
        for checkpoint in place.names("within/checkpoints") {
            if checkpoint != "step-10" {
                std::fs::remove_dir_all(place.at("within/checkpoints").join(checkpoint)).unwrap();
            }
        }
        std::fs::remove_dir_all(place.at("within/model")).unwrap();
        place.ok(&["train", "--resume", "within"]);
        assert_eq!(place.model("within"), model, "{optimizer}, resumed");
    }
}

#[test]
fn what_needs_all_gradients_is_refused() {
    let place = Place::new();
    let prodigy = "optimizer={ name = \"prodigy\" }";
    for (settings, expected) in [
        (vec!["train.max_grad_norm=1"], "`train.max_grad_norm`: gradients that are used in"),
        (vec!["train.gradient_accumulation_steps=2"], "cannot be added up; set it to 1"),
        (vec![prodigy], "`train.update_in_backward`: its rule adds up numbers over all parameters"),
    ] {
        let told = place.error(&train("run", &[&[WITHIN], &settings[..]].concat()));
        assert!(told.contains(expected), "{settings:?}: {told}");
        assert!(!place.at("run").exists(), "{settings:?}");
    }
}
