//! Predicting the next token of text.

use std::path::Path;

use rappel_data::{Batch, Batches, DATA, DataConfig, Dataset, Order, byte_trigram};
use rappel_model::{
    ARCHITECTURES, GenerateOptions, LanguageModel, Sampling, activation_bytes, save_pretrained,
};
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_registry::{Field, Kind, Range};
use rappel_regularize::LossTerms;
use rappel_tensor::{Params, Tensor, no_grad};

use super::{Task, TaskEntry};
use crate::checkpoint::sha256;
use crate::pretrained::continue_text;
use crate::{Baseline, Config, Metric, Observer, Pass, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "language_model",
    summary: "next-token prediction: mean over tokens of -ln p(token | those before), in nats",
    reference: "Radford et al., Language models are unsupervised multitask learners, 2019",
    fields: &[
        Field::required("data", Kind::Section(&DATA), "what is learned from"),
        Field::required("model", Kind::Section(&ARCHITECTURES), "what learns"),
        Field::new("sample", Kind::Table(SAMPLE), "{}", "the text generated at the end")
            .changeable(),
    ],
    build,
};

const SAMPLE: &[Field] = &[
    Field::new("prompt", Kind::Str, "\"\"", "what it goes on from; empty: a new document"),
    Field::new("max_tokens", Kind::int_from(0), "200", "tokens at most; 0: no sample")
        .aka(&["max_new_tokens"]),
    Field::new(
        "temperature",
        Kind::Float(Range::from(0.0)),
        "0.8",
        "divides the logits; 0 takes the most likely token each time",
    ),
    Field::new("top_k", Kind::int_from(0), "50", "draw among the likeliest; 0: among all"),
];

/// A language model with its text.
struct Text {
    model: Box<dyn LanguageModel>,
    params: Params,
    data: Dataset,
    train: Batches,
    validation: Option<Batches>,
    /// Forward passes of one step.
    parts: usize,
    document_attention: bool,
    prompt: String,
    sample: GenerateOptions,
}

