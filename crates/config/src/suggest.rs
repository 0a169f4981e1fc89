//! "Did you mean": the known word nearest to a given one.

/// Below this likeness two words have no more in common than chance letters.
const LEAST_LIKENESS: f64 = 0.72;

/// The word of `known` nearest to `given`, or none if nothing is near.
///
/// Nearness is the Jaro-Winkler likeness of the words, letter case and `-` against `_` ignored; of
/// equally near words the first is taken.
///
/// ```
/// use rappel_config::suggest;
/// assert_eq!(suggest("adamW2", ["sgd", "adamw"]), Some("adamw"));
/// assert_eq!(suggest("zzz", ["sgd", "adamw"]), None);
/// ```
pub fn suggest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = normal(given);
    let mut best = None;
    let mut best_likeness = LEAST_LIKENESS;
    for word in known {
        let likeness = strsim::jaro_winkler(&given, &normal(word));
        if likeness > best_likeness {
            (best, best_likeness) = (Some(word), likeness);
        }
    }
    best
}

fn normal(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}
