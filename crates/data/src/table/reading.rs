//! How the cells of a file are read: what is missing, how numbers and dates are written, and which
//! columns are what.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::date;

/// Cells that mean a missing value: pandas' defaults.
pub const MISSING_VALUES: &[&str] = &[
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// How the cells of a file are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Format {
    /// Between the cells of a CSV; none: the one of `,`, `;`, tab and `|` that its header has most of.
    pub delimiter: Option<char>,
    /// Before the fraction of a number.
    pub decimal: char,
    /// Between groups of digits.
    pub thousands: Option<char>,
    /// Cells that mean a missing value.
    pub missing_values: Vec<String>,
    /// How dates are written, as in strftime; none: ISO 8601.
    pub date_format: Option<String>,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            delimiter: None,
            decimal: '.',
            thousands: None,
            missing_values: MISSING_VALUES.iter().map(|text| (*text).to_owned()).collect(),
            date_format: None,
        }
    }
}

/// The cells that mean a missing value.
#[derive(Debug)]
pub(super) struct Missing<'a> {
    values: &'a [String],
    /// The bytes that a value ends in: few cells that are there end in one, and most numbers in none.
    ends: [bool; 256],
}

impl Missing<'_> {
    pub fn has(&self, cell: &str) -> bool {
        let Some(last) = cell.bytes().last() else { return true };
        self.ends[usize::from(last)] && self.values.iter().any(|value| value == cell)
    }
}

/// What the cells of a column are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadAs {
    /// Numbers where all are, else text.
    #[default]
    Either,
    /// Text.
    Text,
    /// Numbers; anything else is an error.
    Number,
    /// Dates, as days since 1970-01-01; anything else is an error.
    Date,
    /// Nothing: the column is skipped.
    Nothing,
}

/// How a file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// How its cells are written.
    pub format: Format,
    /// What columns are read as.
    pub columns: HashMap<String, ReadAs>,
    /// What all the others are read as.
    pub others: ReadAs,
}

impl Reading {
    pub(super) fn of(&self, column: &str) -> ReadAs {
        self.columns.get(column).copied().unwrap_or(self.others)
    }
}

impl Format {
    pub(super) fn missing(&self) -> Missing<'_> {
        let mut ends = [false; 256];
        for last in self.missing_values.iter().filter_map(|value| value.bytes().last()) {
            ends[usize::from(last)] = true;
        }
        Missing { values: &self.missing_values, ends }
    }

    /// The number that a cell is, if it is one.
    pub(super) fn number(&self, cell: &str) -> Option<f64> {
        if self.decimal == '.' && self.thousands.is_none() {
            // Names mostly begin as no number does, be it infinite or none.
            let begins =
                cell.bytes().next().is_some_and(|byte| b"+-.0123456789iInN".contains(&byte));
            return short_number(cell).or_else(|| begins.then(|| cell.parse().ok())?);
        }
        let (whole, fraction) = match cell.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (cell, None),
        };
        let mut plain = match self.thousands {
            Some(separator) if whole.contains(separator) => ungrouped(whole, separator)?,
            _ => whole.to_owned(),
        };
        // Another sign for the fraction is none of a number.
        if self.decimal != '.' && cell.contains('.') && self.thousands != Some('.') {
            return None;
        }
        if let Some(fraction) = fraction {
            plain.push('.');
            plain.push_str(fraction);
        }
        plain.parse().ok()
    }

    /// The days since 1970-01-01 that a cell is, if it is a date.
    pub(super) fn date(&self, cell: &str) -> Option<f64> {
        match &self.date_format {
            None => date::iso(cell),
            Some(format) => date::formatted(cell, format),
        }
    }
}

/// A number of few digits, whose fraction is exact: both its digits and the power of ten are numbers of 53 bits, so that
/// one division rounds as the parser does, in a third of its time. None for all other texts.
fn short_number(cell: &str) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (sign, digits) = match cell.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, cell),
    };
    if digits.len() > POWERS.len() {
        return None;
    }
    let (mut number, mut point) = (0_u64, None);
    for (at, byte) in digits.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => number = 10 * number + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let decimals = point.map_or(0, |at| digits.len() - at - 1);
    let has_digits = digits.len() > usize::from(point.is_some());
    has_digits.then(|| sign * (number as f64 / POWERS[decimals]))
}

/// A whole number without its separators, if they stand where they may: three digits follow the last
/// one, two or three the others.
fn ungrouped(whole: &str, separator: char) -> Option<String> {
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let groups: Vec<&str> = digits.split(separator).collect();
    let sound = groups.iter().enumerate().all(|(i, group)| {
        let len = match i {
            0 => 1..=3,
            _ if i + 1 == groups.len() => 3..=3,
            _ => 2..=3,
        };
        len.contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit())
    });
    sound.then(|| whole.replace(separator, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let plain = Format::default();
        assert_eq!(plain.number("-1e-3"), Some(-1e-3));
        assert_eq!((plain.number("1,5"), plain.number("1,500")), (None, None));
        let english = Format { thousands: Some(','), ..Format::default() };
        assert_eq!(english.number("-1,234,567.5"), Some(-1_234_567.5));
        assert_eq!(
            (english.number("12,34,567"), english.number("7")),
            (Some(1_234_567.0), Some(7.0))
        );
        for wrong in ["1,5", "1,,500", "1234,567", ",500", "1,500,", "1.5,000"] {
            assert_eq!(english.number(wrong), None, "{wrong}");
        }
        let german = Format { decimal: ',', thousands: Some('.'), ..Format::default() };
        assert_eq!(german.number("1.234,5"), Some(1234.5));
        assert_eq!((german.number("0,25"), german.number("1.25")), (Some(0.25), None));
        let comma = Format { decimal: ',', ..Format::default() };
        assert_eq!((comma.number("1,5"), comma.number("1.5")), (Some(1.5), None));
    }

    #[test]
    fn short_numbers_are_what_the_parser_makes_of_them() {
        for text in
            ["", "-", ".", "-.", "1.2.3", "1e5", "+1", "nan", "0x1", "1_0", "12345678901234567"]
        {
            assert_eq!(short_number(text), None, "{text}");
        }
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let texts = (0..200_000).map(|i| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let digits = (random >> 14).to_string();
            let digits = &digits[..digits.len().min(1 + i % 15)];
            let (whole, fraction) = digits.split_at(i % (digits.len() + 1));
            format!("{}{whole}.{fraction}", if i % 2 == 0 { "-" } else { "" })
        });
        for text in texts
            .chain(["0", "-0", "5.", ".5", "-.25", "999999999999999.", "000.1"].map(str::to_owned))
        {
            let parsed: f64 = text.parse().unwrap();
            assert_eq!(short_number(&text).map(f64::to_bits), Some(parsed.to_bits()), "{text}");
        }
    }

    #[test]
    fn missing_values_are_those_of_the_list() {
        let format = Format { missing_values: vec!["?".to_owned()], ..Format::default() };
        let missing = format.missing();
        assert!(missing.has("") && missing.has("?") && !missing.has("NA") && !missing.has("x?"));
        let format = Format::default();
        let missing = format.missing();
        assert!(MISSING_VALUES.iter().all(|value| missing.has(value)) && !missing.has("?"));
    }
}
