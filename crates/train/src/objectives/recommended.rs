//! Which items a user takes.

use std::sync::Arc;

use rappel_config::{InvalidOption, Options, Words};
use rappel_data::{
    Distribution, HeldOut, NegativeSampler, RecommendationBatch, RecommendationData,
};
use rappel_model::{TakenItems, Users};
use rappel_nn::Forward;
use rappel_regularize::{ActsOn, LossTerms};
use rappel_tensor::{
    CrossEntropy, DType, Tensor, concat, cross_entropy, linear_cross_entropy, no_grad,
};

use super::Objective;
use crate::models::RecommenderModel;
use crate::{Baseline, Metric, Observer, Pass, TrainError};

/// What a recommendation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Ranks {
    /// Of pairs of a taken item and one that was not.
    Bpr,
    /// Of each item by itself.
    Bce,
    /// Of a taken item among all.
    Softmax,
    /// Of a taken item among some that were not.
    SampledSoftmax,
    /// Of a taken item among those of the batch.
    InBatchSoftmax,
}

/// The section `loss` of the task `recommendation`.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct RecommendedOptions {
    /// bpr: -ln sigmoid(taken - not taken); bce: whether an item is taken; softmax: -ln p(taken) among all items;
    /// sampled_softmax: among `negatives`; in_batch_softmax: among the items of the batch; the last two without what
    /// items win by being drawn often
    #[option(default = Ranks::Bpr, aka("kind", "type", "loss_type"))]
    pub name: Ranks,
    /// items that the user did not take, drawn for each that was taken: of bpr, bce and sampled_softmax
    #[option(default = 1, range = 1..=65536, aka("sample_num", "neg_samples", "num_negatives"))]
    pub negatives: usize,
    /// how they are drawn
    #[option(default = Distribution::Uniform, aka("distribution"))]
    pub sampling: Distribution,
    /// power of the popularity by which they are drawn
    #[option(default = 1.0, range = 0.0..=4.0, aka("alpha"))]
    pub power: f64,
    /// so many are drawn for each, of which the one of the highest score is taken; 1: any
    #[option(default = 1, range = 1..=65536, aka("candidate_num", "dynamic"))]
    pub candidates: usize,
    /// what scores are divided by, of the three softmaxes
    #[option(default = 1.0, range = rappel_config::Range::above(0.0))]
    pub temperature: f64,
}

impl RecommendedOptions {
    fn check(&self) -> Result<(), InvalidOption> {
        let draws = matches!(self.name, Ranks::Bpr | Ranks::Bce | Ranks::SampledSoftmax);
        if !draws && (self.negatives > 1 || self.candidates > 1) {
            let key = if self.negatives > 1 { "negatives" } else { "candidates" };
            return Err(InvalidOption::new(key, "this loss draws none; leave it out"));
        }
        Ok(())
    }
}

/// The mean over interactions of what it costs to recommend them.
#[derive(Debug, Clone)]
pub struct Recommended {
    options: RecommendedOptions,
    /// Draws items that a user did not take in training.
    sampler: Arc<NegativeSampler>,
    /// The logarithm of the share of interactions that are of each item.
    log_popularity: Arc<Vec<f32>>,
    protocol: String,
    /// Of a model that is not trained by gradients: who took what.
    sweeps: Option<Arc<TakenItems>>,
}

/// States, each of a user, and the item that the user then took.
struct Taken {
    /// `[n, width]`.
    states: Tensor,
    users: Vec<u32>,
    items: Vec<u32>,
}

impl Recommended {
    /// Of what was taken in `training`; `protocol` says how it is split.
    pub(crate) fn new(
        options: RecommendedOptions,
        training: &RecommendationData,
        protocol: String,
    ) -> Self {
        let items = training.item_count();
        let of = |of, power| NegativeSampler::new(training.positives().clone(), items, of, power);
        let sampler = Arc::new(of(options.sampling, options.power));
        let log_popularity = of(Distribution::Popularity, 1.0).log_q().to_vec().into();
        Self { options, sampler, log_popularity, protocol, sweeps: None }
    }

