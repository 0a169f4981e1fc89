//! Merges of a vocabulary whose file gives scores instead.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Each way to make a token of two others, the tokens of the highest score first, of these those whose parts are long.
///
/// `score` is of a token by its id.
pub(super) fn merges(tokens: &[String], score: impl Fn(usize) -> f32) -> Vec<(&str, &str)> {
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut found = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        let mut ways: Vec<_> = token
            .char_indices()
            .skip(1)
            .map(|(at, _)| token.split_at(at))
            .filter_map(|(a, b)| Some((*ids.get(a)?, *ids.get(b)?, a, b)))
            .collect();
        ways.sort_by_key(|(a, b, ..)| (*a, *b));
        let order = |a: &str, b: &str| (a.chars().count(), b.chars().count());
        found.extend(ways.into_iter().map(|(.., a, b)| (score(id), order(a, b), a, b)));
    }
    // Stable, so that equals stay in the order of the vocabulary.
    found.sort_by(|one, other| {
        other.0.total_cmp(&one.0).then_with(|| Reverse(one.1).cmp(&Reverse(other.1)))
    });
    found.into_iter().map(|(.., a, b)| (a, b)).collect()
}
