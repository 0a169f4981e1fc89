//! How likely a model holds the answers of a batch.

use rappel_data::SftBatch;
use rappel_nn::Forward;
use rappel_tensor::{DType, Tensor, no_grad};

use crate::models::{Pretrained, inputs};

/// `ln p` of each token of a batch's answers, in double precision.
pub(crate) struct LogProbs {
    /// `[tokens]`, 0 where a token is not one of an answer.
    pub tokens: Tensor,
    /// What the model computes in.
    pub dtype: DType,
    /// The model's own loss, such as that of experts.
    pub auxiliary: Option<Tensor>,
    /// `[tokens]`: whether a token is one of an answer.
    mask: Vec<bool>,
    /// `[tokens]`: the answer, counted from 0.
    of: Vec<i64>,
    answers: usize,
}

impl LogProbs {
    /// Those of a pass through `model`, for `answers` answers.
    pub fn of(model: &Pretrained, batch: &SftBatch, answers: usize, forward: &Forward) -> Self {
        let (ids, documents) = inputs(batch);
        let output = model.model().output(&ids, Some(&documents), forward);
        let targets = Tensor::from_slice(&batch.targets, [batch.targets.len()]);
        let tokens = model.model().head().log_probs(&output.hidden.squeeze(0), &targets);
        Self {
            dtype: tokens.dtype(),
            tokens: tokens.to_dtype(DType::F64),
            auxiliary: output.auxiliary,
            mask: batch.weights.iter().map(|weight| *weight > 0.0).collect(),
            of: batch.segment_ids.clone(),
            answers,
        }
    }

    /// The sum of each answer's, `[answers]`; tokens count `weights` times, where there are any.
    pub fn sums(&self, weights: Option<&[f64]>) -> Tensor {
        let zeros = Tensor::zeros([self.answers], DType::F64);
        let of = Tensor::from_slice(&self.of, [self.of.len()]);
        match weights {
            None => zeros.scatter_add(0, &of, &self.tokens),
            Some(weights) => {
                let weights = Tensor::from_slice(weights, [weights.len()]);
                zeros.scatter_add(0, &of, &(&self.tokens * &weights))
            }
        }
    }

    /// The mean of `-ln p` over the tokens of the chosen answers.
    pub fn chosen_nats(&self) -> Tensor {
        let counts = self.counts();
        let chosen = counts.len() / 2;
        let tokens: usize = counts[..chosen].iter().sum();
        self.sums(None).narrow(0, 0, chosen).sum() * (-1.0 / tokens.max(1) as f64)
    }

    /// The mean of each answer's over its tokens, `[answers]`.
    pub fn means(&self) -> Tensor {
        let counts: Vec<f64> = self.counts().iter().map(|count| (*count).max(1) as f64).collect();
        self.sums(None) / Tensor::from_slice(&counts, [counts.len()])
    }

    /// The same over the tokens whose `weights` are 1, where others are 0.
    pub fn means_of(&self, weights: &[f64]) -> Tensor {
        let mut counts = vec![0.0; self.answers];
        self.of.iter().zip(weights).for_each(|(of, weight)| counts[*of as usize] += weight);
        let counts: Vec<f64> = counts.into_iter().map(|count: f64| count.max(1.0)).collect();
        self.sums(Some(weights)) / Tensor::from_slice(&counts, [self.answers])
    }

    /// How the losses of its samples become one.
    pub fn total(self) -> Total {
        Total { dtype: self.dtype, auxiliary: self.auxiliary }
    }

    /// How many tokens of each answer are predicted.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.answers];
        for (of, _) in self.of.iter().zip(&self.mask).filter(|(_, is)| **is) {
            counts[*of as usize] += 1;
        }
        counts
    }

    /// Weights of tokens by `weight(answer, place)`, the place counted from 1 in the answer.
    pub fn weights(&self, weight: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let mut places = vec![0; self.answers];
        let of = |(of, is): (&i64, &bool)| {
            let answer = *of as usize;
            if !is {
                return 0.0;
            }
            places[answer] += 1;
            weight(answer, places[answer])
        };
        self.of.iter().zip(&self.mask).map(of).collect()
    }
}

/// How losses become one.
pub(crate) struct Total {
    dtype: DType,
    auxiliary: Option<Tensor>,
}

impl Total {
    /// Losses of a model that computes in `dtype`, and has `auxiliary` for its own.
    pub fn new(dtype: DType, auxiliary: Option<Tensor>) -> Self {
        Self { dtype, auxiliary }
    }

    /// The sum of losses `[samples]` over `weight`, and with them the model's own.
    pub fn of(self, losses: &Tensor, weight: f64) -> Tensor {
        let loss = losses.sum() * (1.0 / weight);
        let share = losses.count() as f64 / weight;
        let loss = match self.auxiliary {
            Some(auxiliary) => loss + auxiliary.to_dtype(DType::F64) * share,
            None => loss,
        };
        loss.to_dtype(self.dtype)
    }
}

/// The sum over all tokens of each answer, without gradients.
pub(super) fn frozen_sums(
    model: &Pretrained,
    batch: &SftBatch,
    answers: usize,
    forward: &Forward,
    weights: Option<&[f64]>,
) -> Vec<f64> {
    no_grad(|| LogProbs::of(model, batch, answers, forward).sums(weights).to_f64_vec())
}
