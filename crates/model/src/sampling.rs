//! Choosing a token from logits.

use rappel_tensor::Key;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The most likely one; of equals, the one with the smallest id.
    Greedy,
    /// One drawn from `softmax(logits / temperature)`, after what `top_k` and `top_p` cut off.
    Random {
        /// Above 0; 1 draws from the model's own distribution, less sharpens it.
        temperature: f64,
        /// Keep the `k` most likely tokens, at least 1.
        top_k: Option<usize>,
        /// Keep the fewest most likely tokens whose probabilities reach `p`, in `(0, 1]`, as
        /// transformers does: after `temperature` and `top_k`
        /// (Holtzman et al., <https://arxiv.org/abs/1904.09751>).
        top_p: Option<f64>,
        /// Token `n` is a pure function of the model, the prompt, this and `n`.
        seed: u64,
    },
}

/// A sampling option that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("sampling: {option} is {value}; it must be {wanted}")]
pub struct SamplingError {
    option: &'static str,
    value: f64,
    wanted: &'static str,
}

impl Sampling {
    /// Checks the options' ranges.
    ///
    /// # Errors
    /// [`SamplingError`] names the first that is out of its range.
    pub fn check(&self) -> Result<(), SamplingError> {
        let Self::Random { temperature, top_k, top_p, .. } = *self else { return Ok(()) };
        let fault = |option, value, wanted| Err(SamplingError { option, value, wanted });
        if !(temperature > 0.0 && temperature.is_finite()) {
            return fault("temperature", temperature, "above 0 and finite");
        }
        if top_k == Some(0) {
            return fault("top_k", 0.0, "at least 1");
        }
        match top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => fault("top_p", p, "above 0 and at most 1"),
            _ => Ok(()),
        }
    }

    /// The token chosen from finite `logits` as number `n` after the prompt.
    ///
    /// # Panics
    /// Without logits.
    pub fn choose(&self, logits: &[f64], n: u64) -> usize {
        assert!(!logits.is_empty(), "sampling: no logits");
        let Self::Random { temperature, top_k, top_p, seed } = *self else {
            let best = |best, i| if logits[i] > logits[best] { i } else { best };
            return (1..logits.len()).fold(0, best);
        };
        let mut order: Vec<usize> = (0..logits.len()).collect();
        let falling = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        if let Some(k) = top_k.filter(|k| *k < order.len()) {
            order.select_nth_unstable_by(k, falling);
            order.truncate(k);
        }
        if top_k.is_some() || top_p.is_some() {
            order.sort_unstable_by(falling);
        }
        let largest = order.iter().map(|&i| logits[i]).fold(f64::NEG_INFINITY, f64::max);
        let weight = |&i: &usize| ((logits[i] - largest) / temperature).exp();
        let mut weights: Vec<f64> = order.iter().map(weight).collect();
        if let Some(p) = top_p {
            weights.truncate(nucleus(&weights, p));
        }
        let mut unit = [0.0_f64];
        Key::new(seed).with_name("sampling").with(n).fill_uniform(&mut unit, 0.0, 1.0);
        let target = unit[0] * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let drawn = weights.iter().position(|weight| {
            sum += weight;
            target < sum
        });
        // Rounding may leave the target at the very end.
        order[drawn.unwrap_or(weights.len() - 1)]
    }
}

/// How many of the falling `weights` reach the share `p` of their sum.
fn nucleus(weights: &[f64], p: f64) -> usize {
    let wanted = p * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let reached = weights.iter().position(|weight| {
        sum += weight;
        sum >= wanted
    });
    reached.map_or(weights.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling =
        Sampling::Random { temperature: 1.0, top_k: None, top_p: None, seed: 5 };

    fn random(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling::Random { temperature, top_k, top_p, seed: 5 }
    }

    /// How often each token is drawn.
    fn shares(sampling: Sampling, logits: &[f64]) -> Vec<f64> {
        let draws = 20_000;
        let mut counts = vec![0.0; logits.len()];
        (0..draws).for_each(|n| counts[sampling.choose(logits, n)] += 1.0 / draws as f64);
        counts
    }

    fn assert_near(got: &[f64], want: &[f64]) {
        // 20,000 draws deviate by at most 0.0036 (one sigma).
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.015), "{got:?} {want:?}");
        assert!(got.iter().zip(want).all(|(g, w)| *w > 0.0 || *g == 0.0), "{got:?} {want:?}");
    }

    #[test]
    fn greedy_takes_the_largest_and_the_first_of_equals() {
        assert_eq!(Sampling::Greedy.choose(&[1.0, 3.0, 3.0, 2.0], 0), 1);
    }

    #[test]
    fn draws_follow_the_distribution_that_is_left() {
        let logits = [0.1_f64, 0.4, 0.2, 0.3].map(f64::ln);
        assert_near(&shares(PLAIN, &logits), &[0.1, 0.4, 0.2, 0.3]);
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
    fn draws_depend_on_seed_and_position_alone() {
        let logits = [0.0; 1000];
        assert_eq!(PLAIN.choose(&logits, 7), PLAIN.choose(&logits, 7));
        assert_ne!(PLAIN.choose(&logits, 7), PLAIN.choose(&logits, 8));
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
        assert_eq!((PLAIN.check(), Sampling::Greedy.check()), (Ok(()), Ok(())));
    }
}
