//! Tiny models of every decoder against transformers: loss, logits, every gradient, and files out and in again.

use std::collections::BTreeMap;
use std::fs;

use rappel_model::gguf::{Metadata, Quantization, save_gguf};
use rappel_model::{Documents, Pretrained, save_pretrained};
use rappel_nn::Forward;
use rappel_regularize::{Mixup, Noise};
use rappel_tensor::{CrossEntropy, DType, Key, Tensor, write_tensors};
use rappel_testkit::{Golden, assert_close, assert_close_floor};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// One model of a golden file.
struct Case<'a> {
    golden: &'a Golden,
    name: String,
    config: Map<String, Value>,
}

impl Case<'_> {
    fn all(golden: &Golden) -> Vec<Case<'_>> {
        let configs: BTreeMap<String, Map<String, Value>> = golden.meta("configs");
        assert!(configs.len() >= 2);
        configs.into_iter().map(|(name, config)| Case { golden, name, config }).collect()
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    /// Its files, as transformers would write them.
    fn folder(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        let text = serde_json::to_string(&self.config).unwrap();
        fs::write(folder.path().join("config.json"), text).unwrap();
        let prefix = self.key("init/");
        let tensor = |name: &str| {
            let (shape, values) = self.golden.f32(name);
            (name[prefix.len()..].to_owned(), Tensor::from_slice(&values, &shape[..]))
        };
        let tensors: BTreeMap<_, _> = self.golden.names(&prefix).map(tensor).collect();
        let path = folder.path().join("model.safetensors");
        write_tensors(path, tensors, &BTreeMap::new()).unwrap();
        folder
    }

    fn load(&self, dtype: DType) -> Pretrained {
        let read = Pretrained::load(self.folder().path(), Some(dtype));
        read.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Ids, and the token after each; none after the last.
    fn ids(&self) -> [Tensor; 2] {
        let (shape, ids) = self.golden.i64(&self.key("ids"));
        let time = shape[1];
        let next = |i: usize| if i % time == time - 1 { -100 } else { ids[i + 1] };
        let targets: Vec<i64> = (0..ids.len()).map(next).collect();
        [&ids, &targets].map(|ids| Tensor::from_slice(ids, &shape[..]))
    }

    /// The loss of a pass that trains, and each gradient by its name.
    fn gradients(&self, read: &Pretrained) -> (f64, BTreeMap<String, Vec<f64>>) {
        let [ids, targets] = self.ids();
        let forward = Forward::training(Key::new(1));
        let loss = read.model.loss(&ids, &targets, None, &CrossEntropy::default(), &forward);
        let grads = loss.backward();
        assert!(grads.missing(&read.params.layout()).is_empty());
        let grad = |name: String| {
            let param = read.params.get(&name).unwrap();
            (name, grads.param(&param).unwrap().to_f64_vec())
        };
        (loss.item(), read.params.names().into_iter().map(grad).collect())
    }

    fn agrees(&self) {
        let prefix = self.key("grad/");
        for (dtype, tolerance, floor) in [(DType::F64, 1e-8, 1e-3), (DType::F32, 1e-4, 1e-1)] {
            let read = self.load(dtype);
            let (loss, grads) = self.gradients(&read);
            assert_close(&[loss], &[self.golden.scalar(&self.key("loss"))], tolerance, &self.name);
            let what = |of: &str| format!("{} {dtype}: {of}", self.name);
            let logits = read.model.logits(&self.ids()[0]).to_f64_vec();
            let own = if dtype == DType::F64 { "logits" } else { "f32/logits" };
            let (_, want) = self.golden.float(&self.key(own));
            assert_close_floor(&logits, &want, tolerance, floor, &what("logits"));
            assert_eq!(self.golden.names(&prefix).count(), grads.len());
            for (name, got) in &grads {
                let (_, want) = self.golden.f64(&format!("{prefix}{name}"));
                if want.iter().all(|x| x.abs() < 1e-12) {
                    // A bias of keys without positions moves all scores of a query alike: 0 but for rounding.
                    assert!(got.iter().all(|x| x.abs() < tolerance), "{}: {got:?}", what(name));
                    continue;
                }
                assert_close_floor(got, &want, tolerance, floor, &what(name));
            }
        }
        let single = self.golden.float(&self.key("f32/loss")).1[0];
        assert_close(&[self.gradients(&self.load(DType::F32)).0], &[single], 1e-5, &self.name);
    }

    fn decodes_in_pieces(&self) {
        let read = self.load(DType::F64);
        let ids = self.ids()[0].clone();
        let (batch, time) = (ids.size(0), ids.size(1));
        let whole = read.model.logits(&ids);
        let mut cache = read.model.new_cache(batch, time);
        for pieces in [vec![time], vec![1; time], vec![4, 1, 2, time - 7]] {
            cache.clear();
            for new in pieces {
                let at = cache.len();
                let got = read.model.decode(&ids.narrow(1, at, new), &mut cache);
                // Positions that depend on the length are those of a sequence up to here.
                let so_far = read.model.logits(&ids.narrow(1, 0, at + new));
                let want = so_far.narrow(1, at + new - 1, 1).squeeze(1).to_f64_vec();
                assert_close(&got.to_f64_vec(), &want, 1e-10, &self.name);
            }
        }
        assert_eq!(*whole.shape(), [batch, time, read.model.config().vocab_size()]);
    }

    fn recomputes_to_the_same_bits(&self) {
        let mut config = self.config.clone();
        config.insert("gradient_checkpointing".to_owned(), true.into());
        let recomputed = Case { config, name: self.name.clone(), golden: self.golden };
        for dtype in [DType::F64, DType::F32] {
            let [kept, again] = [self, &recomputed].map(|case| case.gradients(&case.load(dtype)));
            assert_eq!(kept, again, "{}", self.name);
        }
    }

    fn keeps_documents_apart(&self) {
        let read = self.load(DType::F64);
        let numbers = Tensor::from_slice(&[7_i64, 7, 7, 8, 8, 8], [1, 6]);
        let documents = Documents { ids: numbers, positions: None };
        let second = |first: [i64; 3], documents: Option<&Documents>| {
            let ids = Tensor::from_slice(&[&first[..], &[5, 9, 2]].concat(), [1, 6]);
            let hidden = read.model.hidden(&ids, documents, &Forward::evaluation());
            hidden.narrow(1, 3, 3).to_vec::<f64>()
        };
        let apart = [[3, 1, 4], [8, 8, 8]].map(|first| second(first, Some(&documents)));
        assert_eq!(apart[0], apart[1], "{}", self.name);
        assert_ne!(second([3, 1, 4], None), second([8, 8, 8], None), "{}", self.name);
        // With positions of its own a document is what it is alone.
        let positions = Some(Tensor::from_slice(&[0_i64, 1, 2, 0, 1, 2], [1, 6]));
        let restarted = second([3, 1, 4], Some(&Documents { positions, ..documents }));
        let alone = Tensor::from_slice(&[5_i64, 9, 2], [1, 3]);
        let alone = read.model.hidden(&alone, None, &Forward::evaluation()).to_vec::<f64>();
        assert_close(&restarted, &alone, 1e-12, &self.name);
    }

    fn is_made_random_by_regularizers(&self) {
        let read = self.load(DType::F32);
        let [ids, targets] = self.ids();
        let loss = |noise: Noise, forward: Forward| {
            let (forward, options) = (forward.with_noise(noise), CrossEntropy::default());
            read.model.loss(&ids, &targets, None, &options, &forward).item()
        };
        let train = Forward::training(Key::new(4));
        let off = Noise::default();
        let plain = [train, Forward::evaluation()].map(|forward| loss(off, forward));
        for (what, noise) in [
            ("dropout", Noise { dropout: Some(0.3), ..off }),
            ("attention_dropout", Noise { attention_dropout: Some(0.5), ..off }),
            ("channel_dropout", Noise { channel_dropout: 0.3, ..off }),
            ("stochastic_depth", Noise { stochastic_depth: 0.9, ..off }),
            ("neftune", Noise { neftune: 5.0, ..off }),
            ("mixup", Noise { mixup: Some(Mixup { alpha: 1.0, key: Key::new(2) }), ..off }),
        ] {
            let noisy = [train, Forward::evaluation()].map(|forward| loss(noise, forward));
            assert_ne!(noisy[0], plain[0], "{}: {what} does nothing", self.name);
            assert_eq!(noisy[1], plain[1], "{}: {what} acts in evaluation", self.name);
        }
    }

    fn is_written_and_read_again(&self) {
        let read = self.load(DType::F32);
        let folder = TempDir::new().unwrap();
        save_pretrained(folder.path(), &*read.model, &read.params, &[]).unwrap();
        let again = Pretrained::load(folder.path(), None).unwrap();
        let ids = &self.ids()[0];
        let logits = |read: &Pretrained| read.model.logits(ids).to_vec::<f32>();
        assert_eq!(logits(&again), logits(&read), "{}", self.name);
        let json = again.model.config().to_json();
        assert_eq!(json, read.model.config().to_json());
        // Defaults of transformers for these need not be tokens of this model.
        assert!(["bos", "eos", "pad"].iter().all(|of| json[&format!("{of}_token_id")].is_null()));
        // What a version of transformers reads that knows the older dialect alone, and one that knows the newer.
        for left_out in [&["rope_parameters"][..], &["rope_theta", "rope_scaling"]] {
            let mut one = json.clone();
            one.retain(|key, _| !left_out.contains(&key.as_str()));
            let case = Case { config: one, name: self.name.clone(), golden: self.golden };
            assert_eq!(logits(&case.load(DType::F32)), logits(&read), "{}", self.name);
        }
        let counted: usize = read.params.tensors().iter().map(|(_, tensor)| tensor.count()).sum();
        assert_eq!(read.model.config().parameter_count(), counted as u64);
        assert!(read.model.config().flops_per_token(8) > 0);
    }
}