    /// The same for a model that solves for its vectors by what was taken in `training`.
    pub(crate) fn sweeping(self, training: &RecommendationData) -> Self {
        let (users, items) = training.positives().pairs();
        let pairs: Vec<(u32, u32)> = users.into_iter().zip(items).collect();
        let sizes = [training.positives().users(), training.item_count()];
        Self { sweeps: Some(TakenItems::new(sizes, &pairs).into()), ..self }
    }

    fn taken(model: &RecommenderModel, batch: &RecommendationBatch, forward: &Forward) -> Taken {
        match batch {
            RecommendationBatch::Pairs { users, items, known } => {
                let histories: Vec<&[u32]> = users.iter().map(|u| known.of(*u as usize)).collect();
                let of = Users { ids: users, histories: &histories };
                let states = model.recommender().users(&of, forward);
                Taken { states, users: users.clone(), items: items.clone() }
            }
            RecommendationBatch::Sequences { users, items } => {
                let before: Vec<&[u32]> =
                    items.iter().map(|items| &items[..items.len() - 1]).collect();
                let states = model.recommender().states(&before, forward);
                let each = users.iter().zip(&before);
                Taken {
                    states,
                    users: each.flat_map(|(user, before)| before.iter().map(|_| *user)).collect(),
                    items: items.iter().flat_map(|items| &items[1..]).copied().collect(),
                }
            }
        }
    }

    /// The loss of what was taken, its sum over `denominator`.
    fn cost(
        &self,
        model: &RecommenderModel,
        taken: &Taken,
        denominator: f64,
        Pass { forward, terms }: &Pass,
    ) -> Tensor {
        if self.sweeps.is_some() {
            let items = ids(&taken.items, [taken.items.len(), 1]);
            let scores = model.recommender().scores(&taken.states, &items, forward);
            return (1.0 - scores).square().sum() / denominator;
        }
        let options = terms.cross_entropy(Some(denominator));
        let RecommendedOptions { name, temperature, .. } = self.options;
        let scaled =
            |scores: Tensor| if temperature == 1.0 { scores } else { scores / temperature };
        match name {
            Ranks::Softmax => among_all(model, taken, temperature, &options, forward),
            Ranks::InBatchSoftmax => {
                let ids = ids(&taken.items, [taken.items.len()]);
                let items = model.recommender().items(&ids, forward);
                let scores = taken.states.matmul(&items.vectors.t());
                let scores = scaled(items.bias.map_or(scores.clone(), |bias| scores + bias));
                let logits = scores + self.corrections(&taken.items, model.dtype());
                let targets = Tensor::arange(taken.items.len(), DType::I64);
                cross_entropy(&logits, &targets, &options)
            }
            Ranks::Bpr | Ranks::Bce | Ranks::SampledSoftmax => {
                let drawn = self.negatives(model, taken, forward);
                let scores = scores(model, taken, &drawn, forward);
                let count = scores.size(1) - 1;
                match name {
                    Ranks::Bpr => pairwise(&scores, denominator * count as f64),
                    Ranks::Bce => pointwise(&scores, denominator * (count + 1) as f64),
                    _ => {
                        let scores = scaled(scores) - self.log_q(taken, &drawn, model.dtype());
                        let targets = Tensor::zeros([taken.items.len()], DType::I64);
                        cross_entropy(&scores, &targets, &options)
                    }
                }
            }
        }
    }

    /// Items that the users did not take, `negatives` for each state.
    fn negatives(&self, model: &RecommenderModel, taken: &Taken, forward: &Forward) -> Vec<u32> {
        let RecommendedOptions { negatives, candidates, .. } = self.options;
        let key = forward.key.with_name("negatives");
        let drawn = self.sampler.draw(key, &taken.users, negatives * candidates);
        if candidates == 1 {
            return drawn;
        }
        let best = no_grad(|| {
            let ids = ids(&drawn, [taken.users.len(), negatives * candidates]);
            let scores = model.recommender().scores(&taken.states.detach(), &ids, forward);
            scores.reshape([taken.users.len() * negatives, candidates]).argmax(1).to_vec::<i64>()
        });
        best.iter().enumerate().map(|(i, at)| drawn[i * candidates + *at as usize]).collect()
    }

