//! Users of a file that items are recommended to.

use std::collections::HashMap;
use std::path::Path;

use ahash::RandomState;

use super::InteractionOptions;
use super::columns::{ITEM, USER};
use crate::DataError;
use crate::table::{Format, ReadAs, Reading, Table};

/// A user as a file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedUser {
    /// Its name.
    pub name: String,
    /// The items that it takes in the file, in its rows' order.
    pub items: Vec<String>,
}

/// The users of a file in the order in which it names them, each once, with their items where it has a column of them.
///
/// # Errors
/// A file that cannot be read, one without a column of users, a row without a user.
pub fn read_users(options: &InteractionOptions, path: &Path) -> Result<Vec<AskedUser>, DataError> {
    let mut columns = HashMap::new();
    USER.ask(options.user.as_deref(), &mut columns);
    ITEM.ask(options.item.as_deref(), &mut columns);
    // No name is missing for its letters: `None` is as good as another.
    let format = Format { missing_values: Vec::new(), ..Format::default() };
    let reading = Reading { format, columns, others: ReadAs::Nothing };
    let table = Table::read_as(path, &reading)?;
    let user = USER.require(&table, path, options.user.as_deref())?;
    let item = ITEM.find(&table, options.item.as_deref());
    let mut places: HashMap<String, usize, RandomState> = HashMap::default();
    let mut asked: Vec<AskedUser> = Vec::new();
    for row in 0..table.rows() {
        let name = user.text(row).ok_or_else(|| {
            table.cell(user, row, "the cell is empty; fill it in, or take the row out")
        })?;
        let place = *places.entry(name.into_owned()).or_insert_with_key(|name| {
            asked.push(AskedUser { name: name.clone(), items: Vec::new() });
            asked.len() - 1
        });
        let taken = item.and_then(|item| item.text(row));
        asked[place].items.extend(taken.map(std::borrow::Cow::into_owned));
    }
    Ok(asked)
}
