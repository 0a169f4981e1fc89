//! Every named schedule agrees at every step with transformers, PyTorch or its paper.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rappel_config::{Family, Field, Range, resolve};
use rappel_schedule::{Feedback, Horizon, SCHEDULES, Schedule, ScheduleConfig, scheduled};
use rappel_testkit::{assert_folder_matches, assert_sound};
use safetensors::SafeTensors;
use serde_json::Value;
use toml::Table;

const FILES: [&str; 3] =
    ["schedules.safetensors", "schedules_torch.safetensors", "schedules_metrics.safetensors"];
const TOLERANCE: f64 = 1e-12;

/// A golden file's variant: what a config says, whether as a hyperparameter's table, and its values.
struct Variant {
    name: String,
    config: Table,
    inline: bool,
    values: Vec<f64>,
}

fn read(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A golden file's metadata and variants.
fn golden(file: &str) -> (BTreeMap<String, Value>, Vec<Variant>) {
    let bytes = read(file);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap().iter();
    let metadata: BTreeMap<String, Value> =
        metadata.map(|(key, text)| (key.clone(), serde_json::from_str(text).unwrap())).collect();
    let values = sequences(file);
    let inline: Vec<String> = metadata
        .get("inline")
        .map_or_else(Vec::new, |names| serde_json::from_value(names.clone()).unwrap());
    let variant = |(name, config): (&String, &Value)| Variant {
        name: name.clone(),
        config: Table::try_from(config).unwrap(),
        inline: inline.contains(name),
        values: values[name].clone(),
    };
    let variants = metadata["configs"].as_object().unwrap().iter().map(variant).collect();
    (metadata, variants)
}

/// A golden file's tensors by name.
fn sequences(file: &str) -> BTreeMap<String, Vec<f64>> {
    let bytes = read(file);
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let numbers = |(name, data): (String, safetensors::tensor::TensorView)| {
        let (chunks, rest) = data.data().as_chunks::<8>();
        assert!(rest.is_empty() && data.dtype() == safetensors::Dtype::F64);
        (name, chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
    };
    tensors.into_iter().map(numbers).collect()
}

const FIELDS: &[Field] = &[Field::required("x", scheduled(Range::FINITE), "any hyperparameter")];

impl Variant {
    fn curve(&self, steps: u64) -> Schedule {
        let horizon = Horizon { steps };
        if self.inline {
            let given = Table::from_iter([("x".to_owned(), self.config.clone().into())]);
            let options = resolve("", FIELDS, &given).unwrap();
            options.get::<ScheduleConfig>("x").unwrap().expect("required").over(horizon).unwrap()
        } else {
            let options = SCHEDULES.resolve_options("schedule", &self.config).unwrap();
            Schedule::from_section(&options, horizon, 1.0).unwrap()
        }
    }

    fn check(&self, steps: u64) {
        let curve = self.curve(steps);
        for (step, expected) in self.values.iter().enumerate() {
            let value = curve.at(step as u64);
            assert!(
                (value - expected).abs() <= TOLERANCE * expected.abs(),
                "{}, step {step}: {value}, expected {expected}",
                self.name
            );
        }
    }
}

#[test]
fn agree_with_transformers_at_every_step() {
    let (metadata, variants) = golden("schedules.safetensors");
    let steps = metadata["num_training_steps"].as_u64().unwrap();
    for variant in variants {
        assert!(variant.values.len() as u64 > steps, "{}: too few steps", variant.name);
        variant.check(steps);
    }
}

#[test]
fn agree_with_pytorch_at_every_step() {
    let (metadata, variants) = golden("schedules_torch.safetensors");
    let steps = metadata["steps"].as_u64().unwrap();
    for variant in variants {
        assert_eq!(variant.values.len() as u64, steps, "{}", variant.name);
        variant.check(steps);
    }
}

#[test]
fn agree_after_each_value_of_a_metric() {
    let (metadata, variants) = golden("schedules_metrics.safetensors");
    let metrics: BTreeMap<String, Vec<f64>> = sequences("schedules_metrics.safetensors");
    for variant in variants {
        let options = SCHEDULES.resolve_options("schedule", &variant.config).unwrap();
        let feedback = Feedback::from_section(&options).unwrap();
        let metric = metadata["metrics"][&variant.name].as_str().unwrap();
        let seen = &metrics[&format!("metric/{metric}")];
        assert_eq!(seen.len(), 2000);
        let mode =
            options.declares("mode").then(|| options.get::<String>("mode").unwrap()).flatten();
        for (i, expected) in variant.values.iter().enumerate() {
            // The mode that is given stands before the metric's own.
            let factor =
                feedback.watches()[0].factor(1.0, &seen[..=i], mode.as_deref() == Some("max"));
            assert!(
                (factor - expected).abs() <= TOLERANCE * expected,
                "{}, value {i}: {factor}, expected {expected}",
                variant.name
            );
        }
    }
}

#[test]
fn every_schedule_has_a_variant_to_agree_with() {
    let variants = FILES.into_iter().flat_map(|file| golden(file).1);
    let shown: BTreeSet<_> =
        variants.map(|variant| variant.config["name"].as_str().unwrap().to_owned()).collect();
    let named: BTreeSet<_> = SCHEDULES.names().into_iter().map(str::to_owned).collect();
    assert_eq!(named, shown);
}

/// Every option of every schedule is given in a variant, but those of ours alone.
#[test]
fn every_option_is_held_against_its_reference() {
    let mut shown = BTreeSet::new();
    for file in FILES {
        for variant in golden(file).1 {
            options_of(&variant.config, &mut shown);
        }
    }
    // Held by the test of absolute rates.
    let absolute: serde_json::Map<String, serde_json::Value> =
        rappel_testkit::Golden::load("schedules_lr").meta("configs");
    for config in absolute.values() {
        options_of(&Table::try_from(config).unwrap(), &mut shown);
    }
    let ours = ["name", "metric"];
    let all = SCHEDULES.infos().into_iter().flat_map(|info| {
        let options = info.fields.into_iter().filter(|field| !ours.contains(&field.name));
        options.map(move |field| (info.name.to_owned(), field.name.to_owned()))
    });
    let missing: Vec<_> = all.filter(|option| !shown.contains(option)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The options that a schedule and those within it give, each with its schedule's name.
fn options_of(config: &Table, shown: &mut BTreeSet<(String, String)>) {
    let name = config["name"].as_str().unwrap();
    for (key, value) in config {
        shown.insert((name.to_owned(), key.clone()));
        let within = value.as_array().into_iter().flatten().chain([value]);
        for table in within.filter_map(toml::Value::as_table) {
            options_of(table, shown);
        }
    }
}

#[test]
fn files_and_registry_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schedules");
    assert_folder_matches(&folder, &SCHEDULES.names());
    assert_sound(&SCHEDULES);
}
