//! Walking over resolved options together with their fields.

use toml::{Table, Value};

use crate::{Field, Kind};

/// Calls `each` with every field of resolved options and the table that may hold its value, nested
/// tables and sections included, outer ones first.
///
/// # Errors
/// What `each` returns.
pub fn visit<E>(
    fields: &[Field],
    given: &mut Table,
    each: &mut dyn FnMut(&Field, &mut Table) -> Result<(), E>,
) -> Result<(), E> {
    for field in fields {
        each(field, given)?;
        let Some(value) = given.get_mut(field.name) else { continue };
        let tables = match value {
            Value::Table(table) => std::slice::from_mut(table).iter_mut().collect(),
            Value::Array(list) => list.iter_mut().filter_map(Value::as_table_mut).collect(),
            _ => Vec::new(),
        };
        for table in tables {
            match field.kind {
                Kind::Table(fields) | Kind::Tables(fields) => visit(fields, table, each)?,
                Kind::Section(family)
                | Kind::Sections(family)
                | Kind::Scheduled { by: family, .. }
                | Kind::Schedules { by: family, .. }
                | Kind::Count { by: family, .. } => {
                    let name = table.get("name").and_then(Value::as_str).unwrap_or_default();
                    if let Ok(info) = family.info(name) {
                        visit(&info.fields, table, each)?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Removes from resolved options what a resumed run may change; see [`Field::changeable`].
///
/// ```
/// use rappel_config::{Field, Kind, remove_changeable};
/// let fields = [
///     Field::optional("log_every", Kind::int_from(1), "steps between scalars").changeable(),
///     Field::required("seed", Kind::int_from(0), "chooses random numbers"),
/// ];
/// let mut given = toml::from_str("log_every = 3\nseed = 4").unwrap();
/// remove_changeable(&fields, &mut given);
/// assert_eq!(given, toml::from_str("seed = 4").unwrap());
/// ```
pub fn remove_changeable(fields: &[Field], given: &mut Table) {
    let removed = visit::<std::convert::Infallible>(fields, given, &mut |field, table| {
        if field.changeable {
            table.remove(field.name);
        }
        Ok(())
    });
    match removed {
        Ok(()) => {}
    }
}
