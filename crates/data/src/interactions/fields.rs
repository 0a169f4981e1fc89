//! What is known of users, items and interactions, as rows of one table with a weight each.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Ids;
use super::columns::{Role, plain};
use crate::DataError;
use crate::table::{Column, Format, ReadAs, Reading, Table};

/// What a field's cells are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FieldKind {
    /// A name: each has a row.
    Name {
        /// The names.
        names: Ids,
    },
    /// Names with spaces between them, which share a weight of 1.
    Names {
        /// The names.
        names: Ids,
        /// How many a cell holds at most.
        most: usize,
    },
    /// A number, whose weight is `(x - mean) / std`.
    Number {
        /// Subtracted.
        mean: f64,
        /// Divided by.
        std: f64,
    },
}

/// Something known of an interaction: who, what, and what is said of both.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its column.
    pub name: String,
    /// What its cells are.
    pub of: FieldKind,
    /// Its first row among those of all fields.
    pub first: usize,
}

/// Rows and weights, `slots` of each for one thing after another; a weight of 0 stands for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slots {
    /// How many each thing has.
    pub slots: usize,
    /// The rows.
    pub ids: Vec<u32>,
    /// Their weights.
    pub weights: Vec<f32>,
}

impl Slots {
    /// Those of a thing; none of one that is not there.
    pub fn of(&self, thing: usize) -> impl Iterator<Item = (u32, f32)> {
        let from = thing.saturating_mul(self.slots);
        let there = from.saturating_add(self.slots) <= self.ids.len();
        (0..self.slots).map(move |slot| {
            if there { (self.ids[from + slot], self.weights[from + slot]) } else { (0, 0.0) }
        })
    }
}

impl Field {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        match &self.of {
            FieldKind::Name { names } | FieldKind::Names { names, .. } => names.len(),
            FieldKind::Number { .. } => 1,
        }
    }

    /// How many of its rows a cell has.
    pub fn slots(&self) -> usize {
        match &self.of {
            FieldKind::Names { most, .. } => *most,
            FieldKind::Name { .. } | FieldKind::Number { .. } => 1,
        }
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self.of, FieldKind::Number { .. })
    }

    /// A field of a column: what RecBole's type behind its name says, else a number where all cells are.
    fn fit(table: &Table, column: &Column, first: usize) -> Result<Self, DataError> {
        let (name, of) = match column.name().split_once(':') {
            Some((name, of)) => (name, of),
            None if (0..table.rows())
                .all(|row| matches!(column.number(row), None | Some(Ok(_)))) =>
            {
                (column.name(), "float")
            }
            None => (column.name(), "token"),
        };
        let texts = || (0..table.rows()).filter_map(|row| column.text(row));
        let of = match of {
            "token" => {
                let mut names = Ids::default();
                texts().for_each(|text| {
                    names.add(&text);
                });
                FieldKind::Name { names }
            }
            "token_seq" => {
                let (mut names, mut most) = (Ids::default(), 1);
                for text in texts() {
                    let words = text.split_whitespace();
                    most = most.max(words.map(|word| names.add(word)).count());
                }
                FieldKind::Names { names, most }
            }
            "float" => number(table, column)?,
            other => {
                let reason = format!(
                    "column `{}`: `{other}` is not a type that can be read; expected token, token_seq or float, or name \
                     the column in data.exclude",
                    column.name()
                );
                return Err(table.error(reason));
            }
        };
        Ok(Self { name: name.to_owned(), of, first })
    }

    /// Adds the rows of a cell, which may be missing or hold what nobody knows.
    fn push(
        &self,
        table: &Table,
        column: &Column,
        row: usize,
        to: &mut Slots,
    ) -> Result<(), DataError> {
        let end = to.ids.len() + self.slots();
        match &self.of {
            FieldKind::Number { mean, std } => {
                let value = table.number(column, row)?;
                to.ids.push(self.first as u32);
                to.weights.push(value.map_or(0.0, |value| ((value - mean) / std) as f32));
            }
            FieldKind::Name { names } | FieldKind::Names { names, .. } => {
                let text = column.text(row).unwrap_or_default();
                let is_list = matches!(self.of, FieldKind::Names { .. });
                let known: Vec<usize> = if is_list {
                    text.split_whitespace().filter_map(|word| names.number(word)).collect()
                } else {
                    names.number(&text).into_iter().collect()
                };
                let known = &known[..known.len().min(self.slots())];
                for number in known {
                    to.ids.push((self.first + number) as u32);
                    to.weights.push(1.0 / known.len() as f32);
                }
            }
        }
        to.ids.resize(end, 0);
        to.weights.resize(end, 0.0);
        Ok(())
    }
}

