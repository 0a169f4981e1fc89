//! Which interactions are trained on, which validate, which test.

use rappel_config::Words;

use super::{Histories, Interactions};
use crate::Permutation;
use crate::mix::hash_words;

/// Which interactions of each user are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Split {
    /// Some, drawn by the seed.
    Random,
    /// The last ones.
    Time,
    /// The last one to test and the one before it to validate.
    LeaveOneOut,
}

/// The interactions of each part, each user's in order.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Those to train on.
    pub training: Histories,
    /// Those to validate on.
    pub validation: Histories,
    /// Those to test on, at the end.
    pub test: Histories,
}

/// Keeps the hashes of splits apart from others under the same seed.
const SPLIT: u64 = 0x7370_6c69_7400;

impl Split {
    /// How many of `n` interactions of a user validate, and how many test: shares rounded down, but one at least where two
    /// are left to train on.
    fn held(self, n: usize, shares: [f64; 2]) -> [usize; 2] {
        if self == Self::LeaveOneOut {
            return match n {
                0 | 1 => [0, 0],
                2 => [0, 1],
                _ => [1, 1],
            };
        }
        let mut held = shares.map(|share| (share * n as f64) as usize);
        for (held_of, share) in [1, 0].map(|i| (i, shares[i])) {
            let left = n - held[0] - held[1];
            if left > 1 && held[held_of] == 0 && share > 0.0 {
                held[held_of] = 1;
            }
        }
        held
    }

    /// The part of each interaction: 0 is trained on, 1 validates, 2 tests. `shares` of each user's validate and test.
    pub fn assign(self, all: &Interactions, shares: [f64; 2], seed: u64) -> Vec<u8> {
        let mut of_users = vec![Vec::new(); all.user_ids.len()];
        for at in all.in_order() {
            of_users[all.users[at] as usize].push(at);
        }
        let mut parts = vec![0; all.len()];
        for (user, rows) in of_users.iter().enumerate() {
            let [validation, test] = self.held(rows.len(), shares);
            let training = rows.len() - validation - test;
            let key = hash_words(seed ^ SPLIT, &[user as u64]);
            let drawn =
                (self == Self::Random && rows.len() > 1).then(|| Permutation::new(rows.len(), key));
            for place in training..rows.len() {
                let at = drawn.as_ref().map_or(place, |drawn| drawn.at(place));
                parts[rows[at]] = if place < training + validation { 1 } else { 2 };
            }
        }
        parts
    }

    /// Splits interactions by user; see [`assign`](Self::assign).
    pub fn parts(self, all: &Interactions, shares: [f64; 2], seed: u64) -> Parts {
        let of = self.assign(all, shares, seed);
        let part = |part: u8| {
            let rows: Vec<usize> =
                all.in_order().into_iter().filter(|at| of[*at] == part).collect();
            let [users, items] = [&all.users, &all.items]
                .map(|of| rows.iter().map(|at| of[*at]).collect::<Vec<_>>());
            Histories::new(all.user_ids.len(), &users, &items)
        };
        Parts { training: part(0), validation: part(1), test: part(2) }
    }

    /// In words, with the shares that it sets apart.
    pub fn describe(self, [validation, test]: [f64; 2]) -> String {
        match self {
            Self::Random => {
                format!(
                    "of each user a share of {validation} to validate and {test} to test, drawn by the seed"
                )
            }
            Self::Time => format!(
                "of each user the last, a share of {validation} to validate and {test} to test"
            ),
            Self::LeaveOneOut => {
                "of each user the last to test and the one before it to validate".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_down_but_leave_one() {
        let held = |n| Split::Random.held(n, [0.1, 0.1]);
        assert_eq!(
            [1, 2, 3, 9, 10, 25].map(held),
            [[0, 0], [0, 1], [1, 1], [1, 1], [1, 1], [2, 2]]
        );
        assert_eq!(Split::Time.held(10, [0.25, 0.0]), [2, 0]);
        assert_eq!(
            [1, 2, 3, 9].map(|n| Split::LeaveOneOut.held(n, [0.0; 2])),
            [[0, 0], [0, 1], [1, 1], [1, 1]]
        );
    }
}