/// What GGUF files have no way to say of these cases.
const NOT_IN_GGUF: &[(&str, &str, &str)] = &[
    ("gemma2", "plain", "`attn_logit_softcapping`"),
    ("llama", "dynamic", "rope_type `dynamic`"),
    ("llama", "yarn_mscale", "`rope_scaling.mscale`"),
    ("llama", "yarn_set", "`rope_scaling.truncate`"),
    ("olmoe", "balanced", "`norm_topk_prob`"),
    ("qwen2", "window", "`layer_types`"),
    ("qwen3", "window", "`layer_types`"),
    ("qwen3_moe", "sparse", "`mlp_only_layers`"),
    ("qwen3_moe", "step", "`norm_topk_prob`"),
    ("smollm3", "interval", "`no_rope_layer_interval`"),
    ("smollm3", "list", "`layer_types`"),
];

impl Case<'_> {
    fn comes_back_from_a_gguf_file(&self) {
        let read = self.load(DType::F32);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("model.gguf");
        let model_type = read.model.config().model_type();
        let refused =
            NOT_IN_GGUF.iter().find(|(of, case, _)| *of == model_type && *case == self.name);
        let saved =
            save_gguf(&path, &*read.model, &read.params, Quantization::F32, &Metadata::default());
        let what = format!("{model_type} {}", self.name);
        match (saved, refused) {
            (Ok(()), None) => {
                let again = Pretrained::load(&path, None).unwrap();
                let logits = |read: &Pretrained| read.model.logits(&self.ids()[0]).to_f64_vec();
                assert_close_floor(&logits(&again), &logits(&read), 1e-5, 1e-1, &what);
                let values = |read: &Pretrained| -> Vec<_> {
                    read.params.tensors().iter().map(|(_, tensor)| tensor.to_vec::<f32>()).collect()
                };
                // One is added to some norms in the file, in single precision.
                for (again, value) in values(&again).iter().zip(values(&read)) {
                    assert!(again.iter().zip(&value).all(|(a, b)| (a - b).abs() < 2e-7), "{what}");
                }
            }
            (Err(error), Some((.., reason))) => {
                let told = error.to_string();
                assert!(told.contains(reason), "{what}: {told}");
                assert!(!path.exists());
            }
            (Ok(()), Some(_)) => panic!("{what}: was written"),
            (Err(error), None) => panic!("{what}: {error}"),
        }
    }
}

