//! Choosing a token from logits.

use std::collections::HashMap;

use rappel_tensor::Key;

/// How the next token is chosen, under Hugging Face's names: penalties on what was said, then of the tokens
/// one drawn from `softmax(logits / temperature)` after what `top_k`, `top_p` and `min_p` cut off, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Draw a token. Otherwise the most likely one is taken; of equals, the one with the smallest id.
    pub do_sample: bool,
    /// Above 0; 1 draws from the model's own distribution, less sharpens it.
    pub temperature: f64,
    /// Keep the `k` most likely tokens, at least 1, and those that are as likely as the last of them.
    pub top_k: Option<usize>,
    /// Keep the fewest most likely tokens whose probabilities reach `p`, in `(0, 1]`
    /// (Holtzman et al., <https://arxiv.org/abs/1904.09751>).
    pub top_p: Option<f64>,
    /// Keep tokens at least `min_p` times as likely as the likeliest, in `[0, 1]`
    /// (Nguyen et al., <https://arxiv.org/abs/2407.01082>).
    pub min_p: Option<f64>,
    /// Divides the logits above 0, and multiplies those below, of tokens that the prompt or the text has; above 0, 1
    /// does nothing (Keskar et al., <https://arxiv.org/abs/1909.05858>).
    pub repetition_penalty: f64,
    /// Taken from the logits of tokens that the generated text has.
    pub presence_penalty: f64,
    /// Taken from the logits of tokens for each time that the generated text has them.
    pub frequency_penalty: f64,
    /// Token `n` is a pure function of the model, the prompt, the options, this and `n`.
    pub seed: u64,
}