fn number(table: &Table, column: &Column) -> Result<FieldKind, DataError> {
    let mut values = Vec::new();
    for row in 0..table.rows() {
        values.extend(table.number(column, row)?);
    }
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    if !mean.is_finite() || !std.is_finite() {
        let reason = format!("column `{}` is too large for its mean or deviation", column.name());
        return Err(table.error(reason + "; scale it, or name it in data.exclude"));
    }
    Ok(FieldKind::Number { mean, std: if std > 0.0 { std } else { 1.0 } })
}

/// The columns of a table that are features, as fields and as slots of each row.
pub(super) fn of_columns(
    table: &Table,
    columns: &[&Column],
    first: &mut usize,
) -> Result<(Vec<Field>, Slots), DataError> {
    let mut fields: Vec<Field> = Vec::new();
    for column in columns {
        let field = Field::fit(table, column, *first)?;
        *first += field.rows();
        fields.push(field);
    }
    let slots = encode(table, columns, &fields)?;
    Ok((fields, slots))
}

/// The slots of each row of a table, by fields that are known.
pub(super) fn encode(
    table: &Table,
    columns: &[&Column],
    fields: &[Field],
) -> Result<Slots, DataError> {
    let mut slots = Slots { slots: fields.iter().map(Field::slots).sum(), ..Slots::default() };
    for row in 0..table.rows() {
        for (field, column) in fields.iter().zip(columns) {
            field.push(table, column, row, &mut slots)?;
        }
    }
    Ok(slots)
}

/// What a file says of users or items, in the order of `ids`: those that it does not name have no weights. The count of
/// these is a note.
pub(super) fn of_file(
    path: &Path,
    (role, given): (Role, Option<&str>),
    ids: &Ids,
    exclude: &[String],
    first: &mut usize,
) -> Result<(Vec<Field>, Slots, Option<String>), DataError> {
    let mut columns = HashMap::new();
    role.ask(given, &mut columns);
    columns.extend(exclude.iter().map(|name| (name.clone(), ReadAs::Nothing)));
    for of in ["token", "token_seq", "float"] {
        columns.extend(exclude.iter().map(|name| (format!("{name}:{of}"), ReadAs::Nothing)));
    }
    let format = Format { missing_values: vec![], ..Format::default() };
    let reading = Reading { format, columns, others: ReadAs::Either };
    let table = Table::read_as(path, &reading)?;
    let key = role.require(&table, path, given)?;
    let names = table.names();
    let is_feature = |name: &&str| {
        *name != key.name() && !exclude.iter().any(|of| of == name || of == plain(name))
    };
    let features: Vec<&Column> = names
        .iter()
        .filter(|name| is_feature(name))
        .map(|name| table.column(name))
        .collect::<Result<_, _>>()?;
    let (fields, of_rows) = of_columns(&table, &features, first)?;
    let width = of_rows.slots;
    let mut slots = Slots {
        slots: width,
        ids: vec![0; ids.len() * width],
        weights: vec![0.0; ids.len() * width],
    };
    let mut named = vec![false; ids.len()];
    for row in 0..table.rows() {
        let name = key.text(row).ok_or_else(|| {
            table.cell(key, row, "the cell is empty; fill it in, or take the row out")
        })?;
        let Some(number) = ids.number(&name) else { continue };
        if std::mem::replace(&mut named[number], true) {
            let reason =
                format!("{}: `{name}` is described a second time; take one out", table.place(row));
            return Err(table.error(reason));
        }
        let (to, from) = (number * width..(number + 1) * width, row * width..(row + 1) * width);
        slots.ids[to.clone()].copy_from_slice(&of_rows.ids[from.clone()]);
        slots.weights[to].copy_from_slice(&of_rows.weights[from]);
    }
    let missing = named.iter().filter(|named| !**named).count();
    let note = (missing > 0).then(|| {
        format!(
            "{}: {missing} {}s of the interactions are not described there",
            path.display(),
            role.key
        )
    });
    Ok((fields, slots, note))
}