fn build(
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<(Box<dyn Task>, Config), TrainError> {
    let data = DataConfig::from_options(config.section("data"))?;
    let section = config.section("model");
    let architecture = ARCHITECTURES.lookup_at("model.name", section.str("name"))?.build;
    // What can be known before the data is read is.
    check_length(config, (architecture.configure)(section, None)?.max_positions())?;

    observer.stage("reading the corpus");
    let data = Dataset::build(&data, config.seed())?;
    let sizes = (architecture.configure)(section, Some(data.tokenizer.vocab_size()))?;
    let train = &config.run().train;
    let batches = data.train_batches(|samples| config.order(samples))?;
    let at_once = config.validation_batch_size(batches.order());
    let of_validation = || data.validation_batches(at_once, train.eval_batches);
    let validation = if data.validation.is_empty() { None } else { Some(of_validation()?) };
    let completed = config.with("model", "vocab_size", sizes.vocab_size() as i64)?;

    observer.stage("initialising the model");
    let mut params = config.params(sizes.dtype())?;
    let model = sizes.build(&mut params);
    let task = Text {
        model,
        params,
        train: batches,
        validation,
        parts: train.gradient_accumulation_steps,
        document_attention: config.section("data").bool("document_attention"),
        prompt: config.section("sample").str("prompt").to_owned(),
        sample: sampling(config, data.tokenizer.end_of_document()),
        data,
    };
    Ok((Box::new(task), completed))
}

/// How the sample at the end is drawn.
fn sampling(config: &Config, end_of_document: u32) -> GenerateOptions {
    let sample = config.section("sample");
    let (top_k, temperature) = (sample.usize("top_k"), sample.f64("temperature"));
    let top_k = (top_k > 0).then_some(top_k);
    let sampling = if temperature == 0.0 {
        Sampling::Greedy
    } else {
        Sampling::Random { temperature, top_k, top_p: None, seed: config.seed() }
    };
    let max_new_tokens = sample.usize("max_tokens");
    GenerateOptions { max_new_tokens, sampling, eos_token_id: vec![end_of_document] }
}

/// Samples must fit the model's positions.
fn check_length(config: &Config, positions: usize) -> Result<(), TrainError> {
    let data = config.section("data");
    let length = data.usize("sequence_length");
    if length <= positions {
        return Ok(());
    }
    let reason = format!(
        "samples of {length} tokens are longer than the model's {positions} positions; lower it, \
         or raise the model's positions"
    );
    Err(data.invalid("sequence_length", reason).into())
}

impl Text {
    /// The loss of a batch, its sum over tokens divided by `denominator`.
    fn loss_over(
        &self,
        batch: &Batch,
        denominator: usize,
        forward: &Forward,
        terms: &LossTerms,
    ) -> Tensor {
        let [ids, targets, documents] = tensors(batch);
        let documents = self.document_attention.then_some(&documents);
        let output = |forward: &Forward| self.model.output(&ids, documents, forward);
        let (head, denominator) = (self.model.head(), Some(denominator as f64));
        regularized_cross_entropy(output, Some(&head), &targets, denominator, terms, forward)
    }
}

/// Input ids, targets and document numbers, each `[batch, time]`.
fn tensors(batch: &Batch) -> [Tensor; 3] {
    let shape = [batch.batch, batch.time];
    [&batch.input_ids, &batch.targets, &batch.segment_ids].map(|ids| Tensor::from_slice(ids, shape))
}

impl Task for Text {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn order(&self) -> &Order {
        self.train.order()
    }

    fn fingerprint(&self) -> String {
        let [(_, tokenizer), _] = self.data.tokenizer.files();
        format!("{:016x}, tokenizer {}", self.data.fingerprint(), sha256(&tokenizer))
    }

    fn describe(&self) -> String {
        let Dataset { train, validation, tokenizer, .. } = &self.data;
        format!(
            "{} tokens to train on, {} to validate, {} in the vocabulary",
            train.len(),
            validation.len(),
            tokenizer.vocab_size()
        )
    }

    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn units(&self, step: u64) -> usize {
        self.train.order().batch_size(step) * self.train.sequence_length()
    }

    fn activation_bytes(&self, samples: usize, r_drop: bool) -> usize {
        let tokens = samples.saturating_mul(self.train.sequence_length());
        activation_bytes(self.model.config(), &self.params, tokens, r_drop)
    }

    fn loss(&self, pass: &Pass) -> Option<Tensor> {
        let batch = self.train.micro_batch(pass.step, pass.part, self.parts);
        let loss = || self.loss_over(&batch, self.units(pass.step), &pass.forward, &pass.terms);
        (batch.batch > 0).then(loss)
    }

    fn honours(&self, regularizer: &str) -> Result<(), &'static str> {
        if regularizer == "mixup" && self.document_attention {
            return Err(
                "mixed samples have no documents of their own; set document_attention to false",
            );
        }
        Ok(())
    }

    fn metrics(&self) -> &'static [Metric] {
        &[Metric { name: "loss", unit: "nats per token", greater_is_better: false }]
    }

    fn validates(&self) -> bool {
        self.validation.is_some()
    }

    fn validate(&self) -> Option<Vec<f64>> {
        let batches = self.validation.as_ref()?;
        let tokens = batches.target_range().len();
        let (forward, terms) = (Forward::evaluation(), LossTerms::default());
        let loss = |step| self.loss_over(&batches.batch(step), tokens, &forward, &terms).item();
        Some(vec![no_grad(|| (0..batches.order().steps(1.0)).map(loss).sum())])
    }

    fn first_non_finite_activation(&self, passes: &[Pass]) -> Option<String> {
        let place = |pass: &Pass| {
            let batch = self.train.micro_batch(pass.step, pass.part, self.parts);
            let [ids, _, documents] = tensors(&batch);
            let documents = self.document_attention.then_some(&documents);
            let hidden = self.model.hidden(&ids, documents, &pass.forward);
            hidden.first_non_finite()
        };
        let place = no_grad(|| passes.iter().find_map(place))?;
        Some(format!("the hidden states that the head reads, at {place}"))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let end = self.data.tokenizer.end_of_document();
        save_pretrained(folder, self.model.as_ref(), &self.params, &[end])?;
        Ok(self.data.tokenizer.save(folder)?)
    }

    fn baseline(&self, observer: &mut dyn Observer) -> Result<Option<Baseline>, TrainError> {
        let Some(batches) = &self.validation else { return Ok(None) };
        observer.stage("fitting the baseline");
        let Dataset { tokenizer, train, validation, .. } = &self.data;
        let trigram = byte_trigram(tokenizer, train, validation, batches.target_range())?;
        Ok(Some(Baseline { name: "trigram", loss: trigram.nats_per_token() }))
    }

    fn sample(&self, observer: &mut dyn Observer) -> Result<Option<String>, TrainError> {
        if self.sample.max_new_tokens == 0 {
            return Ok(None);
        }
        observer.stage("generating a sample");
        let mut text = self.prompt.clone();
        let (model, tokenizer) = (self.model.as_ref(), &self.data.tokenizer);
        continue_text(model, tokenizer, &self.prompt, &self.sample, &mut |piece| {
            text.push_str(piece);
            Ok(())
        })?;
        Ok(Some(text))
    }
}
