//! Help texts, from the same description that parses the config.

use std::fmt;

use crate::{Default, Family, Field, Info, Kind};

/// One line an option: key, values taken, default, what it is; nested tables follow with dotted keys.
///
/// ```
/// use rappel_registry::{Field, Kind, describe};
/// let fields = [Field::new("nesterov", Kind::Bool, "false", "look ahead")];
/// assert_eq!(describe(&fields), "nesterov  true or false  default false  look ahead\n");
/// ```
pub fn describe(fields: &[Field]) -> String {
    let mut rows = Vec::new();
    collect("", fields, &mut rows);
    let width = |column: usize| {
        rows.iter().map(|row: &[String; 4]| row[column].chars().count()).max().unwrap_or(0)
    };
    let [key, kind, default] = [width(0), width(1), width(2)];
    rows.iter().fold(String::new(), |mut text, [name, values, default_value, doc]| {
        let line = format!("{name:key$}  {values:kind$}  {default_value:default$}  {doc}\n");
        text.push_str(&line);
        text
    })
}

fn collect(prefix: &str, fields: &[Field], rows: &mut Vec<[String; 4]>) {
    for field in fields {
        let key = format!("{prefix}{}", field.name);
        let default = match field.default {
            Default::Required => "required".to_owned(),
            Default::Absent => "optional".to_owned(),
            Default::Toml(text) => format!("default {text}"),
        };
        let nested = match field.kind {
            Kind::Table(fields) => Some((format!("{key}."), fields)),
            Kind::Tables(fields) => Some((format!("{key}[]."), fields)),
            _ => None,
        };
        rows.push([key, field.kind.to_string(), default, field.doc.to_owned()]);
        if let Some((prefix, fields)) = nested {
            collect(&prefix, fields, rows);
        }
    }
}

/// One line an entry: its name and what it computes, as `rappel list KIND` shows them.
pub fn list(family: &dyn Family) -> String {
    let infos = family.infos();
    let width = infos.iter().map(|info| info.name.len()).max().unwrap_or(0);
    let lines = infos.iter().map(|info| format!("{:width$}  {}", info.name, info.summary));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The entry's page, as `rappel list KIND NAME` shows it.
impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}\nreference: {}", self.name, self.summary, self.reference)?;
        describe(&self.fields).lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
