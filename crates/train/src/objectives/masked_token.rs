//! Predicting hidden tokens.

use rappel_data::{HeldOut, MaskedBatch, MaskedTexts, Masking};
use rappel_model::{EncoderTexts, encoder_activation_bytes};
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_regularize::ActsOn;
use rappel_tensor::{DType, Tensor, no_grad};

use super::Objective;
use crate::metrics::{less, more};
use crate::models::MaskedLanguageModel;
use crate::{Metric, Pass};

/// The mean over hidden tokens of `-ln p(token | those that are not hidden)`, in nats.
///
/// Which tokens are hidden depends on the seed, the step and the number of the sample; of a validation on the number alone. A
/// step of several micro-batches has the mean of theirs, by their samples.
#[derive(Debug, Clone)]
pub struct MaskedToken {
    masking: Masking,
    /// Hides tokens.
    texts: MaskedTexts,
}

/// A batch of which tokens are hidden.
struct Hidden {
    texts: EncoderTexts,
    /// The places of the hidden tokens, counted through the batch.
    places: Vec<i64>,
    /// i64 `[places]`: the tokens that were there.
    targets: Tensor,
}

impl MaskedToken {
    /// With hidden tokens of `texts`.
    pub(crate) fn new(masking: Masking, texts: MaskedTexts) -> Self {
        Self { masking, texts }
    }

    fn hide(&self, batch: &MaskedBatch, forward: &Forward) -> Hidden {
        let time = batch.texts.iter().map(Vec::len).max().unwrap_or(0);
        let (mut read, mut places, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (sample, text)) in batch.samples.iter().zip(&batch.texts).enumerate() {
            let key = forward.key.with_name("hidden").with(*sample as u64);
            let (ids, hidden) = self.texts.hide(text, &self.masking, key);
            read.push(ids);
            places.extend(hidden.iter().map(|place| (row * time + place) as i64));
            targets.extend(hidden.iter().map(|place| i64::from(text[*place])));
        }
        let targets = Tensor::from_slice(&targets, [targets.len()]);
        Hidden { texts: EncoderTexts::new(&read), places, targets }
    }
}

impl Objective for MaskedToken {
    type Data = MaskedTexts;
    type Model = MaskedLanguageModel;

    fn loss(
        &self,
        model: &MaskedLanguageModel,
        batch: &MaskedBatch,
        weight: f64,
        pass: &Pass,
    ) -> Tensor {
        let Pass { forward, terms } = pass;
        let Hidden { texts, places, targets } = self.hide(batch, forward);
        if places.is_empty() {
            // Chance hid nothing: nothing is to be predicted.
            return model.logits(&texts, &[0], forward).sum() * 0.0;
        }
        let logits = |forward: &Forward| model.logits(&texts, &places, forward);
        let loss = regularized_cross_entropy(logits, None, &targets, None, terms, forward);
        loss * (batch.samples.len() as f64 / weight)
    }

    fn weight(&self, _: &MaskedTexts, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        samples.len() as f64
    }

    fn metrics(&self, _: &MaskedLanguageModel) -> &'static [Metric] {
        const METRICS: &[Metric] = &[
            Metric { unit: "nats per hidden token", ..less("loss") },
            less("perplexity"),
            more("accuracy"),
        ];
        METRICS
    }

    fn evaluate(&self, model: &MaskedLanguageModel, held_out: &HeldOut<MaskedTexts>) -> Vec<f64> {
        let forward = Forward::evaluation();
        let (mut nats, mut right, mut count) = (0.0, 0_usize, 0_usize);
        for batch in held_out.batches() {
            let Hidden { texts, places, targets } = self.hide(&batch, &forward);
            if places.is_empty() {
                continue;
            }
            let logits = no_grad(|| model.logits(&texts, &places, &forward));
            let told = logits.argmax(1).to_vec::<i64>();
            let targets = targets.to_vec::<i64>();
            right += told.iter().zip(&targets).filter(|(told, target)| told == target).count();
            count += targets.len();
            let targets = Tensor::from_slice(&targets, [targets.len(), 1]);
            let log_probs = no_grad(|| logits.to_dtype(DType::F64).log_softmax(1));
            nats -= no_grad(|| log_probs.gather(1, &targets).sum()).item();
        }
        let loss = nats / count as f64;
        vec![loss, loss.exp(), right as f64 / count as f64]
    }

    fn protocol(&self, _: &MaskedLanguageModel) -> Option<String> {
        Some("each validation hides the same tokens".to_owned())
    }

    fn activation_bytes(
        &self,
        model: &MaskedLanguageModel,
        data: &MaskedTexts,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let tokens = samples.saturating_mul(data.length());
        let (inner, config) = (model.inner(), model.inner().model.config());
        let bytes = encoder_activation_bytes(config, &inner.params, tokens);
        // Logits of the hidden tokens, their gradients, and what the softmax makes of them.
        let hidden = (tokens as f64 * self.masking.mlm_probability).ceil() as usize;
        let logits =
            hidden.saturating_mul(config.vocab_size()).saturating_mul(3 * config.dtype().size());
        bytes.saturating_add(logits).saturating_mul(if r_drop { 2 } else { 1 })
    }

    fn honours(&self, _: &MaskedLanguageModel, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::Samples => {
                Err("samples whose hidden tokens differ cannot be mixed; leave it out")
            }
            _ => Ok(()),
        }
    }
}
