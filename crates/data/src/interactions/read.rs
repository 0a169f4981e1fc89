//! Interactions from a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ahash::RandomState;

use super::columns::{ITEM, RATING, Role, TIME, USER};
use super::{Histories, Ids, InteractionOptions, OnDuplicate};
use crate::table::{Column, Format, ReadAs, Reading, Table, iso_date};
use crate::{DataError, OnBadRow};

/// Who took what, a row for each interaction that counts.
#[derive(Debug, Clone)]
pub struct Interactions {
    /// The file.
    pub path: PathBuf,
    /// The number of each one's user.
    pub users: Vec<u32>,
    /// The number of each one's item.
    pub items: Vec<u32>,
    /// Each one's rating, where the file has them.
    pub ratings: Option<Vec<f64>>,
    /// When each one was, where the file says so: seconds, or whatever its numbers are.
    pub times: Option<Vec<f64>>,
    /// The users.
    pub user_ids: Ids,
    /// The items.
    pub item_ids: Ids,
    /// The row of each one in the file, from 0.
    pub rows: Vec<usize>,
    /// What was left out, in words.
    pub notes: Vec<String>,
}

/// Users and items that are known already.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The users.
    pub users: &'a Ids,
    /// The items.
    pub items: &'a Ids,
    /// Whether interactions of others are kept, with the number [`UNKNOWN`]; else they are left out, and counted.
    pub keeps_others: bool,
}

/// The number of a user or item that is not known.
pub const UNKNOWN: u32 = u32::MAX;

impl Interactions {
    /// Reads a file. Interactions below `min_rating` do not count. Without `known` users and items, all count that have
    /// enough interactions.
    ///
    /// # Errors
    /// A file that cannot be read, a column that is missing, a row that cannot be used, an interaction that is there twice:
    /// each names the file and the row.
    pub fn read(
        options: &InteractionOptions,
        path: &Path,
        min_rating: Option<f64>,
        known: Option<Known<'_>>,
    ) -> Result<Self, DataError> {
        Ok(Self::read_with(options, path, min_rating, known, &HashMap::new())?.0)
    }

    /// As [`read`](Self::read), with more columns in the table that is handed back.
    pub(super) fn read_with(
        options: &InteractionOptions,
        path: &Path,
        min_rating: Option<f64>,
        known: Option<Known<'_>>,
        more: &HashMap<String, ReadAs>,
    ) -> Result<(Self, Table), DataError> {
        let mut columns = more.clone();
        let given =
            [&options.user, &options.item, &options.rating, &options.time].map(Option::as_deref);
        for (role, given) in [USER, ITEM, RATING, TIME].iter().zip(given) {
            role.ask(given, &mut columns);
        }
        // No name is missing for its letters: `None` is as good as another.
        let format = Format { missing_values: Vec::new(), ..Format::default() };
        let reading = Reading { format, columns, others: ReadAs::Nothing };
        let table = Table::read_as(path, &reading)?;
        let rows = Rows::new(options, path, &table, min_rating)?;
        let interactions = rows.read(known)?;
        Ok((interactions, table))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Their numbers by time where there are times; those of the same time as the file has them.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        if let Some(times) = &self.times {
            order.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
        }
        order
    }

    /// The items of each user, in order.
    pub fn by_user(&self) -> Histories {
        let order = self.in_order();
        let of = |values: &[u32]| order.iter().map(|i| values[*i]).collect::<Vec<_>>();
        Histories::new(self.user_ids.len(), &of(&self.users), &of(&self.items))
    }
}

/// The rows of a file.
struct Rows<'a> {
    options: &'a InteractionOptions,
    path: &'a Path,
    table: &'a Table,
    user: &'a Column,
    item: &'a Column,
    rating: Option<&'a Column>,
    time: Option<&'a Column>,
    min_rating: Option<f64>,
}

/// A row that can be used.
struct Row {
    at: usize,
    user: u32,
    item: u32,
    rating: f64,
    time: f64,
}

