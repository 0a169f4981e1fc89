//! The losses of direct preference optimization: a line each, under TRL's names.

use std::f64::consts::LN_2;

use rappel_config::{Checked, ConfigError, Kind, OptionValue, Place, Words, suggest};
use rappel_tensor::{DType, Tensor};
use toml::Value;

use super::dpo::DpoOptions;

/// A loss of pairs, with `h = ln(policy / reference)` of an answer, `f` what the divergence makes of it (`h`, unless another one
/// is given), and `d = f_chosen - f_rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub(crate) enum DpoLoss {
    /// `-ln sigmoid(beta d)` (Rafailov et al., <https://arxiv.org/abs/2305.18290>).
    Sigmoid,
    /// `max(0, 1 - beta d)` (Zhao et al., <https://arxiv.org/abs/2305.10425>).
    Hinge,
    /// `(d - 1 / (2 beta))^2` of means over tokens (Azar et al., <https://arxiv.org/abs/2310.12036>).
    Ipo,
    /// The divergence of `sigmoid(beta d)` from `1 - label_smoothing` (Ji et al., <https://arxiv.org/abs/2402.00856>).
    ExoPair,
    /// Noise contrastive alignment (Chen et al., <https://arxiv.org/abs/2402.05369>).
    NcaPair,
    /// What `sigmoid` would be without flipped labels, of which there is a share label_smoothing (Chowdhury et al.,
    /// <https://arxiv.org/abs/2403.00409>).
    Robust,
    /// `-ln sigmoid(beta h_chosen) - ln sigmoid(-beta h_rejected)` (Jung et al., <https://arxiv.org/abs/2404.04656>).
    BcoPair,
    /// `(h_chosen - 1 / (2 beta))^2 + (h_rejected + 1 / (2 beta))^2` (Wu et al., <https://arxiv.org/abs/2405.00675>).
    SppoHard,
    /// Differences of the pairs, sorted, against the reference's, sorted (Melnyk et al., <https://arxiv.org/abs/2406.05882>).
    Aot,
    /// The same of the ratios of chosen answers, sorted, against those of rejected ones, sorted.
    AotUnpaired,
    /// `1 - sigmoid(beta h_chosen) + sigmoid(beta h_rejected)` (D'Oosterlinck et al., <https://arxiv.org/abs/2408.06266>).
    ApoZero,
    /// `sigmoid(beta h_chosen) + 1 - sigmoid(beta (h_chosen - h_rejected))`.
    ApoDown,
    /// A blend of `-ln sigmoid(beta d)` and `exp(-beta d)` (Lu et al., <https://arxiv.org/abs/2406.08414>).
    Discopop,
    /// `-ln p` of the chosen answers, by token.
    Sft,
    /// `sigmoid` of means over tokens.
    SigmoidNorm,
}

/// Which divergence keeps the policy near the reference (Wang et al., <https://arxiv.org/abs/2309.16240>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub(crate) enum FDivergence {
    /// `f = h`.
    ReverseKl,
    /// `f = 1 - exp(-h)`.
    ForwardKl,
    /// `f = ln 2 + ln sigmoid(h)`.
    JsDivergence,
    /// `f = (exp((a - 1) h) - 1) / (a - 1)`, with a = f_alpha_divergence_coef.
    AlphaDivergence,
}

/// Log-probabilities of a batch, `[pairs]` in double precision each.
pub(super) struct Pairs {
    /// Of the chosen and the rejected answers.
    pub policy: [Tensor; 2],
    pub reference: [Tensor; 2],
    /// Tokens of the answers.
    pub lengths: [Tensor; 2],
    /// The mean of `-ln p` over the tokens of the chosen answers.
    pub nats: Tensor,
}

fn sorted(values: &Tensor) -> Tensor {
    let numbers = values.to_f64_vec();
    let mut order: Vec<i64> = (0..numbers.len() as i64).collect();
    order.sort_by(|a, b| numbers[*a as usize].total_cmp(&numbers[*b as usize]));
    values.index_select(0, &Tensor::from_slice(&order, [order.len()]))
}

/// `exp` above this is no more in the reach of single precision, and TRL's values stay there.
const MOST_EXP: f64 = 80.0;

impl FDivergence {
    fn of(self, h: &Tensor, alpha: f64) -> Tensor {
        match self {
            Self::ReverseKl => h.clone(),
            Self::ForwardKl => 1.0 - (-h).exp(),
            Self::JsDivergence => h.log_sigmoid() + LN_2,
            Self::AlphaDivergence if (alpha - 1.0).abs() < 1e-6 => h.clone(),
            Self::AlphaDivergence => {
                let power = (h * (alpha - 1.0)).clamp(f64::NEG_INFINITY, MOST_EXP);
                (power.exp() - 1.0) * (1.0 / (alpha - 1.0))
            }
        }
    }
}

impl Pairs {
    /// `ln(policy / reference)` of the chosen and the rejected answers.
    pub fn ratios(&self) -> [Tensor; 2] {
        [0, 1].map(|i| &self.policy[i] - &self.reference[i])
    }

