//! Predicting the next token.

use std::ops::ControlFlow;

use rappel_data::{Batch, HeldOut, TextSamples, byte_trigram};
use rappel_model::{Documents, GenerateOptions, activation_bytes};
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_regularize::ActsOn;
use rappel_tensor::Tensor;

use super::Objective;
use crate::models::{Pretrained, Prompt, TextOptions};
use crate::{Baseline, Metric, Model, Observer, Pass, TrainError};

/// The mean over tokens of `-ln p(token | those before)`, in nats.
#[derive(Debug)]
pub struct NextToken {
    /// Whether a token attends only to those of its own document.
    pub document_attention: bool,
    /// The text generated at the end.
    pub sample: Sample,
}

/// A text that is generated.
#[derive(Debug)]
pub struct Sample {
    /// What is continued; empty: a new document.
    pub prompt: String,
    /// How, and how far.
    pub options: GenerateOptions,
}

impl NextToken {
    /// Input ids `[batch, time]`, and where attention stays within documents their numbers.
    fn inputs(&self, batch: &Batch) -> (Tensor, Option<Documents>) {
        let shape = [batch.batch, batch.time];
        let documents =
            || Documents { ids: Tensor::from_slice(&batch.segment_ids, shape), positions: None };
        let ids = Tensor::from_slice(&batch.input_ids, shape);
        (ids, self.document_attention.then(documents))
    }
}

impl Objective for NextToken {
    type Data = TextSamples;
    type Model = Pretrained;

    fn loss(&self, model: &Pretrained, batch: &Batch, weight: f64, pass: &Pass) -> Tensor {
        let (ids, documents) = self.inputs(batch);
        let targets = Tensor::from_slice(&batch.targets, [batch.batch, batch.time]);
        let model = model.model();
        let output = |forward: &Forward| model.output(&ids, documents.as_ref(), forward);
        let Pass { forward, terms } = pass;
        let head = model.head();
        regularized_cross_entropy(output, Some(&head), &targets, Some(weight), terms, forward)
    }

    fn activation_bytes(
        &self,
        model: &Pretrained,
        data: &TextSamples,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let tokens = samples.saturating_mul(data.sequence_length());
        activation_bytes(model.model().config(), model.params(), tokens, r_drop)
    }

    fn metrics(&self, _: &Pretrained) -> &'static [Metric] {
        &[Metric { name: "loss", unit: "nats per token", greater_is_better: false }]
    }

    fn honours(&self, _: &Pretrained, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::Samples if self.document_attention => {
                Err("mixed samples have no documents of their own; set document_attention to false")
            }
            _ => Ok(()),
        }
    }

    fn activations(
        &self,
        model: &Pretrained,
        batch: &Batch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        let (ids, documents) = self.inputs(batch);
        let hidden = model.model().hidden(&ids, documents.as_ref(), forward);
        Some(("the hidden states that the head reads", hidden))
    }

    fn baseline(
        &self,
        model: &Pretrained,
        data: &TextSamples,
        held_out: &HeldOut<TextSamples>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        observer.stage("fitting the baseline")?;
        let targets = held_out.data().targets(held_out.samples().len());
        let (train, validation) = (data.stream(), held_out.data().stream());
        let trigram = byte_trigram(model.tokenizer(), train, validation, targets)?;
        Ok(Some(Baseline::of_loss("trigram", trigram.nats_per_token())))
    }

    fn sample(
        &self,
        model: &Pretrained,
        _: Option<&HeldOut<TextSamples>>,
        observer: &mut dyn Observer,
    ) -> Result<Option<String>, TrainError> {
        let Sample { prompt, options } = &self.sample;
        if options.max_new_tokens == 0 {
            return Ok(None);
        }
        observer.stage("generating a sample")?;
        let ids = model.prompt_ids(prompt)?;
        let options = TextOptions { tokens: options.clone(), ..TextOptions::default() };
        let prompts = [Prompt { ids, seed: options.tokens.sampling.seed }];
        let go_on = &mut |_: usize, _: &str| Ok(ControlFlow::Continue(()));
        let (texts, _) = model.generate_texts(&prompts, &options, go_on)?;
        Ok(Some(format!("{prompt}{}", texts[0].text)))
    }
}
