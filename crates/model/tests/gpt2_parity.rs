//! The small GPT-2 against transformers: loss, logits, every gradient, greedy tokens.

mod common;

use common::{config, ids, model};
use rappel_model::{GenerateOptions, generate};
use rappel_nn::Forward;
use rappel_tensor::{CrossEntropy, DType, Grads, Params, Tensor};
use rappel_testkit::{Golden, assert_close, assert_close_floor};

fn evaluate(golden: &Golden, dtype: DType, tied: bool) -> (Params, Tensor, Tensor, Grads) {
    let (model, params) = model(golden, &config(golden, dtype, tied));
    let (input, labels) = (ids(golden, "input_ids"), ids(golden, "labels"));
    let logits = model.logits(&input);
    let options = CrossEntropy::default();
    let loss = model.loss(&input, &labels, None, &options, &Forward::evaluation());
    let grads = loss.backward();
    (params, loss.detach(), logits, grads)
}

/// Every gradient, with the elements of key biases left out where `but_keys`: theirs are rounding
/// noise around an exact 0.
fn check(golden: &Golden, prefix: &str, dtype: DType, tied: bool, rtol: f64, floor: f64) {
    let (params, loss, logits, grads) = evaluate(golden, dtype, tied);
    let want = golden.scalar(&format!("{prefix}/loss"));
    assert_close(&[loss.item()], &[want], rtol, "loss");
    let (shape, want) = golden.float(&format!("{prefix}/logits"));
    assert_eq!(*logits.shape(), shape[..]);
    assert_close_floor(&logits.to_f64_vec(), &want, rtol, floor, "logits");
    let prefix = format!("{prefix}/grad/");
    assert_eq!(golden.names(&prefix).count(), params.names().len(), "as many gradients");
    for name in params.names() {
        let got = grads.param(&params.get(&name).unwrap()).unwrap().to_f64_vec();
        let (_, want) = golden.float(&format!("{prefix}{name}"));
        if dtype == DType::F32 && name.ends_with("c_attn.bias") {
            let width = want.len() / 3;
            let others = |x: &[f64]| [&x[..width], &x[2 * width..]].concat();
            let largest = want.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            let keys = &got[width..2 * width];
            assert!(keys.iter().all(|g| g.abs() < 1e-4 * largest), "{name}: {keys:?}");
            assert_close_floor(&others(&got), &others(&want), rtol, floor, &name);
        } else {
            assert_close_floor(&got, &want, rtol, floor, &name);
        }
    }
}

#[test]
fn double_precision_agrees_with_tied_embeddings() {
    check(&Golden::load("gpt2_small"), "f64", DType::F64, true, 1e-10, 1e-3);
}

#[test]
fn double_precision_agrees_with_a_separate_head() {
    check(&Golden::load("gpt2_small"), "untied/f64", DType::F64, false, 1e-10, 1e-3);
}

#[test]
fn single_precision_agrees() {
    check(&Golden::load("gpt2_small"), "f32", DType::F32, true, 1e-4, 1e-2);
}

#[test]
fn recomputed_blocks_give_the_same_bits() {
    let golden = Golden::load("gpt2_small");
    let run = |gradient_checkpointing| {
        let dropouts = [0.1, 0.2, 0.3];
        let [resid_pdrop, embd_pdrop, attn_pdrop] = dropouts;
        let config = rappel_model::Gpt2Config {
            common: rappel_model::Common { gradient_checkpointing, ..Default::default() },
            resid_pdrop,
            embd_pdrop,
            attn_pdrop,
            ..config(&golden, DType::F32, true)
        };
        let (model, params) = model(&golden, &config);
        let forward = Forward::training(rappel_tensor::Key::new(3));
        let (input, labels) = (ids(&golden, "input_ids"), ids(&golden, "labels"));
        let options = CrossEntropy::default();
        let loss = model.loss(&input, &labels, None, &options, &forward);
        let grads = loss.backward();
        let grad = |name: &String| grads.param(&params.get(name).unwrap()).unwrap().to_vec::<f32>();
        (loss.item(), params.names().iter().map(grad).collect::<Vec<_>>())
    };
    let plain = run(false);
    assert_eq!(plain, run(true));
    let without = evaluate(&golden, DType::F32, true).1.item();
    assert!((plain.0 - without).abs() > 1e-4, "dropout acts: {} {without}", plain.0);
}

#[test]
fn greedy_tokens_and_their_logits_agree_through_the_cache() {
    let golden = Golden::load("gpt2_small");
    for (variant, tied) in [("tied", true), ("untied", false)] {
        let (model, _params) = model(&golden, &config(&golden, DType::F64, tied));
        let (shape, want) = golden.i64(&format!("greedy/{variant}/tokens"));
        let (_, logits) = golden.f64(&format!("greedy/{variant}/logits"));
        let (batch, new) = (shape[0], shape[1]);
        let mut next = ids(&golden, "greedy/prompt");
        let mut cache = model.new_cache(batch, next.size(1) + new);
        for (n, logits) in logits.chunks_exact(logits.len() / new).enumerate() {
            let got = model.decode(&next, &mut cache).to_f64_vec();
            assert_close(&got, logits, 1e-10, &format!("{variant}: logits of token {n}"));
            let tokens: Vec<i64> = (0..batch).map(|b| want[b * new + n]).collect();
            next = Tensor::from_slice(&tokens, [batch, 1]);
        }
        let (_, prompt) = golden.i64("greedy/prompt");
        for (prompt, want) in prompt.chunks_exact(prompt.len() / batch).zip(want.chunks_exact(new))
        {
            let prompt: Vec<u32> = prompt.iter().map(|id| *id as u32).collect();
            let options = GenerateOptions { max_new_tokens: new, ..GenerateOptions::default() };
            let tokens: Result<Vec<u32>, _> =
                generate(&*model, &prompt, options).unwrap().collect();
            let tokens: Vec<i64> = tokens.unwrap().into_iter().map(i64::from).collect();
            assert_eq!(tokens, want, "{variant}");
        }
    }
}