    /// What a loss is of each pair, `[pairs]`.
    pub fn loss(&self, loss: DpoLoss, options: &DpoOptions) -> Tensor {
        let DpoOptions { beta, label_smoothing: e, f_alpha_divergence_coef: alpha, .. } = *options;
        let [chosen, rejected] = self.ratios();
        let scores = [&chosen, &rejected].map(|h| options.f_divergence_type.of(h, alpha));
        let d = || &scores[0] - &scores[1];
        let by_token = || &scores[0] / &self.lengths[0] - &scores[1] / &self.lengths[1];
        let smooth = |x: Tensor| {
            let x = x * beta;
            x.log_sigmoid() * (e - 1.0) - (-&x).log_sigmoid() * e
        };
        let log = |x: &Tensor| (x * beta).log_sigmoid();
        let sigmoid = |x: &Tensor| (x * beta).sigmoid();
        match loss {
            DpoLoss::Sigmoid => -log(&d()),
            DpoLoss::SigmoidNorm => -log(&by_token()),
            DpoLoss::Hinge => (1.0 - d() * beta).relu(),
            DpoLoss::Ipo => (by_token() - 1.0 / (2.0 * beta)).square(),
            DpoLoss::ExoPair => {
                let d = d();
                let (right, wrong) = (sigmoid(&d), sigmoid(&-&d));
                right * (log(&d) - (-e).ln_1p()) + wrong * (log(&-&d) - e.ln())
            }
            DpoLoss::NcaPair => -log(&chosen) - log(&-&chosen) * 0.5 - log(&-&rejected) * 0.5,
            DpoLoss::Robust => {
                let d = d();
                (log(&d) * (e - 1.0) + log(&-&d) * e) * (1.0 / (1.0 - 2.0 * e))
            }
            DpoLoss::BcoPair => -log(&chosen) - log(&-&rejected),
            DpoLoss::SppoHard => (chosen - 0.5 / beta).square() + (rejected + 0.5 / beta).square(),
            DpoLoss::Aot => {
                let of = |values: &[Tensor; 2]| sorted(&(&values[0] - &values[1]));
                smooth(of(&self.policy) - of(&self.reference))
            }
            DpoLoss::AotUnpaired => smooth(sorted(&chosen) - sorted(&rejected)),
            DpoLoss::ApoZero => 1.0 - sigmoid(&chosen) + sigmoid(&rejected),
            DpoLoss::ApoDown => sigmoid(&chosen) + 1.0 - sigmoid(&(&chosen - &rejected)),
            DpoLoss::Discopop => {
                let x = d() * beta;
                let share = (&x * (1.0 / options.discopop_tau)).sigmoid();
                -x.log_sigmoid() * (1.0 - &share) + (-&x).exp() * &share
            }
            DpoLoss::Sft => &self.nats + &Tensor::zeros([chosen.count()], DType::F64),
        }
    }
}

impl DpoLoss {
    /// Whether it is made of `d`, which other divergences change.
    pub fn takes_divergences(self) -> bool {
        matches!(
            self,
            Self::Sigmoid
                | Self::SigmoidNorm
                | Self::Hinge
                | Self::Ipo
                | Self::ExoPair
                | Self::Robust
                | Self::Discopop
                | Self::Sft
        )
    }
}

/// The losses of a run, whose weighted sum is descended; a config gives one or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LossTypes(pub Vec<DpoLoss>);

/// What other tools call losses, and what to say here.
const ELSEWHERE: [(&str, &str); 15] = [
    ("dpo", "loss_type = \"sigmoid\""),
    ("cdpo", "loss_type = \"robust\" with label_smoothing"),
    ("rso", "loss_type = \"hinge\""),
    ("slic", "loss_type = \"hinge\""),
    ("exo", "loss_type = \"exo_pair\""),
    ("nca", "loss_type = \"nca_pair\""),
    ("sppo", "loss_type = \"sppo_hard\""),
    ("aot_pair", "loss_type = \"aot\""),
    ("rpo", "loss_type = [\"sigmoid\", \"sft\"] with loss_weights"),
    ("kto", "task = \"kto\""),
    ("kto_pair", "task = \"kto\", which takes pairs, too"),
    ("orpo", "task = \"orpo\""),
    ("simpo", "task = \"simpo\""),
    ("cpo", "task = \"cpo\""),
    ("bco", "task = \"bco\", or loss_type = \"bco_pair\""),
];

fn word(given: &Value, place: &Place<'_>) -> Result<DpoLoss, ConfigError> {
    let Some(name) = given.as_str() else {
        return Err(place.invalid(format!("expected the name of a loss, got `{given}`")));
    };
    DpoLoss::by_word(name).ok_or_else(|| {
        let known = DpoLoss::WORDS.join(", ");
        let there = ELSEWHERE.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        let near = match there {
            Some((_, here)) => format!("; did you mean {here}?"),
            None => suggest(name, DpoLoss::WORDS.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?")),
        };
        place.invalid(format!("there is no loss `{name}`{near} (known: {known})"))
    })
}

impl OptionValue for LossTypes {
    const KIND: Kind = Kind::Raw;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        let value = Value::read(value, place)?;
        let one = std::slice::from_ref(&value);
        let items = value.as_array().map_or(one, Vec::as_slice);
        let all = items.iter().map(|item| word(item, place)).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return Err(place.invalid("an empty list; name at least one loss"));
        }
        Ok(Self(all))
    }

    fn write(&self) -> Option<Value> {
        Some(Value::Array(self.0.iter().map(|loss| loss.word().into()).collect()))
    }
}
