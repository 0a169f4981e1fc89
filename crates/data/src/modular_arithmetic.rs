//! All pairs of numbers with their sum, difference, product or quotient modulo a number.

use rappel_config::{ConfigError, Options, Range, Words};

use crate::{Dataset, Drawing, Permutation};

/// What is done with two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Operation {
    /// `a + b`
    #[word("+")]
    Add,
    /// `a - b`
    #[word("-")]
    Subtract,
    /// `a b`
    #[word("*")]
    Multiply,
    /// `a / b`: the number that times `b` is `a`.
    #[word("/")]
    Divide,
}

/// The section `data` of a config that learns arithmetic.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct ModularArithmeticOptions {
    /// p: a and b are in 0..p
    #[option(default = 97, range = 2..=4096, aka("p", "prime"))]
    pub modulus: usize,
    /// computed of a and b, modulo p; `/` needs a prime, and leaves b = 0 out
    #[option(default = Operation::Add)]
    pub operation: Operation,
    /// share of the pairs that is trained on; the others are for validation
    #[option(default = 0.5, range = Range::above(0.0).below(1.0))]
    pub train_fraction: f64,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

/// Pairs of numbers below `p` with their results, as sequences of three tokens: `a`, `b` and the equals
/// sign, which is `p`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModularArithmetic {
    modulus: usize,
    operation: Operation,
    /// `a`, `b` and the result.
    facts: Vec<[i64; 3]>,
    fingerprint: String,
}

/// Pairs that a forward pass reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// `[batch, 3]`
    pub input_ids: Vec<i64>,
    /// `[batch]`
    pub results: Vec<i64>,
}

impl Pairs {
    /// Tokens of a pair.
    pub const TIME: usize = 3;
}

impl ModularArithmetic {
    /// Both sides, those trained on first, as the options say.
    ///
    /// # Errors
    /// Division modulo a number that is not prime; a share that leaves nothing for one side.
    pub fn sides(options: &ModularArithmeticOptions, seed: u64) -> Result<[Self; 2], ConfigError> {
        let ModularArithmeticOptions { modulus, operation, train_fraction, .. } = *options;
        let is_prime =
            (2..modulus).take_while(|k| k * k <= modulus).all(|k| !modulus.is_multiple_of(k));
        if operation == Operation::Divide && !is_prime {
            let reason = format!("{modulus} is not prime, so not every number can be divided by");
            return Err(ConfigError::invalid("data.modulus", reason));
        }
        let mut all: Vec<[i64; 3]> = Vec::with_capacity(modulus * modulus);
        for (a, b) in (0..modulus).flat_map(|a| (0..modulus).map(move |b| (a, b))) {
            let result = match operation {
                Operation::Add => a + b,
                Operation::Subtract => a + modulus - b,
                Operation::Multiply => a * b,
                // a = result b: listed by the result, so that nothing has to be inverted.
                Operation::Divide if b == 0 => continue,
                Operation::Divide => {
                    all.push([a * b % modulus, b, a].map(|n| n as i64));
                    continue;
                }
            };
            all.push([a, b, result % modulus].map(|n| n as i64));
        }
        // With a b known, b a is no question any more: both go to the same side.
        let mirrored = matches!(operation, Operation::Add | Operation::Multiply);
        let twin = |[a, b, _]: &[i64; 3]| if mirrored { (*a.min(b), *a.max(b)) } else { (*a, *b) };
        let places = Permutation::new(modulus * modulus, seed);
        all.sort_by_cached_key(|fact| {
            let (a, b) = twin(fact);
            places.at(a as usize * modulus + b as usize)
        });
        let mut trained = (train_fraction * all.len() as f64).round() as usize;
        if (1..all.len()).contains(&trained) && twin(&all[trained - 1]) == twin(&all[trained]) {
            trained += 1;
        }
        if trained == 0 || trained == all.len() {
            let reason =
                format!("that is {trained} of {} pairs; leave some for each side", all.len());
            return Err(ConfigError::invalid("data.train_fraction", reason));
        }
        let held_out = all.split_off(trained);
        let trained = all.len();
        let fingerprint =
            format!("a {} b mod {modulus}, {trained} trained, seed {seed}", operation.word());
        let side = |facts| Self { modulus, operation, facts, fingerprint: fingerprint.clone() };
        Ok([side(all), side(held_out)])
    }

    /// `p`.
    pub fn modulus(&self) -> usize {
        self.modulus
    }

    /// `+`, `-`, `*` or `/`.
    pub fn operation(&self) -> &'static str {
        self.operation.word()
    }

    /// `a`, `b` and the result of each pair.
    pub fn facts(&self) -> &[[i64; 3]] {
        &self.facts
    }
}

impl Dataset for ModularArithmetic {
    type Batch = Pairs;

    fn len(&self) -> usize {
        self.facts.len()
    }

    fn batch(&self, samples: &[usize]) -> Pairs {
        let equals = self.modulus as i64;
        let facts = || samples.iter().map(|sample| self.facts[*sample]);
        Pairs {
            input_ids: facts().flat_map(|[a, b, _]| [a, b, equals]).collect(),
            results: facts().map(|[.., result]| result).collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "pairs"
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn details(&self) -> Vec<String> {
        vec![format!("a {} b mod {}", self.operation(), self.modulus)]
    }
}

#[cfg(test)]
mod tests {
    use rappel_config::{OptionSet, resolve};

    use super::*;

    fn sides(section: &str) -> Result<[ModularArithmetic; 2], ConfigError> {
        let options =
            resolve("data", ModularArithmeticOptions::FIELDS, &toml::from_str(section).unwrap())?;
        let options = ModularArithmeticOptions::from_options(&options)?;
        ModularArithmetic::sides(&options, 3)
    }

    #[test]
    fn each_pair_is_there_once_with_its_result() {
        for (operation, of) in [
            ("+", (|a, b| (a + b) % 11) as fn(i64, i64) -> i64),
            ("-", |a, b| (a - b).rem_euclid(11)),
            ("*", |a, b| a * b % 11),
            ("/", |a, b| (0..11).find(|c| c * b % 11 == a).unwrap()),
        ] {
            let section = format!("modulus = 11\noperation = '{operation}'");
            let mut all = sides(&section).unwrap().map(|side| side.facts).concat();
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
                let [trained, held_out] = sides(&section).unwrap().map(|side| side.facts);
                assert!(trained.len().abs_diff((fraction * 169.0_f64).round() as usize) <= 1);
                let mirrored = |[a, b, c]: &[i64; 3]| trained.contains(&[*b, *a, *c]);
                assert!(!held_out.iter().any(mirrored));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let told = |section| sides(section).err().unwrap().to_string();
        assert!(told("modulus = 12\noperation = '/'").contains("`data.modulus`: 12 is not prime"));
        assert!(told("modulus = 2\ntrain_fraction = 0.01").contains("0 of 4 pairs"));
        assert!(told("operation = '^'").contains("`data.operation`"));
    }
}
