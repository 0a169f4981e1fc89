//! The texts of a column's cells.

use std::collections::HashMap;

use ahash::RandomState;

/// The number of no text: the cell is missing.
pub(super) const MISSING: u32 = u32::MAX;

/// At most so many texts are looked among before one is stored anew.
const MOST_SLOTS: usize = 1 << 14;

/// Texts by number, and the number of each cell.
///
/// A text that was there lately is not stored again, so few categories take few bytes however many the rows. Whether
/// two stored texts are the same is settled by [`distinct`](Self::distinct), for columns that are categories: to look among all
/// earlier ones would take most of the time of reading a column where nearly every cell differs, such as an id.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    /// One after another: a box for each would take most of the time where many are stored.
    stored: String,
    /// Where each ends.
    ends: Vec<usize>,
    cells: Vec<u32>,
    recent: Recent,
}

impl Texts {
    pub fn push(&mut self, text: &str) {
        let number = self.number(text);
        self.cells.push(number);
    }

    pub fn push_missing(&mut self) {
        self.cells.push(MISSING);
    }

    pub fn append(&mut self, other: &Self) {
        let numbers: Vec<u32> = other.iter().map(|text| self.number(text)).collect();
        let number = |cell: &u32| if *cell == MISSING { MISSING } else { numbers[*cell as usize] };
        self.cells.extend(other.cells.iter().map(number));
    }

    /// The text of a cell; none where it is missing.
    pub fn get(&self, row: usize) -> Option<&str> {
        let number = self.cells[row];
        (number != MISSING).then(|| self.at(number))
    }

    pub fn is_missing(&self, row: usize) -> bool {
        self.cells[row] == MISSING
    }

    /// The texts, each once, in the order in which they appear, and the number of each cell's; [`MISSING`] for none.
    pub fn distinct(&self) -> (Vec<&str>, Vec<u32>) {
        let (mut texts, mut numbers) = (Vec::new(), HashMap::with_hasher(RandomState::new()));
        let number_of = |text| {
            *numbers.entry(text).or_insert_with(|| {
                texts.push(text);
                texts.len() as u32 - 1
            })
        };
        let settled: Vec<u32> = self.iter().map(number_of).collect();
        let number = |cell: &u32| settled.get(*cell as usize).copied().unwrap_or(MISSING);
        (texts, self.cells.iter().map(number).collect())
    }

    /// The number of a text, stored where it was not there lately.
    fn number(&mut self, text: &str) -> u32 {
        self.recent.make_room(self.ends.len());
        let (tag, slot) = self.recent.slot(text);
        let known = self.recent.slots[slot];
        if known.tag == tag && known.number != MISSING && self.at(known.number) == text {
            return known.number;
        }
        let number = self.ends.len() as u32;
        self.recent.slots[slot] = Slot { tag, number };
        self.stored.push_str(text);
        self.ends.push(self.stored.len());
        number
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|number| self.at(number))
    }

    fn at(&self, number: u32) -> &str {
        let number = number as usize;
        let begin = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.stored[begin..self.ends[number]]
    }
}

/// Where texts were stored lately: a text has one slot, and the last one that came takes it.
#[derive(Debug, Clone)]
struct Recent {
    hasher: RandomState,
    slots: Vec<Slot>,
}

impl Default for Recent {
    /// Hashes by fixed seeds, so that a table takes the same memory each time.
    fn default() -> Self {
        Self { hasher: RandomState::with_seeds(1, 2, 3, 4), slots: Vec::new() }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Bits of the hash that do not choose the slot.
    tag: u32,
    number: u32,
}

impl Recent {
    /// Forgets what it knows where more is stored than it has slots.
    fn make_room(&mut self, stored: usize) {
        let len = self.slots.len();
        if stored >= len && len < MOST_SLOTS {
            let empty = Slot { tag: 0, number: MISSING };
            self.slots = vec![empty; (2 * len).max(16)];
        }
    }

    fn slot(&self, text: &str) -> (u32, usize) {
        let hash = self.hasher.hash_one(text);
        ((hash >> 32) as u32, hash as usize & (self.slots.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_their_texts_and_each_is_one_category() {
        let words: Vec<String> = (0..3000).map(|i: usize| format!("w{}", i * i % 700)).collect();
        let (mut whole, mut part) = (Texts::default(), Texts::default());
        for (row, word) in words.iter().enumerate() {
            part.push(word);
            if row % 400 == 399 {
                part.push_missing();
                whole.append(&std::mem::take(&mut part));
            }
        }
        whole.append(&part);
        let cells = (0..whole.cells.len()).filter(|row| !whole.is_missing(*row));
        assert!(cells.map(|row| whole.get(row).unwrap()).eq(words.iter().map(String::as_str)));
        assert_eq!(whole.cells.len(), words.len() + 7);
        let (texts, numbers) = whole.distinct();
        let mut first: Vec<&str> = Vec::new();
        for word in &words {
            if !first.contains(&word.as_str()) {
                first.push(word);
            }
        }
        assert_eq!(texts, first);
        let of_numbers = numbers.iter().filter(|number| **number != MISSING);
        assert!(
            of_numbers.map(|number| texts[*number as usize]).eq(words.iter().map(String::as_str))
        );
    }

    #[test]
    fn few_categories_are_stored_a_few_times() {
        let mut texts = Texts::default();
        for i in 0..100_000 {
            texts.push(["red", "green", "blue", "a longer name"][i % 4]);
        }
        // Those that share a slot are stored anew until there are slots enough to tell them apart.
        let cells = 100_000 / 4 * "redgreenbluea longer name".len();
        assert!(texts.stored.len() < cells / 100, "{} bytes", texts.stored.len());
    }
}
