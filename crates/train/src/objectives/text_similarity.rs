//! Embeddings of texts that belong together, or do not.

use rappel_data::{HeldOut, TextGroupBatch, TextGroups, TextGroupsFormat};
use rappel_model::encoder_activation_bytes;
use rappel_regularize::ActsOn;
use rappel_tensor::{DType, Tensor};

use super::Objective;
use super::embedding_loss::EmbeddingLossOptions;
use crate::models::{Embedder, measure_sentences, sentence_metrics};
use crate::{Metric, Model, Pass};

/// The loss of embeddings of groups of texts. Those of a micro-batch are compared with each other alone; a step's loss is the mean
/// over its micro-batches, by their rows.
#[derive(Debug, Clone)]
pub struct TextSimilarity {
    loss: EmbeddingLossOptions,
    format: TextGroupsFormat,
}

impl TextSimilarity {
    /// Of rows of a format, from which the loss learns.
    pub(crate) fn new(loss: EmbeddingLossOptions, format: TextGroupsFormat) -> Self {
        Self { loss, format }
    }
}

impl Objective for TextSimilarity {
    type Data = TextGroups;
    type Model = Embedder;

    fn loss(&self, model: &Embedder, batch: &TextGroupBatch, weight: f64, pass: &Pass) -> Tensor {
        // Each column by itself: questions are mostly shorter than their answers, and padding costs as much as text.
        let column = |(i, texts): (usize, &Vec<Vec<u32>>)| {
            model.vectors(texts, &pass.forward.layer("column").number(i))
        };
        let columns: Vec<Tensor> = batch.columns.iter().enumerate().map(column).collect();
        let (rows, dtype) = (columns[0].size(0), columns[0].dtype());
        let columns: Vec<Tensor> = columns.iter().map(|of| of.to_dtype(DType::F64)).collect();
        let loss = self.loss.of(&columns, &batch.numbers) * (rows as f64 / weight);
        loss.to_dtype(dtype.accumulator())
    }

    fn metrics(&self, _: &Embedder) -> &'static [Metric] {
        sentence_metrics(self.format)
    }

    fn evaluate(&self, model: &Embedder, held_out: &HeldOut<TextGroups>) -> Vec<f64> {
        let (data, rows) = (held_out.data(), held_out.samples().len());
        let pass = Pass::evaluation();
        let loss = |batch| self.loss(model, &batch, rows as f64, &pass).item();
        let loss: f64 = rappel_tensor::no_grad(|| held_out.batches().map(loss).sum());
        [vec![loss], measure_sentences(model, data, rows)].concat()
    }

    fn protocol(&self, _: &Embedder) -> Option<String> {
        match self.format {
            TextGroupsFormat::Pair | TextGroupsFormat::Triplet => Some(
                "each anchor finds its positives among the different ones of the file".to_owned(),
            ),
            TextGroupsFormat::PairScore | TextGroupsFormat::PairClass => None,
        }
    }

    fn activation_bytes(
        &self,
        model: &Embedder,
        data: &TextGroups,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let tokens = samples.saturating_mul(data.columns()).saturating_mul(data.longest());
        let bytes = encoder_activation_bytes(model.model().model.config(), model.params(), tokens);
        bytes.saturating_mul(if r_drop { 2 } else { 1 })
    }

    fn honours(&self, _: &Embedder, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::Samples => Err("texts that are compared cannot be mixed; leave it out"),
            ActsOn::Targets | ActsOn::Logits => {
                Err("the loss of embeddings has no logits of targets; leave it out")
            }
            _ => Ok(()),
        }
    }
}