    /// The logarithm of the probability with which each item is drawn, `[n, 1 + negatives]`.
    fn log_q(&self, taken: &Taken, drawn: &[u32], dtype: DType) -> Tensor {
        let log_q = self.sampler.log_q();
        let count = drawn.len() / taken.items.len();
        let of = |(item, drawn): (&u32, &[u32])| {
            [*item].iter().chain(drawn).map(|item| log_q[*item as usize]).collect::<Vec<_>>()
        };
        let rows: Vec<f32> = taken.items.iter().zip(drawn.chunks(count)).flat_map(of).collect();
        Tensor::from_slice(&rows, [taken.items.len(), 1 + count]).to_dtype(dtype)
    }

    /// What is added to the scores `[n, n]` of the items of a batch: less for the popular, and nothing is left of an item
    /// that is the one taken in another place.
    fn corrections(&self, items: &[u32], dtype: DType) -> Tensor {
        const LEFT_OUT: f32 = -1e9;
        let mut rows = Vec::with_capacity(items.len() * items.len());
        for (row, taken) in items.iter().enumerate() {
            for (column, item) in items.iter().enumerate() {
                let again = row != column && item == taken;
                rows.push(if again { LEFT_OUT } else { -self.log_popularity[*item as usize] });
            }
        }
        Tensor::from_slice(&rows, [items.len(), items.len()]).to_dtype(dtype)
    }
}

fn ids<const N: usize>(of: &[u32], shape: [usize; N]) -> Tensor {
    let ids: Vec<i64> = of.iter().map(|id| i64::from(*id)).collect();
    Tensor::from_slice(&ids, shape)
}

/// Scores `[n, 1 + negatives]` of the item that was taken and of those that were not.
fn scores(model: &RecommenderModel, taken: &Taken, drawn: &[u32], forward: &Forward) -> Tensor {
    let (rows, count) = (taken.items.len(), drawn.len() / taken.items.len());
    let mut all = Vec::with_capacity(rows + drawn.len());
    for (item, drawn) in taken.items.iter().zip(drawn.chunks(count)) {
        all.push(*item);
        all.extend_from_slice(drawn);
    }
    model.recommender().scores(&taken.states, &ids(&all, [rows, 1 + count]), forward)
}

/// `-ln sigmoid(taken - not taken)` of all pairs.
fn pairwise(scores: &Tensor, denominator: f64) -> Tensor {
    let count = scores.size(1) - 1;
    let taken = scores.narrow(1, 0, 1);
    log_sigmoids(&(taken - scores.narrow(1, 1, count))) / -denominator
}

/// `-ln sigmoid(score)` of what was taken, `-ln (1 - sigmoid(score))` of what was not.
fn pointwise(scores: &Tensor, denominator: f64) -> Tensor {
    let taken = log_sigmoids(&scores.narrow(1, 0, 1));
    let others = log_sigmoids(&-scores.narrow(1, 1, scores.size(1) - 1));
    (taken + others) / -denominator
}

/// The sum of `ln sigmoid`.
fn log_sigmoids(of: &Tensor) -> Tensor {
    of.to_dtype(of.dtype().accumulator()).log_sigmoid().sum()
}

