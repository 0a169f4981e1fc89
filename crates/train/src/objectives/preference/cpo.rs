//! Contrastive preference optimization, and what became of it without a reference.

use rappel_config::{InvalidOption, Options, Words};
use rappel_data::PreferenceBatch;
use rappel_tensor::{DType, Tensor};

use super::figures::{both, halves};
use super::log_probs::{LogProbs, Total};
use super::preferred::{PAIRS, Preferring, Seen};
use crate::Metric;
use crate::models::Pretrained;

/// What a pair costs, with `d` the difference of the answers' log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub(crate) enum CpoLoss {
    /// `-ln sigmoid(beta d)`.
    Sigmoid,
    /// `max(0, 1 - beta d)`.
    Hinge,
    /// `(d - 1 / (2 beta))^2` of means over tokens.
    Ipo,
    /// `-ln sigmoid(beta d - simpo_gamma)` of means over tokens (Meng et al., <https://arxiv.org/abs/2405.14734>).
    Simpo,
}

/// The section `loss` of the task `cpo`, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub(crate) struct CpoOptions {
    /// factor of the difference of log-probabilities
    #[option(default = 0.1, range = 0.0.., aka("pref_beta", "cpo_beta"))]
    pub beta: f64,
    /// the loss of a pair
    #[option(default = CpoLoss::Sigmoid, aka("pref_loss", "name", "loss"))]
    pub loss_type: CpoLoss,
    /// share of the labels that are wrong, for sigmoid and simpo
    #[option(default = 0.0, range = 0.0..0.5)]
    pub label_smoothing: f64,
    /// weight of the cross-entropy of chosen answers
    #[option(default = 1.0, range = 0.0.., aka("pref_ftx", "rpo_alpha"))]
    pub cpo_alpha: f64,
    /// the margin that simpo wants
    #[option(default = 0.5, aka("gamma"))]
    pub simpo_gamma: f64,
    /// rewards are (1 - p^-alpha) / alpha in place of ln p, where it is not 0 (Gupta et al., 2025, AlphaPO)
    #[option(default = 0.0)]
    pub alpha: f64,
}

impl CpoOptions {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.beta == 0.0 && matches!(self.loss_type, CpoLoss::Ipo | CpoLoss::Simpo) {
            let reason = "0: ipo and simpo divide by it; give a number above 0";
            return Err(InvalidOption::new("beta", reason));
        }
        Ok(())
    }
}

/// The section `loss` of the task `simpo`, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct SimpoOptions {
    /// factor of the difference of mean log-probabilities; the paper takes 2 to 10
    #[option(default = 0.1, range = (f64::MIN_POSITIVE).., aka("pref_beta", "cpo_beta"))]
    pub beta: f64,
    /// the margin that is wanted; the paper takes 0.3 to 0.6 of beta
    #[option(default = 0.5, aka("gamma", "simpo_gamma_beta_ratio"))]
    pub simpo_gamma: f64,
    /// share of the labels that are wrong
    #[option(default = 0.0, range = 0.0..0.5)]
    pub label_smoothing: f64,
    /// weight of the cross-entropy of chosen answers, of which the paper has none
    #[option(default = 0.0, range = 0.0.., aka("pref_ftx", "rpo_alpha"))]
    pub cpo_alpha: f64,
    /// rewards are (1 - p^-alpha) / alpha in place of ln p, where it is not 0 (Gupta et al., 2025, AlphaPO)
    #[option(default = 0.0)]
    pub alpha: f64,
}

impl From<SimpoOptions> for CpoOptions {
    fn from(options: SimpoOptions) -> Self {
        let SimpoOptions { beta, simpo_gamma, label_smoothing, cpo_alpha, alpha } = options;
        let loss_type = CpoLoss::Simpo;
        Self { beta, loss_type, label_smoothing, cpo_alpha, simpo_gamma, alpha }
    }
}

/// A loss of the difference of two answers' log-probabilities, and the cross-entropy of the chosen ones; no reference
/// (Xu et al., <https://arxiv.org/abs/2401.08417>).
#[derive(Debug, Clone)]
pub(crate) struct Cpo {
    pub options: CpoOptions,
}

impl Preferring for Cpo {
    type Model = Pretrained;

    const METRICS: &'static [Metric] = PAIRS;

    fn losses(
        &self,
        model: &Pretrained,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total) {
        let CpoOptions { beta, loss_type, label_smoothing: e, cpo_alpha, simpo_gamma, alpha } =
            self.options;
        let answers = batch.lengths.len();
        let policy = LogProbs::of(model, &batch.answers, answers, seen.forward);
        let by_token = matches!(loss_type, CpoLoss::Ipo | CpoLoss::Simpo);
        let found = if by_token { policy.means() } else { policy.sums(None) };
        let rewards = match alpha {
            0.0 => found.clone(),
            _ => (1.0 - (&found * -alpha).exp()) * (1.0 / alpha),
        };
        let [chosen, rejected] = both(&rewards);
        let d = chosen - rejected;
        let smooth = |x: Tensor| x.log_sigmoid() * (e - 1.0) - (-&x).log_sigmoid() * e;
        let losses = match loss_type {
            CpoLoss::Sigmoid => smooth(d * beta),
            CpoLoss::Simpo => smooth((d - simpo_gamma / beta) * beta),
            CpoLoss::Hinge => (1.0 - d * beta).relu(),
            CpoLoss::Ipo => (d - 1.0 / (2.0 * beta)).square(),
        };
        let nats = policy.chosen_nats();
        let rewards: Vec<f64> = rewards.to_f64_vec().iter().map(|r| beta * r).collect();
        seen.figures.add_pairs(halves(&rewards), halves(&found.to_f64_vec()));
        seen.figures.add("nll_loss", &[if cpo_alpha == 0.0 { 0.0 } else { nats.item() }]);
        let losses = if cpo_alpha == 0.0 {
            losses
        } else {
            losses + &(nats * cpo_alpha) + &Tensor::zeros([answers / 2], DType::F64)
        };
        (losses, policy.total())
    }
}
