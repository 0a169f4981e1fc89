//! Where a key stands in a config.

use rappel_config::{ConfigError, Field, Kind};

/// The same error, but of an unknown key that another section has, as one that moved has: the
/// suggestion is that one, unless the key is another name of one that is near.
pub(super) fn suggest_elsewhere(error: ConfigError, fields: &[Field]) -> ConfigError {
    let ConfigError::UnknownKey { key, suggestion, known } = error else { return error };
    let name = key.rsplit('.').next().unwrap_or(&key);
    let is_aka = |field: &Field| field.aka.contains(&name);
    let near = suggestion.filter(|near| {
        place("", fields, &|field| field.name == near && is_aka(field)).is_some()
            || place("", fields, &|field| field.is_named(name)).is_none()
    });
    let suggestion = near
        .or_else(|| place("", fields, &|field| field.is_named(name)))
        .or_else(|| place("", fields, &is_aka));
    ConfigError::UnknownKey { key, suggestion, known }
}

/// The path of the first field in its sections and tables that `is` the one.
fn place(path: &str, fields: &[Field], is: &dyn Fn(&Field) -> bool) -> Option<String> {
    let at = |field: &Field| {
        if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) }
    };
    let here = fields.iter().find(|field| is(field)).map(at);
    let inside = |field: &Field| match field.kind {
        Kind::Table(fields) => place(&at(field), fields, is),
        Kind::Section(family) => {
            family.infos().iter().find_map(|info| place(&at(field), &info.fields, is))
        }
        _ => None,
    };
    here.or_else(|| fields.iter().find_map(inside))
}
