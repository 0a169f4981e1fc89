//! Samples of who took what, as recommenders learn from them.

use std::sync::Arc;

use rappel_files::hex;
use sha2::{Digest, Sha256};

use super::Histories;
use crate::Dataset;

/// Items that users took, with what was known of each user before.
///
/// A sample is an interaction; or, of [sequences](Self::sequences), a user whose history has two items or more.
#[derive(Debug, Clone)]
pub struct RecommendationData {
    /// The interactions, user by user.
    users: Vec<u32>,
    items: Vec<u32>,
    /// The same by user.
    positives: Arc<Histories>,
    /// What is known of each user before these.
    known: Arc<Histories>,
    /// The users of sequences, and the items of the longest.
    sequences: Option<(Vec<u32>, usize)>,
    item_count: usize,
    details: Vec<String>,
}

/// Interactions that a forward pass learns from.
#[derive(Debug, Clone)]
pub enum RecommendationBatch {
    /// Pairs of user and item.
    Pairs {
        /// The users.
        users: Vec<u32>,
        /// The item that each of them took.
        items: Vec<u32>,
        /// What is known of each user before.
        known: Arc<Histories>,
    },
    /// The last items of some users, in order: each but the last is followed by the one to be told.
    Sequences {
        /// The users.
        users: Vec<u32>,
        /// Their items.
        items: Vec<Vec<u32>>,
    },
}

impl RecommendationData {
    /// Interactions to learn from or to be told, of items `0..item_count`, and what is `known` before them.
    pub fn new(positives: Arc<Histories>, known: Arc<Histories>, item_count: usize) -> Self {
        let (users, items) = positives.pairs();
        Self { users, items, positives, known, sequences: None, item_count, details: Vec::new() }
    }

    /// The same, whose samples are sequences of at most `longest` items and one to be told.
    #[must_use]
    pub fn sequences(self, longest: usize) -> Self {
        let whole = |user: &u32| self.positives.of(*user as usize).len() > 1;
        let users = (0..self.positives.users() as u32).filter(whole).collect();
        Self { sequences: Some((users, longest)), ..self }
    }

    /// The same with more to say of it.
    #[must_use]
    pub fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// The interactions by user.
    pub fn positives(&self) -> &Arc<Histories> {
        &self.positives
    }

    /// What is known of each user before.
    pub fn known(&self) -> &Arc<Histories> {
        &self.known
    }

    /// How many items there are.
    pub fn item_count(&self) -> usize {
        self.item_count
    }
}

impl Dataset for RecommendationData {
    type Batch = RecommendationBatch;

    fn len(&self) -> usize {
        self.sequences.as_ref().map_or(self.users.len(), |(users, _)| users.len())
    }

    fn batch(&self, samples: &[usize]) -> RecommendationBatch {
        match &self.sequences {
            None => RecommendationBatch::Pairs {
                users: samples.iter().map(|i| self.users[*i]).collect(),
                items: samples.iter().map(|i| self.items[*i]).collect(),
                known: Arc::clone(&self.known),
            },
            Some((users, longest)) => {
                let users: Vec<u32> = samples.iter().map(|i| users[*i]).collect();
                let of = |user: &u32| {
                    let items = self.positives.of(*user as usize);
                    items[items.len().saturating_sub(longest + 1)..].to_vec()
                };
                let items = users.iter().map(of).collect();
                RecommendationBatch::Sequences { users, items }
            }
        }
    }

    fn unit(&self) -> &'static str {
        "interactions"
    }

    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        match &self.sequences {
            None => samples.len(),
            Some((users, longest)) => samples
                .map(|i| (self.positives.of(users[i] as usize).len() - 1).min(*longest))
                .sum(),
        }
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let longest = self.sequences.as_ref().map_or(0, |(_, longest)| *longest);
        for histories in [&self.positives, &self.known] {
            for user in 0..histories.users() {
                let items = histories.of(user);
                hash.update((items.len() as u64).to_le_bytes());
                for item in items {
                    hash.update(item.to_le_bytes());
                }
            }
        }
        for size in [self.item_count, longest] {
            hash.update((size as u64).to_le_bytes());
        }
        hex(&hash.finalize())
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
