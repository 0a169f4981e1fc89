//! The cells of a column.

use std::borrow::Cow;

use super::reading::Missing;
use super::texts::Texts;
use super::{Format, ReadAs};

/// The cells of a column, in one copy.
#[derive(Debug, Clone)]
enum Cells {
    /// Not read.
    Nothing,
    /// NaN where a value is missing.
    Numbers(Vec<f64>),
    Texts(Texts),
}

/// A column of a [`Table`](super::Table).
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    cells: Cells,
    numbers: Kind,
    texts: Kind,
}

/// The cells of one kind: how many there are, and the row of the first.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    count: usize,
    first: usize,
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
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a cell is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        match &self.cells {
            Cells::Nothing => true,
            Cells::Numbers(numbers) => numbers[row].is_nan(),
            Cells::Texts(texts) => texts.is_missing(row),
        }
    }

    /// The text of a cell, as categories have it; `None` where it is missing. Of a column that was read
    /// as numbers that is the shortest text of the number.
    pub fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        match &self.cells {
            Cells::Nothing => None,
            Cells::Texts(texts) => texts.get(row).map(Into::into),
            Cells::Numbers(numbers) => {
                (!numbers[row].is_nan()).then(|| Cow::Owned(numbers[row].to_string()))
            }
        }
    }

    /// The number in a cell, or its text where it is none; `None` where it is missing.
    pub fn number(&self, row: usize) -> Option<Result<f64, String>> {
        match &self.cells {
            Cells::Numbers(numbers) => (!numbers[row].is_nan()).then_some(Ok(numbers[row])),
            _ => self.text(row).map(|text| text.parse().map_err(|_| text.into_owned())),
        }
    }

    /// The texts by number, each once, and the number of each cell; those that are missing have one that
    /// no text has. None where the column was not read as text.
    pub(super) fn texts(&self) -> Option<(Vec<&str>, Vec<u32>)> {
        let Cells::Texts(texts) = &self.cells else { return None };
        Some(texts.distinct())
    }

    pub(super) fn holds(&self) -> Holds {
        let (numbers, texts) = (self.numbers, self.texts);
        match (numbers.count, texts.count) {
            (0, 0) => Holds::Nothing,
            (_, 0) => Holds::Numbers,
            (0, _) => Holds::Texts,
            (others, words) if words > others => {
                Holds::Both { row: numbers.first, others: words, text: false }
            }
            (others, _) => Holds::Both { row: texts.first, others, text: true },
        }
    }
}

/// Makes a column of cells that come one after another.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    read_as: ReadAs,
    format: &'a Format,
    missing: Missing<'a>,
    cells: Cells,
    rows: usize,
    numbers: Kind,
    texts: Kind,
}

impl<'a> Builder<'a> {
    pub fn new(read_as: ReadAs, format: &'a Format) -> Self {
        let cells = match read_as {
            ReadAs::Nothing => Cells::Nothing,
            ReadAs::Text => Cells::Texts(Texts::default()),
            _ => Cells::Numbers(Vec::new()),
        };
        let (numbers, texts) = (Kind::default(), Kind::default());
        Self { read_as, format, missing: format.missing(), cells, rows: 0, numbers, texts }
    }

    /// Whether its cells are of interest.
    pub fn reads(&self) -> bool {
        self.read_as != ReadAs::Nothing
    }

