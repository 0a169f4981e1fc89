//! Tiny models of every encoder with every head against transformers: states, logits, loss, every gradient, files out and
//! in again.

use std::collections::BTreeMap;
use std::fs;

use rappel_model::{
    ENCODERS, EncoderFiles, EncoderTask, EncoderTexts, Labels, Pooling, PretrainedEncoder, Problem,
    SentenceLayout,
};
use rappel_nn::Forward;
use rappel_regularize::{Mixup, Noise};
use rappel_tensor::{CrossEntropy, DType, Key, Params, Tensor, cross_entropy, write_tensors};
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
        assert_eq!(configs.len(), 6);
        configs.into_iter().map(|(name, config)| Case { golden, name, config }).collect()
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    /// Its tensors under the names that `renamed` makes of theirs.
    fn folder_with(&self, renamed: impl Fn(&str) -> Option<String>) -> TempDir {
        let folder = TempDir::new().unwrap();
        let text = serde_json::to_string(&self.config).unwrap();
        fs::write(folder.path().join("config.json"), text).unwrap();
        let prefix = self.key("init/");
        let tensor = |name: &str| {
            let (shape, values) = self.golden.f32(name);
            Some((renamed(&name[prefix.len()..])?, Tensor::from_slice(&values, &shape[..])))
        };
        let tensors: BTreeMap<_, _> = self.golden.names(&prefix).filter_map(tensor).collect();
        let path = folder.path().join("model.safetensors");
        write_tensors(path, tensors, &BTreeMap::new()).unwrap();
        folder
    }

    /// Its files, as transformers would write them.
    fn folder(&self) -> TempDir {
        self.folder_with(|name| Some(name.to_owned()))
    }

    fn load(&self, dtype: DType) -> PretrainedEncoder {
        let read = PretrainedEncoder::load(self.folder().path(), Some(dtype));
        read.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn tensor(&self, key: &str) -> Option<Tensor> {
        let key = self.key(key);
        self.golden.names(&key).next()?;
        let (shape, values) = self.golden.i64(&key);
        Some(Tensor::from_slice(&values, &shape[..]))
    }

    fn texts(&self) -> EncoderTexts {
        let ids = self.tensor("input_ids").unwrap();
        let mask = self.tensor("attention_mask").unwrap().to_vec::<i64>();
        let lengths = mask.chunks(ids.size(1)).map(|row| row.iter().sum::<i64>() as usize);
        let texts = EncoderTexts::padded(ids.clone(), lengths.collect());
        match self.tensor("token_type_ids") {
            Some(types) => texts.with_types(types),
            None => texts,
        }
    }

    fn targets(&self, read: &PretrainedEncoder, dtype: DType) -> Tensor {
        match read.model.task().labels().map(|labels| labels.problem) {
            Some(Problem::Regression) => {
                let (shape, values) = self.golden.f64(&self.key("labels"));
                Tensor::from_slice(&values, &shape[..]).to_dtype(dtype)
            }
            _ => self.tensor("labels").unwrap(),
        }
    }

    /// The loss of a pass that trains, and each gradient by its name.
    fn gradients(
        &self,
        read: &PretrainedEncoder,
        dtype: DType,
    ) -> (f64, BTreeMap<String, Vec<f64>>) {
        let forward = Forward::training(Key::new(1));
        let (texts, targets) = (self.texts(), self.targets(read, dtype));
        let loss = read.model.loss(&texts, &targets, &CrossEntropy::default(), &forward);
        let grads = loss.backward();
        assert!(grads.missing(&read.params.layout()).is_empty(), "{}", self.name);
        let grad = |name: String| {
            let param = read.params.get(&name).unwrap();
            (name, grads.param(&param).unwrap().to_f64_vec())
        };
        (loss.item(), read.params.names().into_iter().map(grad).collect())
    }

    /// The states or logits of tokens, without those of padding.
    fn of_tokens(&self, values: &[f64]) -> Vec<f64> {
        let mask = self.tensor("attention_mask").unwrap().to_vec::<i64>();
        let width = values.len() / mask.len();
        let rows = values.chunks(width).zip(&mask).filter(|(_, real)| **real == 1);
        rows.flat_map(|(row, _)| row.to_vec()).collect()
    }

    fn agrees(&self) {
        let prefix = self.key("grad/");
        let of_texts = self.name.ends_with("_sequence");
        let real = |values: &[f64]| {
            if of_texts { values.to_vec() } else { self.of_tokens(values) }
        };
        for (dtype, tolerance, floor) in [(DType::F64, 1e-8, 1e-3), (DType::F32, 1e-4, 1e-1)] {
            let read = self.load(dtype);
            let what =
                |of: &str| format!("{} {} {dtype}: {of}", self.config["model_type"], self.name);
            let states = read.model.states(&self.texts(), &Forward::evaluation()).to_f64_vec();
            let (_, want) = self.golden.f64(&self.key("hidden"));
            assert_close_floor(
                &self.of_tokens(&states),
                &self.of_tokens(&want),
                tolerance,
                floor,
                &what("states"),
            );
            let logits = read.model.logits(&self.texts(), &Forward::evaluation()).to_f64_vec();
            let own = if dtype == DType::F64 { "logits" } else { "f32/logits" };
            let (_, want) = self.golden.float(&self.key(own));
            assert_close_floor(&real(&logits), &real(&want), tolerance, floor, &what("logits"));
            let (loss, grads) = self.gradients(&read, dtype);
            let want = self.golden.scalar(&self.key("loss"));
            if *read.model.task() == EncoderTask::MaskedLanguageModel {
                let targets = self.targets(&read, dtype).to_vec::<i64>();
                let hidden = (0_i64..).zip(&targets).filter(|(_, id)| **id != -100);
                let (places, hidden): (Vec<i64>, Vec<i64>) = hidden.map(|(i, id)| (i, *id)).unzip();
                let logits = read.model.logits_at(&self.texts(), &places, &Forward::evaluation());
                let hidden = Tensor::from_slice(&hidden, [hidden.len()]);
                let found = cross_entropy(&logits, &hidden, &CrossEntropy::default()).item();
                assert_close_floor(&[found], &[want], tolerance, floor, &what("hidden tokens"));
            }
            assert_close(&[loss], &[want], tolerance, &what("loss"));
            assert_eq!(self.golden.names(&prefix).count(), grads.len(), "{}", what("names"));
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
        let (loss, _) = self.gradients(&self.load(DType::F32), DType::F32);
        assert_close(&[loss], &[single], 1e-5, &self.name);
    }

    /// Each text of a padded batch has the numbers that it has alone.
    fn padding_changes_nothing(&self) {
        let read = self.load(DType::F64);
        let (texts, evaluation) = (self.texts(), Forward::evaluation());
        let together = read.model.states(&texts, &evaluation);
        let logits = read.model.logits(&texts, &evaluation);
        for (i, &length) in texts.lengths().iter().enumerate() {
            let part = |x: &Tensor| x.narrow(0, i, 1).narrow(1, 0, length);
            let mut alone = EncoderTexts::padded(part(texts.ids()).copied(), vec![length]);
            if let Some(types) = texts.types() {
                alone = alone.with_types(part(types).copied());
            }
            let same = |got: &Tensor, want: &Tensor| {
                assert_close(&got.to_f64_vec(), &want.to_f64_vec(), 1e-12, &self.name);
            };
            same(&part(&together), &read.model.states(&alone, &evaluation));
            let whole = logits.narrow(0, i, 1);
            let whole = if logits.rank() == 2 { whole } else { whole.narrow(1, 0, length) };
            same(&whole, &read.model.logits(&alone, &evaluation));
            for pooling in [Pooling::Mean, Pooling::Cls] {
                let of = |texts| read.model.embed(texts, pooling, true, &evaluation);
                let (all, one) = (of(&texts), of(&alone));
                same(&all.narrow(0, i, 1), &one);
                assert_close(&[one.sum_of_squares()], &[1.0], 1e-12, &self.name);
            }
        }
    }

    fn recomputes_to_the_same_bits(&self) {
        let mut config = self.config.clone();
        config.insert("gradient_checkpointing".to_owned(), true.into());
        let recomputed = Case { config, name: self.name.clone(), golden: self.golden };
        for dtype in [DType::F64, DType::F32] {
            let [kept, again] =
                [self, &recomputed].map(|case| case.gradients(&case.load(dtype), dtype));
            assert_eq!(kept, again, "{}", self.name);
        }
    }

    fn is_made_random_by_regularizers(&self) {
        let read = self.load(DType::F32);
        let (texts, targets) = (self.texts(), self.targets(&read, DType::F32));
        let loss = |noise: Noise, forward: Forward| {
            let (forward, options) = (forward.with_noise(noise), CrossEntropy::default());
            read.model.loss(&texts, &targets, &options, &forward).item()
        };
        let train = Forward::training(Key::new(4));
        let off = Noise::default();
        let plain = [train, Forward::evaluation()].map(|forward| loss(off, forward));
        assert_eq!(plain[0], plain[1], "{}: its own dropout is 0", self.name);
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
        read.save(folder.path()).unwrap();
        let again = PretrainedEncoder::load(folder.path(), None).unwrap();
        let logits = |read: &PretrainedEncoder| {
            read.model.logits(&self.texts(), &Forward::evaluation()).to_vec::<f32>()
        };
        assert_eq!(logits(&again), logits(&read), "{}", self.name);
        assert_eq!(again.model.task(), read.model.task());
        assert_eq!(again.params.names(), read.params.names());
        let text = fs::read_to_string(folder.path().join("config.json")).unwrap();
        let json: Map<String, Value> = serde_json::from_str(&text).unwrap();
        // What transformers wrote, but for what says nothing of the model or is said by other keys.
        let left_out = [
            "add_cross_attention",
            "is_decoder",
            "use_cache",
            "transformers_version",
            "dtype",
            "qa_dropout",
            "bos_token_id",
            "eos_token_id",
            "sinusoidal_pos_embds",
            "cls_token_id",
            "deterministic_flash_attn",
            "initializer_cutoff_factor",
            "sparse_pred_ignore_index",
            "sparse_prediction",
            "rope_parameters",
            "layer_types",
        ];
        for (key, value) in self.config.iter().filter(|(key, _)| !left_out.contains(&key.as_str()))
        {
            assert_eq!(json.get(key), Some(value), "{} {key}", self.name);
        }
        let config = again.model.config();
        let counted: usize = again.params.tensors().iter().map(|(_, tensor)| tensor.count()).sum();
        assert_eq!(config.parameter_count(again.model.task().clone()), counted as u64);
        assert!(config.flops_per_token(8) > 0);
    }

    /// A model with a head is read as one without, and with another head, which begins anew.
    fn changes_its_head(&self) {
        let read = self.load(DType::F64);
        let folder = self.folder();
        let with = |task: EncoderTask| {
            let files = EncoderFiles::open(folder.path()).unwrap();
            let config = files.config(DType::F64).unwrap();
            let params = Params::with_dtype(7, DType::F64);
            files.load(params, config, task, true, &|_| false).unwrap()
        };
        let evaluation = Forward::evaluation();
        let states = |read: &PretrainedEncoder| {
            read.model.states(&self.texts(), &evaluation).to_vec::<f64>()
        };
        let names = ["one", "two", "three", "four", "five"].map(str::to_owned).to_vec();
        for task in [
            EncoderTask::Embedding,
            EncoderTask::SequenceClassification(Labels::single(names.clone())),
            EncoderTask::TokenClassification(Labels::single(names)),
        ] {
            let other = with(task.clone());
            assert_eq!(states(&other), states(&read), "{}", self.name);
            let Some(labels) = task.labels() else { continue };
            let logits = other.model.logits(&self.texts(), &evaluation);
            assert_eq!(logits.size(logits.rank() - 1), labels.names.len());
            assert!(logits.to_vec::<f64>().iter().any(|x| *x != 0.0));
            let folder = TempDir::new().unwrap();
            other.save(folder.path()).unwrap();
            let again = PretrainedEncoder::load(folder.path(), None).unwrap();
            assert_eq!(again.model.task(), &task);
            let again = again.model.logits(&self.texts(), &evaluation);
            assert_eq!(again.to_vec::<f64>(), logits.to_vec::<f64>(), "{}", self.name);
        }
    }

    /// Names without the prefix of models with heads, of old files, and of what is not trained.
    fn other_names_are_understood(&self) {
        let prefix = match self.config["model_type"].as_str().unwrap() {
            "xlm-roberta" => "roberta.",
            "modernbert" => "model.",
            own => &format!("{own}."),
        };
        let names = |name: &str| {
            let name = name.strip_prefix(prefix).unwrap_or(name);
            let old = name.replace("LayerNorm.weight", "LayerNorm.gamma");
            Some(old.replace("LayerNorm.bias", "LayerNorm.beta"))
        };
        let logits = |folder: &TempDir| {
            let read = PretrainedEncoder::load(folder.path(), Some(DType::F64)).unwrap();
            read.model.logits(&self.texts(), &Forward::evaluation()).to_vec::<f64>()
        };
        assert_eq!(logits(&self.folder_with(names)), logits(&self.folder()), "{}", self.name);
    }
}

/// Why a tiny model whose config is changed so cannot be read.
fn refusal(model_type: &str, case: &str, change: &[(&str, Value)]) -> String {
    let golden = Golden::load(&format!("encoders/{model_type}"));
    let mut case = Case::all(&golden).into_iter().find(|one| one.name == case).unwrap();
    case.config.extend(change.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let folder = case.folder();
    let error =
        PretrainedEncoder::load(folder.path(), None).expect_err("it is refused").to_string();
    let error = error.replace(&format!("{}/config.json: ", folder.path().display()), "");
    error.replace(&format!("{}: ", folder.path().display()), "")
}

#[test]
fn what_no_model_computes_is_an_error_that_names_it() {
    for (case, change, want) in [
        (
            "plain_masked",
            ("position_embedding_type", json!("relative_key")),
            "config key `position_embedding_type`: \"relative_key\" is out of range; expected \"absolute\"",
        ),
        (
            "plain_masked",
            ("is_decoder", json!(true)),
            "`is_decoder` is true, which is not supported; it must be false, null or absent",
        ),
        (
            "plain_masked",
            ("tie_word_embeddings", json!(false)),
            "config key `tie_word_embeddings`: encoders predict tokens by their embeddings; false is not supported",
        ),
        (
            "plain_masked",
            ("num_attention_heads", json!(3)),
            "config key `hidden_size`: 8 does not split evenly into 3 heads; make it a multiple of num_attention_heads",
        ),
        (
            "plain_sequence",
            ("architectures", json!(["BertForQuestionAnswering"])),
            "`architectures` is [\"BertForQuestionAnswering\"] (known: BertModel, BertForMaskedLM, \
             BertForSequenceClassification, BertForTokenClassification)",
        ),
        (
            "plain_sequence",
            ("problem_type", json!("ranking")),
            "`problem_type` is \"ranking\" (known: single_label_classification, multi_label_classification, regression)",
        ),
        (
            "plain_sequence",
            ("id2label", json!({"0": "a", "2": "b"})),
            "`id2label`: expected a name for each number from 0 on",
        ),
        (
            "plain_sequence",
            ("id2label", json!({"0": "a", "1": "b"})),
            "tensor `classifier.weight` has shape [3, 8], the config makes it [2, 8]",
        ),
        (
            "plain_sequence",
            ("architectures", json!(["BertForMaskedLM"])),
            "lacks tensors `cls.predictions.transform.dense.weight`, `cls.predictions.transform.dense.bias`, \
             `cls.predictions.transform.LayerNorm.weight`, `cls.predictions.transform.LayerNorm.bias`, \
             `cls.predictions.bias`; has tensors `classifier.bias`, `classifier.weight`, which no \
             parameter of the model is called",
        ),
    ] {
        assert_eq!(refusal("bert", case, &[change]), want);
    }
    let types = [("layer_types", json!(["full_attention"]))];
    let want = "config key `layer_types`: 1 types for 4 layers; give one for each";
    assert_eq!(refusal("modernbert", "plain_masked", &types), want);
    let rows = [("max_position_embeddings", json!(2))];
    let want =
        "config key `max_position_embeddings`: positions begin at 2, so 2 leave none for a token";
    assert_eq!(refusal("roberta", "plain_masked", &rows), want);
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    assert!(!EncoderFiles::is_in(folder.path()));
    let error = EncoderFiles::open(folder.path()).unwrap_err().to_string();
    let known = ENCODERS.names().join(", ");
    assert!(
        error
            .ends_with(&format!("`model_type` is \"llama\", expected an encoder (known: {known})")),
        "{error}"
    );
}

#[test]
fn folders_of_sentence_transformers_are_written_and_read_again() {
    let folder = TempDir::new().unwrap();
    assert_eq!(SentenceLayout::read(folder.path()).unwrap(), None);
    for (pooling, normalize, max_length, prompt) in [
        (Pooling::Mean, true, Some(128), String::new()),
        (Pooling::Cls, false, None, "query: ".to_owned()),
    ] {
        let sentences = serde_json::from_str(r#"{"similarity_fn_name": "dot"}"#).unwrap();
        let encoder = folder.path().join("");
        let layout = SentenceLayout { encoder, pooling, normalize, max_length, prompt, sentences };
        layout.write(folder.path(), 8).unwrap();
        let read = SentenceLayout::read(folder.path()).unwrap().unwrap();
        // What was said of sentences stays, and the prompt comes to it.
        assert_eq!(read.sentences["similarity_fn_name"], "dot");
        assert_eq!(SentenceLayout { sentences: layout.sentences.clone(), ..read }, layout);
    }
}

macro_rules! encoders {
    ($($name:ident $model_type:literal)*) => {$(
        mod $name {
            use super::*;

            fn each(check: impl Fn(&Case<'_>)) {
                let golden = Golden::load(concat!("encoders/", $model_type));
                Case::all(&golden).iter().for_each(check);
            }

            #[test]
            fn states_logits_loss_and_gradients_agree() {
                each(|case| case.agrees());
            }

            #[test]
            fn padding_changes_nothing() {
                each(|case| case.padding_changes_nothing());
            }

            #[test]
            fn recomputed_layers_give_the_same_bits() {
                each(|case| case.recomputes_to_the_same_bits());
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
            fn heads_can_be_changed() {
                each(|case| case.changes_its_head());
            }

            #[test]
            fn names_of_other_files_are_understood() {
                each(|case| case.other_names_are_understood());
            }
        }
    )*};
}

encoders! {
    bert "bert" distilbert "distilbert" modernbert "modernbert" roberta "roberta" xlm_roberta "xlm-roberta"
}
