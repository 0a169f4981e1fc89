//! The cells of a column.

use std::borrow::Cow;

/// Texts that stand for a missing value, beside the empty one.
const MISSING: [&str; 3] = ["NA", "N/A", "null"];

/// Texts, one after another in one buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text.trim());
        self.ends.push(self.text.len());
    }

    fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[row]]
    }
}

#[derive(Debug, Clone)]
pub(super) enum Cells {
    Texts(Texts),
    Numbers(Vec<Option<f64>>),
}

/// A column of a [`Table`](super::Table).
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    cells: Cells,
}

/// What the cells of a column are, missing ones aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    Numbers,
    Texts,
    /// Both; the first row of the rarer kind, how many of the others, and whether it is a text.
    Both {
        row: usize,
        others: usize,
        text: bool,
    },
}

impl Column {
    pub(super) fn new(name: &str, cells: Cells) -> Self {
        Self { name: name.trim().to_owned(), cells }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a cell, as categories have it; `None` where it is missing.
    pub fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        match &self.cells {
            Cells::Texts(texts) => {
                let text = texts.get(row);
                (!text.is_empty() && !MISSING.contains(&text)).then_some(Cow::Borrowed(text))
            }
            Cells::Numbers(numbers) => numbers[row].map(|number| Cow::Owned(number.to_string())),
        }
    }

    /// The number in a cell, or its text where it is none; `None` where it is missing.
    pub fn number(&self, row: usize) -> Option<Result<f64, String>> {
        match &self.cells {
            Cells::Texts(_) => {
                let text = self.text(row)?;
                Some(text.parse().map_err(|_| text.into_owned()))
            }
            Cells::Numbers(numbers) => numbers[row].map(Ok),
        }
    }

    pub(super) fn holds(&self) -> Holds {
        let Cells::Texts(texts) = &self.cells else { return Holds::Numbers };
        let (mut numbers, mut words) = ((0, None), (0, None));
        for row in 0..texts.ends.len() {
            let kind = match self.number(row) {
                None => continue,
                Some(Ok(_)) => &mut numbers,
                Some(Err(_)) => &mut words,
            };
            kind.0 += 1;
            kind.1.get_or_insert(row);
        }
        match (numbers, words) {
            ((_, None), (_, None)) => Holds::Nothing,
            (_, (_, None)) => Holds::Numbers,
            ((_, None), _) => Holds::Texts,
            ((others, Some(row)), (words, Some(_))) if words > others => {
                Holds::Both { row, others: words, text: false }
            }
            ((others, _), (_, Some(row))) => Holds::Both { row, others, text: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> Column {
        let mut texts = Texts::default();
        for cell in cells {
            texts.push(cell);
        }
        Column::new(" a ", Cells::Texts(texts))
    }

    #[test]
    fn cells_are_read_as_what_they_are() {
        let cells = column(&[" 1e-3 ", "", "NA", "red", "nan"]);
        assert_eq!(cells.name(), "a");
        assert_eq!(cells.number(0), Some(Ok(1e-3)));
        assert_eq!((cells.number(1), cells.number(2)), (None, None));
        assert_eq!(cells.number(3), Some(Err("red".to_owned())));
        assert!(cells.number(4).unwrap().unwrap().is_nan());
        let numbers = Column::new("b", Cells::Numbers(vec![Some(3.0), None, Some(0.5)]));
        assert_eq!(numbers.text(0).unwrap(), "3");
        assert_eq!((numbers.text(1), numbers.number(2)), (None, Some(Ok(0.5))));
    }

    #[test]
    fn what_a_column_holds_is_what_most_cells_are() {
        assert_eq!(column(&["1", "", "2"]).holds(), Holds::Numbers);
        assert_eq!(column(&["x", "NA"]).holds(), Holds::Texts);
        assert_eq!(column(&["", "null"]).holds(), Holds::Nothing);
        let typo = Holds::Both { row: 1, others: 2, text: true };
        assert_eq!(column(&["1", "2O", "3"]).holds(), typo);
        let number = Holds::Both { row: 2, others: 2, text: false };
        assert_eq!(column(&["a", "b", "3"]).holds(), number);
    }
}