    /// What its cells are read as.
    pub fn read_as(&self) -> ReadAs {
        self.read_as
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a cell of a file of text; what is wrong with it where it is not what it should be.
    pub fn push(&mut self, cell: &str) -> Result<(), String> {
        let cell = trimmed(cell);
        if self.missing.has(cell) {
            self.push_missing();
            return Ok(());
        }
        match self.read_as {
            ReadAs::Nothing => self.push_missing(),
            ReadAs::Text => self.push_text(cell, self.format.number(cell).is_some()),
            ReadAs::Date => match self.format.date(cell) {
                Some(days) => self.push_number(days),
                None => return Err(no_date(cell, self.format)),
            },
            ReadAs::Number | ReadAs::Either => match self.format.number(cell) {
                Some(number) => self.push_number(number),
                None if self.read_as == ReadAs::Number => return Err(no_number(cell)),
                None => self.push_text(cell, false),
            },
        }
        Ok(())
    }

    pub fn push_missing(&mut self) {
        match &mut self.cells {
            Cells::Nothing => {}
            Cells::Numbers(numbers) => numbers.push(f64::NAN),
            Cells::Texts(texts) => texts.push_missing(),
        }
        self.rows += 1;
    }

    pub fn push_number(&mut self, number: f64) {
        if number.is_nan() {
            return self.push_missing();
        }
        count(&mut self.numbers, self.rows);
        match &mut self.cells {
            Cells::Nothing => {}
            Cells::Numbers(numbers) => numbers.push(number),
            Cells::Texts(texts) => texts.push(&number.to_string()),
        }
        self.rows += 1;
    }

    /// Adds a text. What of it is a number counts as one, whatever the column is read as.
    pub fn push_text(&mut self, text: &str, is_number: bool) {
        count(if is_number { &mut self.numbers } else { &mut self.texts }, self.rows);
        self.make_texts();
        if let Cells::Texts(texts) = &mut self.cells {
            texts.push(text);
        }
        self.rows += 1;
    }

    fn make_texts(&mut self) {
        let Cells::Numbers(numbers) = &self.cells else { return };
        let mut texts = Texts::default();
        for number in numbers {
            if number.is_nan() {
                texts.push_missing();
            } else {
                texts.push(&number.to_string());
            }
        }
        self.cells = Cells::Texts(texts);
    }

    /// Adds the rows of another, which is read the same way.
    pub fn append(&mut self, mut other: Self) {
        for (kind, more) in [(&mut self.numbers, other.numbers), (&mut self.texts, other.texts)] {
            if kind.count == 0 {
                kind.first = self.rows + more.first;
            }
            kind.count += more.count;
        }
        self.rows += other.rows;
        if matches!(self.cells, Cells::Texts(_)) {
            other.make_texts();
        } else if matches!(other.cells, Cells::Texts(_)) {
            self.make_texts();
        }
        match (&mut self.cells, other.cells) {
            (Cells::Numbers(numbers), Cells::Numbers(more)) => numbers.extend(more),
            (Cells::Texts(texts), Cells::Texts(more)) => texts.append(&more),
            _ => {}
        }
    }

    pub fn finish(self, name: &str) -> Column {
        let Self { cells, numbers, texts, .. } = self;
        Column { name: name.trim().to_owned(), cells, numbers, texts }
    }
}

/// A cell without the space around it; that there is none is seen by two bytes.
fn trimmed(cell: &str) -> &str {
    let bytes = cell.as_bytes();
    let plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    if plain(bytes.first()) && plain(bytes.last()) { cell } else { cell.trim() }
}

fn count(kind: &mut Kind, row: usize) {
    if kind.count == 0 {
        kind.first = row;
    }
    kind.count += 1;
}

pub(super) fn no_number(cell: &str) -> String {
    format!(
        "`{cell}` is not a number; correct it, or say how numbers are written (data.decimal, data.thousands), \
         what means a missing value (data.missing_values), or that the column holds names \
         (data.categorical)"
    )
}

fn no_date(cell: &str, format: &Format) -> String {
    match &format.date_format {
        Some(format) => {
            format!("`{cell}` is not a date as data.date_format = \"{format}\" writes it")
        }
        None => format!(
            "`{cell}` is not an ISO 8601 date, such as 2024-05-31 or 2024-05-31T12:30:00Z; give \
             data.date_format"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::texts::MISSING;

    fn column(read_as: ReadAs, cells: &[&str]) -> Column {
        let format = Format::default();
        let mut builder = Builder::new(read_as, &format);
        // In two parts, as threads read them.
        for part in cells.chunks(2) {
            let mut next = Builder::new(read_as, &format);
            for cell in part {
                next.push(cell).unwrap();
            }
            builder.append(next);
        }
        builder.finish(" a ")
    }

    #[test]
    fn cells_are_read_as_what_they_are() {
        let cells = column(ReadAs::Either, &[" 1e-3 ", "", "NA", "red", "nan", "red"]);
        assert_eq!(cells.name(), "a");
        assert_eq!(cells.number(0), Some(Ok(1e-3)));
        assert!([1, 2, 4].iter().all(|row| cells.is_missing(*row) && cells.number(*row).is_none()));
        assert_eq!(cells.number(3), Some(Err("red".to_owned())));
        let (texts, numbers) = cells.texts().unwrap();
        assert_eq!(texts, ["0.001", "red"]);
        assert_eq!(numbers, [0, MISSING, MISSING, 1, MISSING, 1]);
        let numbers = column(ReadAs::Either, &["3.0", "", "0.5"]);
        assert_eq!(numbers.text(0).unwrap(), "3");
        assert_eq!((numbers.text(1), numbers.number(2)), (None, Some(Ok(0.5))));
        assert!(numbers.texts().is_none());
        assert_eq!(column(ReadAs::Text, &["3.0", "011"]).text(1).unwrap(), "011");
        assert_eq!(column(ReadAs::Date, &["1970-01-03"]).number(0), Some(Ok(2.0)));
        assert_eq!(column(ReadAs::Nothing, &["x"]).number(0), None);
        let format = Format::default();
        assert!(
            Builder::new(ReadAs::Number, &format)
                .push("x")
                .unwrap_err()
                .contains("is not a number")
        );
        assert!(
            Builder::new(ReadAs::Date, &format)
                .push("x")
                .unwrap_err()
                .contains("is not an ISO 8601 date")
        );
    }

    #[test]
    fn what_a_column_holds_is_what_most_cells_are() {
        let holds = |cells: &[&str]| column(ReadAs::Either, cells).holds();
        assert_eq!(holds(&["1", "", "2"]), Holds::Numbers);
        assert_eq!(holds(&["x", "NA"]), Holds::Texts);
        assert_eq!(holds(&["", "null"]), Holds::Nothing);
        assert_eq!(holds(&["1", "2O", "3"]), Holds::Both { row: 1, others: 2, text: true });
        assert_eq!(holds(&["a", "b", "3"]), Holds::Both { row: 2, others: 2, text: false });
        assert_eq!(column(ReadAs::Text, &["1", "2"]).holds(), Holds::Numbers);
    }
}
