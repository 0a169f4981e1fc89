//! Direct preference optimization.

use rappel_config::{InvalidOption, Options};
use rappel_data::{PreferenceBatch, PreferenceSamples};
use rappel_nn::Forward;
use rappel_tensor::{DType, Tensor, no_grad};

use super::doubts::review;
use super::dpo_loss::{DpoLoss, FDivergence, LossTypes, Pairs};
use super::figures::{both, halves};
use super::log_probs::{LogProbs, Total};
use super::preferred::{PAIRS, Preferring, Seen};
use super::reference::{Computed, Reference, ReferenceOptions, ratios};
use crate::models::{Pretrained, inputs};
use crate::{Metric, Newest, Verdict};

/// The section `loss` of direct preference optimization, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub(crate) struct DpoOptions {
    /// how near the policy stays to the reference; 1 / (2 beta) is the margin that `ipo` wants
    #[option(default = 0.1, range = 0.0.., aka("pref_beta", "dpo_beta", "rl_beta"))]
    pub beta: f64,
    /// the loss of a pair, or a list of several: sigmoid, hinge, ipo, exo_pair, nca_pair, robust, bco_pair, sppo_hard, aot,
    /// aot_unpaired, apo_zero, apo_down, discopop, sft, sigmoid_norm
    #[option(default = LossTypes(vec![DpoLoss::Sigmoid]), aka("pref_loss", "name", "loss"))]
    pub loss_type: LossTypes,
    /// the weight of each loss of a list; unset: 1
    #[option(aka("rpo_alpha", "pref_ftx"))]
    pub loss_weights: Option<Vec<f64>>,
    /// share of the labels that are wrong, for robust, exo_pair and aot
    #[option(default = 0.0, range = 0.0..0.5, aka("dpo_label_smoothing"))]
    pub label_smoothing: f64,
    /// weight of the tokens of an answer beyond the length of the shorter one (Liu et al., 2024, LD-DPO); unset: 1
    #[option(range = 0.0..=1.0)]
    pub ld_alpha: Option<f64>,
    /// which divergence keeps the policy near the reference
    #[option(default = FDivergence::ReverseKl, aka("f_divergence"))]
    pub f_divergence_type: FDivergence,
    /// of alpha_divergence
    #[option(default = 0.5)]
    pub f_alpha_divergence_coef: f64,
    /// pairs weigh as the policy finds their tokens likely (Zhou et al., 2024, WPO)
    #[option(default = false, aka("wpo", "dpo_use_weighting"))]
    pub use_weighting: bool,
    /// how sharply `discopop` changes from one loss to the other
    #[option(default = 0.05, range = (f64::MIN_POSITIVE)..)]
    pub discopop_tau: f64,
    /// Which model the reference is.
    #[option(flatten)]
    pub reference: ReferenceOptions,
    /// the reference's log-probabilities of all rows are computed before the first step, so that it is not in memory
    /// while the model learns
    #[option(default = false, aka("precompute_ref_logps", "precompute_ref_log_prob"))]
    pub precompute_ref_log_probs: bool,
}

impl DpoOptions {
    fn check(&self) -> Result<(), InvalidOption> {
        let LossTypes(losses) = &self.loss_type;
        let has = |loss: DpoLoss| losses.contains(&loss);
        let wrong = |key: &'static str, reason: &str| Err(InvalidOption::new(key, reason));
        if let Some(weights) =
            self.loss_weights.as_ref().filter(|weights| weights.len() != losses.len())
        {
            let reason =
                format!("{} weights for {} losses in loss_type", weights.len(), losses.len());
            return Err(InvalidOption::new("loss_weights", reason));
        }
        let divides = [DpoLoss::Ipo, DpoLoss::SppoHard].into_iter().any(has);
        if self.beta == 0.0 && divides {
            return wrong("beta", "0: ipo and sppo_hard divide by it; give a number above 0");
        }
        if has(DpoLoss::ExoPair) && self.label_smoothing == 0.0 {
            return wrong("label_smoothing", "0: exo_pair needs a number above 0, such as 1e-3");
        }
        if let Some(loss) = losses.iter().find(|loss| !loss.takes_divergences())
            && self.f_divergence_type != FDivergence::ReverseKl
        {
            let name = rappel_config::Words::word(*loss);
            let reason = format!("the loss `{name}` is made for reverse_kl alone; leave it out");
            return Err(InvalidOption::new("f_divergence_type", reason));
        }
        if self.use_weighting && [DpoLoss::Aot, DpoLoss::AotUnpaired].into_iter().any(has) {
            return wrong(
                "use_weighting",
                "aot sorts pairs, so that they have no weights; set it to false",
            );
        }
        Ok(())
    }

    fn weights(&self) -> Vec<f64> {
        self.loss_weights.clone().unwrap_or_else(|| vec![1.0; self.loss_type.0.len()])
    }
}