/// Why a tiny model whose config is changed so cannot be read.
fn refusal(model_type: &str, case: &str, change: &[(&str, Value)]) -> String {
    let golden = Golden::load(&format!("architectures/{model_type}"));
    let mut case = Case::all(&golden).into_iter().find(|one| one.name == case).unwrap();
    case.config.extend(change.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let folder = case.folder();
    let error = Pretrained::load(folder.path(), None).expect_err("it is refused").to_string();
    error.replace(&format!("{}/config.json: ", folder.path().display()), "")
}

#[test]
fn what_no_model_computes_is_an_error_that_names_it() {
    let rope = |table: Value| ("rope_parameters", table);
    for (change, want) in [
        (
            ("quantization_config", json!({"quant_method": "gptq"})),
            "`quantization_config` is {\"quant_method\":\"gptq\"}, which is not supported; it must be false, null or \
             absent",
        ),
        (
            rope(json!({"rope_type": "default", "mrope_section": [1, 1]})),
            "`rope_parameters.mrope_section` is [1,1], which is not supported; it must be false, null or absent",
        ),
        (
            rope(json!({"rope_type": "linear", "factor": 2.0, "beta_fast": 3.0})),
            "config key `rope_parameters`: `beta_fast` has no effect with rope_type `linear`; remove it",
        ),
        (
            rope(json!({"rope_type": "llama3", "factor": 2.0})),
            "config key `rope_parameters`: rope_type `llama3` needs `low_freq_factor`",
        ),
        (
            rope(
                json!({"rope_type": "longrope", "short_factor": [1.0, 1.0, 1.0], "long_factor": [1.0]}),
            ),
            "config key `rope_parameters`: `short_factor` has 3 numbers, one for each of 2 pairs is needed",
        ),
        (
            rope(json!({"rope_type": "proportional"})),
            "config key `rope_parameters.rope_type`: \"proportional\" is out of range; expected \"default\" | \"linear\" | \
             \"dynamic\" | \"yarn\" | \"longrope\" | \"llama3\"",
        ),
        (
            rope(json!({"full_attention": {"rope_type": "default"}})),
            "config key `rope_parameters`: all layers of this architecture have one kind of positions; give one table",
        ),
        (
            ("num_key_value_heads", 3.into()),
            "config key `num_key_value_heads`: 4 heads of queries cannot share 3 of keys evenly; make \
             num_attention_heads a multiple of it",
        ),
        (
            ("head_dim", 5.into()),
            "config key `rope_parameters`: 5 of a head's 5 channels would have positions; make it even",
        ),
    ] {
        assert_eq!(refusal("llama", "linear", &[change]), want);
    }
    let types = [("layer_types", json!(["full_attention", "chunked_attention"]))];
    let want = "config key `layer_types`: `chunked_attention` is not supported (known: full_attention, sliding_attention)";
    assert_eq!(refusal("qwen2", "window", &types), want);
    let types = [("layer_types", json!(["full_attention"]))];
    let want = "config key `layer_types`: 1 types for 2 layers; give one for each";
    assert_eq!(refusal("qwen2", "window", &types), want);
    let flat = [rope(json!({"rope_type": "linear", "factor": 2.0}))];
    let want = "config key `rope_parameters`: positions differ by type of layer; give the tables `full_attention` and \
                `sliding_attention` in it";
    assert_eq!(refusal("gemma3_text", "caps", &flat), want);
    let many = [("num_local_experts", 65_536.into())];
    let want = "config key `num_hidden_layers`: 65536 experts in each of 4 layers make 262144, at most 131072 are supported";
    let deep = [many[0].clone(), ("num_hidden_layers", 4.into())];
    assert_eq!(refusal("mixtral", "window", &deep), want);
    let want = "config key `num_experts_per_tok`: 9 experts for each token, of 4 that there are";
    assert_eq!(refusal("olmoe", "clipped", &[("num_experts_per_tok", 9.into())]), want);
}

#[test]
fn keys_of_released_configs_that_change_nothing_are_left_aside() {
    for (model_type, more) in [
        (
            "llama",
            json!({
                "_name_or_path": "x", "_model_name_or_path": "x.gguf", "unk_token_id": 0, "is_llama_config": true, "rope_interleaved": false, "pretraining_tp": 2,
                "transformers.js_config": {"kv_cache_dtype": "fp16"}, "use_cache": false, "head_dim": null,
            }),
        ),
        ("gemma2", json!({"hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid"})),
        (
            "gemma3_text",
            json!({"attn_logit_softcapping": null, "use_bidirectional_attention": false}),
        ),
        (
            "phi3",
            json!({
                "auto_map": {"AutoConfig": "x"}, "full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": false,
            }),
        ),
        ("qwen3_moe", json!({"max_window_layers": 48})),
        ("smollm3", json!({"max_window_layers": 28, "pretraining_tp": 2})),
    ] {
        let golden = Golden::load(&format!("architectures/{model_type}"));
        for mut case in Case::all(&golden) {
            let heads = case.config["num_attention_heads"].as_u64().unwrap();
            let width = case.config["hidden_size"].as_u64().unwrap();
            let explicit = case.config.get("head_dim").is_some_and(|dim| *dim != width / heads);
            let plain = case.load(DType::F32).model.logits(&case.ids()[0]).to_vec::<f32>();
            let more = more.as_object().unwrap().clone();
            case.config
                .extend(more.into_iter().filter(|(key, _)| !(explicit && key == "head_dim")));
            assert_eq!(case.load(DType::F32).model.logits(&case.ids()[0]).to_vec::<f32>(), plain);
        }
    }
}

#[test]
fn names_of_older_configs_are_understood() {
    let golden = Golden::load("architectures/phi3");
    let case = Case::all(&golden).into_iter().find(|case| case.name == "long").unwrap();
    let mut config = case.config.clone();
    let mut table = config.remove("rope_parameters").unwrap();
    let table = table.as_object_mut().unwrap();
    let theta = table.remove("rope_theta").unwrap();
    let partial = table.remove("partial_rotary_factor").unwrap();
    for key in ["rope_type", "original_max_position_embeddings"] {
        table.remove(key).unwrap();
    }
    table.insert("type".to_owned(), "su".into());
    config.insert("rope_scaling".to_owned(), table.clone().into());
    config.insert("rope_theta".to_owned(), theta);
    config.insert("partial_rotary_factor".to_owned(), partial);
    Case { config, name: case.name.clone(), golden: &golden }.agrees();
}

macro_rules! architectures {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            fn each(check: impl Fn(&Case<'_>)) {
                let golden = Golden::load(concat!("architectures/", stringify!($name)));
                Case::all(&golden).iter().for_each(check);
            }

            #[test]
            fn loss_logits_and_gradients_agree() {
                each(|case| case.agrees());
            }

            #[test]
            fn decoding_in_any_pieces_equals_the_whole_pass() {
                // Keys in a cache keep the positions of the length at which they were made.
                let stretches = |case: &Case<'_>| matches!(&*case.name, "dynamic" | "long");
                each(|case| if !stretches(case) { case.decodes_in_pieces() });
            }

            #[test]
            fn recomputed_layers_give_the_same_bits() {
                each(|case| case.recomputes_to_the_same_bits());
            }

            #[test]
            fn documents_do_not_see_each_other() {
                each(|case| case.keeps_documents_apart());
            }

            #[test]
            fn regularizers_act_in_training_alone() {
                each(|case| case.is_made_random_by_regularizers());
            }

            #[test]
            fn files_are_written_and_read_again() {
                each(|case| case.is_written_and_read_again());
            }

            #[test]
            fn gguf_files_are_written_and_read_again() {
                each(|case| case.comes_back_from_a_gguf_file());
            }
        }
    )*};
}

architectures! {
    gemma2 gemma3_text llama mistral mixtral olmo2 olmo3 olmoe phi3 qwen2 qwen3 qwen3_moe smollm3
}
