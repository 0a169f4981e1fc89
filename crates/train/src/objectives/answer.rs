//! The result of an operation, as the token after the equals sign.

use rappel_data::{HeldOut, ModularArithmetic, Pairs};
use rappel_model::{LanguageModel, Pretrained, activation_bytes};
use rappel_nn::{Forward, Output, regularized_cross_entropy};
use rappel_tensor::{CrossEntropy, Tensor, cross_entropy, no_grad};

use super::Objective;

use crate::{Baseline, Metric, Model, Observer, Pass, TrainError};

/// The mean over pairs of `-ln p(result | a, b, =)`, and the share of pairs whose likeliest token is the
/// result.
#[derive(Debug)]
pub struct Answer;

/// Examples that are shown at the end.
const SHOWN: usize = 4;

/// The states that the head reads of the equals sign, `[batch, width]`.
fn last(model: &dyn LanguageModel, pairs: &Pairs, forward: &Forward) -> Output {
    let ids = Tensor::from_slice(&pairs.input_ids, [pairs.results.len(), Pairs::TIME]);
    let output = model.output(&ids, None, forward);
    Output { hidden: output.hidden.narrow(1, Pairs::TIME - 1, 1).squeeze(1), ..output }
}

/// Logits `[batch, p + 1]`, and the likeliest tokens.
fn answers(model: &dyn LanguageModel, pairs: &Pairs) -> (Tensor, Vec<i64>) {
    let last = last(model, pairs, &Forward::evaluation());
    let logits = model.head().logits(&last.hidden);
    let likeliest = logits.argmax(1).to_vec();
    (logits, likeliest)
}

fn results(pairs: &Pairs) -> Tensor {
    Tensor::from_slice(&pairs.results, pairs.results.len())
}

impl Objective for Answer {
    type Data = ModularArithmetic;
    type Model = Pretrained;

    fn loss(&self, model: &Pretrained, pairs: &Pairs, weight: f64, pass: &Pass) -> Tensor {
        let (model, Pass { forward, terms }) = (model.model.as_ref(), pass);
        let last = |forward: &Forward| last(model, pairs, forward);
        let (head, targets) = (model.head(), results(pairs));
        regularized_cross_entropy(last, Some(&head), &targets, Some(weight), terms, forward)
    }

    fn activation_bytes(
        &self,
        model: &Pretrained,
        _: &ModularArithmetic,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let tokens = samples.saturating_mul(Pairs::TIME);
        activation_bytes(model.model.config(), model.params(), tokens, r_drop)
    }

    fn metrics(&self, _: &Pretrained) -> &'static [Metric] {
        &[
            Metric { name: "loss", unit: "nats", greater_is_better: false },
            Metric { name: "accuracy", unit: "", greater_is_better: true },
        ]
    }

    fn evaluate(&self, model: &Pretrained, held_out: &HeldOut<ModularArithmetic>) -> Vec<f64> {
        let total = held_out.samples().len() as f64;
        let options = CrossEntropy { denominator: Some(total), ..CrossEntropy::default() };
        let of = |pairs: Pairs| {
            let (logits, likeliest) = answers(model.model.as_ref(), &pairs);
            let right = likeliest.iter().zip(&pairs.results).filter(|(a, b)| a == b).count();
            let loss = cross_entropy(&logits, &results(&pairs), &options).item();
            [loss, right as f64 / total]
        };
        let add = |[a, b]: [f64; 2], [c, d]: [f64; 2]| [a + c, b + d];
        no_grad(|| held_out.batches().map(of).fold([0.0; 2], add)).to_vec()
    }

    fn activations(
        &self,
        model: &Pretrained,
        pairs: &Pairs,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        let last = last(model.model.as_ref(), pairs, forward);
        Some(("the hidden states that the head reads", last.hidden))
    }

    fn baseline(
        &self,
        _: &Pretrained,
        data: &ModularArithmetic,
        _: &HeldOut<ModularArithmetic>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        Ok(Some(Baseline::of_loss("chance", (data.modulus() as f64).ln())))
    }

    fn sample(
        &self,
        model: &Pretrained,
        held_out: Option<&HeldOut<ModularArithmetic>>,
        _: &mut dyn Observer,
    ) -> Result<Option<String>, TrainError> {
        let Some(held_out) = held_out else { return Ok(None) };
        let (data, shown) = (held_out.data(), held_out.samples().len().min(SHOWN));
        let pairs = rappel_data::Dataset::batch(data, &(0..shown).collect::<Vec<_>>());
        let (_, likeliest) = no_grad(|| answers(model.model.as_ref(), &pairs));
        let line = |([a, b, result], answer): (&[i64; 3], i64)| {
            let verdict = if answer == *result { "right" } else { "wrong" };
            let (operation, modulus) = (data.operation(), data.modulus());
            format!("{a} {operation} {b} = {answer} (mod {modulus}), which is {verdict}")
        };
        let lines: Vec<_> = data.facts().iter().zip(likeliest).map(line).collect();
        Ok(Some(lines.join("\n")))
    }
}