impl Default for Sampling {
    /// The most likely token each time; where `do_sample` is set, one from the model's own distribution.
    fn default() -> Self {
        Self {
            do_sample: false,
            temperature: 1.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

/// A sampling option that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("sampling: {option} is {value}; it must be {wanted}")]
pub struct SamplingError {
    option: &'static str,
    value: f64,
    wanted: &'static str,
}

/// What was read and said so far, for penalties.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// How often the generated text has each token that the prompt or the text has.
    counts: HashMap<u32, u32>,
}

impl Said {
    pub fn new(prompt: &[u32]) -> Self {
        Self { counts: prompt.iter().map(|id| (*id, 0)).collect() }
    }

    pub fn push(&mut self, id: u32) {
        *self.counts.entry(id).or_default() += 1;
    }
}

/// Tokens that may be drawn, and their shares before they are divided by their sum.
struct Candidates {
    ids: Vec<usize>,
    weights: Vec<f64>,
}

/// How many of the likeliest tokens are looked at first where `top_p` asks for the largest ones.
const FIRST: usize = 64;

impl Sampling {
    /// One drawn from the model's own distribution.
    pub fn random(seed: u64) -> Self {
        Self { do_sample: true, seed, ..Self::default() }
    }

    /// Checks the options' ranges.
    ///
    /// # Errors
    /// [`SamplingError`] names the first that is out of its range.
    pub fn check(&self) -> Result<(), SamplingError> {
        let fault = |option, value, wanted| Err(SamplingError { option, value, wanted });
        for (option, penalty) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            if !penalty.is_finite() {
                return fault(option, penalty, "finite");
            }
        }
        for (option, value) in
            [("temperature", self.temperature), ("repetition_penalty", self.repetition_penalty)]
        {
            if !(value > 0.0 && value.is_finite()) {
                return fault(option, value, "above 0 and finite");
            }
        }
        if self.top_k == Some(0) {
            return fault("top_k", 0.0, "at least 1");
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return fault("top_p", p, "above 0 and at most 1");
        }
        match self.min_p {
            Some(p) if !(0.0..=1.0).contains(&p) => fault("min_p", p, "from 0 to 1"),
            _ => Ok(()),
        }
    }

    /// The logits after everything but the draw, as transformers' processors leave them: what cannot be
    /// drawn is `-inf`. `generated` follows `prompt`.
    ///
    /// # Panics
    /// Without logits.
    pub fn process(&self, logits: &[f64], prompt: &[u32], generated: &[u32]) -> Vec<f64> {
        let mut said = Said::new(prompt);
        for id in generated {
            said.push(*id);
        }
        let mut logits = logits.to_vec();
        self.penalize(&mut logits, &said);
        if !self.do_sample {
            return logits;
        }
        let mut processed = vec![f64::NEG_INFINITY; logits.len()];
        for id in self.candidates(&logits).ids {
            processed[id] = logits[id] / self.temperature;
        }
        processed
    }

    /// The token chosen from finite `logits` as number `n` after the prompt.
    ///
    /// # Panics
    /// Without logits.
    pub(crate) fn choose(&self, logits: &mut [f64], said: &Said, n: u64) -> usize {
        assert!(!logits.is_empty(), "sampling: no logits");
        self.penalize(logits, said);
        if !self.do_sample {
            let best = |best, i| if logits[i] > logits[best] { i } else { best };
            return (1..logits.len()).fold(0, best);
        }
        let Candidates { ids, weights } = self.candidates(logits);
        let mut unit = [0.0_f64];
        Key::new(self.seed).with_name("sampling").with(n).fill_uniform(&mut unit, 0.0, 1.0);
        let target = unit[0] * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let drawn = weights.iter().position(|weight| {
            sum += weight;
            target < sum
        });
        // Rounding may leave the target at the very end.
        ids[drawn.unwrap_or(weights.len() - 1)]
    }

    fn penalize(&self, logits: &mut [f64], said: &Said) {
        let Self { repetition_penalty, presence_penalty, frequency_penalty, .. } = *self;
        if (repetition_penalty, presence_penalty, frequency_penalty) == (1.0, 0.0, 0.0) {
            return;
        }
        for (id, count) in &said.counts {
            let logit = &mut logits[*id as usize];
            *logit = if *logit < 0.0 {
                *logit * repetition_penalty
            } else {
                *logit / repetition_penalty
            };
            if *count > 0 {
                *logit -= presence_penalty + frequency_penalty * f64::from(*count);
            }
        }
    }

    /// What `top_k`, `top_p` and `min_p` leave, in falling order where one of them is set.
    fn candidates(&self, logits: &[f64]) -> Candidates {
        let mut ids: Vec<usize> = (0..logits.len()).collect();
        let falling = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        let top_k = self.top_k.filter(|k| *k < ids.len());
        if let Some(k) = top_k {
            let (_, least, _) = ids.select_nth_unstable_by(k - 1, falling);
            let least = logits[*least];
            ids.retain(|id| logits[*id] >= least);
        }
        let top_p = self.top_p.filter(|p| *p < 1.0);
        let min_p = self.min_p.filter(|p| *p > 0.0);
        let largest = ids.iter().map(|&id| logits[id]).fold(f64::NEG_INFINITY, f64::max);
        let weight = |&id: &usize| ((logits[id] - largest) / self.temperature).exp();
        if let Some(p) = top_p {
            let wanted = p * ids.iter().map(weight).sum::<f64>();
            let mut known = FIRST;
            loop {
                known = known.min(ids.len());
                if known < ids.len() {
                    ids.select_nth_unstable_by(known, falling);
                }
                ids[..known].sort_unstable_by(falling);
                let mut sum = 0.0;
                let reached = ids[..known].iter().map(weight).position(|weight| {
                    sum += weight;
                    sum >= wanted
                });
                if reached.is_some() || known == ids.len() {
                    ids.truncate(reached.map_or(known, |last| last + 1));
                    break;
                }
                known *= 8;
            }
        } else if top_k.is_some() || min_p.is_some() {
            ids.sort_unstable_by(falling);
        }
        let mut weights: Vec<f64> = ids.iter().map(weight).collect();
        if let Some(p) = min_p {
            // The likeliest has the weight 1.
            let kept = weights.iter().take_while(|weight| **weight >= p).count().max(1);
            ids.truncate(kept);
            weights.truncate(kept);
        }
        Candidates { ids, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling { temperature, top_k, top_p, ..Sampling::random(5) }
    }

    fn choose(sampling: Sampling, logits: &[f64], n: u64) -> usize {
        sampling.choose(&mut logits.to_vec(), &Said::default(), n)
    }

    /// How often each token is drawn.
    fn shares(sampling: Sampling, logits: &[f64]) -> Vec<f64> {
        let draws = 20_000;
        let mut counts = vec![0.0; logits.len()];
        (0..draws).for_each(|n| counts[choose(sampling, logits, n)] += 1.0 / draws as f64);
        counts
    }

    fn assert_near(got: &[f64], want: &[f64]) {
        // 20,000 draws deviate by at most 0.0036 (one sigma).
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.015), "{got:?} {want:?}");
        assert!(got.iter().zip(want).all(|(g, w)| *w > 0.0 || *g == 0.0), "{got:?} {want:?}");
    }

