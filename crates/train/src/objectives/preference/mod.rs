//! Learning from preferences: what answers cost by themselves, beside others, and beside a reference.

mod bco;
mod cpo;
mod doubts;
mod dpo;
mod dpo_loss;
mod figures;
mod kto;
mod log_probs;
mod orpo;
mod preferred;
mod reference;
mod reward;

pub(crate) use bco::{Bco, BcoOptions};
pub(crate) use cpo::{Cpo, CpoOptions, SimpoOptions};
pub(crate) use dpo::{Dpo, DpoOptions};
pub(crate) use kto::{Kto, KtoLoss, KtoOptions};
pub(crate) use orpo::{Orpo, OrpoOptions};
pub(crate) use preferred::{Preferred, Preferring};
pub(crate) use reference::{Computed, Reference, ReferenceOptions};
pub(crate) use reward::{Reward, RewardOptions};
