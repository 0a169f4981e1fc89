//! Arithmetic modulo a number, learned from a part of its table.

use std::path::Path;

use rappel_data::{Drawing, Order, Permutation};
use rappel_model::{ARCHITECTURES, LanguageModel, activation_bytes, save_pretrained};
use rappel_nn::{Forward, Output, regularized_cross_entropy};
use rappel_registry::{ConfigError, Field, Kind, OptionSet, Options, Range, count, joined};
use rappel_tensor::{CrossEntropy, Params, Tensor, cross_entropy, no_grad};

use super::{Task, TaskEntry};
use crate::{Baseline, Config, Metric, Observer, Pass, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "modular_arithmetic",
    summary: "a op b modulo p from a part of all pairs: where grokking is seen",
    reference: "Power et al., Grokking, https://arxiv.org/abs/2201.02177",
    fields: &[
        Field::new("data", Kind::Table(DATA), "{}", "which table, and how much of it is shown"),
        Field::required("model", Kind::Section(&ARCHITECTURES), "what learns"),
    ],
    build,
};

const LISTS: &[&[Field]] = &[OWN, Drawing::FIELDS];
const DATA: &[Field] = &joined::<{ count(LISTS) }>(LISTS);

const OWN: &[Field] = &[
    Field::new("modulus", Kind::Int { min: 2, max: 1 << 12 }, "97", "p: a and b are in 0..p")
        .aka(&["p", "prime"]),
    Field::new(
        "operation",
        Kind::OneOf(&["+", "-", "*", "/"]),
        "\"+\"",
        "what a and b come to, modulo p; `/` wants a prime, and leaves b = 0 out",
    ),
    Field::new(
        "train_fraction",
        Kind::Float(Range::above(0.0).below(1.0)),
        "0.5",
        "share of the pairs that is trained on; the others are for validation",
    ),
];

/// A pair and the equals sign.
const TIME: usize = 3;

/// Pairs of a validation pass.
const VALIDATED: usize = 1024;

/// Examples that are shown at the end.
const SHOWN: usize = 4;

/// A model that learns a table.
struct Table {
    model: Box<dyn LanguageModel>,
    params: Params,
    facts: Facts,
    order: Order,
    /// Forward passes of one step.
    parts: usize,
    seed: u64,
}

/// All pairs with their results, those that are trained on first.
struct Facts {
    modulus: usize,
    operation: String,
    all: Vec<[i64; 3]>,
    trained: usize,
}

fn build(config: &Config, _: &mut dyn Observer) -> Result<(Box<dyn Task>, Config), TrainError> {
    let (data, section) = (config.section("data"), config.section("model"));
    let facts = Facts::new(data, config.seed())?;
    let architecture = ARCHITECTURES.lookup_at("model.name", section.str("name"))?.build;
    let sizes = (architecture.configure)(section, Some(facts.modulus + 1))?;
    if sizes.max_positions() < TIME {
        let reason = format!("`a b =` takes {TIME} positions; raise it");
        return Err(section.invalid("n_positions", reason).into());
    }
    let order = config.order(facts.trained)?;
    let completed = config.with("model", "vocab_size", sizes.vocab_size() as i64)?;
    let mut params = config.params(sizes.dtype())?;
    let model = sizes.build(&mut params);
    let parts = config.run().train.gradient_accumulation_steps;
    let task = Table { model, params, facts, order, parts, seed: config.seed() };
    Ok((Box::new(task), completed))
}

