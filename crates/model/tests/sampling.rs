//! Sampling against transformers' processors of logits.

use rappel_model::Sampling;
use rappel_model::serde_json::{self, Value};

#[test]
fn processed_logits_are_those_of_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/sampling.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let ids = |key: &str| -> Vec<u32> {
        golden[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let (prompt, generated) = (ids("prompt"), ids("generated"));
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 34);
    for case in cases {
        let options = &case["options"];
        let number = |key: &str, default| options[key].as_f64().unwrap_or(default);
        let sampling = Sampling {
            do_sample: options["do_sample"].as_bool().unwrap(),
            temperature: number("temperature", 1.0),
            top_k: options["top_k"].as_u64().map(|k| k as usize),
            top_p: options["top_p"].as_f64(),
            min_p: options["min_p"].as_f64(),
            repetition_penalty: number("repetition_penalty", 1.0),
            presence_penalty: number("presence_penalty", 0.0),
            frequency_penalty: number("frequency_penalty", 0.0),
            seed: 0,
        };
        sampling.check().unwrap();
        let logits = &golden["logits"][case["logits"].as_str().unwrap()];
        let logits: Vec<f64> =
            logits.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let got = sampling.process(&logits, &prompt, &generated);
        for (id, (got, want)) in got.iter().zip(case["processed"].as_array().unwrap()).enumerate() {
            let want = want.as_f64().unwrap_or(f64::NEG_INFINITY);
            let near = *got == want || (got - want).abs() <= 1e-12 * want.abs().max(1.0);
            assert!(near, "{options}, {}: token {id} has {got}, not {want}", case["logits"]);
        }
    }
}
