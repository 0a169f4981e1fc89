//! What predicted ratings are worth.

use std::collections::BTreeMap;

use rappel_data::UNKNOWN;

use crate::Metric;
use crate::metrics::{less, more, nats};
use crate::models::table::{auc, regression};

/// Of ratings.
pub(super) const RATINGS: &[Metric] = &[less("loss"), less("rmse"), less("mae")];

/// Of what is liked.
pub(super) const LIKES: &[Metric] =
    &[nats("loss"), more("auc"), more("gauc"), less("log_loss"), more("accuracy")];

/// Root mean squared and mean absolute error.
pub(super) fn ratings(told: &[f64], targets: &[f64]) -> Vec<f64> {
    regression(told, targets)[..2].to_vec()
}

/// The values of [`LIKES`] but the loss, for probabilities. `gauc` is the mean of the areas under the curves of users, each
/// weighted by how much the user likes, over users who like something and something not: RecBole's.
pub(super) fn likes(told: &[f64], targets: &[f64], users: &[u32]) -> Vec<f64> {
    let liked: Vec<bool> = targets.iter().map(|target| *target > 0.5).collect();
    let mut of_users: BTreeMap<u32, (Vec<f64>, Vec<bool>)> = BTreeMap::new();
    for ((told, liked), user) in told.iter().zip(&liked).zip(users).filter(|(_, u)| **u != UNKNOWN)
    {
        let (scores, positive) = of_users.entry(*user).or_default();
        scores.push(*told);
        positive.push(*liked);
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for (scores, positive) in of_users.values() {
        let count = positive.iter().filter(|liked| **liked).count();
        if count > 0 && count < positive.len() {
            sum += count as f64 * auc(scores, positive);
            weights += count as f64;
        }
    }
    let surprise = |(told, liked): (&f64, &bool)| {
        let p = if *liked { *told } else { 1.0 - told };
        -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    };
    let n = told.len() as f64;
    let log_loss = told.iter().zip(&liked).map(surprise).sum::<f64>() / n;
    let right = told.iter().zip(&liked).filter(|(told, liked)| (**told > 0.5) == **liked).count();
    vec![auc(told, &liked), sum / weights, log_loss, right as f64 / n]
}

/// What is to know of `gauc` where no user likes something and something not, so that it is no number.
pub(crate) fn gauc_doubt(targets: &[f64], users: &[u32]) -> Option<String> {
    let mut of_users: BTreeMap<u32, [bool; 2]> = BTreeMap::new();
    for (target, user) in targets.iter().zip(users).filter(|(_, user)| **user != UNKNOWN) {
        of_users.entry(*user).or_default()[usize::from(*target > 0.5)] = true;
    }
    let none = !of_users.values().any(|kinds| *kinds == [true; 2]);
    none.then(|| {
        "gauc is NaN: it is measured over users with both liked and other items, and no user has both".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_users_area_counts_by_what_the_user_likes() {
        // User 0 likes two of three and is half right; user 1 likes one of two, rightly; user 2 likes all.
        let told = [0.9, 0.2, 0.5, 0.8, 0.1, 0.7];
        let targets = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let found = likes(&told, &targets, &[0, 0, 0, 1, 1, 2]);
        assert!((found[1] - (2.0 * 0.5 + 1.0) / 3.0).abs() < 1e-12, "{found:?}");
        assert!((found[0] - 7.0 / 8.0).abs() < 1e-12, "{found:?}");
        assert!((found[3] - 5.0 / 6.0).abs() < 1e-12, "{found:?}");
        assert_eq!(gauc_doubt(&targets, &[0, 0, 0, 1, 1, 2]), None);
        // A user with one kind, and a stranger with both.
        let users = [0, 0, 1, UNKNOWN, UNKNOWN, 2];
        assert!(likes(&told, &targets, &users)[1].is_nan());
        assert!(gauc_doubt(&targets, &users).unwrap().contains("no user has both"));
    }
}
