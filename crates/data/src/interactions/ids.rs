//! Names of users or items, by number.

use ahash::RandomState;
use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

/// Names by number, from 0 in the order in which they came.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Ids {
    names: IndexSet<Box<str>, RandomState>,
}

impl Ids {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name of a number.
    ///
    /// # Panics
    /// Where there are not so many.
    #[track_caller]
    pub fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.names.get_index_of(name)
    }

    /// All names in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The number of a name, which joins the others where it is new.
    pub fn add(&mut self, name: &str) -> usize {
        match self.number(name) {
            Some(number) => number,
            None => self.names.insert_full(name.into()).0,
        }
    }
}

impl<'a> FromIterator<&'a str> for Ids {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }
}

impl From<Vec<String>> for Ids {
    fn from(names: Vec<String>) -> Self {
        Self { names: names.into_iter().map(String::into_boxed_str).collect() }
    }
}

impl From<Ids> for Vec<String> {
    fn from(ids: Ids) -> Self {
        ids.names.into_iter().map(String::from).collect()
    }
}