impl<'a> Rows<'a> {
    fn new(
        options: &'a InteractionOptions,
        path: &'a Path,
        table: &'a Table,
        min_rating: Option<f64>,
    ) -> Result<Self, DataError> {
        let user = USER.require(table, path, options.user.as_deref())?;
        let item = ITEM.require(table, path, options.item.as_deref())?;
        let optional = |role: &Role, given: &Option<String>, needed: bool| match given {
            None if !needed => Ok(role.find(table, None)),
            given => role.require(table, path, given.as_deref()).map(Some),
        };
        let rating = optional(&RATING, &options.rating, min_rating.is_some())?;
        let time = optional(&TIME, &options.time, false)?;
        Ok(Self { options, path, table, user, item, rating, time, min_rating })
    }

    fn read(&self, known: Option<Known<'_>>) -> Result<Interactions, DataError> {
        let (user_names, users) = self.table.texts(self.user)?;
        let (item_names, items) = self.table.texts(self.item)?;
        let mut notes = Vec::new();
        let mut kept = self.sound(&users, &items, &mut notes)?;
        if let Some(known) = known.filter(|known| !known.keeps_others) {
            let is_known = |names: &[&str], ids: &Ids| -> Vec<bool> {
                names.iter().map(|name| ids.number(name).is_some()).collect()
            };
            let of = [is_known(&user_names, known.users), is_known(&item_names, known.items)];
            drop_unknown(&mut kept, &of, &mut notes);
        }
        self.once(&mut kept, [&user_names, &item_names], &mut notes)?;
        if known.is_none() {
            self.enough(&mut kept, [user_names.len(), item_names.len()], &mut notes);
        }
        if kept.is_empty() {
            let reason = format!("has no interaction that counts{}", listed(&notes));
            return Err(DataError::table(self.path, reason));
        }
        let mut user_ids = known.map_or_else(Ids::default, |known| known.users.clone());
        let mut item_ids = known.map_or_else(Ids::default, |known| known.items.clone());
        let numbers = |ids: &mut Ids, names: &[&str], of: &dyn Fn(&Row) -> u32| -> Vec<u32> {
            let mut numbers = vec![UNKNOWN; names.len()];
            kept.iter()
                .map(|row| {
                    let number = &mut numbers[of(row) as usize];
                    if *number == UNKNOWN {
                        let name = names[of(row) as usize];
                        *number = match known {
                            None => ids.add(name) as u32,
                            Some(_) => ids.number(name).map_or(UNKNOWN, |number| number as u32),
                        };
                    }
                    *number
                })
                .collect()
        };
        Ok(Interactions {
            path: self.path.to_owned(),
            users: numbers(&mut user_ids, &user_names, &|row| row.user),
            items: numbers(&mut item_ids, &item_names, &|row| row.item),
            ratings: self.rating.map(|_| kept.iter().map(|row| row.rating).collect()),
            times: self.time.map(|_| kept.iter().map(|row| row.time).collect()),
            user_ids,
            item_ids,
            rows: kept.iter().map(|row| row.at).collect(),
            notes,
        })
    }

