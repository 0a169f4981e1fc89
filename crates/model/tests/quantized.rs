//! Weights in few bits a number: bitsandbytes' folders as transformers writes them, GGUF's blocks as they are.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rappel_model::{Pretrained, WeightStorage};
use rappel_tensor::{CodeBook, DType, QuantizedForm, Tensor, TensorFile};
use rappel_testkit::{Golden, assert_close_floor};
use serde_json::{Map, Value};

fn testdata(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

/// Each folder, and how it is made of the plain one.
const CASES: [(&str, WeightStorage); 3] = [
    ("nf4", WeightStorage::FourBits { book: CodeBook::Nf4, nested: true }),
    ("fp4", WeightStorage::FourBits { book: CodeBook::Fp4, nested: false }),
    ("int8", WeightStorage::EightBits),
];

fn load(folder: &str, dtype: Option<DType>, storage: WeightStorage) -> Pretrained {
    Pretrained::load_kept(testdata("quantized").join(folder), dtype, storage).unwrap()
}

#[test]
fn logits_of_bitsandbytes_folders_are_those_of_transformers() {
    let golden = Golden::load("quantized/logits");
    let ids = Tensor::from_slice(&golden.i64("ids").1, [1, 9]);
    for (case, made) in CASES {
        let wanted: Vec<f64> = golden.f32(case).1.into_iter().map(f64::from).collect();
        for (folder, storage) in [
            (case, WeightStorage::AsStored),
            (case, WeightStorage::Dense),
            // What is stored in few bits stays so, whatever is asked for.
            (case, WeightStorage::EightBits),
            ("plain", made),
        ] {
            for dtype in [DType::F32, DType::F64] {
                let read = load(folder, Some(dtype), storage);
                let dense = storage == WeightStorage::Dense;
                assert_eq!(read.params.quantized().len(), if dense { 0 } else { 14 }, "{case}");
                let logits = read.model.logits(&ids).to_f64_vec();
                let what = format!("{case}, {folder} as {storage:?} in {dtype}");
                assert_close_floor(&logits, &wanted, 2e-5, 1.0, &what);
            }
        }
    }
}

#[test]
fn folders_are_written_as_transformers_writes_them() {
    let place = tempfile::tempdir().unwrap();
    for (case, made) in CASES {
        let out = place.path().join(case);
        load("plain", None, made).save(&out).unwrap();
        let [ours, theirs] = [out.clone(), testdata("quantized").join(case)];
        let files = [&ours, &theirs].map(|dir| TensorFile::open(dir.join("model.safetensors")));
        let [found, wanted] = files.map(Result::unwrap);
        assert_eq!(found.names(), wanted.names(), "{case}");
        for name in found.names() {
            let [one, two] = [&found, &wanted].map(|file| file.stored_as(&name).unwrap());
            assert_eq!(one, two, "{case} {name}");
            if name.contains("quant_state") {
                let state = |file: &TensorFile| -> Map<String, Value> {
                    serde_json::from_slice(&file.tensor(&name).unwrap().to_vec::<u8>()).unwrap()
                };
                let (mut found, wanted) = (state(&found), state(&wanted));
                // The last bit of a mean is that of the order of its sum.
                if let Some(offset) = found.get_mut("nested_offset") {
                    let wanted = wanted["nested_offset"].as_f64().unwrap();
                    assert!((offset.as_f64().unwrap() - wanted).abs() < 1e-6, "{case} {name}");
                    *offset = wanted.into();
                }
                assert_eq!(found, wanted, "{case} {name}");
            } else if name.ends_with("nested_absmax") {
                let [one, two] = [&found, &wanted].map(|file| file.tensor(&name).unwrap());
                assert_close_floor(&one.to_f64_vec(), &two.to_f64_vec(), 1e-6, 1.0, &name);
            } else {
                assert!(found.same(&name, &wanted, &name).unwrap(), "{case} {name}");
            }
        }
        let config = |dir: &PathBuf| -> Value {
            let text = fs::read_to_string(dir.join("config.json")).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["quantization_config"].clone()
        };
        let (mut found, wanted) = (config(&ours), config(&theirs));
        // Of eight bits, what four bits would be is not looked at.
        if case == "int8" {
            found["bnb_4bit_compute_dtype"] = wanted["bnb_4bit_compute_dtype"].clone();
        }
        assert_eq!(found, wanted, "{case}");
        // Read again and written again, nothing changes.
        let again = place.path().join(format!("{case} again"));
        Pretrained::load_kept(&out, None, WeightStorage::AsStored).unwrap().save(&again).unwrap();
        let bytes = |dir: &PathBuf| fs::read(dir.join("model.safetensors")).unwrap();
        assert!(bytes(&again) == bytes(&out), "{case}");
    }
}

#[test]
fn blocks_of_gguf_files_stay_as_they_are() {
    let ids = Tensor::from_slice(&[3_i64, 14, 15, 9, 2, 6], [1, 6]);
    let mut kinds = std::collections::BTreeSet::new();
    for case in
        ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "smollm", "gpt2", "qwen3_moe"]
    {
        let file = testdata("gguf").join(format!("{case}.gguf"));
        let dense = Pretrained::load(&file, Some(DType::F64)).unwrap();
        let kept = Pretrained::load_kept(&file, Some(DType::F64), WeightStorage::AsStored).unwrap();
        for (name, _) in kept.params.quantized() {
            let QuantizedForm::Blocks(format) =
                *kept.params.quantized_weight(&name).unwrap().form()
            else {
                panic!("{case} {name}")
            };
            kinds.insert(format!("{format:?}"));
        }
        let [wanted, found] = [dense, kept].map(|read| read.model.logits(&ids).to_f64_vec());
        assert_close_floor(&found, &wanted, 1e-10, 1.0, case);
    }
    assert!(!kinds.is_empty(), "no file has blocks");
}

#[test]
fn a_folder_that_lacks_parts_is_told() {
    let place = tempfile::tempdir().unwrap();
    let told = |what: &str, without: &str| {
        let dir = place.path().join(what);
        fs::create_dir(&dir).unwrap();
        fs::copy(testdata("quantized/nf4/config.json"), dir.join("config.json")).unwrap();
        let file = TensorFile::open(testdata("quantized/nf4/model.safetensors")).unwrap();
        let names = file.names().into_iter().filter(|name| !name.ends_with(without));
        let tensors: Vec<_> =
            names.map(|name| (name.clone(), file.tensor(&name).unwrap())).collect();
        let path = dir.join("model.safetensors");
        rappel_tensor::write_tensors(path, tensors, &BTreeMap::new()).unwrap();
        Pretrained::load(&dir, None).unwrap_err().to_string()
    };
    let missing = told("missing", "layers.1.mlp.up_proj.weight.nested_absmax");
    assert!(missing.contains("up_proj.weight.nested_absmax` is missing"), "{missing}");
    let other = told("other", "layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4");
    assert!(other.contains("layers.0.mlp.up_proj.weight"), "{other}");
}
