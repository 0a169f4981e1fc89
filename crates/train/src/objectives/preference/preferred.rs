//! What objectives of preferences share.

use rappel_data::{HeldOut, PreferenceBatch, PreferenceSamples, SftBatch};
use rappel_model::{ModelConfig, activation_bytes};
use rappel_nn::Forward;
use rappel_regularize::ActsOn;
use rappel_tensor::{Tensor, no_grad};

use super::figures::{
    ACCURACIES, CHOSEN, Figures, LOGPS_CHOSEN, LOGPS_REJECTED, MARGINS, REJECTED,
};
use super::log_probs::Total;
use crate::metrics::{less, more};
use crate::models::{Pretrained, RewardModel, inputs};
use crate::objectives::Objective;
use crate::objectives::template::doubt_of_template;
use crate::{Metric, Model, Newest, Pass, Verdict};

/// What a validation of pairs measures.
pub(super) const PAIRS: &[Metric] = &[
    less("loss"),
    more(ACCURACIES),
    more(MARGINS),
    more(CHOSEN),
    less(REJECTED),
    more(LOGPS_CHOSEN),
    less(LOGPS_REJECTED),
];

/// The values of metrics: the loss, then figures, NaN where nothing was seen.
fn evaluated(metrics: &[Metric], loss: f64, figures: &Figures) -> Vec<f64> {
    let found = figures.take();
    let of = |metric: &Metric| {
        let figure = found.iter().find(|(name, _)| *name == metric.name);
        figure.map_or(f64::NAN, |(_, value)| *value)
    };
    [loss].into_iter().chain(metrics[1..].iter().map(of)).collect()
}

/// How a batch is seen.
pub(crate) struct Seen<'a> {
    pub forward: &'a Forward,
    /// Whether it is one to validate on.
    pub held_out: bool,
    /// Where its figures go.
    pub figures: &'a Figures,
}

/// A model of answers.
pub(crate) trait AnswerModel: Model {
    /// The config of the language model.
    fn config(&self) -> &dyn ModelConfig;

    /// What the first batch makes doubtful.
    fn doubt(&self, _answers: &SftBatch) -> Option<String> {
        None
    }

    /// What it makes of answers, for regularizers of activations, and what that is.
    fn activations(&self, answers: &SftBatch, forward: &Forward) -> (&'static str, Tensor);
}

impl AnswerModel for Pretrained {
    fn config(&self) -> &dyn ModelConfig {
        self.model().config()
    }

    fn doubt(&self, answers: &SftBatch) -> Option<String> {
        doubt_of_template(self, answers)
    }

    fn activations(&self, answers: &SftBatch, forward: &Forward) -> (&'static str, Tensor) {
        let (ids, documents) = inputs(answers);
        let hidden = self.model().hidden(&ids, Some(&documents), forward);
        ("the hidden states that the head reads", hidden)
    }
}

impl AnswerModel for RewardModel {
    fn config(&self) -> &dyn ModelConfig {
        self.config()
    }

    fn activations(&self, answers: &SftBatch, forward: &Forward) -> (&'static str, Tensor) {
        ("the rewards", self.scores(answers, forward).0)
    }
}

/// What samples of preferences cost.
pub(crate) trait Preferring {
    /// What learns.
    type Model: AnswerModel;

    /// What a validation measures: the loss first, then figures by their names.
    const METRICS: &'static [Metric];

    /// The loss of each sample `[samples]`, in double precision.
    fn losses(
        &self,
        model: &Self::Model,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total);

    /// Whether the run learns anything.
    fn review(&self, _newest: &Newest<'_>) -> Verdict {
        Verdict::Fine
    }

    /// Bytes of a reference's parameters.
    fn reference_bytes(&self) -> usize {
        0
    }
}

/// The mean over samples of what a [`Preferring`] says.
#[derive(Debug)]
pub(crate) struct Preferred<P> {
    preferring: P,
    figures: Figures,
}

impl<P: Preferring> Preferred<P> {
    pub fn new(preferring: P) -> Self {
        Self { preferring, figures: Figures::default() }
    }
}

impl<P: Preferring> Objective for Preferred<P> {
    type Data = PreferenceSamples;
    type Model = P::Model;

    fn loss(&self, model: &P::Model, batch: &PreferenceBatch, weight: f64, pass: &Pass) -> Tensor {
        let seen = Seen { forward: &pass.forward, held_out: false, figures: &self.figures };
        let (losses, total) = self.preferring.losses(model, batch, &seen);
        total.of(&losses, weight)
    }

    fn weight(
        &self,
        _: &PreferenceSamples,
        samples: &mut dyn ExactSizeIterator<Item = usize>,
    ) -> f64 {
        samples.len() as f64
    }

    fn metrics(&self, _: &P::Model) -> &'static [Metric] {
        P::METRICS
    }

    fn evaluate(&self, model: &P::Model, held_out: &HeldOut<PreferenceSamples>) -> Vec<f64> {
        let (figures, forward) = (Figures::default(), Forward::evaluation());
        let seen = Seen { forward: &forward, held_out: true, figures: &figures };
        let of = |batch| self.preferring.losses(model, &batch, &seen).0.sum().item();
        let losses: f64 = no_grad(|| held_out.batches().map(of).sum());
        evaluated(P::METRICS, losses / held_out.samples().len() as f64, &figures)
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        self.figures.take()
    }

    fn first_doubt(&self, model: &P::Model, batch: &PreferenceBatch) -> Option<String> {
        model.doubt(&batch.answers)
    }

    fn review(&self, newest: &Newest<'_>) -> Verdict {
        self.preferring.review(newest)
    }

    fn activation_bytes(
        &self,
        model: &P::Model,
        data: &PreferenceSamples,
        samples: usize,
        _: bool,
    ) -> usize {
        let tokens = data.most_tokens(samples);
        activation_bytes(model.config(), model.params(), tokens, false)
            .saturating_add(self.preferring.reference_bytes())
    }

    fn honours(&self, _: &P::Model, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::Samples => Err("answers cannot be mixed; leave it out"),
            ActsOn::Targets | ActsOn::Logits => Err(
                "the loss of preferences has no cross-entropy that it could change; leave it out",
            ),
            _ => Ok(()),
        }
    }

    fn activations(
        &self,
        model: &P::Model,
        batch: &PreferenceBatch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        Some(model.activations(&batch.answers, forward))
    }
}
