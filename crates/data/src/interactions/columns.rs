//! Which columns of a file hold users, items, ratings and times.

use std::collections::HashMap;
use std::path::Path;

use rappel_config::suggest;

use crate::DataError;
use crate::table::{Column, ReadAs, Table};

/// A column that interactions have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    /// The key of the section `data` that names it.
    pub key: &'static str,
    /// What it is usually called.
    pub usual: &'static [&'static str],
    pub read_as: ReadAs,
}

pub(super) const USER: Role = Role {
    key: "user",
    usual: &["user_id", "user", "userId", "userid", "uid", "UserID"],
    read_as: ReadAs::Text,
};

pub(super) const ITEM: Role = Role {
    key: "item",
    usual: &["item_id", "item", "itemId", "itemid", "iid", "movieId", "movie_id", "ItemID"],
    read_as: ReadAs::Text,
};

pub(super) const RATING: Role =
    Role { key: "rating", usual: &["rating", "Rating", "stars", "score"], read_as: ReadAs::Either };

pub(super) const TIME: Role = Role {
    key: "time",
    usual: &["timestamp", "time", "Timestamp", "date"],
    read_as: ReadAs::Either,
};

/// What RecBole writes behind a name.
const TYPES: [&str; 3] = ["", ":token", ":float"];

/// A name without the type that RecBole writes behind it.
pub(super) fn plain(name: &str) -> &str {
    name.split_once(':').map_or(name, |(name, _)| name)
}

impl Role {
    fn names<'a>(&self, given: Option<&'a str>) -> Vec<&'a str> {
        given.map_or_else(|| self.usual.to_vec(), |given| vec![given])
    }

    /// Lets a reading take the column, whatever it is called.
    pub fn ask(&self, given: Option<&str>, columns: &mut HashMap<String, ReadAs>) {
        for name in self.names(given) {
            columns.extend(TYPES.map(|of| (format!("{name}{of}"), self.read_as)));
        }
    }

    /// The column in a table, if it is there.
    pub fn find<'t>(&self, table: &'t Table, given: Option<&str>) -> Option<&'t Column> {
        let names = table.names();
        let has =
            |wanted: &&str| names.iter().position(|name| name == wanted || plain(name) == *wanted);
        let at = self.names(given).iter().find_map(has)?;
        table.column(names[at]).ok()
    }

    /// The column in a table.
    ///
    /// # Errors
    /// A table without it, naming what it has.
    pub fn require<'t>(
        &self,
        table: &'t Table,
        path: &Path,
        given: Option<&str>,
    ) -> Result<&'t Column, DataError> {
        self.find(table, given).ok_or_else(|| {
            let (key, names) = (self.key, table.names());
            let has = names.join(", ");
            DataError::table(
                path,
                match given {
                    Some(given) => {
                        let near = suggest(given, names.iter().map(|name| plain(name)));
                        let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                        format!("has no column `{given}`, which data.{key} names{near} (it has: {has})")
                    }
                    None => format!(
                        "has no column of {key}s: none is called {}; name it in data.{key} (it has: {has})",
                        self.usual.join(", ")
                    ),
                },
            )
        })
    }
}