impl Facts {
    fn new(data: &Options, seed: u64) -> Result<Self, ConfigError> {
        let (modulus, operation) = (data.usize("modulus"), data.str("operation"));
        let is_prime =
            (2..modulus).take_while(|k| k * k <= modulus).all(|k| !modulus.is_multiple_of(k));
        if operation == "/" && !is_prime {
            let reason = format!("{modulus} is no prime, so not everything can be divided by");
            return Err(data.invalid("modulus", reason));
        }
        let mut all: Vec<[i64; 3]> = Vec::with_capacity(modulus * modulus);
        for (a, b) in (0..modulus).flat_map(|a| (0..modulus).map(move |b| (a, b))) {
            let result = match operation {
                "+" => a + b,
                "-" => a + modulus - b,
                "*" => a * b,
                // a = result b: listed by the result, so that nothing has to be inverted.
                _ if b == 0 => continue,
                _ => {
                    all.push([a * b % modulus, b, a].map(|n| n as i64));
                    continue;
                }
            };
            all.push([a, b, result % modulus].map(|n| n as i64));
        }
        // With a b known, b a is no question any more: both go to the same side.
        let mirrored = matches!(operation, "+" | "*");
        let twin = |[a, b, _]: &[i64; 3]| if mirrored { (*a.min(b), *a.max(b)) } else { (*a, *b) };
        let places = Permutation::new(modulus * modulus, seed);
        all.sort_by_cached_key(|fact| {
            let (a, b) = twin(fact);
            places.at(a as usize * modulus + b as usize)
        });
        let mut trained = (data.f64("train_fraction") * all.len() as f64).round() as usize;
        if (1..all.len()).contains(&trained) && twin(&all[trained - 1]) == twin(&all[trained]) {
            trained += 1;
        }
        if trained == 0 || trained == all.len() {
            let reason =
                format!("that is {trained} of {} pairs; leave some for each side", all.len());
            return Err(data.invalid("train_fraction", reason));
        }
        Ok(Self { modulus, operation: operation.to_owned(), all, trained })
    }

    fn validation(&self) -> &[[i64; 3]] {
        &self.all[self.trained..]
    }

    /// Input ids `[batch, 3]` of pairs, and their results `[batch]`.
    fn tensors(&self, facts: &[[i64; 3]]) -> [Tensor; 2] {
        let equals = self.modulus as i64;
        let ids: Vec<i64> = facts.iter().flat_map(|[a, b, _]| [*a, *b, equals]).collect();
        let results: Vec<i64> = facts.iter().map(|[.., result]| *result).collect();
        [Tensor::from_slice(&ids, [facts.len(), TIME]), Tensor::from_slice(&results, facts.len())]
    }
}

impl Table {
    /// What the head reads of the equals sign, `[batch, width]`.
    fn last(&self, ids: &Tensor, forward: &Forward) -> Output {
        let Output { hidden, auxiliary } = self.model.output(ids, None, forward);
        Output { hidden: hidden.narrow(1, TIME - 1, 1).squeeze(1), auxiliary }
    }

    /// Logits `[batch, p + 1]` and results of pairs.
    fn answers(&self, facts: &[[i64; 3]], forward: &Forward) -> [Tensor; 2] {
        let [ids, results] = self.facts.tensors(facts);
        [self.model.head().logits(&self.last(&ids, forward).hidden), results]
    }

    fn part(&self, pass: &Pass) -> Vec<[i64; 3]> {
        self.order
            .part(pass.step, pass.part, self.parts)
            .into_iter()
            .map(|i| self.facts.all[i])
            .collect()
    }
}

impl Task for Table {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn order(&self) -> &Order {
        &self.order
    }

    fn fingerprint(&self) -> String {
        let Facts { modulus, operation, trained, .. } = &self.facts;
        format!("a {operation} b mod {modulus}, {trained} trained, seed {}", self.seed)
    }

    fn describe(&self) -> String {
        let Facts { modulus, operation, trained, .. } = &self.facts;
        let rest = self.facts.validation().len();
        format!("a {operation} b mod {modulus}: {trained} pairs to train on, {rest} to validate")
    }

