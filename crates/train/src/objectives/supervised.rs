//! Supervised fine-tuning: predicting the tokens that are trained.

use rappel_data::{HeldOut, SftBatch, SftSamples};
use rappel_model::activation_bytes;
use rappel_nn::{Forward, Output, regularized_cross_entropy};
use rappel_regularize::ActsOn;
use rappel_tensor::{CrossEntropy, Tensor, cross_entropy, no_grad};

use super::Objective;
use super::template::doubt_of_template;
use crate::models::{Pretrained, inputs};
use crate::{Metric, Model, Pass};

/// The mean of `-ln p(token | those before)` over the tokens that are trained, in nats, each counted with its weight.
#[derive(Debug, Clone, Copy)]
pub struct Supervised;

/// Logits that a validation has in memory, about, in numbers.
const LOGITS: usize = 1 << 22;

/// The weights that trained tokens have, each once.
fn weights(batch: &SftBatch) -> Vec<f32> {
    let mut weights: Vec<f32> =
        batch.weights.iter().copied().filter(|weight| *weight > 0.0).collect();
    weights.sort_by(f32::total_cmp);
    weights.dedup();
    weights
}

/// The targets `[1, tokens]` of this weight; the others are ignored.
fn targets(batch: &SftBatch, weight: f32) -> Tensor {
    let of = |(target, other): (&i64, &f32)| {
        if other.to_bits() == weight.to_bits() {
            *target
        } else {
            CrossEntropy::default().ignore_index
        }
    };
    let targets: Vec<i64> = batch.targets.iter().zip(&batch.weights).map(of).collect();
    Tensor::from_slice(&targets, [1, targets.len()])
}

impl Objective for Supervised {
    type Data = SftSamples;
    type Model = Pretrained;

    fn loss(&self, model: &Pretrained, batch: &SftBatch, weight: f64, pass: &Pass) -> Tensor {
        let (ids, documents) = inputs(batch);
        let model = model.model();
        let Pass { forward, terms } = pass;
        let head = model.head();
        let output = |forward: &Forward| model.output(&ids, Some(&documents), forward);
        let passes = if terms.r_drop == 0.0 { vec![*forward] } else { forward.twice().to_vec() };
        let outputs: Vec<Output> = passes.iter().map(output).collect();
        let of_pass = |pass: &Forward| {
            let number = passes.iter().position(|known| known == pass).unwrap_or(0);
            outputs[number].clone()
        };
        let of_weight = |of: f32| {
            let targets = targets(batch, of);
            let loss = regularized_cross_entropy(
                of_pass,
                Some(&head),
                &targets,
                Some(weight),
                terms,
                forward,
            );
            if of == 1.0 { loss } else { loss * f64::from(of) }
        };
        let losses = weights(batch).into_iter().map(of_weight);
        losses.reduce(|sum, loss| sum + loss).unwrap_or_else(|| {
            // A micro-batch of which nothing is trained has a loss all the same, for its backward pass.
            (outputs[0].hidden.sum() * 0.0).to_dtype(outputs[0].hidden.dtype().accumulator())
        })
    }

    fn weight(&self, data: &SftSamples, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        data.weight(samples)
    }

    fn activation_bytes(
        &self,
        model: &Pretrained,
        data: &SftSamples,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let tokens = data.most_tokens(samples);
        activation_bytes(model.model().config(), model.params(), tokens, r_drop)
    }

    fn metrics(&self, _: &Pretrained) -> &'static [Metric] {
        &[
            Metric { name: "loss", unit: "nats per token", greater_is_better: false },
            Metric { name: "token_accuracy", unit: "", greater_is_better: true },
        ]
    }

    fn evaluate(&self, model: &Pretrained, held_out: &HeldOut<SftSamples>) -> Vec<f64> {
        let weight = self.weight(held_out.data(), &mut held_out.samples());
        let (mut nats, mut right, mut count) = (0.0, 0, 0);
        no_grad(|| {
            for batch in held_out.batches() {
                let (ids, documents) = inputs(&batch);
                let hidden = model.model().hidden(&ids, Some(&documents), &Forward::evaluation());
                let found = measure(model, &hidden.squeeze(0), &batch);
                nats += found.nats;
                right += found.right;
                count += found.count;
            }
        });
        vec![nats / weight, right as f64 / count as f64]
    }

    fn first_doubt(&self, model: &Pretrained, batch: &SftBatch) -> Option<String> {
        doubt_of_template(model, batch)
    }

    fn honours(&self, _: &Pretrained, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::Samples => Err("samples of a conversation cannot be mixed; leave it out"),
            _ => Ok(()),
        }
    }

    fn activations(
        &self,
        model: &Pretrained,
        batch: &SftBatch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        let (ids, documents) = inputs(batch);
        let hidden = model.model().hidden(&ids, Some(&documents), forward);
        Some(("the hidden states that the head reads", hidden))
    }
}

/// What a model makes of the trained tokens of a batch.
#[derive(Default)]
struct Measured {
    /// The sum of weighted losses.
    nats: f64,
    /// Tokens that the model holds likeliest.
    right: usize,
    count: usize,
}

/// Losses and likeliest tokens of the rows that are trained, a part of the logits at a time.
fn measure(model: &Pretrained, hidden: &Tensor, batch: &SftBatch) -> Measured {
    let head = model.model().head();
    let vocab = model.model().config().vocab_size();
    let mut all = Measured::default();
    for weight in weights(batch) {
        let is = |at: &usize| batch.weights[*at].to_bits() == weight.to_bits();
        let rows: Vec<usize> = (0..batch.weights.len()).filter(is).collect();
        for rows in rows.chunks((LOGITS / vocab).max(1)) {
            let numbers: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
            let chosen = hidden.index_select(0, &Tensor::from_slice(&numbers, [rows.len()]));
            let logits = head.logits(&chosen);
            let targets: Vec<i64> = rows.iter().map(|row| batch.targets[*row]).collect();
            let options = CrossEntropy { denominator: Some(1.0), ..CrossEntropy::default() };
            let of_rows = Tensor::from_slice(&targets, [rows.len()]);
            all.nats += f64::from(weight) * cross_entropy(&logits, &of_rows, &options).item();
            let likeliest = logits.argmax(1).to_vec::<i64>();
            all.right += likeliest.iter().zip(&targets).filter(|(a, b)| a == b).count();
            all.count += rows.len();
        }
    }
    all
}
