//! What regularizes forward passes, in GPT-2.

use rappel_model::{Common, Gpt2Config, ModelConfig};
use rappel_nn::Forward;
use rappel_regularize::{Mixup, Noise};
use rappel_tensor::{CrossEntropy, Key, Params, Tensor, no_grad};

fn step(noise: Noise, i: u64) -> Forward {
    let key = Key::new(3).with(i);
    Forward::training(key).with_noise(noise)
}

#[test]
fn gpt2_acts_by_each_and_recomputes_the_same() {
    let loss_and_grad = |noise: Noise, recompute: bool| {
        let config = Gpt2Config {
            n_layer: 2,
            n_head: 2,
            n_embd: 16,
            n_positions: 16,
            vocab_size: 61,
            embd_pdrop: 0.0,
            attn_pdrop: 0.0,
            resid_pdrop: 0.0,
            common: Common { gradient_checkpointing: recompute, ..Common::default() },
            ..Gpt2Config::default()
        };
        let mut params = Params::new(42);
        let model = config.build(&mut params);
        let ids: Vec<i64> = (0..24).map(|i| i * i % 61).collect();
        let ids = Tensor::from_slice(&ids, [3, 8]);
        let options = CrossEntropy::default();
        let loss = model.loss(&ids, &ids, None, &options, &step(noise, 4));
        let grads = loss.backward();
        let first = params.get("transformer.wte.weight").unwrap();
        let quiet = no_grad(|| {
            let evaluation = Forward::evaluation().with_noise(noise);
            model.loss(&ids, &ids, None, &options, &evaluation).item()
        });
        (loss.item(), grads.param(&first).unwrap().to_vec::<f32>(), quiet)
    };
    let (plain, _, quiet) = loss_and_grad(Noise::default(), false);
    assert_eq!(plain, quiet);
    let off = Noise::default();
    for (what, noise) in [
        ("dropout", Noise { dropout: Some(0.3), ..off }),
        ("attention_dropout", Noise { attention_dropout: Some(0.5), ..off }),
        ("channel_dropout", Noise { channel_dropout: 0.3, ..off }),
        ("stochastic_depth", Noise { stochastic_depth: 0.6, ..off }),
        ("neftune", Noise { neftune: 5.0, ..off }),
        ("mixup", Noise { mixup: Some(Mixup { alpha: 1.0, key: Key::new(2) }), ..off }),
    ] {
        let kept = loss_and_grad(noise, false);
        assert_ne!(kept.0, plain, "{what} does nothing");
        assert_eq!(kept.2, plain, "{what} acts in evaluation");
        assert_eq!(loss_and_grad(noise, true), kept, "{what}, recomputed");
    }
}
