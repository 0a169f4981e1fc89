//! Directories in and out: bit for bit, in every form that Hugging Face writes, and bad ones.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::small;
use rappel_model::{
    ARCHITECTURES, ActivationName, Gpt2Config, LanguageModel, ModelConfig, Pretrained,
    load_pretrained, load_weights, save_pretrained,
};
use rappel_tensor::{DType, Params, Tensor, write_tensors};
use serde_json::{Value, json};
use tempfile::TempDir;

fn built(config: &Gpt2Config) -> (Box<dyn LanguageModel>, Params) {
    let mut params = Params::with_dtype(3, config.dtype());
    (config.build(&mut params), params)
}

/// A directory with a model, and its parameters.
fn saved(config: &Gpt2Config) -> (TempDir, Params) {
    let dir = TempDir::new().unwrap();
    let (model, params) = built(config);
    save_pretrained(dir.path(), &*model, &params, &[22]).unwrap();
    (dir, params)
}

fn named(params: &Params) -> BTreeMap<String, Tensor> {
    params.tensors().into_iter().collect()
}

fn values(params: &Params) -> Vec<(String, Vec<f64>)> {
    params.tensors().into_iter().map(|(name, tensor)| (name, tensor.to_f64_vec())).collect()
}

/// Writes the tensors of a directory again, changed.
fn rewrite(dir: &Path, tensors: BTreeMap<String, Tensor>) {
    write_tensors(dir.join("model.safetensors"), tensors, &BTreeMap::new()).unwrap();
}

fn edit_config(dir: &Path, edit: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

fn error(dir: &Path) -> String {
    let text = Pretrained::load(dir, None).expect_err("it is refused").to_string();
    text.replace(&dir.display().to_string(), "DIR")
}

#[test]
fn what_is_saved_comes_back_bit_for_bit() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for tie_word_embeddings in [true, false] {
            let config = Gpt2Config {
                tie_word_embeddings,
                n_inner: Some(24),
                activation_function: ActivationName::Gelu,
                scale_attn_weights: false,
                ..small().with_dtype(dtype)
            };
            let (dir, params) = saved(&config);
            let again = Pretrained::load(dir.path(), None).unwrap();
            assert_eq!(values(&again.params), values(&params));
            assert_eq!(again.model.config().to_json(), config.to_json());
            assert_eq!(again.eos_token_id, [22]);
            let copy = TempDir::new().unwrap();
            again.save(copy.path()).unwrap();
            for file in ["config.json", "model.safetensors"] {
                let read = |dir: &TempDir| fs::read(dir.path().join(file)).unwrap();
                assert_eq!(read(&dir), read(&copy), "{file}");
            }
            assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 2, "nothing is left behind");
        }
    }
}

#[test]
fn a_loaded_model_computes_what_the_saved_one_did() {
    let (dir, _) = saved(&small());
    let (model, _params) = built(&small());
    let (again, _loaded) = load_pretrained(dir.path()).unwrap();
    let ids = Tensor::from_slice(&[3_i64, 1, 4, 1, 5], [1, 5]);
    assert_eq!(again.logits(&ids).to_vec::<f32>(), model.logits(&ids).to_vec::<f32>());
}