/// The cross-entropy of what was taken among all items, whose scores are never in memory whole.
fn among_all(
    model: &RecommenderModel,
    taken: &Taken,
    temperature: f64,
    options: &CrossEntropy,
    forward: &Forward,
) -> Tensor {
    let items = model.recommender().all_items(forward);
    let targets = ids(&taken.items, [taken.items.len()]);
    let states = &taken.states;
    let states = if temperature == 1.0 { states.clone() } else { states / temperature };
    let Some(bias) = items.bias else {
        return linear_cross_entropy(&states, &items.vectors, &targets, options);
    };
    // What an item adds is a number more of its vector.
    let bias = bias.reshape([bias.count(), 1]) / temperature;
    let one = Tensor::ones([states.size(0), 1], states.dtype());
    let (states, vectors) = (concat(&[&states, &one], 1), concat(&[&items.vectors, &bias], 1));
    linear_cross_entropy(&states, &vectors, &targets, options)
}

impl Objective for Recommended {
    type Data = RecommendationData;
    type Model = RecommenderModel;

    fn loss(
        &self,
        model: &RecommenderModel,
        batch: &RecommendationBatch,
        weight: f64,
        pass: &Pass,
    ) -> Tensor {
        self.cost(model, &Self::taken(model, batch, &pass.forward), weight, pass)
    }

    fn solve(&self, model: &mut RecommenderModel, _: &RecommendationData) -> Option<f64> {
        model.sweep(self.sweeps.as_ref()?)
    }

    fn metrics(&self, model: &RecommenderModel) -> &'static [Metric] {
        model.metrics()
    }

    fn evaluate(
        &self,
        model: &RecommenderModel,
        held_out: &HeldOut<RecommendationData>,
    ) -> Vec<f64> {
        let weight = held_out.samples().len() as f64;
        let pass = Pass { terms: LossTerms::default(), ..Pass::evaluation() };
        let loss = |(number, batch): (usize, RecommendationBatch)| {
            let forward = pass.forward.number(number);
            self.loss(model, &batch, weight, &Pass { forward, ..pass }).item()
        };
        let loss = no_grad(|| held_out.batches().enumerate().map(loss).sum());
        [vec![loss], model.measure(held_out.data())].concat()
    }

    fn protocol(&self, model: &RecommenderModel) -> Option<String> {
        let ranked = model.evaluation().describe(model.catalogue().items.len());
        Some(format!("{ranked}; {}", self.protocol))
    }

    fn activation_bytes(
        &self,
        model: &RecommenderModel,
        _: &RecommendationData,
        samples: usize,
        _: bool,
    ) -> usize {
        let scored = match self.options.name {
            Ranks::Softmax => 1,
            Ranks::InBatchSoftmax => samples,
            _ => 1 + self.options.negatives * self.options.candidates,
        };
        model.activation_bytes(scored).saturating_mul(samples)
    }

    fn honours(&self, model: &RecommenderModel, on: ActsOn) -> Result<(), &'static str> {
        let recommender = model.recommender();
        let is_softmax = !matches!(self.options.name, Ranks::Bpr | Ranks::Bce);
        match on {
            ActsOn::DropoutLayers if !recommender.has_dropout() => {
                Err("the model has no dropout layer; leave it out")
            }
            ActsOn::AttentionWeights | ActsOn::Residuals | ActsOn::Embeddings
                if !recommender.reads_histories() =>
            {
                Err("the model has nothing that it could act on; leave it out")
            }
            ActsOn::Samples => Err("interactions cannot be mixed; leave it out"),
            ActsOn::Targets if !is_softmax => {
                Err("acts on a softmax; set loss.name to one, or leave it out")
            }
            ActsOn::Logits => Err("acts on logits of classes; leave it out"),
            _ => Ok(()),
        }
    }

    fn activations(
        &self,
        model: &RecommenderModel,
        batch: &RecommendationBatch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        Some(("the vectors of users", Self::taken(model, batch, forward).states))
    }

    /// The items that were taken most, whoever asks.
    fn baseline(
        &self,
        model: &RecommenderModel,
        _: &RecommendationData,
        held_out: &HeldOut<RecommendationData>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        let values = model.measure_popularity(held_out.data());
        let values = model.metrics()[1..].iter().copied().zip(values).collect();
        Ok(Some(Baseline { name: "popularity", values }))
    }
}
