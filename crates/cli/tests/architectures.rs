//! Every architecture from nothing through the binary: trained, with recomputed layers too, and generated from.

mod common;

use common::{CONFIG, Place};
use serde_json::Value;

/// Options of tiny models, under Hugging Face's names.
const MODELS: [(&str, &str); 13] = [
    ("llama", "attention_bias = true\nrope_scaling = { rope_type = 'linear', factor = 2.0 }"),
    ("mistral", "sliding_window = 6"),
    ("qwen2", "tie_word_embeddings = true\nnum_key_value_heads = 1"),
    ("qwen3", "head_dim = 8\nuse_sliding_window = true\nsliding_window = 5\nmax_window_layers = 1"),
    ("smollm3", "no_rope_layer_interval = 2"),
    ("gemma2", "head_dim = 8\nsliding_window = 7"),
    ("gemma3_text", "head_dim = 8\nsliding_window = 7\nsliding_window_pattern = 2"),
    ("phi3", "resid_pdrop = 0.1\nembd_pdrop = 0.1\npartial_rotary_factor = 0.5"),
    ("olmo2", "rope_parameters = { rope_theta = 500.0 }"),
    ("olmo3", "sliding_window = 6"),
    (
        "qwen3_moe",
        "num_experts = 4\nnum_experts_per_tok = 2\nmoe_intermediate_size = 8\noutput_router_logits = true",
    ),
    ("olmoe", "num_experts = 4\nnum_experts_per_tok = 2\nclip_qkv = 4.0"),
    ("mixtral", "num_local_experts = 3\nrouter_jitter_noise = 0.01\noutput_router_logits = true"),
];

const SIZES: &str = "hidden_size = 16\nintermediate_size = 24\nnum_hidden_layers = 2\n\
    num_attention_heads = 2\nmax_position_embeddings = 32\n";

/// The tiny run of this model.
fn config(name: &str, options: &str) -> String {
    let heads =
        if options.contains("num_key_value_heads") { "" } else { "num_key_value_heads = 2\n" };
    let (before, rest) = CONFIG.split_once("[model]").unwrap();
    let (_, after) = rest.split_once("[optimizer]").unwrap();
    format!("{before}[model]\nname = '{name}'\n{SIZES}{heads}{options}\n\n[optimizer]{after}")
}

fn losses(place: &Place, run: &str) -> Vec<f64> {
    let metrics = place.read(&format!("{run}/metrics.jsonl"));
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["train/loss"].as_f64()).collect()
}

#[test]
fn each_learns_and_recomputing_its_layers_changes_nothing() {
    for (name, options) in MODELS {
        let place = Place::new();
        place.write("tiny.toml", config(name, options));
        place.ok(&["train", "tiny.toml", "--out", "kept"]);
        let kept = losses(&place, "kept");
        assert_eq!(kept.len(), 24, "{name}");
        assert!(kept[23] < kept[0] - 0.5, "{name}: {kept:?}");
        let again = ["--out", "again", "--set", "model.gradient_checkpointing=true"];
        place.ok(&[&["train", "tiny.toml"][..], &again].concat());
        assert_eq!(losses(&place, "again"), kept, "{name}");
        assert_eq!(place.model("again"), place.model("kept"), "{name}");
        let json: Value = serde_json::from_str(&place.read("kept/model/config.json")).unwrap();
        assert_eq!(json["model_type"], name);
        let text = place.ok(&[
            "generate",
            "--model",
            "kept/model",
            "--prompt",
            "let x",
            "--max-tokens",
            "8",
        ]);
        assert!(text.starts_with("let x"), "{name}: {text}");
    }
}