    /// The rows that can be used and are of the rating wanted.
    fn sound(
        &self,
        users: &[u32],
        items: &[u32],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Row>, DataError> {
        let (mut kept, mut bad, mut low) = (Vec::with_capacity(users.len()), 0, 0);
        for at in 0..self.table.rows() {
            match self.row(at, users, items) {
                Ok(row) if self.min_rating.is_some_and(|least| row.rating < least) => low += 1,
                Ok(row) => kept.push(row),
                Err(_) if self.options.on_bad_row == OnBadRow::Skip => bad += 1,
                Err(error) => return Err(error),
            }
        }
        if bad > 0 {
            notes.push(format!("{bad} rows cannot be used and are left out"));
        }
        if let Some(least) = self.min_rating.filter(|_| low > 0) {
            notes.push(format!("{low} interactions of a rating below {least} are left out"));
        }
        Ok(kept)
    }

    fn row(&self, at: usize, users: &[u32], items: &[u32]) -> Result<Row, DataError> {
        const ADVICE: &str = "fill it in, take the row out, or set data.on_bad_row = \"skip\"";
        for column in [self.user, self.item] {
            if column.is_missing(at) {
                return Err(self.table.cell(column, at, &format!("the cell is empty; {ADVICE}")));
            }
        }
        let number = |column: Option<&Column>, is_time: bool| {
            let Some(column) = column else { return Ok(0.0) };
            let wrong =
                |reason: String| self.table.cell(column, at, &format!("{reason}; {ADVICE}"));
            match column.number(at) {
                None => Err(wrong("the cell is empty".to_owned())),
                Some(Ok(number)) if number.is_finite() => Ok(number),
                Some(Ok(number)) => Err(wrong(format!("{number} is not finite"))),
                Some(Err(text)) if is_time => {
                    iso_date(&text).map(|days| days * 86_400.0).ok_or_else(|| {
                        wrong(format!("`{text}` is neither a number nor an ISO 8601 date"))
                    })
                }
                Some(Err(text)) => Err(wrong(format!("`{text}` is not a number"))),
            }
        };
        let (rating, time) = (number(self.rating, false)?, number(self.time, true)?);
        Ok(Row { at, user: users[at], item: items[at], rating, time })
    }

    /// Each pair of user and item once, where the config asks for that.
    fn once(
        &self,
        kept: &mut Vec<Row>,
        [users, items]: [&[&str]; 2],
        notes: &mut Vec<String>,
    ) -> Result<(), DataError> {
        let mut first: HashMap<u64, usize, RandomState> =
            HashMap::with_capacity_and_hasher(kept.len(), RandomState::new());
        let mut again = vec![false; kept.len()];
        for (i, row) in kept.iter().enumerate() {
            let pair = u64::from(row.user) << 32 | u64::from(row.item);
            let before = *first.entry(pair).or_insert(row.at);
            again[i] = before != row.at;
            if again[i] && self.options.on_duplicate == OnDuplicate::Error {
                let reason = format!(
                    "{}: user `{}` takes item `{}` a second time, after {}; take one out, or set data.on_duplicate = \
                     \"skip\" (the first one counts) or \"keep\" (both do)",
                    self.table.place(row.at),
                    users[row.user as usize],
                    items[row.item as usize],
                    self.table.place(before),
                );
                return Err(DataError::table(self.path, reason));
            }
        }
        let count = again.iter().filter(|again| **again).count();
        if count == 0 {
            return Ok(());
        }
        if self.options.on_duplicate == OnDuplicate::Keep {
            notes.push(format!("{count} interactions are there more than once, and kept"));
        } else {
            let mut again = again.into_iter();
            kept.retain(|_| again.next() == Some(false));
            notes.push(format!("{count} interactions are there a second time and are left out"));
        }
        Ok(())
    }

    /// Leaves out users and items of few interactions until none is left.
    fn enough(&self, kept: &mut Vec<Row>, [users, items]: [usize; 2], notes: &mut Vec<String>) {
        let least = [self.options.min_user_interactions, self.options.min_item_interactions];
        let before = kept.len();
        loop {
            let mut counts = [vec![0; users], vec![0; items]];
            for row in &*kept {
                counts[0][row.user as usize] += 1;
                counts[1][row.item as usize] += 1;
            }
            let all = kept.len();
            kept.retain(|row| {
                counts[0][row.user as usize] >= least[0] && counts[1][row.item as usize] >= least[1]
            });
            if kept.len() == all {
                break;
            }
        }
        if kept.len() < before {
            let count = before - kept.len();
            notes.push(format!("{count} interactions of users or items with too few are left out"));
        }
    }
}

/// Leaves out the rows of users and items that are not known.
fn drop_unknown(kept: &mut Vec<Row>, [users, items]: &[Vec<bool>; 2], notes: &mut Vec<String>) {
    let count = |of: &[bool], seen: &dyn Fn(&Row) -> u32| {
        kept.iter().filter(|row| !of[seen(row) as usize]).count()
    };
    let [unknown_users, unknown_items] =
        [count(users, &|row| row.user), count(items, &|row| row.item)];
    if unknown_users + unknown_items > 0 {
        notes.push(format!(
            "{unknown_users} interactions of users and {unknown_items} of items that the training data does not have are \
             left out"
        ));
    }
    kept.retain(|row| users[row.user as usize] && items[row.item as usize]);
}

/// Notes as the end of a sentence.
fn listed(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; ")) }
}
