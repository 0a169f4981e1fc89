//! The paths that a config names.

use toml::{Table, Value};

use crate::{Field, Kind, visit};

/// Puts `change` of each path that resolved options name in its place: the values of
/// [`Kind::Path`] that are none of its words, and of [`Kind::Paths`], in nested tables and sections
/// too.
///
/// # Errors
/// What `change` returns.
///
/// ```
/// use rappel_config::{Field, Kind, map_paths};
/// let fields = [Field::required("tokenizer", Kind::Path(&["byte"]), "which one")];
/// let mut given = toml::from_str("tokenizer = 'mine.json'").unwrap();
/// let below = |path: &str| Ok::<_, ()>(format!("/data/{path}"));
/// map_paths(&fields, &mut given, &below)?;
/// assert_eq!(given["tokenizer"].as_str(), Some("/data/mine.json"));
/// # Ok::<(), ()>(())
/// ```
pub fn map_paths<E>(
    fields: &[Field],
    given: &mut Table,
    change: &dyn Fn(&str) -> Result<String, E>,
) -> Result<(), E> {
    visit(fields, given, &mut |field, table| {
        match (field.kind, table.get_mut(field.name)) {
            (Kind::Path(words), Some(Value::String(path))) if !words.contains(&path.as_str()) => {
                *path = change(path)?;
            }
            (Kind::Paths, Some(Value::Array(paths))) => {
                for path in paths {
                    if let Value::String(path) = path {
                        *path = change(path)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Field] = &[
        Field::required("files", Kind::Paths, "files"),
        Field::required("text", Kind::Str, "no path"),
        Field::optional("other", Kind::Path(&[]), "unset"),
    ];

    #[test]
    fn paths_are_found_at_any_depth_and_nothing_else_is_changed() {
        let fields = [
            Field::required("tables", Kind::Tables(INNER), "tables"),
            Field::required("table", Kind::Table(INNER), "a table"),
            Field::required("word", Kind::Path(&["byte"]), "a word"),
        ];
        let text = "word = 'byte'\n[[tables]]\nfiles = ['a', 'b']\ntext = 'c'\n\
             [table]\nfiles = ['d']\ntext = 'e'\n";
        let mut given: Table = toml::from_str(text).unwrap();
        map_paths(&fields, &mut given, &|path| Ok::<_, ()>(format!("/{path}"))).unwrap();
        let expected = text.replace("'a'", "'/a'").replace("'b'", "'/b'").replace("'d'", "'/d'");
        assert_eq!(given, toml::from_str(&expected).unwrap());
    }
}
