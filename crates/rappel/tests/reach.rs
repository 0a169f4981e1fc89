//! Everything that a public signature names is within reach of a program that depends on this crate alone.

use rappel::config::toml;
use rappel::model::serde_json::{Map, Value};
use rappel::prelude::*;
use rappel::tensor::bf16;
use rappel::train::Config;

#[test]
fn types_of_other_crates_are_re_exported() {
    let half: Vec<bf16> = Tensor::ones([2], DType::BF16).to_vec();
    assert_eq!(half[0].to_f32(), 1.0);

    let table: toml::Table = toml::from_str(
        "data.files = ['a']\nmodel.name = 'gpt2'\noptimizer = { name = 'sgd', lr = 1 }\ntrain.steps = 1",
    )
    .unwrap();
    let config = Config::from_table(&table).unwrap();
    let resolved: toml::Table = config.options().to_toml();
    assert_eq!(resolved["train"]["steps"].as_integer(), Some(1));

    let json: Map<String, Value> = Gpt2Config::default().to_json();
    assert_eq!(json["model_type"], "gpt2");
}

#[test]
fn the_prelude_classifies() {
    let logits = Tensor::zeros([2, 4], DType::F64);
    let classes = Tensor::from_slice(&[3_i64, 0], [2]);
    let loss = cross_entropy(&logits, &classes, &CrossEntropy::default());
    assert!((loss.item() - 4.0_f64.ln()).abs() < 1e-12);
}
