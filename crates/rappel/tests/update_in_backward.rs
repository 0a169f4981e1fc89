//! A small GPT-2, stepped within the backward pass: the same bits as after it, in less memory.

use rappel::model::{Gpt2Config, LanguageModel, ModelConfig};
use rappel::nn::Forward;
use rappel::optim::{AdaLomo, AdamW, Lomo, Optimizer, OptimizerConfig, Sgd};
use rappel::tensor::{CrossEntropy, DType, Key, Params, Tensor, pool_stats};

/// Steps on random tokens.
struct Training {
    model: Box<dyn LanguageModel>,
    params: Params,
    optimizer: Optimizer,
}

impl Training {
    fn new(recipe: OptimizerConfig, config: &Gpt2Config) -> Self {
        let mut params = Params::with_dtype(1, config.dtype());
        let model = config.build(&mut params);
        let optimizer = Optimizer::new(recipe, &params).unwrap();
        drop(params.tensors());
        Self { model, params, optimizer }
    }

    fn loss(&self, step: u64) -> Tensor {
        let tokens = Tensor::rand([2, 9], 0.0, 61.0, DType::F32, Key::new(5).with(step));
        let tokens: Vec<i64> = tokens.to_vec::<f32>().iter().map(|t| *t as i64).collect();
        let rows = |by: usize| -> Vec<i64> {
            tokens.chunks_exact(9).flat_map(|row| &row[by..by + 8]).copied().collect()
        };
        let [input, labels] = [0, 1].map(|by| Tensor::from_slice(&rows(by), [2, 8]));
        self.model.loss(&input, &labels, None, &CrossEntropy::default(), &Forward::evaluation())
    }

    /// A step after the backward pass, or within it; returns the most bytes in use beyond those after
    /// the forward pass, or those of an earlier peak.
    fn step(&mut self, step: u64, within: bool) -> usize {
        let loss = self.loss(step);
        let before = pool_stats().used_bytes;
        if within {
            self.optimizer.step_backward(step, &mut self.params, loss).unwrap();
        } else {
            let grads = loss.backward();
            drop(loss);
            self.optimizer.step(step, &mut self.params, &grads).unwrap();
        }
        pool_stats().peak_used_bytes - before
    }

    fn bits(&self) -> Vec<(String, Vec<u64>)> {
        let tensors = self.params.tensors().into_iter().chain(self.optimizer.state_tensors());
        let bits = |t: Tensor| t.to_f64_vec().into_iter().map(f64::to_bits).collect();
        tensors.map(|(name, tensor)| (name, bits(tensor))).collect()
    }
}

fn config(n_layer: usize, n_embd: usize, tied: bool, dtype: DType) -> Gpt2Config {
    Gpt2Config {
        n_layer,
        n_head: 2,
        n_embd,
        n_positions: 8,
        vocab_size: 61,
        resid_pdrop: 0.0,
        embd_pdrop: 0.0,
        attn_pdrop: 0.0,
        tie_word_embeddings: tied,
        ..Gpt2Config::default().with_dtype(dtype)
    }
}

/// A rule's name, and what makes it.
type Named = (&'static str, fn() -> OptimizerConfig);

fn rules() -> [Named; 4] {
    [
        ("lomo", || OptimizerConfig::new(Lomo { lr: 0.1.into(), ..Default::default() })),
        ("adalomo", || OptimizerConfig::new(AdaLomo { lr: 0.1.into(), ..Default::default() })),
        ("sgd", || {
            let sgd = Sgd { lr: 0.1.into(), momentum: 0.9.into(), ..Default::default() };
            OptimizerConfig::new(sgd).clip_value(0.01)
        }),
        ("adamw", || OptimizerConfig::new(AdamW { lr: 0.01.into(), ..Default::default() })),
    ]
}

/// One test, so that nothing else takes memory from the pool meanwhile.
#[test]
fn the_bits_are_those_of_the_step_after_and_the_memory_is_that_of_the_largest_gradient() {
    memory();
    for tied in [true, false] {
        for dtype in [DType::F32, DType::BF16] {
            for (name, recipe) in rules() {
                same_bits(&format!("{name}, tied: {tied}, {dtype}"), recipe, tied, dtype);
            }
        }
    }
}

fn same_bits(what: &str, recipe: fn() -> OptimizerConfig, tied: bool, dtype: DType) {
    let config = config(2, 16, tied, dtype);
    let [mut after, mut within] = [0; 2].map(|_| Training::new(recipe(), &config));
    let start = after.bits();
    for step in 0..5 {
        after.step(step, false);
        within.step(step, true);
        for ((name, want), (_, found)) in after.bits().iter().zip(&within.bits()) {
            assert!(want == found, "{what}: `{name}` differs after step {step}");
        }
    }
    assert!(start != after.bits(), "{what}: nothing moved");
}

fn memory() {
    let config = config(12, 128, true, DType::F32);
    let mut training = Training::new(OptimizerConfig::new(Lomo::default()), &config);
    let layout = training.params.layout();
    let bytes = || layout.entries().iter().map(|entry| entry.shape.count() * 4);
    let (total, largest) = (bytes().sum::<usize>(), bytes().max().unwrap());
    assert!(total > 30 * largest, "{total} bytes of gradients, the largest {largest}");
    // The ordinary step raises the peak for good, so it comes last.
    let within = (0..3).map(|step| training.step(step, true)).max().unwrap();
    let after = training.step(3, false);
    println!("gradients {total}, largest {largest}: peak {within} within, {after} after");
    // The embedding, tied, is held all the way; the largest, and activations on their way.
    assert!(within < 4 * largest, "{within} bytes, the largest gradient has {largest}");
    assert!(after >= total, "{after} bytes, all gradients have {total}");
}