#[test]
fn shards_are_read_through_their_index() {
    let (dir, params) = saved(&small());
    let dir = dir.path();
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    let shard = |i: usize| format!("model-0000{}-of-00002.safetensors", i + 1);
    let mut parts = [BTreeMap::new(), BTreeMap::new()];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in named(&params).into_iter().enumerate() {
        map.insert(name.clone(), shard(i % 2).into());
        parts[i % 2].insert(name, tensor);
    }
    for (i, part) in parts.iter().enumerate() {
        write_tensors(dir.join(shard(i)), part.clone(), &BTreeMap::new()).unwrap();
    }
    let index = dir.join("model.safetensors.index.json");
    let write_index = |map: &serde_json::Map<String, Value>| {
        let json = json!({"metadata": {"total_size": 1}, "weight_map": map});
        fs::write(&index, json.to_string()).unwrap();
    };
    write_index(&map);
    assert_eq!(values(&load_pretrained(dir).unwrap().1), values(&params));

    let name = "transformer.h.0.ln_1.bias";
    let mut wrong = map.clone();
    let other = shard(usize::from(wrong[name] == shard(0)));
    wrong.insert(name.to_owned(), other.clone().into());
    write_index(&wrong);
    assert_eq!(error(dir), format!("DIR/{other}: lacks tensor `{name}`"));

    for outside in ["../model.safetensors", "/etc/passwd", "..", ""] {
        let mut wrong = map.clone();
        wrong.insert(name.to_owned(), outside.into());
        write_index(&wrong);
        let want = format!(
            "DIR/model.safetensors.index.json: names the file `{outside}`; expected the plain name of \
             a file beside it"
        );
        assert_eq!(error(dir), want);
    }
    let mut twice = parts[1].clone();
    twice.extend(parts[0].iter().next().map(|(name, tensor)| (name.clone(), tensor.clone())));
    write_tensors(dir.join(shard(1)), twice, &BTreeMap::new()).unwrap();
    write_index(&map);
    let first = parts[0].keys().next().unwrap();
    assert_eq!(error(dir), format!("DIR: holds `{first}` twice"));

    fs::write(&index, r#"{"weight_map": {"a": 3}}"#).unwrap();
    let want = "DIR/model.safetensors.index.json: expected a table `weight_map` from names of tensors \
                to names of files";
    assert_eq!(error(dir), want);
    fs::remove_file(&index).unwrap();
    let want = "DIR: has neither model.safetensors nor model.safetensors.index.json";
    assert_eq!(error(dir), want);
}

#[test]
fn the_first_uploads_names_and_masks_are_understood() {
    let (dir, params) = saved(&small());
    let strip = |name: String| name.trim_start_matches("transformer.").to_owned();
    let mut old: BTreeMap<_, _> =
        named(&params).into_iter().map(|(name, tensor)| (strip(name), tensor)).collect();
    for layer in 0..2 {
        let mask = Tensor::ones([1, 1, 12, 12], DType::U8);
        old.insert(format!("h.{layer}.attn.bias"), mask);
        let masked = Tensor::full((), -1e4, DType::F32);
        old.insert(format!("h.{layer}.attn.masked_bias"), masked);
    }
    rewrite(dir.path(), old);
    assert_eq!(values(&load_pretrained(dir.path()).unwrap().1), values(&params));
}

#[test]
fn a_tied_head_may_stand_under_either_name_but_not_differ() {
    let (dir, params) = saved(&small());
    let all = named(&params);
    let wte = "transformer.wte.weight";
    let mut both = all.clone();
    both.insert("lm_head.weight".to_owned(), all[wte].clone());
    rewrite(dir.path(), both.clone());
    assert_eq!(values(&load_pretrained(dir.path()).unwrap().1), values(&params));
    let mut head = both.clone();
    head.remove(wte);
    rewrite(dir.path(), head);
    assert_eq!(values(&load_pretrained(dir.path()).unwrap().1), values(&params));
    both.insert("lm_head.weight".to_owned(), &all[wte] + 1.0);
    rewrite(dir.path(), both);
    let want = "DIR: `lm_head.weight` and `transformer.wte.weight` differ, though the config ties \
                them; set tie_word_embeddings to false to keep both";
    assert_eq!(error(dir.path()), want);
}

#[test]
fn types_are_converted_only_where_asked() {
    let (dir, params) = saved(&small());
    let double = Pretrained::load(dir.path(), Some(DType::F64)).unwrap();
    assert_eq!(double.params.tensors()[0].1.dtype(), DType::F64);
    assert_eq!(double.model.config().dtype(), DType::F64);
    assert_eq!(values(&double.params), values(&params));
    let mut mixed = named(&params);
    let wte = mixed["transformer.wte.weight"].to_dtype(DType::F64);
    mixed.insert("transformer.wte.weight".to_owned(), wte);
    rewrite(dir.path(), mixed.clone());
    let want =
        "DIR: holds f32 and, in `transformer.wte.weight`, f64; say which dtype to load them as";
    assert_eq!(error(dir.path()), want);
    let single = Pretrained::load(dir.path(), Some(DType::F32)).unwrap();
    assert_eq!(values(&single.params), values(&params));
    let wte = mixed["transformer.wte.weight"].to_dtype(DType::I64);
    mixed.insert("transformer.wte.weight".to_owned(), wte);
    rewrite(dir.path(), mixed);
    let want = "DIR: tensor `transformer.wte.weight` holds i64, expected floating-point numbers";
    assert_eq!(error(dir.path()), want);
}

#[test]
fn weights_go_into_a_model_of_other_options() {
    let (dir, params) = saved(&small());
    let config = Gpt2Config { attn_pdrop: 0.3, ..small() };
    let mut other = Params::new(99);
    let _model = config.build(&mut other);
    load_weights(dir.path(), &config, &mut other).unwrap();
    assert_eq!(values(&other), values(&params));
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (dir, params) = saved(&small());
    let dir = dir.path();
    let mut less = named(&params);
    less.remove("transformer.h.1.mlp.c_fc.bias");
    rewrite(dir, less.clone());
    assert_eq!(error(dir), "DIR: lacks tensor `transformer.h.1.mlp.c_fc.bias`");
    less.retain(|name, _| !name.starts_with("transformer.h.1"));
    rewrite(dir, less);
    let text = error(dir);
    let want = "DIR: lacks tensors `transformer.h.1.ln_1.weight`, `transformer.h.1.ln_1.bias`, ";
    assert!(text.starts_with(want) && text.ends_with(" and 7 more"), "{text}");
    let mut more = named(&params);
    more.insert("h.0.attn.rotary".to_owned(), Tensor::ones([1], DType::F32));
    rewrite(dir, more);
    let want = "DIR: has tensor `h.0.attn.rotary`, which no parameter of the model is called";
    assert_eq!(error(dir), want);
    // Names that are near to each other come first in both lists.
    let mut other = named(&params);
    for (name, new) in [
        ("transformer.ln_f.weight", "x"),
        ("transformer.h.1.ln_1.bias", "transformer.h.1.ln1.bias"),
    ] {
        let tensor = other.remove(name).unwrap();
        other.insert(new.to_owned(), tensor);
    }
    rewrite(dir, other);
    let want = "DIR: lacks tensors `transformer.h.1.ln_1.bias`, `transformer.ln_f.weight`; has tensors \
                `transformer.h.1.ln1.bias`, `x`, which no parameter of the model is called";
    assert_eq!(error(dir), want);
    rewrite(dir, named(&params));
    edit_config(dir, |json| json["n_positions"] = 13.into());
    let want =
        "DIR: tensor `transformer.wpe.weight` has shape [12, 16], the config makes it [13, 16]";
    assert_eq!(error(dir), want);
    // As large as the options allow: refused by the files, without the memory for it.
    edit_config(dir, |json| json["n_positions"] = 4_294_967_296_u64.into());
    assert!(error(dir).contains("the config makes it [4294967296, 16]"));
}

#[test]
fn configs_that_cannot_be_are_refused() {
    let (dir, _) = saved(&small());
    let dir = dir.path();
    let good = fs::read(dir.join("config.json")).unwrap();
    let known = ARCHITECTURES.names().join(", ");
    let cases: [(&str, Value, &str); 7] = [
        (
            "model_type",
            "gpt3".into(),
            "DIR/config.json: config key `model_type`: no model is named `gpt3`; did you mean \
             `gpt2`? (known: KNOWN)",
        ),
        ("model_type", 3.into(), "DIR/config.json: expected a text `model_type` (known: KNOWN)"),
        (
            "n_head",
            3.into(),
            "DIR/config.json: config key `n_embd`: 16 does not split evenly into n_head = 3 heads; \
             make it a multiple",
        ),
        (
            "n_layer",
            u64::MAX.into(),
            "DIR/config.json: config key `n_layer`: expected integer in [1, 1000], got the string \
             \"18446744073709551615\"",
        ),
        (
            "n_layer",
            (-1).into(),
            "DIR/config.json: config key `n_layer`: -1 is out of range; expected integer in [1, 1000]",
        ),
        (
            "attn_pdrop",
            json!([0.1]),
            "DIR/config.json: config key `attn_pdrop`: expected float in [0, 1), got the list [0.1]",
        ),
        (
            "scale_attn_by_inverse_layer_idx",
            true.into(),
            "DIR/config.json: `scale_attn_by_inverse_layer_idx` is true, which is not supported; \
             it must be false, null or absent",
        ),
    ];
    for (key, value, want) in cases {
        edit_config(dir, |json| json[key] = value);
        assert_eq!(error(dir), want.replace("KNOWN", &known));
        fs::write(dir.join("config.json"), &good).unwrap();
    }
    for text in ["", "[1]", "{\"model_type\"", "\u{0}"] {
        fs::write(dir.join("config.json"), text).unwrap();
        let text = error(dir);
        assert!(text.starts_with("DIR/config.json: not a JSON object: "), "{text}");
    }
    fs::remove_file(dir.join("config.json")).unwrap();
    let text = error(dir);
    assert!(text.starts_with("DIR/config.json: No such file"), "{text}");
}

#[test]
fn options_that_only_others_read_are_left_aside() {
    let (dir, params) = saved(&small());
    edit_config(dir.path(), |json| {
        json["n_ctx"] = 12.into();
        json["summary_type"] = "cls_index".into();
        json["task_specific_params"] = json!({"text-generation": {"do_sample": true}});
        json["eos_token_id"] = json!([5, 7]);
        json["n_inner"] = Value::Null;
    });
    let loaded = Pretrained::load(dir.path(), None).unwrap();
    assert_eq!(loaded.eos_token_id, [5, 7]);
    assert_eq!(values(&loaded.params), values(&params));
}

#[test]
fn torn_weights_are_refused_whole() {
    let (dir, _) = saved(&small());
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for len in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..len]).unwrap();
        let text = error(dir.path());
        assert!(text.contains("model.safetensors: not a complete safetensors file"), "{text}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_nothing_is_left() {
    let (model, params) = built(&small());
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    let text = save_pretrained(dir.path(), &*model, &params, &[]).unwrap_err().to_string();
    assert!(text.starts_with("cannot rename into place "), "{text}");
    assert!(text.contains("model.safetensors: Is a directory"), "{text}");
    // The config, and the folder in the way.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