    #[test]
    fn greedy_takes_the_largest_and_the_first_of_equals() {
        assert_eq!(choose(Sampling::default(), &[1.0, 3.0, 3.0, 2.0], 0), 1);
    }

    #[test]
    fn draws_follow_the_distribution_that_is_left() {
        let logits = [0.1_f64, 0.4, 0.2, 0.3].map(f64::ln);
        assert_near(&shares(Sampling::random(5), &logits), &[0.1, 0.4, 0.2, 0.3]);
        let squares = [0.01, 0.16, 0.04, 0.09].map(|x: f64| x / 0.3);
        assert_near(&shares(random(0.5, None, None), &logits), &squares);
        assert_near(&shares(random(1.0, Some(2), None), &logits), &[0.0, 4. / 7., 0.0, 3. / 7.]);
        let top_p = shares(random(1.0, None, Some(0.75)), &logits);
        assert_near(&top_p, &[0.0, 4. / 9., 2. / 9., 3. / 9.]);
        // After top_k = 3 the shares are 4/9, 3/9, 2/9: two reach 0.75, which would take three of all.
        let both = shares(random(1.0, Some(3), Some(0.75)), &logits);
        assert_near(&both, &[0.0, 4. / 7., 0.0, 3. / 7.]);
        assert_near(&shares(random(1.0, Some(1), None), &logits), &[0.0, 1.0, 0.0, 0.0]);
        assert_near(&shares(random(1.0, None, Some(1e-9)), &logits), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_nucleus_of_many_equal_tokens_is_found() {
        let logits = vec![0.0; 5000];
        let kept = |p| random(1.0, None, Some(p)).candidates(&logits).ids.len();
        assert_eq!([0.01, 0.5, 0.999].map(kept), [50, 2500, 4995]);
    }

    #[test]
    fn draws_depend_on_seed_and_position_alone() {
        let logits = [0.0; 1000];
        assert_eq!(
            choose(Sampling::random(5), &logits, 7),
            choose(Sampling::random(5), &logits, 7)
        );
        assert_ne!(
            choose(Sampling::random(5), &logits, 7),
            choose(Sampling::random(5), &logits, 8)
        );
    }

    #[test]
    fn options_out_of_range_are_named() {
        let text = |sampling: Sampling| sampling.check().unwrap_err().to_string();
        let zero = "sampling: temperature is 0; it must be above 0 and finite";
        assert_eq!(text(random(0.0, None, None)), zero);
        assert!(random(f64::NAN, None, None).check().is_err());
        assert_eq!(text(random(1.0, Some(0), None)), "sampling: top_k is 0; it must be at least 1");
        let top_p = "sampling: top_p is 1.5; it must be above 0 and at most 1";
        assert_eq!(text(random(1.0, None, Some(1.5))), top_p);
        let min_p = Sampling { min_p: Some(-0.1), ..Sampling::random(0) };
        assert_eq!(text(min_p), "sampling: min_p is -0.1; it must be from 0 to 1");
        let penalty = Sampling { repetition_penalty: 0.0, ..Sampling::default() };
        assert!(text(penalty).starts_with("sampling: repetition_penalty is 0; "));
        let penalty = Sampling { frequency_penalty: f64::NAN, ..Sampling::default() };
        assert!(text(penalty).starts_with("sampling: frequency_penalty is NaN; "));
        assert_eq!((Sampling::random(5).check(), Sampling::default().check()), (Ok(()), Ok(())));
    }
}