/// The mean over pairs of the losses of [`DpoOptions`].
#[derive(Debug, Clone)]
pub(crate) struct Dpo {
    pub options: DpoOptions,
    pub reference: Reference,
}

impl Dpo {
    /// What a reference that is not kept makes of all rows; see [`Reference::Computed`].
    pub fn compute(
        options: &DpoOptions,
        model: &Pretrained,
        forward: &Forward,
        data: &PreferenceSamples,
    ) -> Computed {
        let sums = |batch: &PreferenceBatch| {
            let answers = batch.lengths.len();
            let found = no_grad(|| LogProbs::of(model, &batch.answers, answers, forward));
            let weights = token_weights(options, &found);
            no_grad(|| found.sums(weights.as_deref()).to_f64_vec())
        };
        Computed::of(data, sums)
    }
}

impl Preferring for Dpo {
    type Model = Pretrained;

    const METRICS: &'static [Metric] = PAIRS;

    fn losses(
        &self,
        model: &Pretrained,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total) {
        let answers = batch.lengths.len();
        let policy = LogProbs::of(model, &batch.answers, answers, seen.forward);
        let weights = token_weights(&self.options, &policy);
        let sums = policy.sums(weights.as_deref());
        let reference = self.reference.sums(model, batch, weights.as_deref(), seen.held_out);
        let lengths: Vec<f64> =
            batch.lengths.iter().map(|length| (*length).max(1) as f64).collect();
        let ratios = ratios(&sums, &reference);
        let pairs = Pairs {
            policy: both(&sums),
            reference: both(&Tensor::from_slice(&reference, [answers])),
            lengths: both(&Tensor::from_slice(&lengths, [answers])),
            nats: policy.chosen_nats(),
        };
        let of = |(loss, weight): (&DpoLoss, f64)| pairs.loss(*loss, &self.options) * weight;
        let losses = self.options.loss_type.0.iter().zip(self.options.weights()).map(of);
        let mut losses = losses.reduce(|sum, loss| sum + loss).expect("a loss is named");
        if self.options.use_weighting {
            losses = losses * agreement(model, batch, &policy);
        }
        let rewards: Vec<f64> = ratios.iter().map(|ratio| self.options.beta * ratio).collect();
        seen.figures.add_pairs(halves(&rewards), halves(&sums.to_f64_vec()));
        (losses, policy.total())
    }

    fn review(&self, newest: &Newest<'_>) -> Verdict {
        let from_ln_2 = self.options.loss_type.0 == [DpoLoss::Sigmoid]
            && self.options.loss_weights.is_none()
            && !self.options.use_weighting;
        review(newest, self.options.beta, from_ln_2)
    }

    fn reference_bytes(&self) -> usize {
        self.reference.bytes()
    }
}

/// Weights of tokens beyond the shorter answer, where they have some.
fn token_weights(options: &DpoOptions, found: &LogProbs) -> Option<Vec<f64>> {
    let alpha = options.ld_alpha?;
    let counts = found.counts();
    let pairs = counts.len() / 2;
    let shared = |answer: usize| counts[answer % pairs].min(counts[answer % pairs + pairs]);
    Some(found.weights(|answer, place| if place <= shared(answer) { 1.0 } else { alpha }))
}

/// How likely the policy finds the tokens of both answers, measured by how likely it finds its own (equation 2 of WPO);
/// without gradients.
fn agreement(model: &Pretrained, batch: &PreferenceBatch, policy: &LogProbs) -> Tensor {
    no_grad(|| {
        let (ids, documents) = inputs(&batch.answers);
        let hidden = model.model().hidden(&ids, Some(&documents), &Forward::evaluation());
        let hidden = hidden.squeeze(0);
        let answered = policy.weights(|_, _| 1.0);
        let rows: Vec<i64> =
            (0..answered.len() as i64).filter(|row| answered[*row as usize] > 0.0).collect();
        let mut squares = vec![0.0; answered.len()];
        for rows in rows.chunks(64) {
            let chosen = hidden.index_select(0, &Tensor::from_slice(rows, [rows.len()]));
            let logits = model.model().head().logits(&chosen).to_dtype(DType::F64).log_softmax(1);
            let found = (logits * 2.0).logsumexp(1).to_f64_vec();
            rows.iter().zip(found).for_each(|(row, value)| squares[*row as usize] = value);
        }
        let of = Tensor::from_slice(&batch.answers.segment_ids, [answered.len()]);
        let aligned = policy.tokens.detach() - Tensor::from_slice(&squares, [answered.len()]);
        let counts: Vec<f64> = policy.counts().iter().map(|count| (*count).max(1) as f64).collect();
        let zeros = Tensor::zeros([counts.len()], DType::F64);
        let means =
            zeros.scatter_add(0, &of, &aligned) / Tensor::from_slice(&counts, [counts.len()]);
        let [chosen, rejected] = both(&means.exp());
        chosen * rejected
    })
}
