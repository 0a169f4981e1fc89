//! The small GPT-2 of the golden file.
#![allow(dead_code, reason = "each test uses a part")]

use rappel_config::Words;
use rappel_model::{ActivationName, Gpt2Config, LanguageModel, ModelConfig};
use rappel_tensor::{Arenas, DType, Params, Tensor};
use rappel_testkit::Golden;
use serde_json::Value;

/// The configuration in the golden file's metadata.
pub fn config(golden: &Golden, dtype: DType, tied: bool) -> Gpt2Config {
    let json: Value = golden.meta("config");
    let size = |key: &str| json[key].as_u64().unwrap() as usize;
    let float = |key: &str| json[key].as_f64().unwrap();
    Gpt2Config {
        n_layer: size("n_layer"),
        n_head: size("n_head"),
        n_embd: size("n_embd"),
        n_positions: size("n_positions"),
        vocab_size: size("vocab_size"),
        activation_function: ActivationName::by_word(json["activation_function"].as_str().unwrap())
            .unwrap(),
        resid_pdrop: float("resid_pdrop"),
        embd_pdrop: float("embd_pdrop"),
        attn_pdrop: float("attn_pdrop"),
        layer_norm_epsilon: float("layer_norm_epsilon"),
        tie_word_embeddings: tied,
        ..Gpt2Config::default().with_dtype(dtype)
    }
}

/// The model of `config` with the golden file's initial weights.
pub fn model(golden: &Golden, config: &Gpt2Config) -> (Box<dyn LanguageModel>, Params) {
    let mut params = Params::with_dtype(0, config.dtype());
    let model = config.build(&mut params);
    set(&mut params, |name| golden.f64(&format!("init/{name}")));
    (model, params)
}

/// Gives each parameter the values that `value` has for its name.
pub fn set(params: &mut Params, value: impl Fn(&str) -> (Vec<usize>, Vec<f64>)) {
    params
        .update(|arenas| {
            for entry in arenas.layout().entries() {
                let (shape, values) = value(&entry.name);
                assert_eq!(*entry.shape, shape[..], "{}", entry.name);
                match entry.dtype {
                    DType::F64 => put::<f64>(arenas, entry.range(), &values),
                    _ => put::<f32>(arenas, entry.range(), &values),
                }
            }
        })
        .unwrap();
}

fn put<T: rappel_tensor::Element>(
    arenas: &mut Arenas<'_>,
    range: std::ops::Range<usize>,
    values: &[f64],
) {
    for (to, from) in arenas.all::<T>()[range].iter_mut().zip(values) {
        *to = T::from_f64(*from);
    }
}

/// An i64 tensor of the golden file.
pub fn ids(golden: &Golden, name: &str) -> Tensor {
    let (shape, values) = golden.i64(name);
    Tensor::from_slice(&values, &shape[..])
}

/// A small model with sizes of its own.
pub fn small() -> Gpt2Config {
    Gpt2Config {
        n_layer: 2,
        n_head: 2,
        n_embd: 16,
        n_positions: 12,
        vocab_size: 23,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        // So large that tokens matter to each other.
        initializer_range: 0.3,
        ..Gpt2Config::default()
    }
}
