//! Images, from files to a model and its predictions.
#![cfg(unix)]

mod common;

use std::thread::sleep;
use std::time::Duration;

use common::{Place, stderr};

const CONFIG: &str = "
task = 'image_classification'
seed = 3
data = { path = 'stripes-images.idx3-ubyte', hflip = 0.5, pad_crop = 1, cutmix = 0.5 }
model = { name = 'cnn', channels = [4, 8], convolutions = 1, dropout = 0.1 }
optimizer = { name = 'adam', lr = 0.02 }
train = { steps = 60, batch_size = 16, log_every = 1, eval_every = 20 }
checkpoint = { every = 7 }
";

/// An idx file.
fn idx(sizes: &[u32], bytes: Vec<u8>) -> Vec<u8> {
    let sizes_bytes = sizes.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, 8, sizes.len() as u8].into_iter().chain(sizes_bytes).chain(bytes).collect()
}

/// 120 images of 8x8: stripes across, stripes down, and none.
fn place() -> Place {
    let place = Place::new();
    let pixel = |image: usize, y: usize, x: usize| {
        let stripe = [y, x, image][image % 3] / 2 % 2;
        (stripe * 180 + (image * 31 + y * 17 + x * 13) % 60) as u8
    };
    let pixels = (0..120 * 64).map(|i| pixel(i / 64, i / 8 % 8, i % 8)).collect();
    place.write("stripes-images.idx3-ubyte", idx(&[120, 8, 8], pixels));
    let labels = (0..120).map(|image| (image % 3) as u8).collect();
    place.write("stripes-labels.idx1-ubyte", idx(&[120], labels));
    place.write("images.toml", CONFIG);
    place
}

#[test]
fn images_become_a_model_and_the_model_predictions() {
    let place = place();
    let report = place.json(&["train", "images.toml", "--out", "r", "--json"]);
    assert!(report["validation_accuracy"].as_f64().unwrap() > 0.9, "{report}");
    assert!(report["validation_loss"].as_f64() < report["frequencies_loss"].as_f64(), "{report}");
    let told = stderr(&place.rappel(&["train", "images.toml", "--out", "r2"]));
    assert!(told.contains("108 images to train on, 12 to validate"), "{told}");
    assert!(told.contains("3 classes, grey, 8x8") && told.contains(" images/s\n"), "{told}");

    let file = "stripes-images.idx3-ubyte";
    let args = ["eval", "--model", "r", "--file", file, "--json"];
    let output = place.rappel(&args);
    let worth: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(worth["images"], 120);
    assert!(worth["accuracy"].as_f64().unwrap() > 0.9, "{worth}");
    assert!(stderr(&output).contains("of 40 right"), "{}", stderr(&output));

    place.ok(&["predict", "--model", "r", "--file", file, "--out", "p.csv"]);
    let rows = place.read("p.csv");
    assert!(rows.starts_with("image,prediction,probability of 0,probability of 1"), "{rows}");
    let right = rows
        .lines()
        .skip(1)
        .enumerate()
        .filter(|(i, row)| row.split(',').nth(1) == Some(&(i % 3).to_string()));
    assert!(right.count() > 108, "{rows}");
    let error =
        place.error(&["predict", "--model", "r", "--file", file, "--out", "q.csv", "--id", "x"]);
    assert!(
        error.contains("images have no columns; leave out --id, --text-field and --top-k"),
        "{error}"
    );
    let error = place.error(&["generate", "--model", "r", "--prompt", "x"]);
    assert!(error.contains("a model of images"), "{error}");
}

