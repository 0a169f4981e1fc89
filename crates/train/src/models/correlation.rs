//! How closely two lists of numbers go together: SciPy's definitions.

/// Pearson's correlation; NaN where either list is constant.
pub(crate) fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let [mean_a, mean_b] = [a, b].map(|of| of.iter().sum::<f64>() / of.len() as f64);
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        both += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    both / (of_a.sqrt() * of_b.sqrt())
}

/// Spearman's: Pearson's of the ranks, where equals share the mean of theirs.
pub(crate) fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut ranks, mut before) = (vec![0.0; values.len()], 0);
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (tied.len() + 1) as f64 / 2.0;
        for place in tied {
            ranks[*place] = rank;
        }
        before += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn what_rises_together_correlates() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 27.0, 64.0]);
        assert!((spearman(&a, &b) - 1.0).abs() < 1e-15);
        // SciPy: pearsonr([1, 2, 3, 4], [1, 8, 27, 64]).
        assert!((pearson(&a, &b) - 0.951_369_855_792_448).abs() < 1e-12, "{}", pearson(&a, &b));
        assert!(pearson(&a, &[1.0; 4]).is_nan());
    }
}
