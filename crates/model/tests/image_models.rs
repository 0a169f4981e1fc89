//! Models of images against transformers: files in and out, logits, gradients, running statistics.

use std::path::{Path, PathBuf};

use rappel_model::{ImageModelFiles, ImageShape, PretrainedImageModel};
use rappel_nn::Forward;
use rappel_tensor::{CrossEntropy, DType, Key, Params, Tensor, TensorFile, cross_entropy};
use rappel_testkit::{Golden, assert_close};

const MODELS: [&str; 4] = ["resnet_basic", "resnet_bottleneck", "vit", "convnext"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/image_models").join(name)
}

fn golden(name: &str) -> Golden {
    Golden::read(&folder(name).join("expected.safetensors"))
}

fn images_of(golden: &Golden) -> Tensor {
    let (shape, x) = golden.f64("x");
    Tensor::from_slice(&x, &shape[..])
}

#[test]
fn logits_gradients_and_running_statistics_are_those_of_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let PretrainedImageModel { model, mut params, .. } =
            PretrainedImageModel::load(folder(name), None).unwrap();
        let x = images_of(&golden);
        let check = |found: &Tensor, want: &str| {
            let (shape, values) = golden.f64(want);
            assert_eq!(found.shape()[..], shape[..], "{name} {want}");
            assert_close(&found.to_f64_vec(), &values, 1e-9, &format!("{name} {want}"));
        };
        check(&model.forward(&x, &Forward::evaluation()), "logits");
        let logits = model.forward(&x, &Forward::training(Key::new(0)));
        check(&logits, "train_logits");
        let (count, labels) = golden.i64("labels");
        let labels = Tensor::from_slice(&labels, &count[..]);
        let loss = cross_entropy(&logits, &labels, &CrossEntropy::default());
        let grads = loss.backward();
        for entry in params.entries().into_iter().filter(|entry| entry.trainable) {
            let param = params.get(&entry.name).unwrap();
            let grad = grads.param(&param).unwrap();
            if entry.name.ends_with("key.bias") {
                // Added to all scores of a query alike, it changes nothing.
                assert!(
                    grad.to_f64_vec().iter().all(|slope| slope.abs() < 1e-15),
                    "{}",
                    entry.name
                );
                continue;
            }
            check(&grad, &format!("grad/{}", entry.name));
        }
        drop((logits, loss, grads));
        params.refresh().unwrap();
        for full in golden.names("after/") {
            let found = params.get(full.trim_start_matches("after/")).unwrap().tensor();
            if full.ends_with("num_batches_tracked") {
                let (_, count) = golden.i64(full);
                assert_eq!(found.to_f64_vec(), [count[0] as f64], "{name} {full}");
            } else {
                check(&found, full);
            }
        }
    }
}

#[test]
fn positions_of_larger_images_lie_between_those_that_there_are() {
    let larger = Golden::read(&folder("vit").join("larger.safetensors"));
    let files = ImageModelFiles::open(folder("vit")).unwrap();
    let (labels, own) = (files.labels().unwrap(), files.images().unwrap());
    let images = ImageShape { size: [20, 16], ..own };
    let params = Params::with_dtype(0, DType::F64);
    let made = files.begin(params, DType::F64, images, labels, &|_| false).unwrap();
    let logits = made.model.forward(&images_of(&larger), &Forward::evaluation());
    assert_close(&logits.to_f64_vec(), &larger.f64("logits").1, 1e-9, "logits");
}

#[test]
fn other_classes_get_a_new_head_and_the_rest_stays() {
    for name in MODELS {
        let own = PretrainedImageModel::load(folder(name), Some(DType::F32)).unwrap();
        let begin = |channels: usize, frozen: &dyn Fn(&str) -> bool| {
            let files = ImageModelFiles::open(folder(name)).unwrap();
            let images = ImageShape { classes: 7, channels, ..own.images };
            let labels = (0..7).map(|label| format!("new {label}")).collect();
            files.begin(Params::with_dtype(3, DType::F32), DType::F32, images, labels, frozen)
        };
        let is_body = |name: &str| !name.starts_with("classifier");
        let made = begin(own.images.channels, &is_body).unwrap();
        let mut fresh = 0;
        for entry in made.params.entries() {
            let [found, old] =
                [&made.params, &own.params].map(|of| of.get(&entry.name).unwrap().tensor());
            if entry.name.starts_with("classifier") {
                assert_eq!((found.shape()[0], entry.trainable), (7, true), "{name} {}", entry.name);
                fresh += 1;
            } else {
                assert_eq!(found.to_f64_vec(), old.to_f64_vec(), "{name} {}", entry.name);
                assert!(!entry.trainable, "{name} {}", entry.name);
            }
        }
        assert_eq!(fresh, 2, "{name}");
        let error = begin(4 - own.images.channels, &is_body).unwrap_err().to_string();
        assert!(error.contains("data.channels"), "{name}: {error}");
    }
}

#[test]
fn files_hold_the_tensors_of_transformers_with_their_types_after_a_round_trip() {
    for name in MODELS {
        let model = PretrainedImageModel::load(folder(name), None).unwrap();
        let out = tempfile::tempdir().unwrap();
        model.save(out.path()).unwrap();
        let [ours, theirs] = [out.path(), &folder(name)]
            .map(|dir| TensorFile::open(dir.join("model.safetensors")).unwrap());
        assert_eq!(ours.names(), theirs.names());
        for tensor in ours.names() {
            assert_eq!(ours.dtype(&tensor), theirs.dtype(&tensor), "{tensor}");
            assert!(ours.same(&tensor, &theirs, &tensor).unwrap(), "{name} {tensor}");
        }
        let again = PretrainedImageModel::load(out.path(), Some(DType::F32)).unwrap();
        assert_eq!((again.images, again.labels), (model.images, model.labels));
        assert_eq!(again.config.to_json().get("depths"), model.config.to_json().get("depths"));
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let out = tempfile::tempdir().unwrap();
    std::fs::copy(folder("vit").join("model.safetensors"), out.path().join("model.safetensors"))
        .unwrap();
    let config = std::fs::read_to_string(folder("vit").join("config.json")).unwrap();
    let told = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        std::fs::write(out.path().join("config.json"), config.replace(from, to)).unwrap();
        PretrainedImageModel::load(out.path(), None).unwrap_err().to_string()
    };
    let error = told("\"patch_size\": 4", "\"patch_size\": 400");
    assert!(error.contains("no patch of 400 fits images of 12x12"), "{error}");
    let error = told("\"num_channels\": 3", "\"num_channels\": 4");
    assert!(error.contains("`num_channels`: expected 1 or 3"), "{error}");
    let error = told("\"intermediate_size\": 20", "\"intermediate_size\": 21");
    assert!(error.contains("intermediate.dense"), "{error}");
    let error = told("\"model_type\": \"vit\"", "\"model_type\": \"dit\"");
    assert!(error.contains("known: cnn, convnext, mlp, resnet, vit"), "{error}");
}
