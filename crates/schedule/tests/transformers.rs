//! Every named schedule agrees with transformers' `get_scheduler` at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rappel_registry::{Family, assert_folder_matches, assert_sound};
use rappel_schedule::{Curve, Horizon, SCHEDULES};
use safetensors::SafeTensors;
use serde_json::Value;

const TOLERANCE: f64 = 1e-12;

/// The variants of the golden file: the config of each, and its factors from step 0 on.
fn variants() -> (u64, Vec<(String, toml::Table, Vec<f64>)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/schedules.safetensors");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let steps = metadata["num_training_steps"].parse().unwrap();
    let configs: BTreeMap<String, Value> = serde_json::from_str(&metadata["configs"]).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let read = |(name, config): (String, Value)| {
        let data = tensors.tensor(&name).unwrap();
        let (chunks, rest) = data.data().as_chunks::<8>();
        assert!(rest.is_empty() && data.dtype() == safetensors::Dtype::F64);
        let values = chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
        (name, toml::Table::try_from(config).unwrap(), values)
    };
    (steps, configs.into_iter().map(read).collect())
}

#[test]
fn agree_with_transformers_at_every_step() {
    let (steps, variants) = variants();
    for (variant, config, expected) in variants {
        let options = SCHEDULES.resolve_options("schedule", &config).unwrap();
        let curve = Curve::from_section(&options, Horizon { steps }).unwrap();
        assert!(expected.len() as u64 > steps, "{variant}: too few steps");
        for (step, expected) in expected.into_iter().enumerate() {
            let value = curve.at(step as u64);
            assert!(
                (value - expected).abs() <= TOLERANCE * expected.abs(),
                "{variant}, step {step}: {value}, transformers {expected}"
            );
        }
    }
}

#[test]
fn every_schedule_has_a_variant_to_agree_with() {
    let (_, variants) = variants();
    let shown: BTreeSet<_> =
        variants.iter().map(|(_, config, _)| config["name"].as_str().unwrap().to_owned()).collect();
    let named: BTreeSet<_> = SCHEDULES.names().into_iter().map(str::to_owned).collect();
    assert_eq!(named, shown);
}

#[test]
fn files_and_registry_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schedules");
    assert_folder_matches(&folder, &SCHEDULES.names());
    assert_sound(&SCHEDULES);
}