    fn unit(&self) -> &'static str {
        "pairs"
    }

    fn units(&self, step: u64) -> usize {
        self.order.batch_size(step)
    }

    fn activation_bytes(&self, samples: usize, r_drop: bool) -> usize {
        activation_bytes(self.model.config(), &self.params, samples.saturating_mul(TIME), r_drop)
    }

    fn loss(&self, pass: &Pass) -> Option<Tensor> {
        let facts = self.part(pass);
        let denominator = Some(self.order.batch_size(pass.step) as f64);
        (!facts.is_empty()).then(|| {
            let ([ids, results], head) = (self.facts.tensors(&facts), self.model.head());
            let last = |forward: &Forward| self.last(&ids, forward);
            let Pass { terms, forward, .. } = pass;
            regularized_cross_entropy(last, Some(&head), &results, denominator, terms, forward)
        })
    }

    fn honours(&self, _: &str) -> Result<(), &'static str> {
        Ok(())
    }

    fn metrics(&self) -> &'static [Metric] {
        &[
            Metric { name: "loss", unit: "nats", greater_is_better: false },
            Metric { name: "accuracy", unit: "", greater_is_better: true },
        ]
    }

    fn validates(&self) -> bool {
        true
    }

    fn validate(&self) -> Option<Vec<f64>> {
        let facts = self.facts.validation();
        let total = facts.len() as f64;
        let options = CrossEntropy { denominator: Some(total), ..CrossEntropy::default() };
        let of = |facts: &[[i64; 3]]| {
            let [logits, results] = self.answers(facts, &Forward::evaluation());
            let said = logits.argmax(1).to_vec::<i64>();
            let right = said.iter().zip(results.to_vec::<i64>()).filter(|(a, b)| **a == *b).count();
            [cross_entropy(&logits, &results, &options).item(), right as f64 / total]
        };
        let sums = no_grad(|| {
            facts.chunks(VALIDATED).map(of).fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d])
        });
        Some(sums.to_vec())
    }

    fn first_non_finite_activation(&self, passes: &[Pass]) -> Option<String> {
        let place = |pass: &Pass| {
            let [ids, _] = self.facts.tensors(&self.part(pass));
            self.last(&ids, &pass.forward).hidden.first_non_finite()
        };
        let place = no_grad(|| passes.iter().find_map(place))?;
        Some(format!("the hidden states that the head reads, at {place}"))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(save_pretrained(folder, self.model.as_ref(), &self.params, &[])?)
    }

    fn baseline(&self, _: &mut dyn Observer) -> Result<Option<Baseline>, TrainError> {
        Ok(Some(Baseline { name: "chance", loss: (self.facts.modulus as f64).ln() }))
    }

    fn sample(&self, _: &mut dyn Observer) -> Result<Option<String>, TrainError> {
        let Facts { modulus, operation, .. } = &self.facts;
        let facts = self.facts.validation();
        let facts = &facts[..facts.len().min(SHOWN)];
        let [logits, _] = no_grad(|| self.answers(facts, &Forward::evaluation()));
        let line = |([a, b, result], said): (&[i64; 3], i64)| {
            let verdict = if said == *result { "right" } else { "wrong" };
            format!("{a} {operation} {b} = {said} (mod {modulus}), which is {verdict}")
        };
        let said = logits.argmax(1).to_vec::<i64>();
        let lines: Vec<_> = facts.iter().zip(said).map(line).collect();
        Ok(Some(lines.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use rappel_registry::resolve;

    use super::*;

    fn facts(section: &str) -> Result<Facts, ConfigError> {
        let options = resolve("data", DATA, &toml::from_str(section).unwrap())?;
        Facts::new(&options, 3)
    }

    #[test]
    fn each_pair_is_there_once_with_its_result() {
        for (operation, of) in [
            ("+", (|a, b| (a + b) % 11) as fn(i64, i64) -> i64),
            ("-", |a, b| (a - b).rem_euclid(11)),
            ("*", |a, b| a * b % 11),
            ("/", |a, b| (0..11).find(|c| c * b % 11 == a).unwrap()),
        ] {
            let mut all = facts(&format!("modulus = 11\noperation = '{operation}'")).unwrap().all;
            assert!(all.iter().all(|[a, b, c]| *c == of(*a, *b)), "{operation}");
            all.sort_unstable();
            all.dedup_by_key(|[a, b, _]| (*a, *b));
            assert_eq!(all.len(), if operation == "/" { 110 } else { 121 });
        }
    }

    #[test]
    fn what_commutes_is_never_validated_by_its_mirror() {
        for operation in ["+", "*"] {
            for fraction in [0.1, 0.33, 0.5, 0.77] {
                let section =
                    format!("modulus = 13\noperation = '{operation}'\ntrain_fraction = {fraction}");
                let facts = facts(&section).unwrap();
                let trained = &facts.all[..facts.trained];
                assert!(facts.trained.abs_diff((fraction * 169.0_f64).round() as usize) <= 1);
                let mirrored = |[a, b, c]: &[i64; 3]| trained.contains(&[*b, *a, *c]);
                assert!(!facts.validation().iter().any(mirrored));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let told = |section| facts(section).err().unwrap().to_string();
        assert!(told("modulus = 12\noperation = '/'").contains("`data.modulus`: 12 is no prime"));
        assert!(told("modulus = 2\ntrain_fraction = 0.01").contains("0 of 4 pairs"));
        assert!(told("operation = '^'").contains("`data.operation`"));
    }
}