#[test]
fn a_model_that_was_trained_is_tuned_to_other_classes() {
    let place = place();
    let small = "model={ name='vit', patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16 }";
    let plain =
        ["--set", "data.pad_crop=0", "--set", "data.cutmix=0", "--set", "data.normalize=mnist"];
    let begin = [&["train", "images.toml", "--out", "base", "--set", small], &plain[..]].concat();
    place.ok(&begin);
    // The same images in two classes; the head is new, all else is the model's, its statistics included.
    let labels = (0..120).map(|image| u8::from(image % 3 == 0)).collect();
    place.write("stripes-labels.idx1-ubyte", idx(&[120], labels));
    let tune = |out: &str, more: &[&str]| {
        let set = [
            "--set",
            "model={ name='vit', pretrained='base' }",
            "--set",
            "data.pad_crop=0",
            "--set",
            "data.cutmix=0",
        ];
        let args = [&["train", "images.toml", "--out", out], &set[..], more].concat();
        args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let run = |args: &[String]| place.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    run(&tune("probe", &["--set", "model.freeze=vit.*"]));
    let config = place.read("probe/config.toml");
    assert!(config.contains("hidden_size = 8") && config.contains("sha256 = "), "{config}");
    let processing = place.read("probe/model/preprocessor_config.json");
    assert_eq!(processing, place.read("base/model/preprocessor_config.json"));
    let tensor = |run: &str, name: &str| {
        let path = place.at(run).join("model/model.safetensors");
        rappel_tensor::TensorFile::open(path).unwrap().tensor(name).unwrap()
    };
    let body = "vit.encoder.layer.0.output.dense.weight";
    assert_eq!(tensor("probe", body).to_f64_vec(), tensor("base", body).to_f64_vec());
    assert_eq!(tensor("probe", "classifier.weight").shape()[..], [2, 8]);
    run(&tune("whole", &["--set", "data.image_size=12"]));
    assert_ne!(tensor("whole", body).to_f64_vec(), tensor("base", body).to_f64_vec());
    // 3x3 patches, and the class's.
    assert_eq!(tensor("whole", "vit.embeddings.position_embeddings").shape()[..], [1, 10, 8]);

    let args = tune("killed", &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.kill_and_resume("killed", "1", &args, 1);
    run(&tune("same", &[]));
    assert_eq!(place.model("killed"), place.model("same"));

    let error = |more: &[&str]| {
        let args = tune("bad", more);
        let text = place.error(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!place.at("bad").exists());
        text
    };
    let told = error(&["--set", "model.hidden_size=12"]);
    assert!(told.contains("model.hidden_size") && told.contains("has 8; leave it out"), "{told}");
    let told = error(&["--set", "model.name=resnet"]);
    assert!(told.contains("model.name") && told.contains("is a `vit`"), "{told}");
    let told = error(&["--set", "model.freeze=vit.nothing"]);
    assert!(told.contains("model.freeze") && told.contains("matches no parameter"), "{told}");
    let told = error(&["--set", "model.pretrained=nowhere"]);
    assert!(told.contains("nowhere"), "{told}");
    let told = error(&["--set", "model.pretrained=", "--set", "model.freeze=vit.*"]);
    assert!(told.contains("give model.pretrained"), "{told}");
}

#[test]
fn predictions_are_means_of_an_image_and_its_mirror_image() {
    let place = place();
    let plain = ["--set", "data.hflip=0", "--set", "data.pad_crop=0", "--set", "train.steps=8"];
    let train = |out: &str, more: &[&str]| {
        place.json(&[&["train", "images.toml", "--json", "--out", out], &plain[..], more].concat())
    };
    let [once, twice] = [train("one", &[]), train("two", &["--set", "data.test_flip=true"])];
    // The same training; another validation.
    assert_eq!(place.model("one"), place.model("two"));
    assert_ne!(once["validation_loss"], twice["validation_loss"]);
    // An image and its mirror image are one and the same to it.
    let [pixels, mirrored] = [false, true].map(|mirrored| {
        let column = |x: usize| if mirrored { 7 - x } else { x };
        (0..64).map(|i| (i / 8 * 3 + column(i % 8) * 30) as u8).collect::<Vec<u8>>()
    });
    place.write("pair-images.idx3-ubyte", idx(&[2, 8, 8], [pixels, mirrored].concat()));
    let predict = |model: &str| {
        let args =
            ["predict", "--model", model, "--file", "pair-images.idx3-ubyte", "--out", "p.csv"];
        place.ok(&args);
        let text = place.read("p.csv");
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(1)
            .map(|row| row.split(',').skip(2).map(|cell| cell.parse().unwrap()).collect())
            .collect();
        rows[0].iter().zip(&rows[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    assert!(
        predict("two") < 1e-6 && predict("one") > 1e-4,
        "{} {}",
        predict("two"),
        predict("one")
    );
}

#[test]
fn images_are_shown_as_they_are_trained_on() {
    let place = place();
    place.ok(&["data", "images.toml", "--png", "sheet.png"]);
    let sheet = std::fs::read(place.at("sheet.png")).unwrap();
    // 8 rows of 8 images, each 8 pixels of 12 and their gaps.
    let size = |at: usize| u32::from_be_bytes(sheet[at..at + 4].try_into().unwrap());
    assert_eq!((size(16), size(20)), (6 + 8 * 102, 18 + 8 * 114 + 6));
    let told = place.rappel(&["data", "images.toml"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(
        text.contains("108 to train on, 12 to validate") && text.contains("3 classes"),
        "{text}"
    );
    let found = place.json(&["data", "images.toml", "--json"]);
    let counts = found["classes"].as_array().unwrap().iter().map(|class| &class["images"]);
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 108);
    assert!(place.error(&["data", "images.toml", "--png", "sheet.gif"]).contains(".png or .svg"));
    let told = place.error(&["data", "images.toml", "--row", "1"]);
    assert!(told.contains("--png FILE"), "{told}");

    // TensorBoard gets the same picture when the run begins.
    place.ok(&["train", "images.toml", "--out", "r", "--set", "train.steps=1"]);
    let events = std::fs::read_dir(place.at("r")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.file_name()?.to_str()?.contains("tfevents").then(|| std::fs::read(path).unwrap())
    });
    let events = events.collect::<Vec<_>>().concat();
    assert!(events.windows(sheet.len()).any(|bytes| bytes == sheet), "{} bytes", events.len());
}

#[test]
fn the_bits_do_not_depend_on_threads_or_kills() {
    let place = place();
    place.ok(&["--threads", "2", "train", "images.toml", "--out", "whole"]);
    place.ok(&["--threads", "1", "train", "images.toml", "--out", "one"]);
    assert_eq!(place.model("whole"), place.model("one"));
    let mut killed = 0;
    for (i, wait) in [60, 110, 170].into_iter().enumerate() {
        let run = format!("k{i}");
        let mut child = place.command(&["train", "images.toml", "--out", &run]).spawn().unwrap();
        sleep(Duration::from_millis(wait));
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if !place.at(&run).join("config.toml").exists() {
            continue;
        }
        place.ok(&["train", "--resume", &run]);
        assert_eq!(place.model(&run), place.model("whole"), "killed after {wait} ms");
    }
    assert!(killed > 0, "all runs were over before they could be killed");
    // Running statistics resume, too, from a checkpoint in the middle.
    place.ok(&["train", "images.toml", "--out", "half", "--set", "train.steps=30"]);
    let stopped = ["train", "images.toml", "--out", "stopped", "--set", "train.steps=30"];
    place.ok(&stopped);
    assert_eq!(place.model("half"), place.model("stopped"));
}

#[test]
fn what_is_wrong_is_told_before_a_run_begins() {
    let place = place();
    let error = |more: &[&str]| {
        let args = [&["train", "images.toml", "--out", "x"], more].concat();
        let text = place.error(&args);
        assert!(!place.at("x").exists(), "{text}");
        text
    };
    let told = error(&["--set", "model.channels=[4,4,4,4]"]);
    assert!(told.contains("model.channels") && told.contains("smaller than a pixel"), "{told}");
    let told = error(&["--set", "data.crop_scale=[0.5,0.1]"]);
    assert!(told.contains("data.crop_scale") && told.contains("the smaller first"), "{told}");
    let told = error(&["--set", "data.path=nowhere"]);
    assert!(told.contains("nowhere"), "{told}");
    let told = error(&["--set", "data.validation_fraction=0.001"]);
    assert!(told.contains("data.validation_fraction") && told.contains("0 of 120"), "{told}");
}

#[test]
fn residual_networks_and_transformers_learn_too() {
    let place = place();
    for (model, steps) in [
        (
            "{name='resnet', embedding_size=4, hidden_sizes=[4,8], depths=[1,1], layer_type='basic'}",
            40,
        ),
        (
            "{name='vit', patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16}",
            60,
        ),
        ("{name='convnext', patch_size=2, hidden_sizes=[8], depths=[1]}", 60),
        ("{name='mlp', hidden_sizes=[16]}", 40),
    ] {
        let run = format!("r{}", model.len());
        let (set, steps) = (format!("model={model}"), format!("train.steps={steps}"));
        let args =
            ["train", "images.toml", "--out", &run, "--json", "--set", &set, "--set", &steps];
        let report = place.json(&[&args[..], &["--set", "data.cutmix=0"]].concat());
        let (loss, base) =
            (report["validation_loss"].as_f64(), report["frequencies_loss"].as_f64());
        assert!(loss < base, "{model}: {report}");
        let worth = ["eval", "--model", &run, "--file", "stripes-images.idx3-ubyte", "--json"];
        assert!(place.json(&worth)["log_loss"].as_f64().unwrap() < 1.1);
    }
}
