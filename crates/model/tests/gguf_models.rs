//! Models in GGUF files: the weights and logits that transformers reads of them, and the names of the `gguf` package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rappel_model::{ARCHITECTURES, ModelFiles, Pretrained};
use rappel_tensor::{DType, Params, Tensor};
use rappel_testkit::{Golden, assert_close_floor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

fn file(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/gguf/{case}.gguf"))
}

fn golden() -> Golden {
    Golden::load("gguf/models")
}

#[test]
fn weights_are_those_that_transformers_reads() {
    let weights: BTreeMap<String, BTreeMap<String, String>> = golden().meta("weights");
    assert_eq!(weights.len(), 9);
    for (case, wanted) in weights {
        let read = Pretrained::load(file(&case), None).unwrap();
        let mut names = read.params.names();
        names.sort();
        let tied = |name: &&String| *name == "lm_head.weight" && !names.contains(name);
        let wanted: BTreeMap<_, _> = wanted.iter().filter(|(name, _)| !tied(name)).collect();
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            wanted.keys().copied().collect::<Vec<_>>(),
            "{case}"
        );
        for (name, tensor) in read.params.tensors() {
            assert_eq!(hash(&tensor), *wanted[&name], "{case}: {name}");
        }
    }
}

fn hash(tensor: &Tensor) -> String {
    let bytes: Vec<u8> = tensor.to_vec::<f32>().into_iter().flat_map(f32::to_le_bytes).collect();
    rappel_files::hex(&Sha256::digest(bytes))
}

#[test]
fn logits_are_those_of_transformers() {
    let golden = golden();
    let configs: BTreeMap<String, Map<String, Value>> = golden.meta("configs");
    for (case, config) in configs {
        let read = Pretrained::load(file(&case), None).unwrap();
        assert_eq!(read.model.config().dtype(), DType::F32);
        assert_eq!(read.model.config().model_type(), config["model_type"], "{case}");
        let (shape, ids) = golden.i64(&format!("{case}/ids"));
        let logits = read.model.logits(&Tensor::from_slice(&ids, &shape[..])).to_f64_vec();
        let (_, wanted) = golden.float(&format!("{case}/logits"));
        assert_close_floor(&logits, &wanted, 1e-4, 1e-1, &case);
    }
}

#[test]
fn parameters_have_the_names_of_the_gguf_package() {
    let names: BTreeMap<String, BTreeMap<String, String>> = golden().meta("names");
    let known: Vec<&str> = ARCHITECTURES.names();
    assert_eq!(names.keys().map(String::as_str).collect::<Vec<_>>(), known);
    for (architecture, wanted) in names {
        let dialect = &ARCHITECTURES.lookup(&architecture).unwrap().build.gguf;
        for (parameter, tensor) in wanted {
            let found = dialect.tensor(&parameter);
            assert_eq!(found, Some(tensor), "{architecture}: {parameter}");
        }
    }
}

#[test]
fn numbers_are_rounded_to_the_type_asked_for() {
    let single = Pretrained::load(file("llama"), None).unwrap();
    let files = ModelFiles::open(file("llama")).unwrap();
    let config = files.config(DType::BF16).unwrap();
    let half =
        files.load(Params::with_dtype(0, DType::BF16), config.as_ref(), true, &|_| false).unwrap();
    for ((name, single), (_, half)) in
        single.params.tensors().into_iter().zip(half.params.tensors())
    {
        assert_eq!(half.dtype(), DType::BF16);
        assert_eq!(single.to_dtype(DType::BF16).to_f64_vec(), half.to_f64_vec(), "{name}");
    }
}

#[test]
fn ways_to_stretch_positions_are_read() {
    let json = |case: &str| {
        let files = ModelFiles::open(file(case)).unwrap();
        files.config(DType::F32).unwrap().to_json()
    };
    let llama = json("llama");
    assert_eq!(llama["rope_scaling"]["rope_type"], "llama3");
    assert_eq!(llama["rope_scaling"]["factor"], 32.0);
    let phi = json("phi3");
    assert_eq!(phi["rope_scaling"]["long_factor"], serde_json::json!([2.0, 2.5, 3.0, 4.0]));
    assert_eq!(phi["original_max_position_embeddings"], 16);
}
