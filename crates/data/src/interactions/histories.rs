//! The items that each user took, in order.

use std::ops::Range;

/// The items of each user, in the order in which they were taken.
///
/// ```
/// use rappel_data::Histories;
/// let histories = Histories::new(3, &[2, 0, 2], &[5, 6, 4]);
/// assert_eq!((histories.of(2), histories.of(1)), (&[5, 4][..], &[][..]));
/// assert!(histories.has(2, 4) && !histories.has(0, 4));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Histories {
    /// Where the items of each user end.
    ends: Vec<usize>,
    items: Vec<u32>,
    /// The items of each user by number.
    sorted: Vec<u32>,
}

impl Histories {
    /// Of pairs of user and item, those of a user in order.
    ///
    /// # Panics
    /// Where there are not as many items as users, or a user is not among so many.
    pub fn new(users: usize, of: &[u32], items: &[u32]) -> Self {
        assert!(of.len() == items.len(), "histories: {} users, {} items", of.len(), items.len());
        let mut ends = vec![0; users];
        for user in of {
            ends[*user as usize] += 1;
        }
        let mut next = 0;
        for end in &mut ends {
            // First where the user begins.
            next += std::mem::replace(end, next);
        }
        let mut ordered = vec![0; items.len()];
        for (user, item) in of.iter().zip(items) {
            let place = &mut ends[*user as usize];
            ordered[*place] = *item;
            *place += 1;
        }
        let mut histories = Self { ends, sorted: ordered.clone(), items: ordered };
        for user in 0..users {
            let range = histories.range(user);
            histories.sorted[range].sort_unstable();
        }
        histories
    }

    /// How many users there are.
    pub fn users(&self) -> usize {
        self.ends.len()
    }

    /// How many interactions there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nobody took anything.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn range(&self, user: usize) -> Range<usize> {
        let begin = if user == 0 { 0 } else { self.ends[user - 1] };
        begin..self.ends[user]
    }

    /// The items of a user in order; nothing of users that nobody knows.
    pub fn of(&self, user: usize) -> &[u32] {
        if user < self.users() { &self.items[self.range(user)] } else { &[] }
    }

    /// The same by number.
    pub fn sorted(&self, user: usize) -> &[u32] {
        if user < self.users() { &self.sorted[self.range(user)] } else { &[] }
    }

    /// Whether a user took an item.
    pub fn has(&self, user: usize, item: u32) -> bool {
        self.sorted(user).binary_search(&item).is_ok()
    }

    /// How often each of so many items was taken.
    pub fn popularity(&self, items: usize) -> Vec<u32> {
        let mut counts = vec![0; items];
        for item in &self.items {
            counts[*item as usize] += 1;
        }
        counts
    }

    /// These, and after them what `more` has of each user.
    #[must_use]
    pub fn followed_by(&self, more: &Self) -> Self {
        let users = self.users().max(more.users());
        let (mut of, mut items) = (Vec::new(), Vec::new());
        for user in 0..users {
            for item in self.of(user).iter().chain(more.of(user)) {
                of.push(user as u32);
                items.push(*item);
            }
        }
        Self::new(users, &of, &items)
    }

    /// Users and items of all interactions, user by user.
    pub fn pairs(&self) -> (Vec<u32>, Vec<u32>) {
        let users = (0..self.users()).flat_map(|user| self.range(user).map(move |_| user as u32));
        (users.collect(), self.items.clone())
    }
}
